"""Layers of every class that has a native form, in NengoDL and in Nengo's own simulator."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from native_networks import IN_FLOAT32_ALONE, LAYERS, both, give_weights, neurons, varied_input
from slowly import slow_but

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
]

keras = tf.keras.layers
QUICK = {"our dense", "conv 1", "conv 2 same", "our conv 2", "separable 2", "pooling 2", "flatten"}
QUICK |= {"upsampling", "batch normalization", "dropout", "sequential"}


class BetweenNeurons:
    """A layer between neurons, of which spikes and currents are probed."""

    def __init__(self, kind, rng, dtype="float64", spiking=True):
        make, shape = LAYERS[kind]
        kind = nengo.SpikingRectifiedLinear if spiking else nengo.RectifiedLinear
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(dtype=dtype)
            source = varied_input(rng, 3)
            a = neurons(int(np.prod(shape)), rng, kind)
            nengo.Connection(source, a.neurons, transform=rng.uniform(-1, 1, (a.n_neurons, 3)))
            layer = make(dtype=dtype)
            self.layer = nengo_dl.TensorNode(layer, shape_in=shape, pass_time=False)
            nengo.Connection(a.neurons, self.layer, synapse=rng.choice([None, 0.005]))
            b = neurons(self.layer.size_out, rng, kind)
            nengo.Connection(self.layer, b.neurons, synapse=None)
            self.spikes = [nengo.Probe(one.neurons) for one in (a, b)]
            self.currents = nengo.Probe(b.neurons, "input")


@pytest.mark.parametrize(
    "kind", slow_but(QUICK, [kind for kind in LAYERS if kind not in IN_FLOAT32_ALONE])
)
def test_spikes_are_the_same_in_nengo(kind, rng):
    model = BetweenNeurons(kind, rng)
    made, ((a, new_a), (b, new_b), (currents, new_currents)) = both(model.net, rng)
    np.testing.assert_array_equal(new_a, a)
    np.testing.assert_array_equal(new_b, b)
    np.testing.assert_allclose(new_currents, currents, rtol=1e-9, atol=1e-9)
    assert a.any() and b.any()
    assert not any(isinstance(one, nengo_dl.TensorNode) for one in made.network.all_nodes)


@pytest.mark.parametrize("kind", slow_but({"our conv 2", *IN_FLOAT32_ALONE}, LAYERS))
def test_outputs_are_the_same_in_float32(kind, rng):
    model = BetweenNeurons(kind, rng, dtype="float32", spiking=False)
    for before, after in both(model.net, rng)[1]:
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * np.abs(before).max())


# -- channels first, which TensorFlow computes on GPUs alone --------------------------------

FIRST = {
    "conv 1": (keras.Conv1D, dict(filters=3, kernel_size=2), (2, 5)),
    "conv 2": (keras.Conv2D, dict(filters=3, kernel_size=2, padding="same"), (2, 3, 4)),
    "conv 3": (keras.Conv3D, dict(filters=2, kernel_size=2), (2, 3, 2, 3)),
    "pooling 2": (keras.AveragePooling2D, dict(pool_size=2), (2, 4, 4)),
    "pooling same": (keras.AveragePooling2D, dict(pool_size=2, padding="same"), (2, 3, 3)),
}


@pytest.mark.parametrize("kind", FIRST)
def test_channels_first(kind, rng):
    """It is what the same layer with channels last does to the array with its axes moved."""
    make, arguments, shape = FIRST[kind]
    values = rng.uniform(-1, 1, (1, *shape))
    with nengo.Network() as net:
        layer = make(data_format="channels_first", **arguments)
        source = nengo.Node(values.ravel())
        node = nengo_dl.TensorNode(layer, shape_in=shape, pass_time=False)
        nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(node)
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        give_weights(net, rng)
        made = nengo_wd.native(sim)
    with nengo.Simulator(made.network, progress_bar=False) as sim:
        sim.run_steps(1)
    last = make(**arguments)
    last.build((1, *shape[1:], shape[0]))
    last.set_weights(layer.get_weights())
    expected = np.moveaxis(last(np.moveaxis(values, 1, -1)).numpy(), -1, 1)
    np.testing.assert_allclose(sim.data[made[probe]][0], expected.ravel(), rtol=1e-5, atol=1e-6)
