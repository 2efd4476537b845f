"""A Legendre memory unit with spiking neurons
===========================================

KerasLMU's layer in a Nengo network, with weight decay and rate targets.

The task is psMNIST (Le, Jaitly and Hinton, 2015) on scikit-learn's digits: their 64 pixels are a
sequence, in a random order that is the same for all. ``keras_lmu.LMU`` (Voelker, Kajic and
Eliasmith, "Legendre Memory Units", NeurIPS 2019) reads a whole sequence in a TensorNode, and a
layer of 100 integrate-and-fire neurons classifies what it has read at the end.
``spiking_sequence.py`` has only the memory, and the sequence in simulation time.

- plain: trained on firing rates.
- regularized: with decoupled weight decay of the LMU and of both dense layers, and with rate
  targets on the neurons.

The LMU has no spikes, and ``nengo_wd.Energy`` does not know this kind of layer, so it only counts
the neurons. Strengths were chosen with another seed.

Run it with ``python legendre_memory_unit.py``, on NengoDL 3, with KerasLMU 0.7. It takes a few
minutes, and less than one with ``--short``.
"""

import sys
from types import SimpleNamespace

import nengo
import numpy as np
import progressbar
import tensorflow as tf
from sklearn.datasets import load_digits

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("legendre_memory_unit.py needs NengoDL 3")

import keras_lmu

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [2, 3, 4]
SPLITS = {"train": 100, "test": 50} if SHORT else {"train": 1300, "test": 450}  # of 1797
WAYS = {"plain": (0.0, 0.0), "regularized": (0.1, 1e-3)}  # decay, and rate targets per Hz
EPOCHS = 1 if SHORT else 60
LEARNING_RATE, MINIBATCH_SIZE = 5e-3, 50  # of Adam; the rate falls to zero, as a cosine does
ORDER, N_HIDDEN, N_NEURONS = 24, 48, 100
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
N_STEPS = 5 if SHORT else 50  # of 1 ms each: how long the neurons see what was read
READOUT = 0.02  # seconds: the time constant of the filter on the output
nengo_wd.Energy.register_device("events", 1, 0, spiking=True)  # which counts instead of weighing


def load_splits():
    """Return sequences (n, 64) and labels (n,) of each split."""
    images, labels = load_digits(return_X_y=True)
    random = np.random.RandomState(0)
    pixels, order = random.permutation(64), random.permutation(len(images))
    parts = np.split(order, np.cumsum(list(SPLITS.values())))
    return {name: (images[part][:, pixels] / 16, labels[part]) for name, part in zip(SPLITS, parts)}


def build(decay, targets):
    """Return the network; its node, layers, neurons and probes are its attributes."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(stateful=False, trainable=False)
        nengo_wd.configure_settings(jit_compile=not SHORT, weight_decay=decay or None)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])

        cell = tf.keras.layers.SimpleRNNCell(N_HIDDEN)
        lmu = keras_lmu.LMU(1, ORDER, theta=64, hidden_cell=cell, hidden_to_memory=True)
        net.sequence = nengo.Node(np.zeros(64))
        # with its shape, or NengoDL would build the layer twice, which it can't with such a cell
        shapes = {"shape_in": (64, 1), "shape_out": (N_HIDDEN,)}
        memory = nengo_dl.TensorNode(lmu, **shapes, pass_time=False)
        nengo.Connection(net.sequence, memory, synapse=None)
        hidden = nengo_wd.RegularizedDense(N_NEURONS, kernel_regularizer=None)
        dense = nengo_wd.RegularizedDense(10, kernel_regularizer=None)
        x = nengo_dl.Layer(hidden)(memory, synapse=None)
        x = nengo_dl.Layer(nengo.SpikingRectifiedLinear(amplitude=1 / MAX_RATE))(x)
        net.neurons = nengo.Probe(x)
        if targets:
            few_spikes = nengo_wd.regularizers.FiringRates(maximum=0, l1=targets)
            net.config[net.neurons].regularizer = few_spikes
        output = nengo_dl.Layer(dense)(x, synapse=None)
        net.output, net.readout = nengo.Probe(output), nengo.Probe(output, synapse=READOUT)
        net.layers = [lmu, hidden, dense]
    return net


def run(way, seed, splits):
    """Train a network; return accuracy, spikes, events and norms."""
    tf.keras.utils.set_random_seed(seed)
    net = build(*WAYS[way])
    sequences, labels = splits["train"]
    falling = tf.optimizers.schedules.CosineDecay(
        LEARNING_RATE, EPOCHS * len(labels) // MINIBATCH_SIZE
    )
    loss = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        # gradients through 64 steps of the LMU are clipped, or some trainings end early
        adam = tf.optimizers.Adam(falling, clipnorm=1.0)
        optimizer = nengo_wd.regularized_optimizer(sim, adam)
        sim.compile(optimizer, loss=nengo_wd.regularized_objective(sim, {net.output: loss}))
        data = {net.sequence: sequences[:, None]}, {net.output: labels[:, None, None]}
        sim.fit(*data, epochs=EPOCHS, verbose=0)

        sequences, labels = splits["test"]
        shown = {net.sequence: np.tile(sequences[:, None], (1, N_STEPS, 1))}
        found = sim.predict(shown, verbose=0)
        energy = nengo_wd.Energy(sim, shown)
        norms = [np.sqrt(sum(np.sum(w**2) for w in layer.get_weights())) for layer in net.layers]
    right = found[net.readout][:, -1].argmax(axis=-1) == labels
    spikes = found[net.neurons] * MAX_RATE * sim.dt
    return SimpleNamespace(
        accuracy=100 * np.mean(right),
        spikes=np.mean(np.sum(spikes, axis=1), axis=0),  # of each neuron
        events=energy.total("events", inputs=False),
        norms=norms,
    )


def check(runs):
    """Check what `Energy` counts against the spikes: each neuron has 10 synapses."""
    for run in (run for found in runs.values() for run in found):
        assert np.isclose(run.events, 10 * np.sum(run.spikes), rtol=1e-4), "other events"


def check_findings(runs):
    """Raise if regularized networks are not what `main` prints."""
    plain, regularized = runs["plain"], runs["regularized"]
    for one, other in zip(plain, regularized):
        assert other.events < 0.8 * one.events, "there are as many spikes"
        assert other.norms[0] < one.norms[0], "the norm of the LMU did not fall"
    assert mean(regularized, "accuracy") > mean(plain, "accuracy") - 1, "accuracy is lost"


def mean(runs, name):
    """Return the mean over seeds of an attribute of the runs."""
    return np.mean([getattr(run, name) for run in runs], axis=0)


def print_table(runs):
    line = "{:12} {:>12} {:>7} {:>7} {:>7} {:>7} {:>8}".format
    print("Accuracy (%) with spikes, the spikes and synaptic events of an answer, and norms of")
    print(f"weights: means over {len(SEEDS)} seeds, and standard errors of accuracies.\n")
    print(line("way", "accuracy", "spikes", "events", "LMU", "hidden", "readout"))
    for way, found in runs.items():
        error = np.std([run.accuracy for run in found], ddof=1) if len(found) > 1 else 0
        accuracy = f"{mean(found, 'accuracy'):.1f} +- {error / np.sqrt(len(found)):.1f}"
        counts = f"{np.sum(mean(found, 'spikes')):.0f}", f"{mean(found, 'events'):.0f}"
        print(line(way, accuracy, *counts, *(f"{norm:.1f}" for norm in mean(found, "norms"))))


def main():
    splits, runs = load_splits(), {way: [] for way in WAYS}
    for seed in progressbar.progressbar(SEEDS):
        for way, found in runs.items():
            found.append(run(way, seed, splits))
    print_table(runs)
    check(runs)
    if not SHORT:
        check_findings(runs)


if __name__ == "__main__":
    main()
