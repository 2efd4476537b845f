"""A sequence, read by spiking neurons
===================================

Training through time, on rates or with the spikes themselves.

The pixels of scikit-learn's digits arrive one at a time, in an order that was drawn once, as in
psMNIST (Le, Jaitly and Hinton, 2015). Each is shown for 2 ms. A Legendre memory keeps the last
128 ms, as in Voelker, Kajic and Eliasmith ("Legendre Memory Units", NeurIPS 2019): a linear system
of 48 dimensions, which is not trained. 128 LIF neurons read it at each time step, with a trained
layer of weights on both sides. Their output passes a filter of 20 ms, and the loss is on what is
behind it when the last pixel has been shown. So neurons have some two spikes in the time that
decides. NengoDL trains the network through all 128 steps,

- plain: on firing rates, as NengoDL does;
- with rate targets: ``strength * mean(rate)``, in Hz, in the loss;
- with spikes: ``spiking_aware_training``, from the first epoch on;
- with both.

Since the training goes through time anyway, that with spikes takes no longer. The strength is
chosen on a validation split, for each way, by the mean accuracy over all seeds.

Run it with ``python spiking_sequence.py``, on NengoDL 3. All of it takes some 8 minutes, since XLA
compiles the time loop, and less than one with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from scipy.linalg import expm
from sklearn.datasets import load_digits

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("spiking_sequence.py needs NengoDL 3")

from accuracy_for_energy import Trainer, crossentropy, draw, mean, summary

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [0, 1, 2]
STRENGTHS = [3e-3] if SHORT else [1e-3, 3e-3]  # of the rate targets, per Hz
WAYS = {  # whether the neurons spike in training, and strengths
    "plain": (False, [0]),
    "rate targets": (False, STRENGTHS),
    "with spikes": (True, [0]),
    "with both": (True, STRENGTHS),
}
SPLITS = {"train": 1000, "validation": 300, "test": 450}  # digits; 47 are left over
if SHORT:
    SPLITS = {"train": 100, "validation": 50, "test": 50}
TRAINING = {"epochs": 1 if SHORT else 20, "learning_rate": 5e-3, "minibatch_size": 50}
N_PIXELS = 64
SHOWN_STEPS = 1 if SHORT else 2  # of 1 ms each, NengoDL's default, for each pixel
N_STEPS = N_PIXELS * SHOWN_STEPS
DIMENSIONS, N_NEURONS = 48, 128
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
SMOOTHING = 0.02  # of the slope of LIF neurons, in units of their input
READOUT = 0.02  # seconds: the time constant of the filter on the output
STYLES = {"plain": "C6", "rate targets": "C0", "with spikes": "C2", "with both": "C3"}
FIGURE = Path("figures/spiking_sequence.png")


def load_splits():
    """Return sequences (n, N_STEPS, 1) and labels (n,) of each split."""
    images, labels = load_digits(return_X_y=True)
    random = np.random.RandomState(0)
    pixels, order = random.permutation(N_PIXELS), random.permutation(len(images))
    sequences = np.repeat(images[:, pixels] / 16, SHOWN_STEPS, axis=1)[..., None]
    parts = np.split(order, np.cumsum(list(SPLITS.values())))
    return {name: (sequences[part], labels[part]) for name, part in zip(SPLITS, parts)}


def legendre_memory():
    r"""Return the matrices of a memory of the last ``N_STEPS``: ``m <- A m + B u`` at each step.

    For a window :math:`\theta`, they are those of :math:`\theta \dot m = A' m + B' u` with
    :math:`A'_{ij} = (2i + 1) (-1 \text{ if } i < j \text{ else } (-1)^{i-j+1})` and
    :math:`B'_i = (2i + 1) (-1)^i`, where ``u`` is held for a time step.
    """
    i, j = np.indices((DIMENSIONS, DIMENSIONS))
    scale = (2 * np.arange(DIMENSIONS)[:, None] + 1) / N_STEPS
    system = np.zeros((DIMENSIONS + 1, DIMENSIONS + 1))
    system[:-1, :-1] = scale * np.where(i < j, -1, (-1.0) ** (i - j + 1))
    system[:-1, -1:] = scale * (-1.0) ** i[:, :1]
    step = expm(system)[:-1]
    return step[:, :-1], step[:, -1:]


def remember(sequences):
    """Return what the memory has at the end of sequences, (n, DIMENSIONS)."""
    a, b = legendre_memory()
    memory = np.zeros((len(sequences), DIMENSIONS))
    for value in np.moveaxis(sequences, 1, 0):
        memory = memory @ a.T + value @ b.T
    return memory


def build(scale, with_spikes):
    """Return the network; its node, layers, probes and strength are its attributes.

    The neurons spike in training as in prediction, or are on rates in both.
    """
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(stateful=False, trainable=False, lif_smoothing=SMOOTHING)
        net.strength = tf.Variable(0.0, trainable=False)
        nengo_wd.configure_settings(jit_compile=True)
        if with_spikes:
            net.config[nengo.ensemble.Neurons].spiking_aware_training = True
        else:
            nengo_dl.configure_settings(learning_phase=True)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])

        a, b = legendre_memory()
        net.signal, net.memory = nengo.Node([0.0]), nengo.Node(size_in=DIMENSIONS)
        nengo.Connection(net.signal, net.memory, transform=scale * b, synapse=None)
        nengo.Connection(net.memory, net.memory, transform=a, synapse=0)  # one step later

        net.layers = [
            nengo_wd.RegularizedDense(units, kernel_regularizer=None) for units in (N_NEURONS, 10)
        ]
        x = nengo_dl.Layer(net.layers[0])(net.memory)
        x = nengo_dl.Layer(nengo.LIF(amplitude=1 / MAX_RATE))(x)
        rates = nengo.Probe(x)
        net.config[rates].regularizer = nengo_wd.regularizers.FiringRates(0, 0, l1=net.strength)
        net.readout = nengo.Probe(nengo_dl.Layer(net.layers[1])(x), synapse=READOUT)
        net.remembered = nengo.Probe(net.memory)
    return net


def last_crossentropy(labels, outputs):
    """Return the loss of the output at the last time step."""
    return crossentropy()(labels[:, -1], outputs[:, -1])


def all_runs(splits):
    """Return the runs of each way and strength, one for each seed, and the trainer with spikes."""
    scale = 1 / np.std(remember(splits["train"][0]))
    trainers = [
        Trainer(net, net.readout, last_crossentropy, SPLITS["train"], **TRAINING)
        for net in (build(scale, False), build(scale, True))
    ]
    runs = {(way, one): [] for way, (_, strengths) in WAYS.items() for one in strengths}
    for seed in progressbar.progressbar(SEEDS, prefix="Training: "):
        for way, strength in runs:
            tf.keras.utils.set_random_seed(seed)
            trainer = trainers[WAYS[way][0]]
            start = draw(trainer.net.layers, seed)
            weights = trainer.fit(start, *splits["train"], strength=strength)
            runs[way, strength].append(test(*trainers, weights, splits))
    trainers[False].sim.close()
    return runs, trainers[True]


def test(on_rates, spiking, weights, splits):
    """Return accuracies on rates and with spikes, and the synaptic events of an answer."""
    found = {name: spiking.accuracy(weights, *splits[name]) for name in ("validation", "test")}
    rates = on_rates.accuracy(weights, *splits["test"])[-1]
    events, _ = spiking.energy(splits["validation"][0])
    return SimpleNamespace(rates=rates, events=events, **found)


def choose(runs):
    """Return the key of each way's runs with the highest validation accuracy, by way."""
    by_accuracy = sorted(runs, key=lambda key: mean(runs[key], "validation")[-1])
    best = {way: (way, strength) for way, strength in by_accuracy}
    return {way: best[way] for way in WAYS}


def check(trainer, splits):
    """Hold the network's memory against that of NumPy."""
    net, sim = trainer.net, trainer.sim
    sequences = splits["validation"][0][: TRAINING["minibatch_size"]]
    outputs = sim.predict({net.signal: sequences}, verbose=0)
    expected = remember(sequences) / np.std(remember(splits["train"][0]))
    assert np.allclose(outputs[net.remembered][:, -1], expected, atol=1e-3), "another memory"


def check_findings(runs, chosen):
    """Raise where the means over seeds do not bear out what `main` prints."""
    plain, with_spikes = (runs[chosen[way]] for way in ("plain", "with spikes"))
    gap = mean(plain, "rates") - mean(with_spikes, "test")[-1]
    assert mean(with_spikes, "test")[-1] > mean(plain, "test")[-1], "spikes in training cost"
    assert gap < 1, "with spikes, a network does not reach the accuracy on rates"


def print_table(runs, chosen):
    print("Accuracy (%), and synaptic events of an answer: means over seeds, standard errors.")
    print("A star is the choice for each way.\n")
    print("              rate     validation      test         test     synaptic")
    print("way           targets    accuracy  on rates  with spikes       events")
    for key, found in runs.items():
        (way, strength), star = key, " *"[key == chosen[key[0]]]
        validation, rates = mean(found, "validation")[-1], mean(found, "rates")
        accuracy, error = summary([run.test[-1] for run in found])
        row = f"{way:12} {strength:8g} {star} {validation:8.1f}  {rates:8.1f}"
        print(f"{row}  {accuracy:5.1f} +- {error:3.1f} {mean(found, 'events'):12.0f}")


def save_figure(runs, chosen):
    with nengo_wd.plotting.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.9))  # inches
        for place, (way, key) in enumerate(chosen.items()):
            accuracy, error = summary([run.test for run in runs[key]])
            time, color = np.arange(1, N_STEPS + 1), STYLES[way]
            left.plot(time, accuracy, color=color, label=way)
            left.fill_between(time, accuracy - error, accuracy + error, color=color, alpha=0.2)
            right.errorbar(place, accuracy[-1], error[-1], fmt="o", color=color)
            rates, error = summary([run.rates for run in runs[key]])
            right.errorbar(place + 0.2, rates, error, fmt="o", color=color, fillstyle="none")
        left.set(title="(a) with spikes, while pixels arrive", xlabel="time (ms)")
        left.set(ylabel="accuracy (%)", ylim=(0, 100))
        right.set(title="(b) at the end, with spikes (full) and on rates", ylabel="accuracy (%)")
        right.set_xticks(range(len(chosen)), chosen)
        left.legend()
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    splits = load_splits()
    runs, trainer = all_runs(splits)
    check(trainer, splits)
    trainer.sim.close()
    chosen = choose(runs)
    print_table(runs, chosen)
    if not SHORT:
        check_findings(runs, chosen)
    plain, spiking = (runs[chosen[way]] for way in ("plain", "with spikes"))
    print(
        f"\nTrained on rates, the neurons read {mean(plain, 'rates'):.1f}% of the test digits on "
        f"rates, and {mean(plain, 'test')[-1]:.1f}% with spikes.\n"
        f"Trained with spikes, it is {mean(spiking, 'test')[-1]:.1f}% with spikes."
    )
    save_figure(runs, chosen)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
