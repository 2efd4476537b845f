"""Signals in base arrays, which XLA reads and writes by slices, against NumPy's indices."""

import nengo
import numpy as np
import pytest
import tensorflow as tf

from nengo_wd import nengo_dl

pytestmark = pytest.mark.generation(3)
SLICES = {
    "all": [(0, 12)],
    "first": [(0, 3)],
    "middle": [(4, 9)],
    "last": [(10, 12)],
    "apart": [(1, 3), (6, 9)],
    "backwards": [(8, 12), (4, 6), (0, 2)],
    "all in another order": [(7, 12), (0, 7)],
    "many": [(i, i + 1) for i in range(11, 2, -1)],
}


@pytest.fixture
def few(monkeypatch):
    """Have more than five slices be too many."""
    monkeypatch.setattr("nengo_wd._seam.nengo_dl3.builders.arrays.MOST_SLICES", 5)


def compiled(dtype, slices, minibatched, base, values, mode, factors):
    """Return what a scatter and a gather make of a base array, and gradients, by XLA."""
    signals = nengo_dl.signals.SignalDict(dtype, 2)
    n = sum(stop - start for start, stop in slices)
    shape = (n, *base.shape[1 + minibatched :])
    signal = signals.get_tensor_signal(slices, "key", dtype, shape, minibatched)

    @tf.function(jit_compile=True, autograph=False)
    def run(base, values):
        with tf.GradientTape() as tape:
            tape.watch([base, values])
            signals.bases["key"] = tf.identity(base)
            signals.scatter(signal, values, mode)
            written = signals.bases["key"]
            read = signals.gather(signal)
            loss = tf.reduce_sum(written * factors) + tf.reduce_sum(read**2)
        gradients = tape.gradient(loss, [base, values], unconnected_gradients="zero")
        return (written, read, *gradients)

    return [one.numpy() for one in run(tf.constant(base), tf.constant(values))]


@pytest.mark.parametrize("mode", ("update", "inc"))
@pytest.mark.parametrize("minibatched", (True, False))
@pytest.mark.parametrize("slices", SLICES)
def test_written_read_and_gradients(rng, few, slices, minibatched, mode):
    slices = SLICES[slices]
    indices = np.concatenate([np.arange(*one) for one in slices])
    at = (slice(None), indices) if minibatched else (indices,)
    base = rng.randn(*((2, 12) if minibatched else (12, 3)))
    values, factors = rng.randn(*base[at].shape), rng.randn(*base.shape)
    expected = base.copy()
    expected[at] = values + (base[at] if mode == "inc" else 0)
    for_values = factors[at] + 2 * expected[at]
    for_base = factors.copy()
    for_base[at] = for_values if mode == "inc" else 0
    found = compiled("float64", slices, minibatched, base, values, mode, factors)
    for one, other in zip(found, (expected, expected[at], for_base, for_values)):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("slices", [[(4, 9)], [(8, 12), (4, 6)]])
def test_what_is_written_first_has_zeros_around(slices):
    signals = nengo_dl.signals.SignalDict("float32", 2)
    n = sum(stop - start for start, stop in slices)
    signal = signals.get_tensor_signal(slices, "key", "float32", (n,), True)

    @tf.function(jit_compile=True, autograph=False)
    def run(values):
        signals.bases["key"] = (2, 12)
        signals.scatter(signal, values)
        return signals.bases["key"]

    values = np.arange(2.0 * n, dtype="float32").reshape(2, n)
    expected = np.zeros((2, 12), "float32")
    expected[:, np.concatenate([np.arange(*one) for one in slices])] = values
    np.testing.assert_array_equal(run(tf.constant(values)), expected)


def recurrent():
    """Return a network whose operators read and write parts of the same arrays."""
    with nengo.Network(seed=0) as net:
        net.source = nengo.Node(np.zeros(2))
        a, b, c = (nengo.Ensemble(n, 2, neuron_type=nengo.Sigmoid()) for n in (8, 6, 5))
        for pre, post, synapse in ((net.source, a, 0.01), (a, b, None), (b, c, 0.005), (c, a, 0.1)):
            nengo.Connection(pre, post, synapse=synapse)
        nengo.Connection(net.source[0], c[1], synapse=nengo.Alpha(0.01))
        net.probed = [nengo.Probe(one, synapse=0.02) for one in (a, b, c)]
    return net


@pytest.mark.traced
def test_a_recurrent_network_is_the_one_of_nengo(rng):
    net, values = recurrent(), rng.uniform(-1, 1, (8, 2))
    with nengo_dl.Simulator(net, progress_bar=False, seed=0) as sim:
        sim.compile(loss="mse", jit_compile=True)
        found = sim.predict({net.source: values[None].astype("float32")}, verbose=0)
    net.source.output = nengo.processes.PresentInput(values, 0.001)
    with nengo.Simulator(net, progress_bar=False, seed=0) as reference:
        reference.run_steps(8)
    for probe in net.probed:
        np.testing.assert_allclose(found[probe][0], reference.data[probe], rtol=1e-4, atol=1e-5)


@pytest.mark.traced
@pytest.mark.slow
def test_gradients_of_a_recurrent_network_are_finite_differences(rng):
    net = recurrent()
    with net:
        nengo_dl.configure_settings(dtype="float64")
    data = {net.source: rng.uniform(-1, 1, (1, 8, 2))}
    wanted = {probe: np.ones((1, 8, 2)) for probe in net.probed}
    with nengo_dl.Simulator(net, progress_bar=False, seed=0) as sim:
        sim.compile(tf.optimizers.SGD(1.0), loss="mse", jit_compile=True)
        weights = [one for one in sim.keras_model.trainable_variables if one.shape.rank]
        before = [one.numpy() for one in weights]
        sim.fit(data, wanted, verbose=0)
        gradients = [one - other.numpy() for one, other in zip(before, weights)]
        for i, value in enumerate(before):
            direction, losses = rng.randn(*value.shape), []
            for step in (1e-5, -1e-5):
                for variable, kept in zip(weights, before):
                    variable.assign(kept)
                weights[i].assign(value + step * direction)
                losses.append(sim.evaluate(data, wanted, verbose=0)["loss"])
            difference = (losses[0] - losses[1]) / 2e-5
            assert np.sum(gradients[i] * direction) == pytest.approx(difference, rel=1e-5, abs=1e-8)
