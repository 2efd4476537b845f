"""Weight decay on a spiking classifier
====================================

A network of spiking neurons learns to read handwritten digits, without and with weight decay.

Three dense layers with LIF neurons in between classify scikit-learn's digits, images of 8 by 8
pixels. NengoDL trains the network for a single time step, on the neurons' firing rates. Every
image is then shown for 50 ms. The neurons spike, and the largest filtered output is the answer.

Weight decay is an L2 penalty of ``strength * sum(w ** 2)`` on each layer's weights. ``nengo_wd``
adds it to what training minimizes. Its strength is chosen on a validation split, and the test split
is only for the comparison. The network with decay should do as well on the test split, within
noise, with much smaller weights.

The training split has 200 images for 17,024 weights, so you can see overfitting. The network learns
all of these images by heart, but misreads some of the test images. It would misread few if it had
most of the 1,797 digits to train on.

Run it with ``python spiking_digits.py``, on NengoDL 3. It takes seconds with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("spiking_digits.py needs NengoDL 3")

SHORT = "--short" in sys.argv  # takes seconds
SEED = 0
SPLITS = {"train": 200, "validation": 500, "test": 1050}  # 47 images are left over
STRENGTHS = [3e-3] if SHORT else [3e-4, 1e-3, 3e-3, 1e-2]  # to choose from
EPOCHS = 10 if SHORT else 100
MINIBATCH_SIZE = 50
LEARNING_RATE = 0.005
LAYERS = {"hidden 1": 128, "hidden 2": 64, "output": 10}  # units
N_STEPS = 20 if SHORT else 50  # of 1 ms each, NengoDL's default: how long an image is shown
MAX_RATE = 200  # Hz, the firing rate of a neuron whose input is 1
SYNAPSE = 0.02  # seconds, the time constant of the filter on the output
STYLES = {"without": {"color": "C1", "linestyle": "--"}, "with": {"color": "C0", "linestyle": "-"}}
FIGURE = Path("figures/spiking_digits.png")


def load_splits():
    """Return images (n, 64), scaled to 0..1, and labels (n,) of each split, stratified."""
    images, labels = load_digits(return_X_y=True)
    splits, rest = {}, (images / 16, labels)
    for name, size in SPLITS.items():
        parts = train_test_split(*rest, train_size=size, stratify=rest[1], random_state=SEED)
        splits[name], rest = parts[::2], parts[1::2]
    return splits


def build(strength):
    """Return the network; its node, dense layers and probes are its attributes."""
    with nengo.Network(seed=SEED) as net:
        # each image starts from rest; the dense layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False, lif_smoothing=0.02)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        neurons = nengo_dl.Layer(nengo.LIF(amplitude=1 / MAX_RATE))

        l2 = tf.keras.regularizers.L2(strength)
        net.layers = [
            nengo_wd.RegularizedDense(units, kernel_regularizer=l2) for units in LAYERS.values()
        ]
        net.pixels = nengo.Node(np.zeros(64))
        hidden1 = neurons(nengo_dl.Layer(net.layers[0])(net.pixels))
        hidden2 = neurons(nengo_dl.Layer(net.layers[1])(hidden1))
        output = nengo_dl.Layer(net.layers[2])(hidden2)
        net.output = nengo.Probe(output)
        net.readout = nengo.Probe(output, synapse=SYNAPSE, label="readout")
    return net


def over_time(images, n_steps=N_STEPS):
    """Return the output of the node: every image, constant for ``n_steps``."""
    return np.tile(images[:, None, :], (1, n_steps, 1))


def crossentropy(labels, outputs):
    """Return the cross-entropy at the last time step."""
    return tf.keras.losses.sparse_categorical_crossentropy(
        labels[:, -1], outputs[:, -1], from_logits=True
    )


def train(sim, net, images, labels):
    """Train, and return the norms of the weights and the penalties after each epoch."""
    objective = nengo_wd.regularized_objective(sim, {net.output: crossentropy})
    sim.compile(tf.optimizers.Adam(LEARNING_RATE), loss=objective)
    norms = nengo_wd.WeightNorms(sim)
    inputs, targets = {net.pixels: over_time(images, 1)}, {net.output: labels[:, None, None]}
    sim.fit(inputs, targets, epochs=EPOCHS, verbose=0, callbacks=[norms])
    return norms


def accuracy_over_time(sim, net, images, labels):
    """Return the share of right answers at each time step, with spikes."""
    outputs = sim.predict({net.pixels: over_time(images)}, verbose=0)[net.readout]
    return np.mean(outputs.argmax(axis=-1) == labels[:, None], axis=0)


def losses(sim, net, images, labels):
    """Return the cross-entropy with spikes, and the total with the penalties."""
    sim.compile(loss=nengo_wd.regularized_objective(sim, {net.readout: crossentropy}))
    inputs, targets = {net.pixels: over_time(images)}, {net.readout: labels[:, None, None]}
    evaluated = sim.evaluate(inputs, targets, verbose=0)
    return evaluated["readout_loss"], evaluated["loss"]


def experiment(strength, splits):
    """Train a network with a penalty of this strength, and return how it does with spikes."""
    net = build(strength)
    tf.keras.utils.set_random_seed(SEED)
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        recorded = train(sim, net, *splits["train"])
        accuracy = {name: accuracy_over_time(sim, net, *split) for name, split in splits.items()}
        error, total = losses(sim, net, *splits["test"])
        weights = [layer.get_weights()[0] for layer in net.layers]
        return SimpleNamespace(
            strength=strength,
            weights=weights,
            norms=recorded.norms[-1],
            share=recorded.shares[-1].sum(),
            accuracy=accuracy,
            error=error,
            penalty=nengo_wd.regularization_loss(sim),
            total=total,
        )


def choose(without, candidates):
    """Return the run with the best validation accuracy."""
    best = max(candidates, key=lambda run: run.accuracy["validation"][-1])
    print(f"strength chosen on a validation split: {best.strength:g}, of {len(candidates)} tried")
    print("strength  validation accuracy  norm of all weights  penalties in the training loss")
    for run in [without, *candidates]:
        accuracy, norm = run.accuracy["validation"][-1], np.linalg.norm(run.norms)
        print(f"{run.strength:<8g}  {accuracy:19.1%}  {norm:19.2f}  {run.share:30.0%}")
    return best


def print_table(runs):
    print("\n" + " " * 21 + "accuracy         norms of the weights       loss on the test split")
    print("decay    strength   train   test", "  ".join(LAYERS), sep="  ", end="   ")
    print("cross-entropy + penalty = total")
    row = "{:7}  {:8g}  {:6.1%} {:6.1%}  {:8.2f}  {:8.2f}  {:6.2f}  {:14.4f}   {:7.4f}  {:6.4f}"
    for name, run in runs.items():
        numbers = [run.accuracy["train"][-1], run.accuracy["test"][-1], *run.norms]
        print(row.format(name, run.strength, *numbers, run.error, run.penalty, run.total))


def standard_error(accuracy):
    """Return the binomial standard error of an accuracy on the test split."""
    return np.sqrt(accuracy * (1 - accuracy) / SPLITS["test"])


def check(runs):
    for run in runs.values():
        norms = [np.linalg.norm(w) for w in run.weights]
        penalty, counted = run.strength * np.sum(np.square(norms)), run.total - run.error
        assert close(run.norms, norms), "other norms were recorded than those of the weights"
        assert close(run.penalty, penalty), "the penalty is not the sum over the layers"
        assert close(counted, penalty), "the penalty is not counted exactly once"


def close(one, other):
    """Tell whether numbers agree; sums in float32 are right to some 1e-6."""
    return np.allclose(one, other, rtol=1e-3, atol=1e-5)


def check_findings(runs):
    """Raise if decay did not do what `main` prints, allowing for noise."""
    without, decayed = runs["without"], runs["with"]
    assert np.all(np.less(decayed.norms, without.norms)), "not every layer's weights are smaller"
    accuracy = without.accuracy["test"][-1]
    worst = accuracy - 2 * standard_error(accuracy)  # noise: two standard errors
    assert decayed.accuracy["test"][-1] >= worst, "weight decay made the test accuracy worse"


def plot_histograms(axes, runs):
    limit = max(np.abs(run.weights[0]).max() for run in runs.values())
    bins = np.linspace(-limit, limit, 62)
    for name, run in runs.items():
        axes.hist(run.weights[0].ravel(), bins, histtype="step", **STYLES[name])
    axes.set_yscale("log")
    axes.set(title="(a) weights of hidden 1", xlabel="weight", ylabel="weights per bin")


def plot_norms(axes, runs):
    for shift, (name, run) in zip([-0.2, 0.2], runs.items()):
        x = np.arange(len(LAYERS)) + shift
        bars = axes.bar(x, run.norms, 0.36, color=STYLES[name]["color"])
        axes.bar_label(bars, fmt="%.1f", padding=1, fontsize=7)
    axes.set_xticks(range(len(LAYERS)), LAYERS)
    axes.margins(y=0.1)
    axes.set(title="(b) norm of the weights", xlabel="layer", ylabel="$L_2$ norm")


def plot_accuracy(axes, runs):
    for name, run in runs.items():
        color, test = STYLES[name]["color"], 100 * run.accuracy["test"]
        time = np.arange(1, len(test) + 1)  # ms
        axes.plot(time, 100 * run.accuracy["train"], **STYLES[name])
        axes.plot(time, test, **STYLES[name], label=f"{name} decay")
        error = 100 * standard_error(run.accuracy["test"])
        axes.fill_between(time, test - error, test + error, color=color, alpha=0.2, linewidth=0)
    for split, text in [("train", "train"), ("test", "test $\\pm$ s.e.")]:
        lower = min(run.accuracy[split][len(time) // 2 :].min() for run in runs.values())
        axes.text(time[-1], 100 * lower - 1.5, text, ha="right", va="top")
    axes.set(title="(c) accuracy with spikes", xlabel="presentation time (ms)")
    axes.set(ylabel="accuracy (%)", ylim=(70, 101))


def save_figure(runs):
    with nengo_wd.plotting.style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 2.6))  # inches
        plot_histograms(left, runs)
        plot_norms(middle, runs)
        plot_accuracy(right, runs)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    splits = load_splits()
    strengths = progressbar.progressbar([0, *STRENGTHS], prefix="Training: ")
    without, *candidates = [experiment(strength, splits) for strength in strengths]
    runs = {"without": without, "with": choose(without, candidates)}
    print_table(runs)
    check(runs)
    if not SHORT:
        check_findings(runs)

    before, after = without.accuracy["test"][-1], runs["with"].accuracy["test"][-1]
    ratios = np.divide(runs["with"].norms, without.norms)
    print(
        f"\nWith weight decay, the norms of the layers' weights are {ratios.min():.0%} to "
        f"{ratios.max():.0%} of those without.\nThe test accuracy with spikes is {after:.1%}, "
        f"against {before:.1%} without (standard error {standard_error(before):.1%})."
    )
    save_figure(runs)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
