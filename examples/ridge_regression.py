"""Ridge regression
================

A linear layer with 200 weights learns from 20 noisy examples, without and with weight decay, of::

    y = 0.05 + 0.01 * (x_1 + ... + x_200) + noise

with inputs from N(0, 1) and noise of a standard deviation of 0.01. This is the experiment on
weight decay in "Dive into Deep Learning" (Zhang, Lipton, Li and Smola, https://d2l.ai), as a
NengoDL network of a node, a layer and a probe, run for one time step. With the decay lambda,
training minimizes::

    mean((x @ w + b - y) ** 2) / 2 + lambda * sum(w ** 2) / 2

Neither half is Keras' own. Its mean squared error lacks the first, so the script brings its own
loss; its ``L2(a)`` is ``a * sum(w ** 2)``, so that ``a = lambda / 2``. Data, minibatches of 5,
plain SGD with a learning rate of 0.01, and decays of 0 and 3 are those of the book's current
edition. Initial weights from N(0, 1) and 100 epochs are those of its earlier ones, where the
difference is easier to see; today it starts from small weights and stops after 10 epochs.

Each decay is trained in three ways, on the same minibatches in the same order, and all end in
the same weights:

- from scratch: SGD on the formula above, in NumPy and float64;
- with a penalty, the layer's ``kernel_regularizer``;
- with ``nengo_wd.decoupled_weight_decay``, which is the same thing for plain SGD.

What decay does here is to forget the initial weights. The examples say nothing about 180 of the 200
dimensions, in which the weights stay at what they were, unless they decay. The closed form, which
has no initial weights, hardly needs a decay; and 20 examples are too few to do even as well on the
test split as an output of 0.05, whatever the input.

Run it with ``python ridge_regression.py``; NengoDL 2 and NengoDL 3 both do. With ``--short`` it
takes seconds.
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
from sklearn.linear_model import Ridge

import nengo_wd
from nengo_wd import nengo_dl

SEED = 0
N_INPUTS = 200
N_TRAIN, N_TEST = 20, 100
MINIBATCH_SIZE = 5
LEARNING_RATE = 0.01
DECAYS = (0, 3)
TOLERANCE = 3e-5  # of the weights: float32 rounds 400 steps by 6e-8 each, at worst all one way
STYLES = {  # told apart by colour-blind readers, and in grey
    "train": {"color": "#D55E00", "linestyle": "--"},
    "test": {"color": "#0072B2", "linestyle": "-"},
    "from scratch": {"color": "#CCCCCC", "linestyle": "-", "linewidth": 5},
    "penalty": {"color": "#E69F00", "linestyle": "-"},
    "decay": {"color": "black", "linestyle": ":"},
}
RC_PARAMS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def make_data(epochs):
    """Return both splits, the order of the examples in each epoch, and the initial weights."""
    rng = np.random.RandomState(SEED)
    x = rng.normal(size=(N_TRAIN + N_TEST, N_INPUTS))
    y = 0.05 + 0.01 * x.sum(axis=1, keepdims=True) + rng.normal(0, 0.01, size=(len(x), 1))
    return SimpleNamespace(
        train=(x[:N_TRAIN], y[:N_TRAIN]),
        test=(x[N_TRAIN:], y[N_TRAIN:]),
        orders=[rng.permutation(N_TRAIN) for _ in range(epochs)],
        start=rng.normal(size=(N_INPUTS, 1)),
    )


def from_scratch(data, decay):
    """Yield weights and bias after each epoch of SGD, written out in NumPy."""
    (x, y), w, b = data.train, data.start, np.zeros(1)
    for order in data.orders:
        for batch in order.reshape((-1, MINIBATCH_SIZE)):
            error = x[batch] @ w + b - y[batch]
            w = w - LEARNING_RATE * (x[batch].T @ error / MINIBATCH_SIZE + decay * w)
            b = b - LEARNING_RATE * error.mean()
        yield w, b


def build(data, regularizer=None, weight_decay=None):
    """Return the network; its node, layer and probe are its attributes."""
    with nengo.Network(seed=SEED) as net:
        # NengoDL 2 would also train the connection's own factor of 1
        nengo_dl.configure_settings(trainable=False)
        nengo_wd.configure_settings(weight_decay=weight_decay)
        net.layer = nengo_wd.RegularizedDense(
            1,
            kernel_initializer=tf.constant_initializer(data.start),
            kernel_regularizer=regularizer,
        )
        net.x = nengo.Node(np.zeros(N_INPUTS))
        net.y = nengo.Probe(nengo_dl.tensor_layer(net.x, net.layer))
    return net


def half_squared_error(one, other):
    """Return the book's loss; NengoDL 2 passes outputs and targets, NengoDL 3 the reverse."""
    return tf.reduce_mean(tf.square(one - other)) / 2


def trainer(sim, net):
    """Return a function that trains on inputs and targets, in their order, with plain SGD."""
    objective = nengo_wd.regularized_objective(sim, {net.y: half_squared_error})
    if hasattr(sim, "fit"):  # NengoDL 3
        sim.compile(with_decay(sim, net, tf.optimizers.SGD(LEARNING_RATE)), loss=objective)
        return lambda inputs, targets: sim.fit(inputs, targets, shuffle=False, verbose=0)
    optimizer = with_decay(sim, net, tf.compat.v1.train.GradientDescentOptimizer(LEARNING_RATE))
    kwargs = {"objective": objective, "shuffle": False, "progress_bar": False}
    return lambda inputs, targets: sim.train({**inputs, **targets}, optimizer, **kwargs)


def with_decay(sim, net, optimizer):
    """Return the optimizer, with decoupled decay where the network has a setting for it."""
    if net.config[nengo_dl.TensorNode].weight_decay is None:
        return optimizer
    return nengo_wd.decoupled_weight_decay(sim, optimizer)


def in_nengo(data, **settings):
    """Yield weights and bias after each epoch of training in NengoDL."""
    net, (x, y) = build(data, **settings), data.train
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        train = trainer(sim, net)
        for order in data.orders:
            train({net.x: x[order, None]}, {net.y: y[order, None]})
            yield net.layer.get_weights()


def experiment(data, decay, bar):
    """Return, by the way of training, weights and bias after each epoch."""
    ways = {
        "from scratch": from_scratch(data, decay),
        "penalty": in_nengo(data, regularizer=tf.keras.regularizers.l2(decay / 2)),
        "decay": in_nengo(data, weight_decay=decay),
    }
    histories = {way: [] for way in ways}
    for way, epochs in ways.items():
        for weights in epochs:
            histories[way].append(weights)
            bar.update(bar.value + 1)
    return histories


def closed_form(data, decay):
    """Return weights and bias that minimize the loss; the smallest, where there are many."""
    ridge = Ridge(alpha=decay * N_TRAIN, solver="svd").fit(*data.train)
    return ridge.coef_.reshape((-1, 1)), ridge.intercept_


def loss(weights, split):
    """Return half the mean squared error on a split, without penalty."""
    (w, b), (x, y) = weights, split
    return np.mean((x @ w + b - y) ** 2) / 2


def distance(weights, reference):
    """Return how far weights are from others, over the norm of those."""
    return np.linalg.norm(weights[0] - reference[0]) / np.linalg.norm(reference[0])


def print_table(data, results):
    print("\nlambda  way           norm of w  train loss  test loss  distance to from scratch")
    for decay, histories in results.items():
        rows = {way: epochs[-1] for way, epochs in histories.items()}
        reference = rows["from scratch"]
        rows["closed form"] = closed_form(data, decay)
        for way, weights in rows.items():
            losses = "  ".join(f"{loss(weights, split):10.3g}" for split in (data.train, data.test))
            print(f"{decay:6g}  {way:12}  {np.linalg.norm(weights[0]):9.4f}  {losses}", end="")
            print(f"  {distance(weights, reference):24.2g}")
    constant = np.zeros((N_INPUTS, 1)), 0.05
    print(f"always 0.05: train loss {loss(constant, data.train):.3g}", end=", ")
    print(f"test loss {loss(constant, data.test):.3g}")


def gap(data, weights):
    return loss(weights, data.test) - loss(weights, data.train)


def check(data, results):
    for histories in results.values():
        scratch, *others = (epochs[-1] for epochs in histories.values())
        for weights in others:
            assert distance(weights, scratch) < TOLERANCE, "other weights than from scratch"
    without, decayed = (histories["penalty"][-1] for histories in results.values())
    doubled = list(from_scratch(data, 2 * max(DECAYS)))[-1]  # what L2(lambda) amounts to
    assert distance(doubled, decayed) > 1000 * TOLERANCE, "a factor of two would not be noticed"
    forgotten = np.linalg.norm(decayed[0] - closed_form(data, max(DECAYS))[0])
    assert forgotten < 0.01 * np.linalg.norm(data.start), "the initial weights are not forgotten"
    assert loss(without, data.test) > 1000 * loss(without, data.train), "no overfitting"
    assert gap(data, without) > 1000 * gap(data, decayed), "the gap does not close"


def plot_losses(axes, data, epochs):
    x = np.arange(1, len(epochs) + 1)
    for split in ("train", "test"):
        losses = [loss(weights, getattr(data, split)) for weights in epochs]
        axes.semilogy(x, losses, **STYLES[split], label=split)
    axes.set(xlabel="epoch", ylim=(1e-5, 1e3))


def plot_norms(axes, results):
    for decay, histories in results.items():
        for way, epochs in histories.items():
            norms = [np.linalg.norm(w) for w, _ in epochs]
            label = way if decay else None
            axes.semilogy(np.arange(1, len(norms) + 1), norms, **STYLES[way], label=label)
        axes.text(len(norms), norms[-1] * 1.3, f"$\\lambda={decay}$", ha="right")
    axes.set(xlabel="epoch", ylabel="norm of the weights", ylim=(None, 50))
    axes.legend()


def save_figure(data, results, folder):
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=(7.2, 2.6), dpi=300, constrained_layout=True)  # inches
        left, middle, right = figure.subplots(1, 3)
        for letter, axes, (decay, histories) in zip("ab", (left, middle), results.items()):
            plot_losses(axes, data, histories["penalty"])
            axes.set_title(f"({letter}) loss, $\\lambda={decay}$")
        left.set_ylabel("half the mean squared error")
        left.legend()
        plot_norms(right, results)
        right.set_title("(c) weights, in three ways")
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "ridge_regression.png")
    return folder / "ridge_regression.png"


def main():
    warnings.filterwarnings("ignore", "No GPU support detected")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="where to save")
    parser.add_argument("--short", action="store_true", help="a run of seconds, for tests")
    args = parser.parse_args()
    epochs = 50 if args.short else 100

    data = make_data(epochs)
    n_epochs = len(DECAYS) * 3 * epochs
    with progressbar.ProgressBar(max_value=n_epochs, prefix="Training: ") as bar:
        results = {decay: experiment(data, decay, bar) for decay in DECAYS}
    print_table(data, results)
    check(data, results)
    without, decayed = (gap(data, histories["penalty"][-1]) for histories in results.values())
    print(
        f"\nThe gap between test and train loss is {without:.3g} without decay and {decayed:.3g} "
        f"with it:\nit shrinks by a factor of {without / decayed:.0f}."
    )
    print(f"Figure saved to {save_figure(data, results, args.figures)}")


if __name__ == "__main__":
    main()
