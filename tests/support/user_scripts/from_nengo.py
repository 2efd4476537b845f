"""A Nengo network of spiking neurons, simulated by NengoDL and then trained.

It computes sin(x ** 2). The script is written as by somebody who knows Nengo and NengoDL.
"""

import nengo
import numpy as np
import tensorflow as tf

from nengo_wd import nengo_dl

N_STEPS = 500

with nengo.Network(seed=0) as net:
    x = nengo.Node(nengo.processes.WhiteSignal(1, 5, rms=0.3, seed=0))
    square = nengo.Ensemble(20, 1)
    sine = nengo.Ensemble(20, 1)
    y = nengo.Node(size_in=1)
    nengo.Connection(x, square)
    nengo.Connection(square, sine, function=np.square)
    nengo.Connection(sine, y, function=np.sin)
    x_probe = nengo.Probe(x)
    y_probe = nengo.Probe(y, synapse=0.01)

# Nengo and NengoDL agree, but for single spikes that rounding shifts by a time step
with nengo.Simulator(net, seed=0, progress_bar=False) as sim:
    sim.run_steps(N_STEPS)
    expected = sim.data[y_probe]
with nengo_dl.Simulator(net, seed=0, progress_bar=False) as sim:
    sim.run_steps(N_STEPS)
    assert np.sqrt(np.mean((sim.data[y_probe] - expected) ** 2)) < 0.01
print("same output from both simulators")

# several inputs at once
ramps = np.linspace(0.5, 1, 3)[:, None, None] * np.linspace(-1, 1, N_STEPS)[None, :, None]
with nengo_dl.Simulator(net, minibatch_size=3, progress_bar=False) as sim:
    sim.run_steps(N_STEPS, data={x: ramps})
    assert sim.data[y_probe].shape == (3, N_STEPS, 1)
    assert np.allclose(sim.data[x_probe], ramps)
print("three ramps in one batch")

# train encoders and biases, without the filters, on single time steps
for connection in net.all_connections:
    connection.synapse = None
y_probe.synapse = 0.04
with net:
    unfiltered = nengo.Probe(y)
    nengo_dl.configure_settings(trainable=False)
    net.config[nengo.Ensemble].trainable = True
inputs = np.random.RandomState(0).uniform(-1, 1, size=(1024, 1, 1))
targets = np.sin(inputs**2)
with nengo_dl.Simulator(net, minibatch_size=32, seed=0, progress_bar=False) as sim:
    sim.compile(tf.optimizers.RMSprop(2e-3), loss={unfiltered: tf.losses.MeanSquaredError()})
    losses = sim.fit({x: inputs}, {unfiltered: targets}, epochs=10, verbose=0).history["loss"]
    sim.freeze_params(net)
print(f"error of the firing rates: {losses[0]:.5f}, trained {losses[-1]:.5f}")
assert losses[-1] < losses[0]

# what was trained is in the network, whose neurons spike again
with nengo_dl.Simulator(net, seed=0, progress_bar=False) as sim:
    sim.run_steps(N_STEPS)
    error = np.mean((sim.data[y_probe] - np.sin(sim.data[x_probe] ** 2)) ** 2)
print(f"error of the spiking network: {error:.5f}")
assert error < 0.01
