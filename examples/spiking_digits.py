"""Weight decay on a spiking classifier
====================================

A network of spiking neurons learns to read handwritten digits, without and with weight decay.

Three dense layers with LIF neurons in between classify scikit-learn's digits, images of 8 by 8
pixels. NengoDL trains the network for a single time step, on the neurons' firing rates. Then
every image is shown for 50 ms, the neurons spike, and the largest filtered output is the answer.

Weight decay is an L2 penalty of ``strength * sum(w ** 2)`` on each layer's weights, which
``nengo_wd`` adds to what training minimizes. Its strength is chosen on a validation split; the
test split is for the comparison alone. The network with decay should do as well there, within
noise, with much smaller weights.

There are 200 training images for 17,024 weights, to make overfitting visible: the network learns
all of them by heart, but misreads some of the test images. With most of the 1,797 digits to train
on, it would misread few.

Run it with ``python spiking_digits.py``, on NengoDL 3. With ``--short`` it takes seconds.
"""

import argparse
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

SEED = 0
SPLITS = {"train": 200, "validation": 500, "test": 1050}  # 47 images are left over
MINIBATCH_SIZE = 50
LEARNING_RATE = 0.005
LAYERS = {"hidden 1": 128, "hidden 2": 64, "output": 10}  # units
MAX_RATE = 200  # Hz, the firing rate of a neuron whose input is 1
SYNAPSE = 0.02  # seconds, the time constant of the filter on the output
STYLES = {  # told apart by colour-blind readers, and in grey
    "without": {"color": "#D55E00", "linestyle": "--"},
    "with": {"color": "#0072B2", "linestyle": "-"},
}
RC_PARAMS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="where to save")
    parser.add_argument("--short", action="store_true", help="a run of seconds, for tests")
    args = parser.parse_args()
    args.strengths = [3e-3] if args.short else [3e-4, 1e-3, 3e-3, 1e-2]
    args.epochs = 30 if args.short else 100
    args.n_steps = 20 if args.short else 50  # of 1 ms each, NengoDL's default
    return args


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
        nengo_dl.configure_settings(stateful=False, trainable=False)
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


def over_time(images, n_steps):
    """Return what the node puts out: every image, constant for ``n_steps``."""
    return np.tile(images[:, None, :], (1, n_steps, 1))


def crossentropy(labels, outputs):
    """Return the cross-entropy at the last time step."""
    return tf.keras.losses.sparse_categorical_crossentropy(
        labels[:, -1], outputs[:, -1], from_logits=True
    )


def train(sim, net, images, labels, epochs, bar):
    """Train, and return the norms of the weights and the penalties after each epoch."""
    objective = nengo_wd.regularized_objective(sim, {net.output: crossentropy})
    sim.compile(tf.optimizers.Adam(LEARNING_RATE), loss=objective)
    norms = nengo_wd.WeightNorms(sim)
    progress = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: bar.increment())
    sim.fit(
        {net.pixels: over_time(images, 1)},
        {net.output: labels[:, None, None]},
        epochs=epochs,
        verbose=0,
        callbacks=[norms, progress],
    )
    return norms


def accuracy_over_time(sim, net, images, labels, n_steps):
    """Return the share of right answers at each time step, with spikes."""
    outputs = sim.predict({net.pixels: over_time(images, n_steps)}, verbose=0)[net.readout]
    return np.mean(outputs.argmax(axis=-1) == labels[:, None], axis=0)


def losses(sim, net, images, labels, n_steps):
    """Return the cross-entropy with spikes, and the total with the penalties."""
    sim.compile(loss=nengo_wd.regularized_objective(sim, {net.readout: crossentropy}))
    inputs, targets = {net.pixels: over_time(images, n_steps)}, {net.readout: labels[:, None, None]}
    evaluated = sim.evaluate(inputs, targets, verbose=0)
    return evaluated["readout_loss"], evaluated["loss"]


def experiment(strength, splits, args, bar):
    """Train a network with a penalty of this strength, and return how it does with spikes."""
    net = build(strength)
    tf.keras.utils.set_random_seed(SEED)
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        recorded = train(sim, net, *splits["train"], args.epochs, bar)
        accuracy = {
            name: accuracy_over_time(sim, net, *split, args.n_steps)
            for name, split in splits.items()
        }
        error, total = losses(sim, net, *splits["test"], args.n_steps)
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
        assert np.allclose(run.norms, norms), "other norms were recorded than those of the weights"
        penalty = run.strength * np.sum(np.square(norms))
        assert np.isclose(run.penalty, penalty), "the penalty is not the sum over the layers"
        counted = run.total - run.error
        assert np.isclose(counted, penalty, rtol=1e-4), "the penalty is not counted exactly once"
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


def save_figure(runs, folder):
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=(7.2, 2.6), dpi=300, layout="constrained")  # inches
        left, middle, right = figure.subplots(1, 3)
        plot_histograms(left, runs)
        plot_norms(middle, runs)
        plot_accuracy(right, runs)
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "spiking_digits.png")
    return folder / "spiking_digits.png"


def main():
    if not hasattr(nengo_dl.Simulator, "fit"):
        raise SystemExit(f"spiking_digits.py needs NengoDL 3; this is {nengo_dl.__version__}")
    warnings.filterwarnings("ignore", "No GPU support detected")
    args = arguments()
    splits = load_splits()
    strengths = [0, *args.strengths]
    n_epochs = len(strengths) * args.epochs
    with progressbar.ProgressBar(max_value=n_epochs, prefix="Training: ") as bar:
        without, *candidates = [experiment(strength, splits, args, bar) for strength in strengths]
    runs = {"without": without, "with": choose(without, candidates)}
    print_table(runs)
    check(runs)

    before, after = without.accuracy["test"][-1], runs["with"].accuracy["test"][-1]
    ratios = np.divide(runs["with"].norms, without.norms)
    print(
        f"\nWith weight decay, the norms of the layers' weights are {ratios.min():.0%} to "
        f"{ratios.max():.0%} of those without.\nThe test accuracy with spikes is {after:.1%}, "
        f"against {before:.1%} without (standard error {standard_error(before):.1%})."
    )
    print(f"Figure saved to {save_figure(runs, args.figures)}")


if __name__ == "__main__":
    main()
