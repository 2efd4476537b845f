"""Losses and accuracies with spikes over time, and on rates, against NumPy and Nengo."""

import copy
import pickle

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, outputs, simulator, tensor_node
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl

EXAMPLES, SHOWN, CLASSES = 6, 40, 3
SYNAPSE = 0.01


class Classifier:
    """Integrate-and-fire neurons between two random transforms, probed with a filter and without.

    Their gains and biases are such that the rates are those of a rectified line.
    """

    def __init__(self):
        rng = np.random.RandomState(1)
        self.before = rng.normal(0, 60, size=(8, 4))
        self.after = rng.normal(size=(CLASSES, 8)) / 20
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(4), label="source")
            kind = nengo.SpikingRectifiedLinear()
            a = nengo.Ensemble(8, 1, neuron_type=kind, gain=np.ones(8), bias=np.zeros(8))
            nengo.Connection(self.source, a.neurons, transform=self.before, synapse=None)
            end = nengo.Node(size_in=CLASSES, label="end")
            nengo.Connection(a.neurons, end, transform=self.after, synapse=None)
            self.plain = nengo.Probe(end, label="plain")
            self.filtered = nengo.Probe(end, synapse=SYNAPSE, label="filtered")
        self.x = rng.uniform(-1, 1, size=(EXAMPLES, 1, 4))
        self.labels = rng.randint(CLASSES, size=(EXAMPLES, 1, 1))
        self.data = {self.source: self.x}

    @property
    def shown(self):
        return {self.source: np.repeat(self.x, SHOWN, axis=1)}

    @property
    def targets(self):
        return {self.plain: self.labels, self.filtered: self.labels}

    def on_rates(self):
        """Return the outputs of rates, by hand, of shape (examples, classes)."""
        rates = np.maximum(self.x[:, 0] @ self.before.T, 0)
        return rates @ self.after.T

    def gap(self, sim, **kwargs):
        kwargs = {"n_steps": SHOWN, "loss": crossentropy(), **kwargs}
        return nengo_wd.spike_gap(sim, self.data, kwargs.pop("targets", self.targets), **kwargs)


def crossentropy():
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def judged(answers, labels):
    """Return crossentropies and accuracies of answers, of shape (examples, ..., classes)."""
    answers = np.asarray(answers, np.float64)
    labels = labels.reshape((EXAMPLES,) + (1,) * (answers.ndim - 1))
    totals = np.log(np.exp(answers).sum(axis=-1, keepdims=True))
    losses = (totals - np.take_along_axis(answers, labels, axis=-1))[..., 0]
    is_right = answers.argmax(axis=-1) == labels[..., 0]
    return losses.mean(axis=0), is_right.mean(axis=0)


def means_so_far(values, n_steps):
    """Return means over the last steps, over as many as there are at first."""
    by_step = [values[:, max(0, t - n_steps + 1) : t + 1].mean(axis=1) for t in range(SHOWN)]
    return np.stack(by_step, axis=1)


@pytest.fixture(scope="module")
def found():
    """Return the network, what its probes record with spikes, and gaps for several arguments."""
    model = Classifier()
    with simulator(model.net, minibatch_size=3) as sim:
        recorded = outputs(sim, model.shown, [model.plain, model.filtered])
        gaps = {
            "default": model.gap(sim),
            "window": model.gap(sim, window=0.005),
            "one-hot": model.gap(
                sim,
                targets={model.plain: np.eye(CLASSES)[model.labels[..., 0]]},
                loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
            ),
            "repeated": nengo_wd.spike_gap(sim, model.shown, model.targets, loss=crossentropy()),
        }
        again = outputs(sim, model.shown, [model.plain, model.filtered])
    np.testing.assert_array_equal(again, recorded)
    return model, [one.astype(np.float64) for one in recorded], gaps


def test_with_spikes(found):
    """Without a filter, answers are means so far; with one, they are what is recorded."""
    model, (plain, filtered), gaps = found
    gap = gaps["default"]
    assert gap.names == ["plain", "filtered"]
    np.testing.assert_allclose(gap.times, 0.001 * np.arange(1, SHOWN + 1))
    for i, answers in enumerate([means_so_far(plain, SHOWN), filtered]):
        losses, accuracies = judged(answers, model.labels)
        np.testing.assert_allclose(gap.losses[:, i], losses, rtol=1e-5)
        np.testing.assert_allclose(gap.accuracies[:, i], accuracies, rtol=1e-6)
    for name in ("losses", "accuracies", "losses_on_rates", "accuracies_on_rates"):
        np.testing.assert_array_equal(getattr(gaps["repeated"], name), getattr(gap, name))


def test_windows(found):
    model, recorded, gaps = found
    for i, values in enumerate(recorded):
        losses, accuracies = judged(means_so_far(values, 5), model.labels)
        np.testing.assert_allclose(gaps["window"].losses[:, i], losses, rtol=1e-5)
        np.testing.assert_allclose(gaps["window"].accuracies[:, i], accuracies, rtol=1e-6)


def test_on_rates(found):
    """They are those at the end, by hand, also where a filter has not settled by then."""
    model, _, gaps = found
    answers = model.on_rates()
    losses, accuracies = judged(answers, model.labels)
    np.testing.assert_allclose(gaps["default"].losses_on_rates[:, 0], losses, rtol=1e-5)
    np.testing.assert_allclose(gaps["default"].accuracies_on_rates[:, 0], accuracies, rtol=1e-6)
    step = 1 - np.exp(-(SHOWN - 1) * 0.001 / SYNAPSE)  # it outputs what came before a time step
    losses, _ = judged(step * answers, model.labels)
    np.testing.assert_allclose(gaps["default"].losses_on_rates[:, 1], losses, rtol=1e-4)
    np.testing.assert_array_equal(gaps["window"].losses_on_rates, gaps["default"].losses_on_rates)


def test_one_hot_targets(found):
    model, _, gaps = found
    one_hot, default = gaps["one-hot"], gaps["default"]
    assert one_hot.names == ["plain"]
    np.testing.assert_array_equal(one_hot.accuracies[:, 0], default.accuracies[:, 0])
    np.testing.assert_allclose(one_hot.losses[:, 0], default.losses[:, 0], rtol=1e-6)


def made(**kwargs):
    """Return a gap of one probe and four time steps, 1 ms each."""
    arrays = {"losses": [4, 1, 3, 2], "losses_on_rates": [2] * 4}
    arrays.update(accuracies=[np.nan] * 4, accuracies_on_rates=[np.nan] * 4)
    arrays.update((name, one) for name, one in kwargs.items() if name != "tolerance")
    arrays = {name: np.array(one, float)[:, None] for name, one in arrays.items()}
    times = 0.001 * np.arange(1, 5)
    return nengo_wd.recording.SpikeGap(
        ["out"], times, **arrays, tolerance=kwargs.get("tolerance", 0.01)
    )


@pytest.mark.parametrize(
    "arguments, meets",
    [
        ({}, 0.004),
        ({"tolerance": 0.5}, 0.002),
        ({"losses": [1, 1, 1, 3]}, np.nan),
        ({"losses_on_rates": [0] * 4, "losses": [1, 0, 0, 0]}, 0.002),
        ({"accuracies": [0.5, 0.89, 0.9, 0.95], "accuracies_on_rates": [0.9] * 4}, 0.002),
        ({"accuracies": [0.9, 0.85, 0.9, 0.95], "accuracies_on_rates": [0.9] * 4}, 0.003),
        ({"accuracies": [0.9, 0.9, 0.9, 0.8], "accuracies_on_rates": [0.9] * 4}, np.nan),
    ],
)
def test_where_they_meet(arguments, meets):
    """From there on it stays so; the accuracy counts where there is one."""
    gap = made(**arguments)
    np.testing.assert_allclose(gap.meets, [meets])
    kind = "accuracy is within 0.01" if "accuracies" in arguments else "loss is within"
    when = "at no time" if np.isnan(meets) else f"from {meets:.3f} s on"
    assert f"out: with spikes, the {kind}" in str(gap)
    assert f"of that on rates {when}\n" in str(gap)


def test_table(found):
    """Ten times of each probe are printed, the last one among them, and all are in the frame."""
    _, _, gaps = found
    gap = gaps["default"]
    for text, name in zip(str(gap).split("\n\n"), gap.names):
        first, heads, *rows = text.split("\n")
        assert first.startswith(name) and heads.split()[-3:] == ["accuracy", "on", "rates"]
        assert [row.split()[0] for row in rows] == [f"{t:.3f}" for t in gap.times[3::4]]
    losses, accuracies = gap.losses[-1, 1], gap.accuracies[-1, 1]
    assert rows[-1].split()[1::2] == [f"{losses:.4f}", f"{accuracies:.4f}"]
    table = gap.to_frame()
    assert list(table.columns) == [
        "time",
        "name",
        "loss",
        "loss_on_rates",
        "accuracy",
        "accuracy_on_rates",
    ]
    of_plain = table[table.name == "plain"]
    np.testing.assert_array_equal(of_plain.loss, gap.losses[:, 0])
    np.testing.assert_array_equal(of_plain.accuracy_on_rates, gap.accuracies_on_rates[:, 0])
    for copied in (pickle.loads(pickle.dumps(gap)), copy.deepcopy(gap)):
        assert str(copied) == str(gap)


def test_targets_over_time():
    """Each step is compared with that of the answer, on rates as well."""
    model = Classifier()
    signal = np.random.RandomState(0).uniform(-1, 1, size=(EXAMPLES, SHOWN, 4))
    target = np.random.RandomState(1).uniform(-1, 1, size=(EXAMPLES, SHOWN, CLASSES))
    with simulator(model.net, minibatch_size=3) as sim:
        (plain,) = outputs(sim, {model.source: signal}, [model.plain])
        gap = nengo_wd.spike_gap(
            sim, {model.source: signal}, {model.plain: target}, loss={model.plain: "mse"}
        )
    errors = np.mean((plain - target) ** 2, axis=(0, 2))
    np.testing.assert_allclose(gap.losses[:, 0], errors, rtol=1e-5)
    rates = np.maximum(signal @ model.before.T, 0) @ model.after.T
    errors = np.mean((rates - target) ** 2, axis=(0, 2))
    np.testing.assert_allclose(gap.losses_on_rates[:, 0], errors, rtol=1e-5)
    assert np.isnan(gap.accuracies).all()


def test_neurons_without_spikes():
    """They do the same both times, from the first step on."""
    model = Classifier()
    model.net.ensembles[0].neuron_type = nengo.RectifiedLinear()
    with simulator(model.net, minibatch_size=3) as sim:
        gap = model.gap(sim, targets={model.plain: model.labels})
    np.testing.assert_allclose(gap.losses, gap.losses_on_rates, rtol=1e-6)
    np.testing.assert_allclose(gap.meets, [0.001])


@pytest.mark.filterwarnings(
    "ignore:Number of elements in input data", "ignore:Number of data elements"
)
def test_last_minibatch_that_is_not_full():
    """It is left out, as NengoDL does and says, and so are its targets."""
    model = Classifier()
    with simulator(model.net, minibatch_size=4) as sim:
        gap = model.gap(sim)
        data = {model.source: model.x[:4]}
        targets = {probe: model.labels[:4] for probe in model.targets}
        other = nengo_wd.spike_gap(sim, data, targets, n_steps=SHOWN, loss=crossentropy())
    np.testing.assert_array_equal(gap.losses, other.losses)


@pytest.mark.skipif(GENERATION == 3, reason="NengoDL 3 has Keras' order of arguments")
def test_losses_of_nengo_dl_2():
    """They take outputs first, or these alone."""
    model = Classifier()
    target = {model.plain: np.full((EXAMPLES, 1, CLASSES), 2.0)}
    with simulator(model.net, minibatch_size=3) as sim:
        (plain,) = outputs(sim, model.shown, [model.plain])
        both = model.gap(sim, targets=target, loss=lambda y, t: tf.reduce_mean(y - 3 * t))
        alone = model.gap(sim, targets=target, loss=lambda y: tf.reduce_mean(y))
    means = means_so_far(plain, SHOWN).mean(axis=(0, 2))
    np.testing.assert_allclose(both.losses[:, 0], means - 6, rtol=1e-5)
    np.testing.assert_allclose(alone.losses[:, 0], means, rtol=1e-4, atol=1e-6)


@pytest.mark.generation(3)
def test_losses_that_were_compiled():
    """They are those of the simulator, also for a probe of the same object."""
    model = Classifier()
    with simulator(model.net, minibatch_size=3) as sim:
        with pytest.raises(ValidationError, match="loss: .*plain.* has targets, but no loss"):
            model.gap(sim, loss=None)
        loss = nengo_wd.regularized_objective(sim, {model.plain: crossentropy()})
        sim.compile(loss=loss)
        compiled, given = model.gap(sim, loss=None), model.gap(sim)
    np.testing.assert_array_equal(compiled.losses, given.losses)


@pytest.mark.generation(3)
def test_layers_predict_both_times():
    """Dropout is on neither side of the gap; batch normalization keeps its averages."""
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4), label="source")
        normalized = nengo_dl.Layer(tf.keras.layers.BatchNormalization())(source, shape_in=(4,))
        x = nengo_dl.Layer(tf.keras.layers.Dropout(0.5))(normalized, shape_in=(4,))
        probe = nengo.Probe(x, label="dropped")
    data, targets = {source: np.ones((4, 5, 4))}, {probe: np.ones((4, 1, 4))}
    with simulator(net, minibatch_size=4) as sim:
        weights = sim.keras_model.get_weights()
        gap = nengo_wd.spike_gap(sim, data, targets, loss="mse")
        np.testing.assert_array_equal(gap.losses, gap.losses_on_rates)
        for one, other in zip(sim.keras_model.get_weights(), weights):
            np.testing.assert_array_equal(one, other)
    assert gap.losses.max() < 1e-5


@pytest.mark.slow
@pytest.mark.generation(3)
@pytest.mark.parametrize("compiled", [False, True])
def test_states_and_random_numbers_stay(compiled):
    """A simulation goes on as if nothing had been asked."""
    ran = []
    for asks in (False, True):
        with nengo.Network(seed=0) as net:
            nengo_wd.configure_settings(jit_compile=compiled)
            source = nengo.Node(np.zeros(1), label="source")
            a = nengo.Ensemble(5, 1, neuron_type=nengo.PoissonSpiking(nengo.LIFRate()))
            nengo.Connection(source, a, synapse=None)
            probe = nengo.Probe(a, label="a")
        data = {source: np.ones((1, 10, 1))}
        with simulator(net) as sim:
            for _ in range(2):
                sim.run_steps(10, data=data, progress_bar=False)
                if asks:
                    nengo_wd.spike_gap(sim, data, {probe: np.ones((1, 1, 1))}, loss="mse")
            ran.append(sim.data[probe])
    np.testing.assert_array_equal(*ran)
    assert np.abs(ran[0]).max() > 0


def test_figure(found):
    model, _, gaps = found
    gap = gaps["default"]
    losses, accuracies = nengo_wd.plotting.spike_gap(gap).axes
    for panel, values, on_rates in (
        (losses, gap.losses, gap.losses_on_rates),
        (accuracies, 100 * gap.accuracies, 100 * gap.accuracies_on_rates),
    ):
        assert len(panel.lines) == 4
        for i in range(2):
            np.testing.assert_array_equal(panel.lines[2 * i].get_xdata(), gap.times)
            np.testing.assert_array_equal(panel.lines[2 * i].get_ydata(), values[:, i])
            np.testing.assert_array_equal(panel.lines[2 * i + 1].get_ydata(), on_rates[:, i])
            marked = [gap.times[place] for place in panel.lines[2 * i].get_markevery()]
            assert marked == [gap.meets[i]][: 0 if np.isnan(gap.meets[i]) else 1]
    assert [text.get_text() for text in accuracies.get_legend().get_texts()] == gap.names
    assert len(nengo_wd.plotting.spike_gap(made()).axes) == 1


def test_loops_of_one_step():
    """A simulator without a loop shows one step, and so refuses many."""
    if GENERATION == 2:
        pytest.skip("NengoDL 2 always has a loop")
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(use_loop=False)
        source = nengo.Node(np.zeros(2), label="source")
        probe = nengo.Probe(tensor_node(lambda t, x: x, 2), label="out")
        nengo.Connection(source, probe.obj, synapse=None)
    with simulator(net) as sim:
        data, targets = {source: np.ones((1, 1, 2))}, {probe: np.ones((1, 1, 2))}
        with pytest.raises(ValidationError, match="use_loop=False, n_steps"):
            nengo_wd.spike_gap(sim, data, targets, n_steps=20, loss="mse")
        assert nengo_wd.spike_gap(sim, data, targets, loss="mse").losses.shape == (1, 1)


@pytest.mark.generation(3)
def test_simulator_that_is_always_in_training():
    """It has no spikes to compare with."""
    model = Classifier()
    with model.net:
        nengo_dl.configure_settings(learning_phase=True)
    with simulator(model.net) as sim:
        with pytest.raises(ValidationError, match="learning_phase: neurons .* never spike"):
            model.gap(sim)


@pytest.mark.generation(3)
@pytest.mark.parametrize("setting", [{"spike_noise": 0.005}, {"spiking_aware_training": True}])
def test_neurons_that_are_trained_for_spikes_have_the_gap_of_their_rates(setting):
    gaps = []
    for settings in ({}, setting):
        with nengo.Network(seed=0) as net:
            nengo_wd.configure_settings()
            source = nengo.Node(np.zeros(3))
            ensemble = nengo.Ensemble(20, 3, neuron_type=nengo.SpikingRectifiedLinear())
            nengo.Connection(source, ensemble, synapse=None)
            nengo.Probe(ensemble.neurons)
        for name, value in settings.items():
            setattr(net.config[nengo.ensemble.Neurons], name, value)
        with nengo_dl.Simulator(net, minibatch_size=2, progress_bar=False) as sim:
            rates = nengo_wd.NeuronRates(sim, {source: np.full((2, 20, 3), 0.3)})
            rates.record()
            gaps.append(rates.gaps)
    assert gaps[0].min() > 1
    np.testing.assert_array_equal(*gaps)
