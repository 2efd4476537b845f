"""What simulators are made, compiled and trained with, and several simulators of one network."""

import functools
import warnings

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import norm
from generations import GENERATION, outputs, sgd, simulator, train
from nengo.exceptions import SimulatorClosed, ValidationError
from networks import readout_network

import nengo_wd
from nengo_wd import nengo_dl

l1, l2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2


def data_of(source, probe):
    return {source: np.ones((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}


def idle(run):
    """Return the settings that simulators warn of while something runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    said = [str(w.message) for w in caught if "without its settings for" in str(w.message)]
    return [message.split("settings for ")[1].split(":")[0] for message in said]


def mse(probe):
    return {probe: "mse" if GENERATION == 3 else nengo_dl.objectives.mse}


# -- settings that are idle --------------------------------------------------------------

SETTINGS = ("regularizer", "weight_decay", "learning_rate", "momentum", "target_norm", "probe")


def network_with(*names):
    net, source, _, probe = readout_network(None)
    (node,) = (node for node in net.nodes if isinstance(node, nengo_dl.TensorNode))
    for name in names:
        if name == "probe":
            net.config[probe].regularizer = "l2"
        else:
            setattr(net.config[node], name, l1(0.5) if name == "regularizer" else 0.5)
    return net, source, probe


def compiled(sim, data, loss, optimizer):
    if GENERATION == 3:
        sim.compile(optimizer, loss=loss)
    else:
        train(sim, *data, loss, optimizer)


@pytest.mark.parametrize(
    "settings, objective, optimizer, expected",
    [
        ((), False, "sgd", []),
        (("regularizer",), False, "sgd", ["regularizer"]),
        (("probe",), False, "sgd", ["regularizer"]),
        (("regularizer", "probe"), True, "sgd", []),
        (("weight_decay",), False, "sgd", ["weight_decay"]),
        (("weight_decay",), True, "decay", []),
        (("weight_decay",), False, "layerwise", []),
        (("learning_rate", "momentum"), False, "decay", ["learning_rate", "momentum"]),
        ((), False, "constrained", []),
        (SETTINGS, True, "layerwise", ["target_norm"]),
        (SETTINGS, False, "sgd", sorted(set(SETTINGS) - {"probe"})),
    ],
)
def test_idle_settings_in_training(settings, objective, optimizer, expected):
    of_optimizer = {"decay": ["weight_decay"], "constrained": ["target_norm"]}
    settings = (*settings, *of_optimizer.get(optimizer, ()))
    net, source, probe = network_with(*settings)
    with simulator(net) as sim:
        loss = nengo_wd.regularized_objective(sim, mse(probe)) if objective else mse(probe)
        make = {
            "decay": nengo_wd.decoupled_weight_decay,
            "constrained": nengo_wd.constrained_norms,
            "sgd": lambda sim, inner: inner,
        }
        with_rule = optimizer == "layerwise"
        optimizer = nengo_wd.LayerwiseSGD(sim) if with_rule else make[optimizer](sim, sgd(0.1))
        found = idle(lambda: compiled(sim, data_of(source, probe), loss, optimizer))
    assert sorted(found) == sorted(set(expected))


@pytest.mark.generation(3)
def test_each_compilation_warns_once():
    net, source, probe = network_with("regularizer", "weight_decay")
    data = data_of(source, probe)
    with simulator(net) as sim:
        callbacks = [nengo_wd.WeightNorms(sim)]
        for _ in range(2):
            assert idle(lambda: sim.compile(sgd(0.1), loss=mse(probe))) == [
                "regularizer",
                "weight_decay",
            ]
            assert not idle(lambda: sim.fit(*data, verbose=0, callbacks=callbacks))


@pytest.mark.generation(3)
def test_simulators_that_only_evaluate():
    net, source, probe = network_with("regularizer", "weight_decay")
    with simulator(net) as sim:
        loss = nengo_wd.regularized_objective(sim, mse(probe))
        assert not idle(lambda: sim.compile(loss=loss))
        assert not idle(lambda: sim.evaluate(*data_of(source, probe), verbose=0))
        assert not idle(lambda: sim.compile(metrics={probe: "mse"}))
        sim.compile(loss=loss)
        found = idle(lambda: sim.fit(*data_of(source, probe), verbose=0))  # with RMSprop
    assert found == ["weight_decay"]


@pytest.mark.generation(3)
def test_networks_without_settings_that_have_penalties():
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        layer = nengo_wd.RegularizedDense(3, kernel_regularizer="l2")
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    with simulator(net) as sim:
        sim.tensor_graph.add_loss(lambda: tf.reduce_sum(layer.kernel))
        assert not idle(lambda: sim.compile(sgd(0.1), loss=mse(probe)))
        assert "_nengo_wd" not in vars(sim)


# -- what was compiled is what counts ----------------------------------------------------


@pytest.mark.generation(3)
@pytest.mark.filterwarnings("ignore:.*without its settings")
def test_later_compilation_without_penalties():
    net, source, probe = network_with("regularizer", "probe")
    inputs, targets = data_of(source, probe)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        loss = nengo_wd.regularized_objective(sim, mse(probe))
        for objective, penalty, activity in ((loss, 3, 0.01 * 12), ("mse", 0, 0), (loss, 3, 0.12)):
            sim.compile(sgd(0.0), loss=objective)
            evaluated = sim.evaluate(inputs, targets, verbose=0)["loss"]
            fit = sim.fit(inputs, targets, verbose=0, callbacks=[norms])
            norms.record()
            assert evaluated == pytest.approx(4 + penalty + activity)
            assert fit.history["loss"] == pytest.approx([evaluated])
            assert nengo_wd.regularization_loss(sim) == pytest.approx(penalty)
            assert norms.penalties[-1] == pytest.approx([penalty])
            assert norms.total_penalties[-1] == pytest.approx(penalty)
            assert ("penalty" in fit.history) == bool(penalty)


# -- objectives and optimizers of another simulator --------------------------------------


def test_objective_or_optimizer_of_another_simulator():
    net, source, _, probe = readout_network(None, weight_decay=0.1)
    inputs, targets = data_of(source, probe)
    with simulator(net) as one, simulator(net) as other:
        of_other = nengo_wd.regularized_objective(other, mse(probe))
        named = f"of {net} at {id(other):#x}.* of {net} at {id(one):#x}"
        named = named.replace("(", r"\(").replace(")", r"\)")
        for objective, optimizer, what in (
            (of_other, sgd(0.1), "objective"),
            (mse(probe), nengo_wd.decoupled_weight_decay(other, sgd(0.1)), "optimizer"),
            (mse(probe), nengo_wd.LayerwiseSGD(other), "optimizer"),
        ):
            with pytest.raises(ValidationError, match=f"the {what} was made for.*{named}"):
                train(one, inputs, targets, objective, optimizer)
        if GENERATION == 2:
            with pytest.raises(ValidationError, match="the objective was made for"):
                one.loss({**inputs, **targets}, of_other)


# -- several simulators of one network ---------------------------------------------------


class TwoLayers:
    """A network in which layers and a connection are penalized and decayed."""

    def __init__(self):
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(2))
            self.hidden = nengo_wd.RegularizedDense(
                3, kernel_initializer="ones", kernel_regularizer=l2(0.05), name="hidden"
            )
            self.readout = nengo_wd.RegularizedDense(3, kernel_initializer="ones", name="readout")
            ends = [nengo_dl.tensor_layer(self.source, self.hidden)]
            ends.append(nengo_dl.tensor_layer(ends[0], self.readout))
            self.native = nengo.Connection(
                self.source, nengo.Node(size_in=1), transform=np.ones((1, 2)), label="native"
            )
            self.probe = nengo.Probe(ends[1])
            self.net.config[ends[1]].regularizer = l1(0.1)
            self.net.config[ends[1]].weight_decay = 0.5
            self.net.config[self.native].regularizer = l1(0.2)
        self.data = data_of(self.source, self.probe)
        self.recorded = [self.hidden, self.readout, self.native]

    def trained(self, later=None):
        """Return what a simulator is, and reports, where a later one is made at some point."""
        others = []
        with simulator(self.net) as sim:

            def now(moment):
                if moment == later:
                    others.append(simulator(self.net))

            now("made")
            norms = nengo_wd.WeightNorms(sim, objects=self.recorded)
            objective = nengo_wd.regularized_objective(sim, mse(self.probe))
            optimizer = nengo_wd.decoupled_weight_decay(sim, sgd(0.01))
            now("compiled")
            train(sim, *self.data, objective, optimizer)
            now("trained")
            if GENERATION == 3:
                sim.fit(*self.data, verbose=0)
            else:
                train(sim, *self.data, objective, optimizer)
            norms.record()
            now("recorded")
            (found,) = outputs(sim, self.data[0], [self.probe])
            weights = {name: p.value for name, p in norms.parameters.items()}
            later_norms = nengo_wd.WeightNorms(sim, objects=self.recorded)
            reported = {name: p.value for name, p in later_norms.parameters.items()}
            losses = nengo_wd.regularization_losses(sim)
        for other in others:
            first = nengo_wd.WeightNorms(other, objects=self.hidden).parameters["hidden.kernel"]
            # which NengoDL 3 makes with the weights of now
            untrained = GENERATION == 2 or later in ("made", "compiled")
            assert np.all(first.value == 1) == untrained
            other.close()
        return weights, reported, losses, norms.norms, norms.penalties, found


@functools.lru_cache(maxsize=None)
def trained_alone():
    return TwoLayers().trained()


@pytest.mark.parametrize("later", ["made", "compiled", "trained", "recorded"])
def test_later_simulator_of_the_same_network(later):
    weights, reported, losses, norms, penalties, found = TwoLayers().trained(later)
    expected = trained_alone()
    for name, value in expected[0].items():
        np.testing.assert_array_equal(weights[name], value)
        np.testing.assert_array_equal(reported[name], value)
    np.testing.assert_array_equal(norms, expected[3])
    np.testing.assert_array_equal(penalties, expected[4])
    np.testing.assert_array_equal(found, expected[5])
    assert norms[-1] == pytest.approx([norm(value) for value in weights.values()], rel=1e-6)
    kernels = [weights[name].astype(float) for name in ("hidden.kernel", "readout.kernel")]
    assert losses["hidden.kernel"] == pytest.approx(0.05 * norm(kernels[0]) ** 2, rel=1e-6)
    assert losses["readout.kernel"] == pytest.approx(0.1 * np.abs(kernels[1]).sum(), rel=1e-6)


@pytest.mark.generation(3)
def test_keras_model_that_a_later_simulator_has_built_again():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        model = tf.keras.Sequential([tf.keras.layers.Dense(3, kernel_regularizer="l2")])
        probe = nengo.Probe(nengo_dl.tensor_layer(source, model, shape_in=(2,)))
    inputs, targets = data_of(source, probe)
    with simulator(net) as first, simulator(net) as later:
        for asked in (
            lambda: nengo_wd.regularization_losses(first),
            lambda: nengo_wd.WeightNorms(first),
            lambda: first.compile(sgd(0.1), loss=mse(probe)),
            lambda: first.fit(inputs, targets, verbose=0),
        ):
            with pytest.raises(ValidationError, match="sequential.*built again by a later"):
                asked()
        assert nengo_wd.regularization_loss(later) > 0


# -- closed simulators ---------------------------------------------------------------------


def test_closed_simulator_says_so(tmp_path):
    net, source, probe = network_with("regularizer", "weight_decay")
    data = data_of(source, probe)
    with simulator(net) as sim:
        objective = nengo_wd.regularized_objective(sim, mse(probe))
    calls = [lambda: sim.save_params(str(tmp_path / "params"))]
    if GENERATION == 3:
        calls += [lambda: sim.compile(sgd(0.1), loss=objective), lambda: sim.fit(*data)]
    else:
        calls += [lambda: train(sim, *data, objective, sgd(0.1))]
    for call in calls:
        with pytest.raises(SimulatorClosed):
            call()


@pytest.mark.generation(3)
@pytest.mark.parametrize("trained_before", [False, True])
def test_records_of_keras_layers_that_a_later_simulator_has_built_again(trained_before):
    """Of a network that has nothing else of this package."""
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        layer = tf.keras.layers.Dense(3, kernel_initializer="ones")
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    data = data_of(source, probe)
    with simulator(net) as first:
        norms = nengo_wd.WeightNorms(first, objects=layer)
        first.compile(sgd(0.3), loss=mse(probe))
        if trained_before:
            first.fit(*data, verbose=0)
        with simulator(net) as later:
            first.fit(*data, verbose=0, callbacks=[norms])
            assert np.all(later.keras_model.get_weights()[0] == 1) != trained_before
        # a third of the square of each output, 2 w + b: gradients of 2 / 3 (2 w + b)
        kernel, bias = 1.0, 0.0
        for _ in range(1 + trained_before):
            step = 0.3 * 2 / 3 * (2 * kernel + bias)
            kernel, bias = kernel - step, bias - step
        assert norms.norms[-1] == pytest.approx([np.sqrt(6) * abs(kernel), np.sqrt(3) * abs(bias)])


@pytest.mark.generation(3)
def test_keras_layers_are_asked_for_too_late():
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        probe = nengo.Probe(nengo_dl.tensor_layer(source, tf.keras.layers.Dense(3)))
    with simulator(net) as first, simulator(net):
        first.compile(sgd(0.1), loss=mse(probe))  # as NengoDL by itself
        first.fit(*data_of(source, probe), verbose=0)
        with pytest.raises(ValidationError, match="dense.*built again by a later"):
            nengo_wd.WeightNorms(first, objects=net)
        with pytest.raises(ValidationError, match="dense.*built again by a later"):
            nengo_wd.regularized_objective(first, mse(probe))
