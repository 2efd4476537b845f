"""A sequence, read by spiking neurons
===================================

Training through time, on rates or with the spikes themselves.

The pixels of scikit-learn's digits arrive one at a time, in a random order that is the same for
all, as in psMNIST (Le, Jaitly and Hinton, 2015). Each is shown for 2 ms. A Legendre memory keeps
the last 128 ms, as in Voelker, Kajic and Eliasmith ("Legendre Memory Units", NeurIPS 2019): a
linear system of 48 dimensions, which is not trained. 128 LIF neurons read it at each time step,
with a trained layer of weights on both sides. Their output passes a filter of 20 ms, and the loss
is on the filtered output after the last pixel. So neurons have about two spikes in the time that
counts. NengoDL trains the network through all 128 steps,

- plain: on firing rates, as NengoDL does;
- with spikes: ``spiking_aware_training``, from the first epoch on.

Because the training goes through time anyway, training with spikes takes no longer. Nothing is
tuned: both have the same epochs and learning rates.

Run it with ``python spiking_sequence.py``, on NengoDL 3. It takes about 5 minutes, because XLA
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

from accuracy_for_energy import CROSSENTROPY, Trainer, draw, mean, summary

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [0, 1, 2, 3, 4]
WAYS = {"plain": False, "with spikes": True}  # whether neurons spike in training
SPLITS = {"train": 100, "test": 50} if SHORT else {"train": 1300, "test": 450}  # of 1797
TRAINING = {"epochs": 1 if SHORT else 20, "learning_rate": 5e-3, "minibatch_size": 50}
N_PIXELS = 64
SHOWN_STEPS = 1 if SHORT else 2  # of 1 ms each, NengoDL's default, for each pixel
N_STEPS = N_PIXELS * SHOWN_STEPS
DIMENSIONS, N_NEURONS = 48, 128
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
SMOOTHING = 0.02  # of the slope of LIF neurons, in units of their input
READOUT = 0.02  # seconds: the time constant of the filter on the output
COLORS = {"plain": "C6", "with spikes": "C2"}
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


def build(with_spikes, scale):
    """Return the network; its node, layers, memory and probe are its attributes.

    The neurons spike, even in training, or are on rates, even in prediction.
    """
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(stateful=False, trainable=False, lif_smoothing=SMOOTHING)
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
        net.readout = nengo.Probe(nengo_dl.Layer(net.layers[1])(x), synapse=READOUT)
    return net


def last_crossentropy(labels, outputs):
    """Return the loss of the output at the last time step."""
    return CROSSENTROPY(labels[:, -1], outputs[:, -1])


def all_runs(splits, scale):
    """Return the runs of each way, one for each seed."""
    trainers = {
        with_spikes: Trainer(
            net, net.readout, last_crossentropy, len(splits["train"][0]), **TRAINING
        )
        for with_spikes, net in ((way, build(way, scale)) for way in WAYS.values())
    }
    runs = {way: [] for way in WAYS}
    for seed in progressbar.progressbar(SEEDS, prefix="Training: "):
        for way, with_spikes in WAYS.items():
            tf.keras.utils.set_random_seed(seed)
            trainer = trainers[with_spikes]
            weights = trainer.fit(draw(trainer.net.layers, seed), *splits["train"])
            runs[way].append(test(trainers, weights, splits["test"]))
    for trainer in trainers.values():
        trainer.sim.close()
    return runs


def test(trainers, weights, shown):
    """Return accuracies on rates and with spikes, and the synaptic events of an answer."""
    accuracies = {way: trainers[WAYS[way]].accuracy(weights, *shown) for way in WAYS}
    events, _ = trainers[True].energy(shown[0])
    rates, spikes = accuracies["plain"], accuracies["with spikes"]
    return SimpleNamespace(rates=rates, spikes=spikes, events=events)


def check(sequences, scale):
    """Check the network's memory at the end of sequences against that of NumPy."""
    net = build(True, scale)
    with net:
        remembered = nengo.Probe(net.memory)
    with nengo_dl.Simulator(net, minibatch_size=len(sequences), progress_bar=False) as sim:
        found = sim.predict({net.signal: sequences}, verbose=0)[remembered][:, -1]
    assert np.allclose(found, scale * remember(sequences), atol=1e-3), "another memory"


def check_findings(runs):
    """Raise if a seed contradicts what `main` prints."""
    for plain, with_spikes in zip(*runs.values()):
        assert with_spikes.spikes[-1] > plain.spikes[-1], "spikes in training do not help"


def print_table(runs):
    print("Accuracy (%) at the end of a sequence: means over seeds, and standard errors.\n")
    print("trained         on rates    with spikes   synaptic events")
    for way, found in runs.items():
        row = f"{way:12}"
        for name in ("rates", "spikes"):
            accuracy, error = summary([getattr(run, name)[-1] for run in found])
            row += f"  {accuracy:5.1f} +- {error:3.1f}"
        print(f"{row} {mean(found, 'events'):16.0f}")


def save_figure(runs):
    with nengo_wd.plotting.style():
        figure, panels = plt.subplots(1, 2, figsize=(7.2, 2.9), sharey=True)  # inches
        names = {"rates": "on rates", "spikes": "with spikes"}
        for axes, (way, found) in zip(panels, runs.items()):
            for (name, label), line in zip(names.items(), ("--", "-")):
                accuracy, error = summary([getattr(run, name) for run in found])
                times = np.arange(1, N_STEPS + 1)
                axes.plot(times, accuracy, line, color=COLORS[way], label=label)
                edges = accuracy - error, accuracy + error
                axes.fill_between(times, *edges, color=COLORS[way], alpha=0.2, linewidth=0)
            axes.set(title=f"trained {way}", xlabel="time (ms), while pixels arrive")
            axes.legend()
        panels[0].set(ylabel="accuracy (%)", ylim=(0, 100))
        figure.suptitle(f"means of {len(SEEDS)} seeds; bands are standard errors", fontsize="small")
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    splits = load_splits()
    scale = 1 / np.std(remember(splits["train"][0]))  # of the memory's input
    check(splits["test"][0][:10], scale)
    runs = all_runs(splits, scale)
    print_table(runs)
    if not SHORT:
        check_findings(runs)
    plain, spiking = runs["plain"], runs["with spikes"]
    print(
        f"\nTrained on rates, the network reads {mean(plain, 'rates')[-1]:.1f}% of the test digits "
        f"on rates, and {mean(plain, 'spikes')[-1]:.1f}% with spikes.\n"
        f"Trained with spikes, it reads {mean(spiking, 'spikes')[-1]:.1f}% with spikes."
    )
    save_figure(runs)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
