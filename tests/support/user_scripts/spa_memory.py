"""A recurrent memory of semantic pointers, trained to hold them.

A pointer is shown for 10 ms, and the network has to keep it for 20 ms more. The script is
written as by somebody who knows NengoSPA and NengoDL.
"""

import tempfile

import nengo
import nengo_spa as spa
import numpy as np
import tensorflow as tf

from nengo_wd import nengo_dl

DIMENSIONS = 16
SHOWN, HELD = 10, 20  # time steps
MINIBATCH_SIZE = 16


def pointers(number, seed):
    """Return inputs and targets of shape ``(number, time steps, dimensions)``."""
    vocabulary = spa.Vocabulary(
        DIMENSIONS, pointer_gen=np.random.RandomState(seed), max_similarity=1
    )
    vocabulary.populate(";".join(f"P{i}" for i in range(number)))
    vectors = np.stack([vocabulary[f"P{i}"].v for i in range(number)])[:, None, :]
    shown = np.arange(SHOWN + HELD) < SHOWN
    ramp = np.minimum(1, np.arange(SHOWN + HELD) / SHOWN)
    return vectors * shown[None, :, None], vectors * ramp[None, :, None]


with nengo.Network(seed=0) as net:
    net.config[nengo.Ensemble].neuron_type = nengo.RectifiedLinear()
    net.config[nengo.Ensemble].gain = nengo.dists.Choice([1])
    net.config[nengo.Ensemble].bias = nengo.dists.Choice([0])
    pointer = nengo.Node(np.zeros(DIMENSIONS))
    memory = nengo.Ensemble(5 * DIMENSIONS, DIMENSIONS)
    nengo.Connection(pointer, memory, synapse=0.01)
    nengo.Connection(memory, memory, synapse=0.01)
    probe = nengo.Probe(memory)

inputs, targets = pointers(256, seed=1)
test_inputs, test_targets = pointers(MINIBATCH_SIZE, seed=0)

with nengo_dl.Simulator(
    net, minibatch_size=MINIBATCH_SIZE, seed=0, progress_bar=False
) as sim, tempfile.TemporaryDirectory() as folder:
    sim.compile(tf.optimizers.RMSprop(2e-3), loss={probe: tf.losses.mse})
    before = sim.evaluate({pointer: test_inputs}, {probe: test_targets}, verbose=0)["loss"]
    sim.fit({pointer: inputs}, {probe: targets}, epochs=10, verbose=0)
    after = sim.evaluate({pointer: test_inputs}, {probe: test_targets}, verbose=0)["loss"]
    sim.save_params(f"{folder}/memory")
    with nengo_dl.Simulator(
        net, minibatch_size=MINIBATCH_SIZE, seed=1, progress_bar=False
    ) as loaded:
        loaded.load_params(f"{folder}/memory")
        loaded.run_steps(SHOWN + HELD, data={pointer: test_inputs})
        kept = np.mean((loaded.data[probe] - test_targets) ** 2)

print(f"error of the memory: {before:.5f}, trained {after:.5f}, loaded {kept:.5f}")
assert after < 0.75 * before
assert np.isclose(kept, after, rtol=1e-3)
