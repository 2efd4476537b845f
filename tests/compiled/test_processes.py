"""Filters and noise that NengoDL would run in Python: as in nengo.Simulator, compiled as well."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import simulator, use_dtype
from nengo.dists import PDF, Choice, Exponential, Gaussian, Uniform, UniformHypersphere
from nengo.processes import (
    BrownNoise,
    FilteredNoise,
    Piecewise,
    PresentInput,
    WhiteNoise,
    WhiteSignal,
)
from nengo.synapses import Alpha, LinearFilter, Lowpass, Triangle

import nengo_wd

pytestmark = [pytest.mark.generation(3), pytest.mark.traced, pytest.mark.slow]

DT = 0.001
BOTH = pytest.mark.parametrize("compiles", [False, True], ids=["uncompiled", "compiled"])
FILTERS = {  # more of them are in test_coverage.py
    "a triangle": Triangle(0.01),
    "a triangle of one step": Triangle(0),
    "a low-pass without time": Lowpass(0, method="euler"),
    "a chain": Lowpass(0.02).combine(Alpha(0.01)),
    "a gain": LinearFilter([2], [1]),
    **{
        f"{kind}, {method}": filtered
        for method in ("bilinear", "euler", "backward_diff", "zoh")
        for kind, filtered in {
            "a low-pass": Lowpass(0.02, method=method),
            "of first order": LinearFilter([1], [0.02, 1], method=method),
            "with passthrough": LinearFilter([0.01, 1], [0.02, 1], method=method),
        }.items()
    },
}


def run_both(build, n_steps=(12, 18), dtype="float64", compiles=True, **kwargs):
    """Return what the probes of ``build`` record in nengo.Simulator, and here in several runs."""
    with nengo.Network(seed=0) as net:
        use_dtype(dtype)
        nengo_wd.configure_settings(jit_compile=compiles)
        probes = build()
    with nengo.Simulator(net, progress_bar=False) as sim:
        sim.run_steps(sum(n_steps))
        expected = [sim.data[probe].copy() for probe in probes]
    with simulator(net, **kwargs) as sim:
        for n in n_steps:
            sim.run_steps(n)
        return expected, [sim.data[probe] for probe in probes]


def assert_same(expected, found, dtype):
    for one, other in zip(expected, found):
        assert np.ptp(one) > 0
        np.testing.assert_allclose(other, one, atol=1e-5 if dtype == "float32" else 1e-10, rtol=0)


# -- filters -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_filters_are_as_in_nengo(dtype, compiles, rng):
    values = rng.uniform(-1, 1, (30, 2))

    def build():
        node = nengo.Node(lambda t: values[round(t / DT) - 1], size_out=2)
        return [nengo.Probe(node, synapse=one) for one in FILTERS.values()]

    assert_same(*run_both(build, dtype=dtype, compiles=compiles), dtype)


@BOTH
@pytest.mark.parametrize(
    "process", [Triangle(0.01), LinearFilter([1], [0.02, 1]), Alpha(0.01), Lowpass(0.1)]
)
def test_filters_in_nodes_go_on_from_run_to_run(process, compiles, rng):
    values = rng.uniform(-1, 1, (30, 2))

    def build():
        node = nengo.Node(lambda t: values[round(t / DT) - 1], size_out=2)
        filtering = nengo.Node(process, size_in=2, size_out=2)
        nengo.Connection(node, filtering, synapse=None)
        return [nengo.Probe(filtering)]

    assert_same(*run_both(build, compiles=compiles), "float64")


@BOTH
@pytest.mark.parametrize(
    "synapse", [Triangle(0.004), Lowpass(0.01, method="bilinear"), Alpha(0.003)], ids=str
)
def test_filters_have_gradients(synapse, compiles, rng):
    """The gradient of a weighted sum is the filter's response to the weights, back in time."""
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings(jit_compile=compiles)
        nengo.Probe(nengo.Node(np.zeros(2)), synapse=synapse)
    inputs, weights = rng.uniform(-1, 1, (2, 1, 8, 2))

    def gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs, _ = sim.keras_model([inputs, tf.fill((1, 1), 8)], training=True)
            loss = tf.reduce_sum(weights * outputs)
        return tape.gradient(loss, inputs)

    with simulator(net) as sim:
        found = tf.function(gradient, autograph=False, jit_compile=compiles)(tf.constant(inputs))
    later = np.concatenate([weights[0, 1:], np.zeros((1, 2))])  # a probe shows the step before
    expected = synapse.filt(later[::-1], dt=DT)[::-1]
    np.testing.assert_allclose(found[0], expected, atol=1e-12)


# -- functions of time ---------------------------------------------------------------------

OF_TIME = {
    "white signal": WhiteSignal(0.02, 100, seed=1),
    "white signal from 0": WhiteSignal(0.1, 100, seed=1, y0=0),
    "inputs": PresentInput([[0.1, 0.2], [0.3, 0.4], [-1, 2]], 0.003),
    "inputs between steps": PresentInput([[0.1, 0.2], [0.3, 0.4], [-1, 2]], 0.0047),
    "pieces": Piecewise({0.005: [1, 2], 0.0205: [2, -3]}),
    "pieces at steps": Piecewise({0: [1, 2], 0.007: [0, 0], 0.02: [2, -3]}),
    **{
        f"{kind} pieces": Piecewise(
            {0: [0, 0], 0.005: [1, 2], 0.01: [0, 0], 0.0205: [2, -3]}, interpolation=kind
        )
        for kind in ("linear", "nearest", "quadratic", "cubic")
    },
}


def noisy(process, n=2):
    """Return a probe of neurons that show the noise in their currents."""
    ens = nengo.Ensemble(
        n,
        1,
        gain=np.ones(n),
        bias=np.full(n, 1000.0),
        neuron_type=nengo.RectifiedLinear(),
        noise=process,
    )
    return nengo.Probe(ens.neurons)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_of_time_are_as_in_nengo(dtype):
    expected, found = run_both(lambda: [noisy(one) for one in OF_TIME.values()], dtype=dtype)
    rounding = {"float32": 1000 * np.finfo("float32").eps, "float64": 1e-10}[dtype]
    for name, one, other in zip(OF_TIME, expected, found):
        np.testing.assert_allclose(other, one, atol=rounding, rtol=0, err_msg=name)


def test_a_white_signal_without_seed_is_that_of_the_uncompiled_loop():
    found = []
    for compiles in (False, True):
        _, (outputs,) = run_both(
            lambda: [noisy(WhiteSignal(0.02, 100))], compiles=compiles, minibatch_size=2
        )
        found.append(outputs)
    np.testing.assert_allclose(*found, atol=1e-10)
    assert not np.allclose(found[0][0], found[0][1])


# -- random numbers ------------------------------------------------------------------------

N_NEURONS, N_STEPS, N_EXAMPLES = 50, 40, 4
DISTRIBUTIONS = {
    "gaussian": Gaussian(0.5, 2),
    "uniform": Uniform(-1, 3),
    "integers": Uniform(-2, 4, integer=True),
    "exponential": Exponential(1.5, shift=-1, high=2),
    "choice": Choice(np.random.RandomState(0).randn(4, N_NEURONS), weights=[1, 2, 0, 3]),
    "density": PDF(np.linspace(-1, 2, 7), np.array([1, 2, 3, 4, 3, 2, 1]) / 16),
    "ball": UniformHypersphere(min_magnitude=0.3),
    "sphere": UniformHypersphere(surface=True),
}


def drawn(process, compiles=True, calls=1, seed=0, dtype="float64"):
    """Return the noise of each call, of shape (calls, examples, steps, neurons)."""
    with nengo.Network(seed=0) as net:
        use_dtype(dtype)
        nengo_wd.configure_settings(jit_compile=compiles)
        probe = noisy(process, N_NEURONS)
    with simulator(net, minibatch_size=N_EXAMPLES, seed=seed) as sim:
        outputs = [
            sim.predict(n_steps=N_STEPS, verbose=0)[probe].reshape((N_EXAMPLES, N_STEPS, -1))
            for _ in range(calls)
        ]
    return np.array(outputs) - 1000


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_noise_has_its_distribution(name):
    dist = DISTRIBUTIONS[name]
    found = drawn(WhiteNoise(dist, scale=False)).reshape((-1, N_NEURONS))
    expected = np.concatenate([dist.sample(1, N_NEURONS) for _ in range(len(found))])
    norms = [np.linalg.norm(one, axis=1) for one in (found, expected)]
    assert_same_distribution(*norms)
    if name != "choice":  # whose rows are drawn as a whole
        assert_same_distribution(found, expected)


def assert_same_distribution(found, expected):
    """Compare two samples of one size by Kolmogorov's and Smirnov's distance."""
    found, expected = np.sort(found.ravel()), np.sort(expected.ravel())
    at = np.quantile(expected, np.linspace(0, 1, 41))
    at = np.concatenate([at - 1e-9, at + 1e-9])  # rounding moves what is drawn again and again
    shares = [np.searchsorted(one, at) / len(one) for one in (found, expected)]
    critical = 1.95 * np.sqrt(2 / len(found))  # at the level of 0.1 %
    np.testing.assert_allclose(*shares, atol=critical)


def test_noise_is_independent_between_neurons_steps_and_examples():
    noise = drawn(WhiteNoise(Gaussian(0, 1), scale=False))[0]
    for axis in range(3):
        one, other = np.moveaxis(noise, axis, 0)[:2]
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(one.size)


def test_white_noise_is_scaled_by_the_time_step():
    noise = drawn(WhiteNoise(Gaussian(0, 0.1)))
    np.testing.assert_allclose(noise.std(), 0.1 / np.sqrt(DT), rtol=0.05)


@pytest.mark.parametrize(
    "process", [FilteredNoise(Alpha(0.002)), FilteredNoise(Triangle(0.004)), BrownNoise()]
)
def test_filtered_noise_has_its_variance_over_time(process):
    """White noise of variance 1 / dt, filtered: the sum over squares of its response."""
    noise = drawn(process)[0]
    impulse = np.eye(1, N_STEPS)[0]
    variances = np.cumsum(process.synapse.filt(impulse[:, None], dt=DT)[:, 0] ** 2) / DT
    np.testing.assert_allclose(
        noise.var(axis=(0, 2)), variances, rtol=0.5, atol=0.01 * variances.max()
    )
    np.testing.assert_allclose(noise.var(axis=(0, 2))[10:].mean(), variances[10:].mean(), rtol=0.2)


def test_equal_runs_have_equal_noise_and_others_do_not():
    first, again = drawn(WhiteNoise(), calls=2), drawn(WhiteNoise(), calls=2)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first[0], first[1])
    assert not np.allclose(first, drawn(WhiteNoise(), calls=2, seed=1))


def test_noise_with_a_seed_is_a_function_of_time():
    """It is the same for each example, in each call, and in each simulator."""
    noise = drawn(WhiteNoise(seed=3), calls=2)
    np.testing.assert_array_equal(noise, np.broadcast_to(noise[:1, :1], noise.shape))
    np.testing.assert_array_equal(noise, drawn(WhiteNoise(seed=3), calls=2, seed=1))
    assert not np.allclose(noise, drawn(WhiteNoise(seed=4), calls=2))


def test_noise_goes_on_in_time():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=True)
        probe = noisy(FilteredNoise(Lowpass(1.0), seed=1))
    found = []
    for runs in ((20,), (8, 12)):
        with simulator(net) as sim:
            for n in runs:
                sim.run_steps(n)
            found.append(sim.data[probe])
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_uncompiled_noise_is_that_of_nengo_dl():
    """Random numbers of Nengo's own method, with the generator that NengoDL seeds."""
    noise = drawn(WhiteNoise(Uniform(-1, 1), scale=False, seed=5), compiles=False)
    rng = np.random.RandomState(5)
    expected = [rng.uniform(-1, 1, (1, N_NEURONS))[0] for _ in range(N_STEPS)]
    np.testing.assert_allclose(noise[0, 0], expected, atol=1e-9)
