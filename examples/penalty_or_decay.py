"""Penalty or decay
================

How closely weight decay is tied to the learning rate, as a penalty and as decoupled decay.

A small network of spiking neurons learns scikit-learn's digits with Adam, over a grid of learning
rates and decays, as in figure 2 of Loshchilov and Hutter ("Decoupled weight decay
regularization", ICLR 2019), in three ways:

- penalty: ``decay * sum(w ** 2)`` is part of the loss, so that Adam rescales its gradient;
- decay: ``w <- w - rate * decay * w`` beside Adam's step, as in PyTorch's and Keras' AdamW;
- unscaled: ``w <- w - decay * w``, whatever the learning rate, as in that paper.

Almost a third of the 200 training labels are wrong. Without decay the network learns them too, so
that decay has something to do. All runs have the same initial weights and number of steps, each
on all training images; they differ in the two numbers of the grid only.

Three numbers say how closely a way ties the decay to the learning rate:

- the exponent p in ``best decay ~ rate ** p``, fitted over the learning rates. The best decay is
  the geometric mean of those with a validation error within a point of the lowest;
- the price of one decay for all learning rates: how many points of validation error it costs, on
  average, against the best decay for each;
- the spread of the weights at that decay: their largest norm over the smallest.

Where rate and decay can be tuned one after the other, p and price are near 0 and the spread near 1.

Run it with ``python penalty_or_decay.py``, on NengoDL 3. With ``--short`` it takes seconds.
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
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

SEED = 0
SPLITS = {"train": 200, "validation": 1000}
WRONG_LABELS = 60  # in the training split
N_STEPS = 25  # of 1 ms each, NengoDL's default: how long an image is shown in validation
MAX_RATE = 200  # Hz, the firing rate of a neuron whose input is 1
SYNAPSE = 0.02  # seconds, the time constant of the filter on the output
WAYS = {  # the title, and the logarithms of the smallest and the largest decay
    "penalty": ("(a) L2 penalty", -4, -1),
    "decay": ("(b) decay $\\times$ learning rate", -1.5, 1.5),
    "unscaled": ("(c) decay, not scaled", -3.5, -0.5),
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
    args.rates = np.power(10, [-3.0, -2.0] if args.short else [-3.0, -2.5, -2.0, -1.5])
    step = 1 if args.short else 0.5  # between the logarithms of two decays
    args.decays = {
        way: 10 ** np.arange(low, high + step / 2, step) for way, (_, low, high) in WAYS.items()
    }
    args.training_steps = 300 if args.short else 500
    return args


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
        nengo_dl.configure_settings(stateful=False, trainable=False)
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
    optimizer = nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.Adam())
    objective = nengo_wd.regularized_objective(sim, {net.output: crossentropy})
    sim.compile(optimizer, loss=objective, steps_per_execution=100)
    return optimizer


def set_rate_and_decay(net, optimizer, way, rate, decay):
    optimizer.learning_rate = rate
    net.penalty.assign(decay if way == "penalty" else 0)
    # at a constant learning rate, this is what scale_by_learning_rate=False does
    net.decay.assign({"penalty": 0, "decay": decay, "unscaled": decay / rate}[way])


def train(sim, net, images, labels, steps):
    """Train for a number of steps, each on all images, on the neurons' firing rates."""
    inputs = {net.pixels: np.tile(images[:, None], (steps, 1, 1))}
    targets = {net.output: np.tile(labels[:, None, None], (steps, 1, 1))}
    sim.fit(inputs, targets, shuffle=False, verbose=0)


def error_with_spikes(sim, net, images, labels):
    """Return the percentage of wrong answers after ``N_STEPS`` time steps."""
    shown = np.tile(images[:, None], (1, N_STEPS, 1))
    outputs = sim.predict({net.pixels: shown}, verbose=0)[net.readout]
    return 100 * np.mean(outputs[:, -1].argmax(axis=-1) != labels)


def experiment(splits, args, bar):
    """Return the results of each way; every run starts from the same weights."""
    net, results = build(), {}
    tf.keras.utils.set_random_seed(SEED)
    with nengo_dl.Simulator(net, minibatch_size=SPLITS["train"], progress_bar=False) as sim:
        optimizer = compile_once(sim, net)
        start = sim.keras_model.get_weights()
        for way, decays in args.decays.items():
            errors, norms = (np.zeros((len(args.rates), len(decays))) for _ in range(2))
            for i, j in np.ndindex(errors.shape):
                sim.keras_model.set_weights(start)
                for variable in optimizer.variables:  # Adam's moments and its count of steps
                    variable.assign(tf.zeros_like(variable))
                set_rate_and_decay(net, optimizer, way, args.rates[i], decays[j])
                train(sim, net, *splits["train"], args.training_steps)
                errors[i, j] = error_with_spikes(sim, net, *splits["validation"])
                norms[i, j] = np.sqrt(sum(np.sum(n.get_weights()[0] ** 2) for n in net.layers))
                bar.increment()
            results[way] = measure(args.rates, decays, errors, norms)
    return results


def measure(rates, decays, errors, norms):
    """Return the errors and norms (n_rates, n_decays) with the measures of coupling."""
    excess = errors - errors.min(axis=1, keepdims=True)  # over the best decay for each rate
    good = excess <= 1
    best = np.array([np.exp(np.mean(np.log(decays[row]))) for row in good])
    prices = excess.mean(axis=0)
    common = prices.argmin()
    return SimpleNamespace(
        rates=rates,
        decays=decays,
        errors=errors,
        norms=norms,
        good=good,
        best=best,
        exponent=np.polyfit(np.log(rates), np.log(best), 1)[0],
        common=decays[common],
        price=prices[common],
        spread=norms[:, common].max() / norms[:, common].min(),
    )


def print_tables(results):
    for way, result in results.items():
        print(f"\n{way}: validation error (%) and norm of the weights")
        print("    rate  |  decay", "".join(f"{d:^12.2g}" for d in result.decays), "  best decay")
        rows = zip(result.rates, result.errors, result.norms, result.best)
        for rate, errors, norms, best in rows:
            cells = "".join(f"{error:6.1f} {norm:4.1f} " for error, norm in zip(errors, norms))
            print(f"{rate:8.2g}  |       {cells}{best:11.2g}")
    print("\nway       exponent p  one decay for all  its price  spread of the norms")
    for way, result in results.items():
        print(f"{way:8}  {result.exponent:10.2f}  {result.common:17.2g}", end="")
        print(f"  {result.price:9.1f}  {result.spread:19.2f}")


def check(results):
    """Raise where the numbers do not bear out what `main` prints."""
    penalty, decay, unscaled = (results[way] for way in WAYS)
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
    log_ticks(axes.yaxis, result.rates)
    axes.spines[:].set_visible(False)
    return image


def plot_norms(axes, result):
    colors = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(result.rates)))
    for rate, norms, color, marker in zip(result.rates, result.norms, colors, "osD^"):
        label = f"$10^{{{np.log10(rate):g}}}$"
        axes.loglog(result.decays, norms, color=color, marker=marker, markersize=3, label=label)


def save_figure(results, folder):
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=(7.2, 4.2), dpi=300, layout="constrained")  # inches
        top, bottom = figure.subplots(2, 3, sharey="row")
        errors = np.concatenate([result.errors.ravel() for result in results.values()])
        norm = Normalize(errors.min(), 2.5 * errors.min())
        for upper, lower, (way, result) in zip(top, bottom, results.items()):
            image = plot_errors(upper, result, norm)
            plot_norms(lower, result)
            upper.set_title(WAYS[way][0])
            lower.set_xlabel("decay")
        top[0].set_ylabel("learning rate")
        bottom[0].set_ylabel("norm of the weights")
        figure.colorbar(image, ax=top, extend="max", label="validation error (%)")
        bottom[-1].legend(title="learning rate")
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "penalty_or_decay.png")
    return folder / "penalty_or_decay.png"


def main():
    if not hasattr(nengo_dl.Simulator, "fit"):
        raise SystemExit(f"penalty_or_decay.py needs NengoDL 3; this is {nengo_dl.__version__}")
    warnings.filterwarnings("ignore", "No GPU support detected")
    args = arguments()
    n_runs = len(args.rates) * sum(map(len, args.decays.values()))
    with progressbar.ProgressBar(max_value=n_runs, prefix="Training: ") as bar:
        results = experiment(load_splits(), args, bar)
    print_tables(results)
    check(results)
    penalty, decay, unscaled = (results[way].price for way in WAYS)
    print(
        f"\nOne decay for all learning rates costs {penalty:.1f} points of validation error as a "
        f"penalty,\n{decay:.1f} as decay scaled by the learning rate, {unscaled:.1f} as decay that "
        "is not: here the last is coupled\nto the learning rate, and the other two are not."
    )
    print(f"Figure saved to {save_figure(results, args.figures)}")


if __name__ == "__main__":
    main()
