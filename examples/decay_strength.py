"""Decay by layer
==============

What penalties of different strengths do to the weights of each layer of an autoencoder.

Three convolutions in a row learn to reproduce sequences of 100 positions and 64 channels, through a
bottleneck of 32 filters. The sequences are 32 oscillations, mixed into the 64 channels, with some
noise. Each is shown for one time step, and the convolutions are TensorNodes in the simulator's time
loop.

The network is trained without a penalty, and with one of ``strength * sum(w ** 2)`` on every
kernel, in two strengths. The runs have the same initial weights and the same data, in the same
order. ``nengo_wd.WeightNorms`` records the L2 norm of each kernel and of each of its filters, after
each epoch.

Some layers' weights grow despite a penalty, and nothing is wrong. A penalty pulls weights towards
zero. The reconstruction error pulls each layer its own way, and weights grow if it pulls harder.
Small values pass through tanh almost unchanged. So one way to a small error is that the layers
before a tanh shrink and the decoder makes up for it. With ReLUs instead (put them into ``LAYERS``),
no kernel grows under either penalty, and the last check fails. Look at

- each kernel's norm, compared with the one without a penalty: it is smaller, even if it grows;
- the two strengths: the stronger makes the sum of squares of all kernels smaller, but it need not
  make each kernel smaller;
- the histograms of the filters' norms: their mean and maximum need not go the same way;
- the penalties' shares of the loss: the same strength affects layers unequally;
- the errors: they hardly differ between training and held-out data. There is no overfitting to
  cure, so a penalty costs accuracy.

Run it with ``python decay_strength.py``, on NengoDL 3. It takes seconds with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import nengo
import numpy as np
import progressbar
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl, plotting

if nengo_dl.__version__ < "3":
    raise SystemExit("decay_strength.py needs NengoDL 3")

SHORT = "--short" in sys.argv  # takes seconds
SEED = 0
STRENGTHS = [0, 2e-4, 2e-3]
N_POSITIONS, N_CHANNELS, N_SOURCES = 100, 64, 32
NOISE = 0.1  # standard deviation; that of the channels is 1
LAYERS = {  # filters, their width in positions, and the activation
    "encoder": (64, 8, "tanh"),
    "bottleneck": (32, 1, "tanh"),
    "decoder": (N_CHANNELS, 8, None),
}
SIZES = {"train": 64, "held out": 32} if SHORT else {"train": 640, "held out": 160}
EPOCHS = 5 if SHORT else 120
MINIBATCH_SIZE = 32
LEARNING_RATE = 0.001
FIGURES = Path("figures")


def generate():
    """Return the examples (n, 1, positions * channels) of each split, of unit variance."""
    rng = np.random.RandomState(SEED)
    n = sum(SIZES.values())
    cycles = rng.uniform(1, 10, (n, 1, N_SOURCES))  # of each source, in an example
    phases = rng.uniform(0, 1, (n, 1, N_SOURCES))
    positions = np.linspace(0, 1, N_POSITIONS)[:, None]
    sources = np.sin(2 * np.pi * (cycles * positions + phases))
    clean = sources @ rng.normal(size=(N_SOURCES, N_CHANNELS))
    examples = clean / clean.std() + NOISE * rng.normal(size=clean.shape)
    examples = examples.reshape(n, 1, -1).astype(np.float32)
    return dict(zip(SIZES, np.split(examples, [SIZES["train"]])))


def build(strength):
    """Return the network; its node, layers and probe are its attributes."""
    l2 = tf.keras.regularizers.L2(strength)
    with nengo.Network(seed=SEED) as net:
        net.sequence = x = nengo.Node(np.zeros(N_POSITIONS * N_CHANNELS))
        net.layers, n_channels = [], N_CHANNELS
        for name, (filters, width, activation) in LAYERS.items():
            layer = nengo_wd.RegularizedConv1D(
                filters,
                width,
                padding="same",
                activation=activation,
                kernel_regularizer=l2,
                name=name,
            )
            x = nengo_dl.Layer(layer)(x, shape_in=(N_POSITIONS, n_channels))
            net.layers.append(layer)
            n_channels = filters
        net.output = nengo.Probe(x)
    return net


def kernels(net):
    return [layer.get_weights()[0].astype(np.float64) for layer in net.layers]


def reconstruction_error(sim, net, examples):
    outputs = sim.predict({net.sequence: examples}, verbose=0)[net.output]
    return np.mean((outputs - examples) ** 2, dtype=np.float64)


def experiment(strength, splits):
    """Train with a penalty of this strength; return weights, norms, errors and the loss."""
    net, train = build(strength), splits["train"]
    tf.keras.utils.set_random_seed(SEED)
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        objective = nengo_wd.regularized_objective(sim, {net.output: "mse"})
        sim.compile(tf.keras.optimizers.Adam(LEARNING_RATE), loss=objective)
        norms = nengo_wd.WeightNorms(sim)
        before = kernels(net)
        data = {net.sequence: train}, {net.output: train}
        sim.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[norms])
        return SimpleNamespace(
            strength=strength,
            norms=norms,
            before=before,
            after=kernels(net),
            errors={name: reconstruction_error(sim, net, split) for name, split in splits.items()},
            loss=sim.evaluate(*data, verbose=0)["loss"],
        )


def print_table(runs):
    print("\n" + " " * 34 + "norm         filters' mean   filters' maximum")
    print("strength  kernel             before  after    before  after    before  after", end="")
    print("   penalty  share of loss")
    row = "{:8g}  {:17}" + 3 * "  {:7.2f} {:6.2f}" + "  {:8.4f}  {:13.1%}"
    for run in runs.values():
        n_kernels = len(run.norms.names)
        rows = list(run.norms.rows())
        for first, last in zip(rows[:n_kernels], rows[-n_kernels:]):
            norms = first.norm, last.norm, first.channel_mean, last.channel_mean
            largest = first.channel_max, last.channel_max
            print(row.format(run.strength, last.name, *norms, *largest, last.penalty, last.share))
    print("\nstrength  reconstruction error: train  held out   + penalties = loss (train)")
    for run in runs.values():
        penalty = run.norms.total_penalties[-1]
        print(f"{run.strength:8g}  {run.errors['train']:27.4f}", end="  ")
        print(f"{run.errors['held out']:8.4f}  {penalty:12.4f}  {run.loss:13.4f}")


def check_records(run):
    """Compare what was recorded first and last with NumPy, on the weights themselves."""
    recorded = run.norms
    for record, weights in [(0, run.before), (-1, run.after)]:
        squares = np.array([np.sum(w**2) for w in weights])
        penalties = run.strength * squares
        assert close(recorded.norms[record], np.sqrt(squares)), "wrong norms"
        assert close(recorded.penalties[record], penalties), "wrong penalties"
        for name, w in zip(recorded.names, weights):
            by_filter = np.linalg.norm(w.reshape(-1, w.shape[-1]), axis=0)
            assert close(recorded.channel_norms[name][record], by_filter), "wrong filters"


def close(one, other):
    """Tell whether numbers agree; sums in float32 are right to some 1e-6."""
    return np.allclose(one, other, rtol=1e-4)


def check(runs):
    for run in runs.values():
        check_records(run)
        total = run.errors["train"] + run.norms.total_penalties[-1]
        assert np.isclose(run.loss, total, rtol=1e-3), "the loss is not error plus penalties"
    starts = np.array([run.norms.norms[0] for run in runs.values()])
    assert close(starts, starts[0]), "the runs start from different weights"


def check_findings(runs):
    """Raise if the norms do not do what the description says."""
    before, after = (np.array([run.norms.norms[i] for run in runs.values()]) for i in (0, -1))
    assert np.all(after[1:] < after[0]), "a penalty left larger weights in a layer"
    totals = np.sum(after**2, axis=1)
    assert np.all(np.diff(totals) < 0), "a stronger penalty left larger weights overall"
    assert np.any(after[1:] > before[1:]), "no kernel grew in spite of a penalty"


def course(norms):
    """Say how the last of the norms compares with the first, and what they did in between."""
    change = norms / norms[0] - 1
    if change[-1] < 0:
        turn, before, verb = change.max(), "growing", "shrinks"
    else:
        turn, before, verb = change.min(), "shrinking", "grows"
    detour = f", after {before} by {abs(turn):.0%}" if abs(turn) >= 0.01 else ""
    return f"{verb} by {abs(change[-1]):.0%}{detour}"


def describe(runs):
    """Say which kernels grow and which shrink, and what the stronger penalty does."""
    for label, run in runs.items():
        print(f"\nwith {label}:")
        for name, norms in zip(run.norms.names, run.norms.norms.T):
            print(f"  {name} {course(norms)}")
    *_, weaker, stronger = runs.values()
    smaller = stronger.norms.norms[-1] < weaker.norms.norms[-1]
    print(f"\nsmaller with {stronger.strength:g} than with {weaker.strength:g}:", end=" ")
    print(", ".join(np.array(stronger.norms.names)[smaller]) or "none", end="")
    print(f" ({smaller.sum()} of {smaller.size})")


def save_figures(runs):
    """Plot all runs, and the histograms of the strongest penalty; return the files."""
    FIGURES.mkdir(exist_ok=True)
    recorded = {label: run.norms for label, run in runs.items()}
    *_, strongest = recorded.values()
    figures = {
        FIGURES / "decay_strength.png": plotting.compare(recorded),
        FIGURES / "decay_strength_histograms.png": plotting.histograms(strongest),
    }
    for path, figure in figures.items():
        figure.savefig(path)
    return list(figures)


def main():
    splits, runs = generate(), {}
    for strength in progressbar.progressbar(STRENGTHS, prefix="Training: "):
        label = f"penalty {strength:g}" if strength else "no penalty"
        runs[label] = experiment(strength, splits)
    print_table(runs)
    check(runs)
    if not SHORT:
        check_findings(runs)
    describe(runs)
    print("Figures saved to", " and ".join(map(str, save_figures(runs))))


if __name__ == "__main__":
    main()
