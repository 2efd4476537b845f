"""A training loop of your own
===========================

A loop with ``tf.GradientTape``, over the simulator's Keras model.

``sim.fit`` covers most training. Your own loop covers the rest, because the simulator has a Keras
model like any other. ``sim.keras_model(inputs)`` returns the probes' outputs.
``sim.keras_model.losses`` has the penalties; add them to the loss by hand::

    loss = mean((targets - outputs) ** 2) + sum(sim.keras_model.losses)

The script trains a spiking network with ``sim.fit``, and again from the same start with such a
loop. It then compares the weights.

Run it with ``python custom_training_loop.py``, on NengoDL 3.
"""

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("custom_training_loop.py needs NengoDL 3")

MINIBATCH_SIZE = 8
N_STEPS = 10
EPOCHS = 5


def build():
    """Return the network, its input and its probe."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(stateful=False, lif_smoothing=0.02)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([100])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        source = nengo.Node(np.zeros(4))
        hidden = nengo_wd.RegularizedDense(32, name="hidden")
        readout = nengo_wd.RegularizedDense(2, name="readout")
        currents = nengo_dl.Layer(hidden)(source)
        spikes = nengo_dl.Layer(nengo.LIF(amplitude=0.01))(currents)
        probe = nengo.Probe(nengo_dl.Layer(readout)(spikes), synapse=0.01)
    return net, source, probe


def make_data():
    """Return inputs of 4 and targets of 2 dimensions, constant over time."""
    rng = np.random.RandomState(0)
    inputs = rng.uniform(-1, 1, size=(4 * MINIBATCH_SIZE, 1, 4))
    targets = inputs[..., :2] * inputs[..., 2:]
    return [np.tile(values, (1, N_STEPS, 1)).astype(np.float32) for values in (inputs, targets)]


def fit(sim, source, probe, inputs, targets):
    """Train with NengoDL's own loop."""
    objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
    sim.compile(tf.keras.optimizers.Adam(0.01), loss=objective)
    sim.fit({source: inputs}, {probe: targets}, epochs=EPOCHS, shuffle=False, verbose=0)


def loop(sim, inputs, targets):
    """Train in the same way, batch by batch, with our own loop."""
    optimizer = tf.keras.optimizers.Adam(0.01)
    variables = sim.keras_model.trainable_variables
    n_steps = np.full((MINIBATCH_SIZE, 1), N_STEPS)  # the simulator's last input

    @tf.function
    def step(batch_inputs, batch_targets):
        with tf.GradientTape() as tape:
            outputs = sim.keras_model([batch_inputs, n_steps], training=True)
            loss = tf.reduce_mean(tf.square(batch_targets - outputs[0]))
            loss += tf.add_n(sim.keras_model.losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))

    batches = tf.data.Dataset.from_tensor_slices((inputs, targets)).batch(MINIBATCH_SIZE)
    for _ in range(EPOCHS):
        for batch in batches:
            step(*batch)


def main():
    net, source, probe = build()
    inputs, targets = make_data()
    tf.keras.utils.set_random_seed(0)
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        start = sim.keras_model.get_weights()
        fit(sim, source, probe, inputs, targets)
        fitted = sim.keras_model.get_weights()
        sim.keras_model.set_weights(start)
        loop(sim, inputs, targets)
        looped = sim.keras_model.get_weights()
        names = [variable.name for variable in sim.keras_model.weights]

    print(f"{'weights':44s}{'moved by':>10s}{'differ by':>12s}")
    for name, *values in zip(names, start, fitted, looped):
        moved, difference = (np.abs(values[1] - other).max() for other in (values[0], values[2]))
        print(f"{name:44s}{moved:10.4f}{difference:12.1e}")
    assert any(np.abs(a - b).max() > 0.01 for a, b in zip(start, fitted)), "nothing was learned"
    for before, one, other in zip(start, fitted, looped):  # Adam may magnify what rounding does
        assert np.linalg.norm(one - other) <= 0.01 * np.linalg.norm(one - before), "other weights"
    print("The loop and sim.fit reach the same weights.")


if __name__ == "__main__":
    main()
