"""Random numbers of the time loop: their distributions, and which are equal."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, simulator, use_dtype
from nengo.dists import Choice
from scipy import stats

import nengo_wd
from nengo_wd import nengo_dl

if GENERATION != 3:  # Nengo has not all of these neurons there
    pytest.skip("neurons of NengoDL 3", allow_module_level=True)

from nengo_dl.neuron_builders import SimNeuronsBuilder  # noqa: E402

from nengo_wd._seam import state  # noqa: E402
from nengo_wd._seam.nengo_dl3.builders import neurons, random_numbers  # noqa: E402

pytestmark = pytest.mark.slow
BOTH = pytest.mark.parametrize("compiles", [False, True], ids=["uncompiled", "compiled"])
KINDS = pytest.mark.parametrize("kind", [nengo.StochasticSpiking, nengo.PoissonSpiking])
SEED = np.array([3, 4], np.int32)


def drawn(function, compiles):
    """Return what a function of a seed draws."""
    function = tf.function(function, autograph=False, jit_compile=True) if compiles else function
    return np.array(function(tf.constant(SEED)))


# -- distributions -------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("mean", [1e-3, 0.3, 2, 9.99, 10, 30, 1000, 1e5])
def test_poisson_numbers_have_their_distribution(mean, compiles):
    means = tf.fill((100_000,), tf.constant(mean, tf.float64))
    numbers = drawn(lambda seed: random_numbers.poisson(means, seed), compiles)
    deviation = np.sqrt(mean / len(numbers))
    assert abs(numbers.mean() - mean) < 3.5 * deviation
    fourth_moment = mean + 3 * mean**2  # central, of a Poisson distribution
    assert abs(numbers.var() - mean) < 3.5 * np.sqrt((fourth_moment - mean**2) / len(numbers))
    first, last = stats.poisson.ppf([1e-4, 1 - 1e-3], mean)
    ends = np.unique(np.linspace(first, last, 40).round())
    expected = np.diff([0, *stats.poisson.cdf(ends, mean), 1])
    counts = np.bincount(np.searchsorted(ends, numbers), minlength=len(ends) + 1)
    often = expected > 5 / len(numbers)
    counts, expected = np.append(counts[often], counts[~often].sum()), expected[often]
    expected = np.append(expected, 1 - expected.sum())
    if expected[-1] < 1e-12:
        assert counts[-1] == 0
        counts, expected = counts[:-1], expected[:-1]
    assert stats.chisquare(counts, expected / expected.sum() * counts.sum()).pvalue > 1e-3


def test_poisson_numbers_do_not_depend_on_the_means_beside_them():
    means = np.array([0, 0.5, 1000, 8, 12, 0.5])
    alone = [
        drawn(lambda seed, m=m: random_numbers.poisson(tf.fill((6,), m), seed), False)
        for m in tf.constant(means)
    ]
    together = drawn(lambda seed: random_numbers.poisson(tf.constant(means), seed), False)
    np.testing.assert_array_equal(together, np.diag(alone))
    assert together[0] == 0


def test_poisson_numbers_of_what_is_not_finite():
    means = tf.constant([np.nan, np.inf, 3])
    found = drawn(lambda seed: random_numbers.poisson(means, seed), False)
    np.testing.assert_array_equal(np.isnan(found), [True, True, False])


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_and_normal_numbers_have_their_distributions(dtype, compiles):
    shape, dtype = (300, 100), tf.as_dtype(dtype)
    uniform = drawn(lambda seed: random_numbers.uniform(shape, seed, dtype), compiles)
    assert uniform.dtype == dtype and uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(uniform.ravel(), "uniform").pvalue > 1e-3
    normal = drawn(lambda seed: random_numbers.normal(shape, seed, dtype), compiles)
    noise = drawn(lambda seed: random_numbers.noise(shape, seed, dtype), compiles)
    for numbers in (normal, noise):
        assert numbers.dtype == dtype
        assert stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    for numbers in (uniform, normal, noise):
        correlations = np.corrcoef(numbers.T) - np.eye(100)
        assert np.abs(correlations).max() < 5.5 / np.sqrt(300)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_numbers_are_the_same(dtype):
    means = tf.constant([0.1, 3, 9, 20, 500], dtype)
    for function, atol in [
        (lambda seed: random_numbers.uniform((5, 7), seed, tf.as_dtype(dtype)), 0),
        (lambda seed: random_numbers.normal((5, 7), seed, tf.as_dtype(dtype)), 1e-6),
        (lambda seed: random_numbers.noise((5, 7), seed, tf.as_dtype(dtype)), 1e-6),
        (lambda seed: random_numbers.poisson(tf.tile(means, (20,)), seed), 0),
        (lambda seed: random_numbers.folded(seed, 5), 0),
    ]:
        np.testing.assert_allclose(drawn(function, True), drawn(function, False), atol=atol)


def test_noise_has_the_quantiles_in_the_middle_between_its_levels():
    found = drawn(lambda seed: random_numbers.noise((1_000_001,), seed), False)
    levels = 2**16 * stats.norm.cdf(found) - 0.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-6)
    assert len(np.unique(np.round(levels))) > 65_500 and np.ptp(np.round(levels)) == 2**16 - 1


# -- in simulators -------------------------------------------------------------------------


class Spikes:
    """Three neurons in each of two populations that spike at random, at 400 Hz."""

    def __init__(self, kind, compiles=False):
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings(jit_compile=compiles)
            self.node = nengo.Node([300] * 3)
            self.probes = []
            for amplitude in (1, 0.5):
                neuron_type = kind(nengo.RectifiedLinear(), amplitude=amplitude)
                ens = nengo.Ensemble(
                    3, 1, neuron_type=neuron_type, gain=Choice([1]), bias=Choice([100])
                )
                nengo.Connection(self.node, ens.neurons, synapse=None)
                self.probes.append(nengo.Probe(ens.neurons))


def predicted(sim, spikes, n_steps=30, times=1):
    """Return the spikes of both populations, of shape (calls, examples, steps, neurons)."""
    runs = [sim.predict(n_steps=n_steps) for _ in range(times)]
    counts = [np.concatenate([run[probe] for probe in spikes.probes], -1) for run in runs]
    return np.array(counts) * sim.dt


@BOTH
@KINDS
@pytest.mark.parametrize("rate", [300.0, -2300.0])
def test_spikes_have_their_distribution(kind, rate, compiles):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=compiles)
        neuron_type = kind(nengo_dl.LeakyReLU(negative_slope=1), amplitude=2)
        ens = nengo.Ensemble(100, 1, neuron_type=neuron_type, gain=Choice([1]), bias=[rate] * 100)
        probe = nengo.Probe(ens.neurons)
    with simulator(net, minibatch_size=3) as sim:
        spikes = sim.predict(n_steps=60)[probe] * sim.dt / 2 * np.sign(rate)
    mean, n = abs(rate) / 1000, spikes.size
    np.testing.assert_allclose(spikes, spikes.round(), atol=1e-5)
    fraction = mean % 1
    variance = mean if kind is nengo.PoissonSpiking else fraction * (1 - fraction)
    assert abs(spikes.mean() - mean) < 4 * np.sqrt(variance / n)
    assert abs(spikes.var() - variance) < 0.06 * variance
    if kind is nengo.StochasticSpiking:
        assert set(spikes.round().ravel()) == {np.floor(mean), np.floor(mean) + 1}
    # nor do neurons, examples or steps depend on each other
    for axis in range(3):
        one, other = np.moveaxis(spikes, axis, 0)[:-1], np.moveaxis(spikes, axis, 0)[1:]
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4.5 / np.sqrt(one.size)


@pytest.mark.traced
@KINDS
def test_equal_runs_are_equal_compiled_or_not(kind):
    found = []
    for compiles in (False, False, True):
        spikes = Spikes(kind, compiles)
        with simulator(spikes.net, minibatch_size=2, seed=5) as sim:
            found.append(predicted(sim, spikes, times=2))
    assert 0 < found[0].mean()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-6)


@BOTH
def test_calls_examples_neurons_populations_and_seeds_differ(compiles):
    spikes, found = Spikes(nengo.StochasticSpiking, compiles), []
    for seed in (5, 6):
        with simulator(spikes.net, minibatch_size=2, seed=seed) as sim:
            found.append(predicted(sim, spikes, times=2))
    found = np.sign(found)  # by seed, call, example, step, neuron
    rows = np.moveaxis(found, 3, -1).reshape(-1, found.shape[3])
    assert len({tuple(row) for row in rows}) == len(rows) == 2 * 2 * 2 * 6


def test_successive_minibatches_differ():
    spikes = Spikes(nengo.StochasticSpiking)
    with simulator(spikes.net) as sim:
        rates = np.full((4, 30, 3), 300.0)
        found = sim.predict({spikes.node: rates})[spikes.probes[0]]
    assert len({example.tobytes() for example in found}) == 4


@BOTH
def test_runs_go_on_and_a_reset_begins_anew(compiles):
    spikes = Spikes(nengo.StochasticSpiking, compiles)
    with simulator(spikes.net) as sim:
        for _ in range(2):
            sim.run_steps(20)
        first = np.array(sim.data[spikes.probes[0]])
        assert (first[:20] != first[20:]).any()
        sim.reset()
        for _ in range(2):
            sim.run_steps(20)
        np.testing.assert_array_equal(sim.data[spikes.probes[0]], first)
        sim.reset(include_processes=False)
        sim.run_steps(20)
        assert (np.array(sim.data[spikes.probes[0]]) != first[:20]).any()


@pytest.mark.traced
def test_steps_that_are_unrolled_differ():
    spikes, found = Spikes(nengo.StochasticSpiking), []
    for use_loop in (True, False):
        with spikes.net:
            nengo_dl.configure_settings(use_loop=use_loop)
        with simulator(spikes.net, unroll_simulation=10, seed=1) as sim:
            found.append(predicted(sim, spikes, n_steps=10))
    np.testing.assert_array_equal(*found)
    assert len({step.tobytes() for step in np.moveaxis(found[0], 2, 0)}) > 7


def test_measuring_changes_no_numbers():
    found = []
    for measures in (False, True):
        spikes = Spikes(nengo.StochasticSpiking)
        with simulator(spikes.net, seed=1) as sim:
            runs = [predicted(sim, spikes)]
            if measures:
                nengo_wd.Energy(sim, n_steps=5)
            found.append([*runs, predicted(sim, spikes)])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("kind", [nengo.StochasticSpiking, nengo.RegularSpiking])
def test_the_number_of_calls_is_no_weight(kind, tmp_path):
    spikes = Spikes(kind)
    with simulator(spikes.net) as sim:
        predicted(sim, spikes)
        calls = getattr(vars(sim.tensor_graph).get(state.ATTRIBUTE), "calls", None)
        assert (calls is None) == (kind is nengo.RegularSpiking)
        weights = [*sim.keras_model.variables, *sim.tensor_graph.weights]
        assert not any(weight is calls for weight in weights)
        assert {weight.dtype for weight in weights} == {tf.float32}
        values = tf.train.Checkpoint(model=sim.keras_model)
        saved = tf.train.list_variables(values.write(str(tmp_path / "checkpoint")))
    assert not any("calls" in name for name, _ in saved)


# -- training ------------------------------------------------------------------------------


@pytest.fixture
def noisy(monkeypatch):
    """Have a type of neurons draw random numbers in training."""

    class NoisyBuilder(neurons.StochasticBuilder):
        def training_step(self, current, dt):
            return current * (
                1
                + random_numbers.normal(
                    current.shape, random_numbers.seed_of_step(self), current.dtype
                )
            )

    table = {**SimNeuronsBuilder.TF_NEURON_IMPL, nengo.StochasticSpiking: NoisyBuilder}
    monkeypatch.setattr(SimNeuronsBuilder, "TF_NEURON_IMPL", table)


def compiled_for(spikes, sim):
    sim.compile(tf.optimizers.Adam(0.5), loss={spikes.probes[0]: "mse"})
    rates = np.full((4, 5, 3), 50.0)
    targets = {spikes.probes[0]: np.zeros((4, 5, 3))}
    data = {spikes.node: rates}
    options = {"verbose": 0, "shuffle": False, "validation_data": (data, targets)}
    return lambda epochs: sim.fit(data, targets, epochs=epochs, **options).history["loss"]


@pytest.mark.traced
def test_a_resumed_training_goes_on_with_the_same_numbers(noisy, tmp_path):
    spikes = Spikes(nengo.StochasticSpiking)
    with simulator(spikes.net, minibatch_size=2, seed=1) as sim:
        losses = compiled_for(spikes, sim)(2)
    assert losses[0] != losses[1]
    folder = str(tmp_path / "checkpoint")
    with simulator(spikes.net, minibatch_size=2, seed=1) as sim:
        begun = compiled_for(spikes, sim)(1)
        sim.keras_model.save_weights(folder)
    with simulator(spikes.net, minibatch_size=2, seed=1) as sim:
        fit = compiled_for(spikes, sim)
        sim.keras_model.load_weights(folder)
        np.testing.assert_allclose(begun + fit(1), losses, rtol=1e-5)


@pytest.mark.traced
def test_compiled_training_has_the_same_numbers(noisy):
    losses = []
    for compiles in (False, True):
        spikes = Spikes(nengo.StochasticSpiking, compiles)
        with simulator(spikes.net, minibatch_size=2, seed=1) as sim:
            losses.append(compiled_for(spikes, sim)(2))
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_a_training_loop_without_iterations_has_other_numbers_in_each_call(noisy):
    spikes = Spikes(nengo.StochasticSpiking)
    with simulator(spikes.net) as sim:
        inputs = [tf.fill((1, 5, 3), 50.0), tf.fill((1, 1), 5)]
        found = [sim.keras_model(inputs, training=True)[0].numpy() for _ in range(3)]
    assert len({one.tobytes() for one in found}) == 3


def test_gradients_are_checked_with_the_same_numbers_in_each_call(noisy):
    spikes = Spikes(nengo.StochasticSpiking)
    with spikes.net:
        use_dtype("float64")
    with simulator(spikes.net) as sim:
        sim.check_gradients(outputs=spikes.probes[:1], atol=1e-3)
