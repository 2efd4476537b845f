"""Penalty or decay
================

How closely weight decay is tied to the learning rate, as a penalty and as decoupled decay.

A small network of spiking neurons learns scikit-learn's digits with Adam, over a grid of learning
rates and decays, as in figure 2 of Loshchilov and Hutter ("Decoupled weight decay
regularization", ICLR 2019), in three ways:

- penalty: ``decay * sum(w ** 2)`` is part of the loss, so Adam rescales its gradient;
- decay: ``w <- w - rate * decay * w`` in addition to Adam's step, as in PyTorch's and Keras' AdamW;
- unscaled: ``w <- w - decay * w``, whatever the learning rate, as in that paper.

Almost a third of the 200 training labels are wrong. Without decay the network learns these too, so
decay has something to do. All runs have the same initial weights and number of steps, each on all
training images. They differ only in the two numbers of the grid.

Three numbers say how closely a way ties the decay to the learning rate:

- the exponent p in ``best decay ~ rate ** p``, fitted over the learning rates. The best decay is
  the geometric mean of those with a validation error within a point of the lowest;
- the price of one decay for all learning rates: how many points of validation error it costs, on
  average, compared with the best decay for each;
- the spread of the weights at that decay: their largest norm divided by their smallest.

You can tune rate and decay one after the other if p and price are near 0 and the spread is near 1.

Run it with ``python penalty_or_decay.py``, on NengoDL 3. It takes seconds with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from matplotlib.colors import Normalize
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("penalty_or_decay.py needs NengoDL 3")

SHORT = "--short" in sys.argv  # takes seconds
SEED = 0
SPLITS = {"train": 200, "validation": 1000}
WRONG_LABELS = 60  # in the training split
TRAINING_STEPS = 100 if SHORT else 500
N_STEPS = 25  # of 1 ms each, NengoDL's default: how long an image is shown in validation
MAX_RATE = 200  # Hz, the firing rate of a neuron whose input is 1
SYNAPSE = 0.02  # seconds, the time constant of the filter on the output
STEP = 1 if SHORT else 0.5  # between the logarithms of two learning rates or decays
RATES = 10 ** np.arange(-3, -1.4, STEP)
GRID = np.arange(0, 3.1, STEP)  # the logarithms of the decays, over that of the smallest
DECAYS = {"penalty": 10 ** (GRID - 4), "decay": 10 ** (GRID - 1.5), "unscaled": 10 ** (GRID - 3.5)}
TITLES = ["(a) L2 penalty", "(b) decay $\\times$ learning rate", "(c) decay, not scaled"]
FIGURE = Path("figures/penalty_or_decay.png")


def load_splits():
    """Return images (n, 64), scaled to 0..1, and labels (n,) of both splits, stratified."""
    images, labels = load_digits(return_X_y=True)
    sizes = dict(zip(["train_size", "test_size"], SPLITS.values()))
    parts = train_test_split(images / 16, labels, stratify=labels, random_state=SEED, **sizes)
    splits = dict(zip(SPLITS, (parts[::2], parts[1::2])))
    wrong = splits["train"][1][:WRONG_LABELS]
    wrong[:] = (wrong + np.random.RandomState(SEED).randint(1, 10, WRONG_LABELS)) % 10
    return splits


def build():
    """Return the network; its node, layers, probes, penalty and decay are its attributes."""
    with nengo.Network(seed=SEED) as net:
        # each image starts from rest; the dense layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False, lif_smoothing=0.02)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        neurons = nengo_dl.Layer(nengo.LIF(amplitude=1 / MAX_RATE))

        # variables, so that nothing need be built or compiled again to change them
        net.penalty, net.decay = (tf.Variable(0.0, trainable=False) for _ in range(2))
        nengo_wd.configure_settings(
            regularizer=lambda w: net.penalty * tf.reduce_sum(w**2), weight_decay=net.decay
        )
        net.layers = [nengo_wd.RegularizedDense(n, kernel_regularizer=None) for n in (64, 10)]
        net.pixels = nengo.Node(np.zeros(64))
        hidden = neurons(nengo_dl.Layer(net.layers[0])(net.pixels))
        output = nengo_dl.Layer(net.layers[1])(hidden)
        net.output = nengo.Probe(output)
        net.readout = nengo.Probe(output, synapse=SYNAPSE)
    return net


def crossentropy(labels, outputs):
    """Return the cross-entropy at the last time step."""
    return tf.keras.losses.sparse_categorical_crossentropy(
        labels[:, -1], outputs[:, -1], from_logits=True
    )


def compile_once(sim, net):
    """Return the optimizer, which decays by ``net.decay``; the loss has ``net.penalty`` in it."""
    optimizer = nengo_wd.regularized_optimizer(sim, tf.keras.optimizers.Adam())
    objective = nengo_wd.regularized_objective(sim, {net.output: crossentropy})
    sim.compile(optimizer, loss=objective, steps_per_execution=100)
    return optimizer


def set_rate_and_decay(net, optimizer, way, rate, decay):
    optimizer.learning_rate = rate
    net.penalty.assign(decay if way == "penalty" else 0)
    # at a constant learning rate, this is what scale_by_learning_rate=False does
    net.decay.assign({"penalty": 0, "decay": decay, "unscaled": decay / rate}[way])


def train(sim, net, images, labels):
    """Train for ``TRAINING_STEPS``, each on all images, on the neurons' firing rates."""
    inputs = {net.pixels: np.tile(images[:, None], (TRAINING_STEPS, 1, 1))}
    targets = {net.output: np.tile(labels[:, None, None], (TRAINING_STEPS, 1, 1))}
    sim.fit(inputs, targets, shuffle=False, verbose=0)


def error_with_spikes(sim, net, images, labels):
    """Return the percentage of wrong answers after ``N_STEPS`` time steps."""
    shown = np.tile(images[:, None], (1, N_STEPS, 1))
    outputs = sim.predict({net.pixels: shown}, verbose=0)[net.readout]
    return 100 * np.mean(outputs[:, -1].argmax(axis=-1) != labels)


def experiment(splits):
    """Return the results of each way; every run starts from the same weights."""
    net, results = build(), {}
    tf.keras.utils.set_random_seed(SEED)
    with nengo_dl.Simulator(net, minibatch_size=SPLITS["train"], progress_bar=False) as sim:
        optimizer = compile_once(sim, net)
        start = sim.keras_model.get_weights()
        for way, decays in DECAYS.items():
            errors, norms = np.zeros((2, len(RATES), len(decays)))
            runs = list(np.ndindex(errors.shape))
            for i, j in progressbar.progressbar(runs, prefix=f"Training, {way}: "):
                sim.keras_model.set_weights(start)
                for variable in optimizer.variables:  # Adam's moments and its count of steps
                    variable.assign(tf.zeros_like(variable))
                set_rate_and_decay(net, optimizer, way, RATES[i], decays[j])
                train(sim, net, *splits["train"])
                errors[i, j] = error_with_spikes(sim, net, *splits["validation"])
                norms[i, j] = np.sqrt(sum(np.sum(n.get_weights()[0] ** 2) for n in net.layers))
            results[way] = measure(decays, errors, norms)
    return results


def measure(decays, errors, norms):
    """Return the errors and norms (n_rates, n_decays) with the measures of coupling."""
    excess = errors - errors.min(axis=1, keepdims=True)  # over the best decay for each rate
    good = excess <= 1
    best = np.array([np.exp(np.mean(np.log(decays[row]))) for row in good])
    prices = excess.mean(axis=0)
    common = prices.argmin()
    return SimpleNamespace(
        decays=decays,
        errors=errors,
        norms=norms,
        good=good,
        best=best,
        exponent=np.polyfit(np.log(RATES), np.log(best), 1)[0],
        common=decays[common],
        price=prices[common],
        spread=norms[:, common].max() / norms[:, common].min(),
    )


def print_tables(results):
    for way, result in results.items():
        print(f"\n{way}: validation error (%) and norm of the weights")
        print("    rate  |  decay", "".join(f"{d:^12.2g}" for d in result.decays), "  best decay")
        rows = zip(RATES, result.errors, result.norms, result.best)
        for rate, errors, norms, best in rows:
            cells = "".join(f"{error:6.1f} {norm:4.1f} " for error, norm in zip(errors, norms))
            print(f"{rate:8.2g}  |       {cells}{best:11.2g}")
    print("\nway       exponent p  one decay for all  its price  spread of the norms")
    for way, result in results.items():
        print(f"{way:8}  {result.exponent:10.2f}  {result.common:17.2g}", end="")
        print(f"  {result.price:9.1f}  {result.spread:19.2f}")


def check(results):
    """Check decay that is not scaled against decay that is: times the rate, it is the same."""
    for way, result in results.items():
        assert np.isfinite(result.norms).all(), f"{way}: weights are not finite"
    decay, unscaled = results["decay"], results["unscaled"]
    pairs = np.isclose(np.multiply.outer(RATES, decay.decays)[:, :, None], unscaled.decays)
    assert pairs.any(), "no two runs are the same in both ways"
    for i, j, k in np.argwhere(pairs):
        one, other = decay.norms[i, j], unscaled.norms[i, k]
        assert np.isclose(one, other, rtol=0.05), f"other weights at {RATES[i]:.2g}"


def check_findings(results):
    """Raise if the numbers contradict what `main` prints."""
    penalty, decay, unscaled = results.values()
    for way, result in results.items():
        gain = result.errors[-1, 0] - result.errors[-1].min()
        assert gain > 5, f"{way}: decay has nothing to do"
    for uncoupled in (penalty, decay):
        assert uncoupled.spread < 1.5 < 2 < unscaled.spread, "weights depend on the learning rate"
        assert uncoupled.price < unscaled.price, "one decay for all rates costs more"
        assert uncoupled.exponent < unscaled.exponent - 0.3, "the best decay moves more"


def log_ticks(axis, values):
    """Label the powers of ten among ``values``, which lie at 0, 1, ... on the axis."""
    logs = np.log10(values)
    axis.set_ticks([i for i, log in enumerate(logs) if np.isclose(log, round(log))])
    axis.set_ticks(range(len(logs)), minor=True)
    axis.set_major_formatter(lambda i, _: f"$10^{{{logs[int(i)]:.0f}}}$")


def plot_errors(axes, result, norm):
    image = axes.imshow(result.errors, norm=norm, cmap="cividis", origin="lower", aspect="auto")
    rows, columns = np.nonzero(result.good)
    axes.plot(columns, rows, "o", color="white", markeredgecolor="black", markersize=4)
    log_ticks(axes.xaxis, result.decays)
    log_ticks(axes.yaxis, RATES)
    axes.spines[:].set_visible(False)
    return image


def plot_norms(axes, result):
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(RATES)))
    for rate, norms, color, marker in zip(RATES, result.norms, colors, "osD^"):
        label = f"$10^{{{np.log10(rate):g}}}$"
        axes.loglog(result.decays, norms, f"{marker}-", color=color, markersize=3, label=label)


def save_figure(results):
    with nengo_wd.plotting.style():
        figure, (top, bottom) = plt.subplots(2, 3, sharey="row", figsize=(7.2, 4.2))  # inches
        errors = np.concatenate([result.errors.ravel() for result in results.values()])
        norm = Normalize(errors.min(), 2.5 * errors.min())
        for upper, lower, title, result in zip(top, bottom, TITLES, results.values()):
            image = plot_errors(upper, result, norm)
            plot_norms(lower, result)
            upper.set_title(title)
            lower.set_xlabel("decay")
        top[0].set_ylabel("learning rate")
        bottom[0].set_ylabel("norm of the weights")
        figure.colorbar(image, ax=top, extend="max", label="validation error (%)")
        bottom[-1].legend(title="learning rate")
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    results = experiment(load_splits())
    print_tables(results)
    check(results)
    if not SHORT:
        check_findings(results)
    penalty, decay, unscaled = (result.price for result in results.values())
    print(
        f"\nOne decay for all learning rates costs {penalty:.1f} points of validation error as a "
        f"penalty,\n{decay:.1f} as decay scaled by the learning rate, {unscaled:.1f} as decay that "
        "is not: here the last is coupled\nto the learning rate, and the other two are not."
    )
    save_figure(results)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
