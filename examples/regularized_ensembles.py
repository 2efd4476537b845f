"""Penalties on Nengo ensembles
============================

Two ensembles are trained on few noisy data, without and with penalties on their parameters.

The Neural Engineering Framework (NEF) solves for decoders with which the ensembles compute ``x **
2``. They should compute ``x ** 2 + 0.3 * sin(pi * x)``, known only from 30 noisy measurements.
NengoDL trains decoders, encoders and biases on these measurements:

* without penalties, so the network learns the noise too;
* with an L2 penalty on each, of ``strength * sum(w ** 2)``;
* with ``TowardsInitial`` on the decoders instead, ``strength * sum((w - initial) ** 2)``, which
  keeps them near the NEF's solution.

The penalties are settings on Nengo objects. One object, the neurons of the second ensemble, has
none. The error is measured against the function itself, on inputs from -1 to 1. The gain from
penalties depends on the data. With other seeds it is smaller, or next to nothing.

Run it with ``python regularized_ensembles.py``, on NengoDL 2 or 3. It takes seconds with
``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

SHORT = "--short" in sys.argv  # takes seconds
SEED = 0
N_DATA = 30  # measurements
NOISE = 0.3  # standard deviation of the measurements
GRID = np.linspace(-1, 1, 4 * N_DATA)  # inputs to test at
LEARNING_RATE = 0.01
ROUNDS = 2 if SHORT else 10  # of training
STEPS = 50  # in each round
STRENGTHS = {"weights": 1e-2, "encoders": 1e-3, "biases": 1e-3}
L2 = {kind: tf.keras.regularizers.l2(strength) for kind, strength in STRENGTHS.items()}
REGULARIZERS = {
    "no penalties": {},
    "L2": L2,
    "TowardsInitial": {
        **L2,
        "weights": nengo_wd.regularizers.TowardsInitial(l2=STRENGTHS["weights"]),
    },
}
STYLES = {
    "not trained": {"color": "grey", "linestyle": ":"},
    "no penalties": {"color": "C1", "linestyle": "--"},
    "L2": {"color": "C5", "linestyle": "-."},
    "TowardsInitial": {"color": "C0", "linestyle": "-"},
}
FIGURE = Path("figures/regularized_ensembles.png")


def desired(x):
    return x**2 + 0.3 * np.sin(np.pi * x)


def measure():
    """Return inputs (N_DATA,) and what was measured for them."""
    rng = np.random.RandomState(SEED)
    x = rng.uniform(-1, 1, size=N_DATA)
    return x, desired(x) + rng.normal(0, NOISE, size=N_DATA)


def build(regularizers):
    """Return the network; its objects are its attributes."""
    with nengo.Network(seed=SEED) as net:
        # with rates of up to 1, one learning rate suits decoders, encoders and biases
        net.config[nengo.Ensemble].neuron_type = nengo.RectifiedLinear()
        net.config[nengo.Ensemble].max_rates = nengo.dists.Uniform(0.5, 1)
        net.config[nengo.Connection].synapse = None  # each time step stands for itself
        net.x = nengo.Node([0])
        net.first = nengo.Ensemble(50, 1, label="first")
        net.second = nengo.Ensemble(50, 1, label="second")
        output = nengo.Node(size_in=1)
        into = nengo.Connection(net.x, net.first)
        net.square = nengo.Connection(net.first, net.second, function=np.square, label="square")
        net.readout = nengo.Connection(net.second, output, label="readout")
        net.y = nengo.Probe(output)

        nengo_dl.configure_settings(trainable=None)
        net.config[into].trainable = False
        nengo_wd.configure_settings()
        net.config[nengo.Connection].regularizer = regularizers.get("weights")
        net.config[nengo.Ensemble].regularizer = regularizers.get("encoders")
        net.config[net.first.neurons].regularizer = regularizers.get("biases")
    return net


def parameters(sim, net):
    """Return the values of all trained parameters, by the names that their penalties have."""
    values = {f"{c.label}.weights": sim.data[c].weights for c in (net.square, net.readout)}
    for ensemble in (net.first, net.second):
        values[f"{ensemble.label}.encoders"] = sim.data[ensemble].scaled_encoders
        values[f"{ensemble.label}.biases"] = sim.data[ensemble].bias
    return {name: np.array(value) for name, value in values.items()}


def trainer(sim, net, x, y):
    """Return a function that trains for ``STEPS``, each on all measurements."""
    inputs, targets = {net.x: x[:, None, None]}, {net.y: y[:, None, None]}
    if hasattr(sim, "fit"):  # NengoDL 3
        objective = nengo_wd.regularized_objective(sim, {net.y: "mse"})
        sim.compile(tf.optimizers.Adam(LEARNING_RATE), loss=objective)
        return lambda: sim.fit(inputs, targets, epochs=STEPS, shuffle=False, verbose=0)
    objective = nengo_wd.regularized_objective(sim, {net.y: nengo_dl.objectives.mse})
    optimizer = tf.compat.v1.train.AdamOptimizer(LEARNING_RATE)
    kwargs = {"objective": objective, "shuffle": False, "progress_bar": False}
    return lambda: sim.train({**inputs, **targets}, optimizer, STEPS, **kwargs)


def state(sim, net, initial):
    """Return the network's output, its error, the parameters' norms and the penalties."""
    inputs = GRID.reshape((N_DATA, -1, 1))  # a minibatch, with several time steps in each row
    n_steps = inputs.shape[1]
    sim.run_steps(n_steps, data={net.x: inputs}, progress_bar=False)
    y, values = sim.data[net.y][:, -n_steps:].ravel(), parameters(sim, net)
    return SimpleNamespace(
        y=y,
        error=np.sqrt(np.mean((y - desired(GRID)) ** 2)),
        norms={name: np.linalg.norm(value) for name, value in values.items()},
        distances={name: np.linalg.norm(values[name] - initial[name]) for name in values},
        penalties=nengo_wd.regularization_losses(sim),
    )


def experiment(regularizers):
    """Return the state before training and after each round."""
    net = build(regularizers)
    with nengo_dl.Simulator(net, minibatch_size=N_DATA, seed=SEED, progress_bar=False) as sim:
        initial = parameters(sim, net)
        states = [state(sim, net, initial)]
        train = trainer(sim, net, *measure())
        for _ in progressbar.progressbar(range(ROUNDS), prefix="Training: "):
            train()
            states.append(state(sim, net, initial))
    return states


def print_table(runs):
    row = "{:24}" + "{:>16}" * len(runs)
    print(row.format("", *runs))
    print(row.format("RMSE", *(f"{run.error:.3f}" for run in runs.values())))
    for title in ("norms", "distances", "penalties"):
        print(title + {"distances": " from the initial values"}.get(title, ""))
        for name in runs["L2"].norms:
            values = [getattr(run, title).get(name) for run in runs.values()]
            print(row.format("  " + name, *("-" if v is None else f"{v:.4f}" for v in values)))


def check(runs):
    before, without, l2, towards = runs.values()
    decoders = {"square.weights", "readout.weights"}
    penalized = {*decoders, "first.encoders", "second.encoders", "first.biases"}
    assert not before.penalties and not without.penalties, "there is a penalty that nobody set"
    for run in (l2, towards):
        assert set(run.penalties) == penalized, "not the penalties that were set"
    for name in penalized:  # sums in float32 are right to some 1e-6
        by_hand = STRENGTHS[name.split(".")[1]] * l2.norms[name] ** 2
        assert np.isclose(l2.penalties[name], by_hand, rtol=1e-4, atol=0), f"wrong for {name}"
    for name in decoders:  # differences of numbers in float32 are less exact
        by_hand = STRENGTHS["weights"] * towards.distances[name] ** 2
        assert np.isclose(towards.penalties[name], by_hand, rtol=1e-2), f"wrong for {name}"


def check_findings(runs):
    """Raise if penalties did not do what the description says."""
    before, without, l2, towards = runs.values()
    for run in (l2, towards):
        assert run.error < 0.9 * min(before.error, without.error), "penalties did not help"
    for name in l2.penalties:
        assert l2.norms[name] < without.norms[name], f"{name} is not smaller"
    for name in ("square.weights", "readout.weights"):
        nearer = towards.distances[name] < without.distances[name]
        assert nearer, f"{name} is not nearer to its initial value"


def plot_functions(axes, runs):
    axes.plot(*measure(), "o", color="black", markersize=3, label="measured")
    axes.plot(GRID, desired(GRID), "k-", linewidth=0.8, label="desired")
    for name, run in runs.items():
        axes.plot(GRID, run.y, **STYLES[name], label=name)
    axes.set(title="(a) function", xlabel="input", ylabel="output")


def plot_histories(axes, histories, value):
    """Plot a value of the states against the training steps."""
    for name, states in histories.items():
        x = STEPS * np.arange(len(states))
        axes.plot(x, [value(state) for state in states], **STYLES[name])
    axes.set(xlabel="training step", ylim=(0, None))


def save_figure(runs, histories):
    margins = {"left": 0.07, "right": 0.99, "bottom": 0.16, "top": 0.8, "wspace": 0.32}
    rc = {"font.size": 10, "axes.titlesize": 12, "figure.constrained_layout.use": False}
    with nengo_wd.plotting.style(rc):
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9, 3), gridspec_kw=margins)
        plot_functions(left, runs)
        plot_histories(middle, histories, lambda state: state.error)
        middle.set(title="(b) error", ylabel="root mean square error")
        plot_histories(right, histories, lambda state: state.norms["square.weights"])
        right.set(title="(c) decoders of 'square'", ylabel="$L_2$ norm")
        figure.legend(*left.get_legend_handles_labels(), loc="upper center", ncol=6)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    histories = {name: experiment(regularizers) for name, regularizers in REGULARIZERS.items()}
    runs = {"not trained": histories["no penalties"][0]}
    runs.update((name, states[-1]) for name, states in histories.items())
    print_table(runs)
    check(runs)
    if not SHORT:
        check_findings(runs)
    save_figure(runs, histories)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
