"""Ridge regression
================

A linear layer with 200 weights learns this function from 20 noisy examples, without and with weight
decay::

    y = 0.05 + 0.01 * (x_1 + ... + x_200) + noise

The inputs are from N(0, 1), and the noise has a standard deviation of 0.01. This is the experiment
on weight decay in "Dive into Deep Learning" (Zhang, Lipton, Li and Smola, https://d2l.ai), as a
NengoDL network of a node, a layer and a probe, run for one time step. Training with the decay
lambda minimizes::

    mean((x @ w + b - y) ** 2) / 2 + lambda * sum(w ** 2) / 2

Keras has no factor 1/2 in either term. So the script has its own loss, and ``L2(a)`` is ``a * sum(w
** 2)``, so ``a = lambda / 2``. Data, minibatches of 5, plain SGD with a learning rate of 0.01, and
decays of 0 and 3 are those of the book's current edition. Initial weights from N(0, 1) and 100
epochs are from earlier editions, where the difference is easier to see. The current edition starts
from small weights and stops after 10 epochs.

Each decay is trained in three ways, on the same minibatches in the same order. All end with the
same weights:

- from scratch: SGD on the formula above, in NumPy and float64;
- with a penalty, the layer's ``kernel_regularizer``;
- with the setting ``weight_decay`` and ``nengo_wd.regularized_optimizer``: decoupled decay, which
  is the same thing for plain SGD.

Decay makes the network forget its initial weights. The examples say nothing about 180 of the 200
dimensions. In these dimensions, the weights stay as they were, unless they decay. The closed form
has no initial weights, and hardly needs a decay. A constant output of 0.05 does better on the test
split, because 20 examples are too few.

Run it with ``python ridge_regression.py``, on NengoDL 2 or 3. It takes seconds with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from sklearn.linear_model import Ridge

import nengo_wd
from nengo_wd import nengo_dl

SHORT = "--short" in sys.argv  # takes seconds
EPOCHS, EVERY = (50, 10) if SHORT else (100, 1)  # trained, and recorded
SEED = 0
N_INPUTS = 200
N_TRAIN, N_TEST = 20, 100
MINIBATCH_SIZE = 5
LEARNING_RATE = 0.01
DECAYS = (0, 3)
TOLERANCE = 3e-5  # of the weights: float32 rounds 400 steps by 6e-8 each, at worst all one way
STYLES = {
    "train": {"color": "C1", "linestyle": "--"},
    "test": {"color": "C0", "linestyle": "-"},
    "from scratch": {"color": "0.8", "linestyle": "-", "linewidth": 5},
    "penalty": {"color": "C4", "linestyle": "-"},
    "decay": {"color": "black", "linestyle": ":"},
}
FIGURE = Path("figures/ridge_regression.png")


def make_data():
    """Return both splits, the order of the examples up to each record, and the initial weights."""
    rng = np.random.RandomState(SEED)
    x = rng.normal(size=(N_TRAIN + N_TEST, N_INPUTS))
    y = 0.05 + 0.01 * x.sum(axis=1, keepdims=True) + rng.normal(0, 0.01, size=(len(x), 1))
    return SimpleNamespace(
        train=(x[:N_TRAIN], y[:N_TRAIN]),
        test=(x[N_TRAIN:], y[N_TRAIN:]),
        orders=[
            np.concatenate([rng.permutation(N_TRAIN) for _ in range(EVERY)])
            for _ in range(EPOCHS // EVERY)
        ],
        start=rng.normal(size=(N_INPUTS, 1)),
    )


def from_scratch(data, decay):
    """Yield weights and bias after every ``EVERY`` epochs of SGD, written out in NumPy."""
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
        optimizer = nengo_wd.regularized_optimizer(sim, tf.optimizers.SGD(LEARNING_RATE))
        sim.compile(optimizer, loss=objective)
        return lambda inputs, targets: sim.fit(inputs, targets, shuffle=False, verbose=0)
    optimizer = tf.compat.v1.train.GradientDescentOptimizer(LEARNING_RATE)
    optimizer = nengo_wd.regularized_optimizer(sim, optimizer)
    kwargs = {"objective": objective, "shuffle": False, "progress_bar": False}
    return lambda inputs, targets: sim.train({**inputs, **targets}, optimizer, **kwargs)


def in_nengo(data, **settings):
    """Yield weights and bias after every ``EVERY`` epochs of training in NengoDL."""
    net, (x, y) = build(data, **settings), data.train
    with nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False) as sim:
        train = trainer(sim, net)
        for order in progressbar.progressbar(data.orders, prefix="Training: "):
            train({net.x: x[order, None]}, {net.y: y[order, None]})
            yield net.layer.get_weights()


def experiment(data, decay):
    """Return, by the way of training, weights and bias after every ``EVERY`` epochs."""
    ways = {
        "from scratch": from_scratch(data, decay),
        "penalty": in_nengo(data, regularizer=tf.keras.regularizers.l2(decay / 2)),
        "decay": in_nengo(data, weight_decay=decay),
    }
    return {way: list(epochs) for way, epochs in ways.items()}


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
    decayed = results[max(DECAYS)]["penalty"][-1]
    doubled = list(from_scratch(data, 2 * max(DECAYS)))[-1]  # what L2(lambda) amounts to
    assert distance(doubled, decayed) > 1000 * TOLERANCE, "a factor of two would not be noticed"


def check_findings(data, results):
    """Raise if the results differ from the description."""
    without, decayed = (histories["penalty"][-1] for histories in results.values())
    forgotten = np.linalg.norm(decayed[0] - closed_form(data, max(DECAYS))[0])
    assert forgotten < 0.01 * np.linalg.norm(data.start), "the initial weights are not forgotten"
    assert loss(without, data.test) > 1000 * loss(without, data.train), "no overfitting"
    assert gap(data, without) > 1000 * gap(data, decayed), "the gap does not close"


def plot_losses(axes, data, epochs):
    x = EVERY * np.arange(1, len(epochs) + 1)
    for split in ("train", "test"):
        losses = [loss(weights, getattr(data, split)) for weights in epochs]
        axes.semilogy(x, losses, **STYLES[split], label=split)
    axes.set(xlabel="epoch", ylim=(1e-5, 1e3))


def plot_norms(axes, results):
    for decay, histories in results.items():
        for way, epochs in histories.items():
            norms = [np.linalg.norm(w) for w, _ in epochs]
            label = way if decay else None
            axes.semilogy(EVERY * np.arange(1, len(norms) + 1), norms, **STYLES[way], label=label)
        axes.text(EPOCHS, norms[-1] * 1.3, f"$\\lambda={decay}$", ha="right")
    axes.set(xlabel="epoch", ylabel="norm of the weights", ylim=(None, 50))
    axes.legend()


def save_figure(data, results):
    with nengo_wd.plotting.style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 2.6))  # inches
        for letter, axes, (decay, histories) in zip("ab", (left, middle), results.items()):
            plot_losses(axes, data, histories["penalty"])
            axes.set_title(f"({letter}) loss, $\\lambda={decay}$")
        left.set_ylabel("half the mean squared error")
        left.legend()
        plot_norms(right, results)
        right.set_title("(c) weights, in three ways")
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    data = make_data()
    results = {decay: experiment(data, decay) for decay in DECAYS}
    print_table(data, results)
    check(data, results)
    if not SHORT:
        check_findings(data, results)
    without, decayed = (gap(data, histories["penalty"][-1]) for histories in results.values())
    print(
        f"\nThe gap between test and train loss is {without:.3g} without decay and {decayed:.3g} "
        f"with it:\nit shrinks by a factor of {without / decayed:.0f}."
    )
    save_figure(data, results)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
