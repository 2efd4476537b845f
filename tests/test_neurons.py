"""Warnings of neurons that would train better: of which, when, and how they are silenced."""

import warnings

import nengo
import numpy as np
import pytest
from generations import GENERATION, one_step, sgd, simulator, train

import nengo_wd
from nengo_wd import nengo_dl

SLOPES, GAINS = "LIF neurons without smoothing", "neurons with random gains"


def told(run):
    """Return the warnings of neurons while something runs: what each is of, and what it says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    found = [(str(w.message), w.filename) for w in caught]
    return [
        (message.split(":")[0], message, filename)
        for message, filename in found
        if message.startswith((SLOPES, GAINS))
    ]


def kinds(run):
    return [kind for kind, _, _ in told(run)]


def dense(units, **kwargs):
    return nengo_wd.RegularizedDense(units, kernel_regularizer=None, **kwargs)


def layered(neuron_type=None, smoothing=(), n_layers=1, trainable=True, before=True, **config):
    """Return a network of layers, and its node and probe."""
    with nengo.Network(seed=0) as net:
        one_step()
        nengo_dl.configure_settings(trainable=False)
        if smoothing != ():
            nengo_dl.configure_settings(lif_smoothing=smoothing)
        for name, value in config.items():
            setattr(net.config[nengo.Ensemble], name, value)
        neurons = nengo.LIF(amplitude=0.01) if neuron_type is None else neuron_type
        x = source = nengo.Node(np.zeros(4))
        for _ in range(n_layers):
            x = nengo_dl.tensor_layer(x, dense(4, trainable=trainable)) if before else x
            x = nengo_dl.tensor_layer(x, neurons)
        probe = nengo.Probe(nengo_dl.tensor_layer(x, dense(2)))
    return net, source, probe


def run_training(net, source, probe, n_trainings=1):
    objective = {probe: "mse" if GENERATION == 3 else nengo_dl.objectives.mse}
    inputs = {source: np.ones((1, 1, source.size_out))}
    with simulator(net) as sim:
        for _ in range(n_trainings):
            train(sim, inputs, {probe: np.zeros((1, 1, probe.size_in))}, objective, sgd(0.1))


def constant(rate=100, intercept=0):
    dists = {"max_rates": nengo.dists.Choice([rate]), "intercepts": nengo.dists.Choice([intercept])}
    return dists


# -- of which neurons ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, [SLOPES, GAINS]),
        ({"smoothing": 0.02}, [GAINS]),
        ({"smoothing": None}, [GAINS]),
        (constant(), [SLOPES]),
        ({"smoothing": 0.02, **constant()}, []),
        ({"smoothing": None, **constant()}, []),
        ({"smoothing": 0.02, "max_rates": nengo.dists.Choice([100])}, [GAINS]),
        ({"smoothing": 0.02, "intercepts": nengo.dists.Choice([0])}, [GAINS]),
        # what users choose, also at random, is theirs
        ({"smoothing": 0.02, **constant(), "max_rates": nengo.dists.Uniform(50, 100)}, []),
        ({"smoothing": 0.02, "max_rates": np.full(4, 9.0), "intercepts": np.zeros(4)}, []),
        ({"smoothing": 0.02, "gain": np.ones(4), "bias": np.ones(4)}, []),
        # neurons without spikes, and without LIF's slope
        ({"neuron_type": nengo.LIFRate()}, []),
        ({"neuron_type": nengo.RectifiedLinear()}, []),
        ({"neuron_type": nengo.SpikingRectifiedLinear()}, [GAINS]),
        # no weights before the neurons, or none that are trained
        ({"trainable": False}, []),
        ({"before": False}, []),
    ],
)
def test_layers_of_neurons(arguments, expected):
    assert kinds(lambda: run_training(*layered(**arguments))) == expected


@pytest.mark.generation(3)
def test_adaptive_neurons_have_the_slope_as_well():
    network = layered(nengo.AdaptiveLIF(), **constant())
    assert kinds(lambda: run_training(*network)) == [SLOPES]
    network = layered(nengo.AdaptiveLIFRate(), **constant())
    assert kinds(lambda: run_training(*network)) == []


def test_what_the_messages_name():
    found = told(lambda: run_training(*layered(n_layers=3, intercepts=nengo.dists.Choice([0]))))
    (_, slopes, filename), (_, gains, _) = found
    assert "<Ensemble" in slopes and "and 2 other ensembles are" in slopes
    assert "lif_smoothing=0.02" in slopes and "lif_smoothing=None" in slopes
    assert "with max_rates as Nengo draws" in gains and "nengo.dists.Choice([100])" in gains
    assert filename == train.__code__.co_filename  # where the user calls


def test_what_is_between_the_weights_and_the_neurons():
    with nengo.Network(seed=0) as net:
        one_step()
        nengo_dl.configure_settings(trainable=False, lif_smoothing=0.02)
        source, passing = nengo.Node(np.zeros(4)), nengo.Node(size_in=4)
        nengo.Connection(nengo_dl.tensor_layer(source, dense(4)), passing, synapse=None)
        fixed, ensemble = dense(4, trainable=False), nengo.Ensemble(4, 1)
        nengo.Connection(nengo_dl.tensor_layer(passing, fixed), ensemble.neurons, synapse=None)
        probe = nengo.Probe(nengo_dl.tensor_layer(ensemble.neurons, dense(2)))
    assert kinds(lambda: run_training(net, source, probe)) == [GAINS]


# -- ensembles of the NEF --------------------------------------------------------------------


def nef(trained):
    """Return a network of two ensembles, of which only some objects are trained."""
    with nengo.Network(seed=0) as net:
        one_step()
        nengo_dl.configure_settings(trainable=False)
        source, out = nengo.Node(np.zeros(1)), nengo.Node(size_in=1)
        a, b = (nengo.Ensemble(5, 1, label=label) for label in ("first", "second"))
        nengo.Connection(source, a, synapse=None)
        parts = {"a": a, "b": b, "biases": b.neurons}
        parts["ab"] = nengo.Connection(a, b, synapse=None)
        parts["out"] = nengo.Connection(b, out, synapse=None)
        for name in trained:
            net.config[parts[name]].trainable = True
        nengo.Connection(a, nengo.Ensemble(5, 1, label="unseen"))
        probe = nengo.Probe(out)
    return net, source, probe


@pytest.mark.parametrize(
    "trained, named",
    [
        (["out"], None),  # decoders alone
        (["ab"], "second"),
        (["biases", "out"], "second"),
        (["a", "ab"], " and 1 other ensemble are"),
    ],
)
def test_slopes_on_the_way_to_what_is_trained(trained, named):
    found = told(lambda: run_training(*nef(trained)))
    assert [kind for kind, _, _ in found] == ([] if named is None else [SLOPES])
    assert all(named in message and "unseen" not in message for _, message, _ in found)


def test_no_gradient_flows_through_python():
    with nengo.Network(seed=0) as net:
        one_step()
        nengo_dl.configure_settings(trainable=False)
        source = nengo.Node(np.zeros(4))
        python = nengo.Node(lambda t, x: x, size_in=4)
        nengo.Connection(nengo_dl.tensor_layer(source, dense(4)), python, synapse=None)
        ensemble = nengo.Ensemble(5, 4)
        nengo.Connection(python, ensemble, synapse=None)
        direct = nengo.Ensemble(1, 4, neuron_type=nengo.Direct())
        nengo.Connection(ensemble, direct, synapse=None)
        probe = nengo.Probe(nengo_dl.tensor_layer(direct, dense(2)))
    assert kinds(lambda: run_training(net, source, probe)) == []


# -- when ----------------------------------------------------------------------------------


def test_each_compilation_warns_once_and_each_simulator_of_nengo_dl_2():
    expected = [SLOPES, GAINS] * (2 if GENERATION == 3 else 1)
    assert kinds(lambda: run_training(*layered(), n_trainings=2)) == expected


@pytest.mark.generation(3)
def test_only_simulators_that_are_trained():
    net, source, probe = layered()
    data = {source: np.ones((1, 1, 4))}, {probe: np.zeros((1, 1, 2))}
    with simulator(net) as sim:
        assert not kinds(lambda: sim.compile(loss="mse"))
        assert not kinds(lambda: sim.evaluate(*data, verbose=0))
        assert kinds(lambda: sim.fit(*data, verbose=0)) == [SLOPES, GAINS]  # with RMSprop
        assert not kinds(lambda: sim.fit(*data, verbose=0))


@pytest.mark.generation(3)
def test_networks_for_inference():
    net, _, _ = layered()
    with net:
        nengo_dl.configure_settings(inference_only=True)
    with simulator(net) as sim:
        assert not kinds(lambda: sim.compile(sgd(0.1), loss="mse"))


def test_silenced_as_the_message_says():
    def run():
        warnings.filterwarnings("ignore", "neurons with random gains")
        run_training(*layered(smoothing=None))

    assert not kinds(run)
