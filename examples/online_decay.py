"""Decay beside online learning
============================

Spiking neurons learn online, with PES, to square their input. Later they have to learn to flip its
sign instead. Each time, the error signal is on for 8 seconds and off for the next 8, when the
neurons have to hold what they learned. Three connections from the same neurons learn with the same
error signal:

- with no decay;
- with ``nengo_wd.Decay(rate=0.1)``, which forgets towards zero with a time constant of 10 seconds;
- with ``nengo_wd.Decay(rate=0.1, towards="initial")``, which goes back to the decoders that Nengo
  solved for, those of ``y = x``.

All three follow the error signal while it is on. While it is off, decay forgets: this is the price.
The benefit shows in ten minutes, because no error signal is ever quite off. This one has noise, and
is off by a hundredth of the target. Without decay the decoders wander off, and the output with
them. With decay they stay.

Then the script looks for the norm at which PES and decay are in balance. For n neurons, that is::

    learning_rate / n * mean(error * activities) + rate * decoders = 0

So the decoders minimize ``mean(error ** 2) + penalty * sum(decoders ** 2)``. This is ridge
regression with a penalty of ``n * rate / learning_rate``. The script computes that regression from
the neurons' activities, and compares the norms. PES takes a mean over time if it is slow compared
with the input. So the learning rate is lower here: the default of PES.

It runs in `nengo.Simulator`. At the end NengoDL simulates the first seconds again, and has to get
the same decoders. Run it with ``python online_decay.py``, on NengoDL 2 or 3. It takes a minute
or two, and seconds with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

SHORT = "--short" in sys.argv
LEARNED, HELD = (1.0, 1.0) if SHORT else (8.0, 8.0)  # seconds
END = 8.0 if SHORT else 600.0  # seconds
COMPARED = 0.2 if SHORT else 10.0  # seconds, in NengoDL
SETTLED, MEASURED = (1.0, 2.0) if SHORT else (60.0, 60.0)  # seconds
SEED = 0
N_NEURONS = 50
LEARNING_RATE, SLOW_LEARNING_RATE = 1e-3 if SHORT else 3e-4, 1e-4
RATE = 0.5 if SHORT else 0.1  # of the decay, in 1/s
NOISE = 0.01  # of the error: white noise, of this standard deviation over a second
OFFSET = 0.003  # of the error: about a hundredth of the target
RATES = (3.0, 10.0) if SHORT else (0.01, 0.03, 0.1, 0.3, 1.0)  # of the balance, in 1/s
EVERY = 0.02 if SHORT else 0.1  # seconds, between two records
SYNAPSE = nengo.Lowpass(0.005)
VARIANTS = {
    "no decay": [],
    "decay to zero": [nengo_wd.Decay(RATE)],
    "decay to the initial values": [nengo_wd.Decay(RATE, towards="initial")],
}
STYLES = {
    "no decay": {"color": "C1"},
    "decay to zero": {"color": "C0"},
    "decay to the initial values": {"color": "black", "linestyle": ":"},
}
FIGURE = Path("figures/online_decay.png")


def target(t, x):
    """Return what the neurons should compute from their input."""
    return x**2 if t <= LEARNED + HELD else -x


def is_learning(t):
    """Tell whether there is an error signal."""
    start = 0 if t <= LEARNED + HELD else LEARNED + HELD
    return t - start <= LEARNED


def make_stimulus():
    return nengo.Node(nengo.processes.WhiteSignal(20.0, high=5.0, rms=0.35, seed=SEED + 1))


def add_learners(rules, learning_rate, error, stimulus):
    """Connect neurons to dimensions of ``error``, one connection for each list of rules."""
    ensemble = nengo.Ensemble(N_NEURONS, 1, seed=SEED)
    nengo.Connection(stimulus, ensemble, synapse=None)
    connections = []
    for i, more in enumerate(rules):
        pes = nengo.PES(learning_rate, pre_synapse=SYNAPSE)
        connection = nengo.Connection(
            ensemble, error[i], synapse=SYNAPSE, learning_rule_type=[pes, *more], seed=SEED
        )
        nengo.Connection(error[i], connection.learning_rule[0], synapse=None)
        connections.append(connection)
    nengo.Connection(stimulus, error[len(connections)], synapse=None)
    return ensemble, connections


def build():
    """Return the network; its probes are its attributes."""
    n = len(VARIANTS)

    def errors(t, values):
        """Return the error signals, and the errors."""
        outputs, x, noise = values[:n], values[n], values[n + 1]
        error = outputs - target(t, x)
        return np.concatenate([error * is_learning(t) + noise + OFFSET, error])

    with nengo.Network(seed=SEED) as net:
        # in float32, NengoDL would shift single spikes by a time step
        nengo_dl.configure_settings(dtype="float64" if hasattr(nengo_dl, "Layer") else tf.float64)
        stimulus = make_stimulus()
        gaussian = nengo.dists.Gaussian(0, NOISE)
        noise = nengo.Node(nengo.processes.WhiteNoise(gaussian, seed=SEED + 2))
        error = nengo.Node(errors, size_in=n + 2)
        _, connections = add_learners(VARIANTS.values(), LEARNING_RATE, error, stimulus)
        nengo.Connection(noise, error[n + 1], synapse=None)
        net.decoders = [nengo.Probe(c, "weights", sample_every=EVERY) for c in connections]
        net.errors = nengo.Probe(error[n:], sample_every=EVERY)
    return net


def simulate(make_simulator, seconds):
    """Return times, errors and decoders by the variant, and the decoders' norms."""
    net = build()
    with make_simulator(net, progress_bar=False) as sim:
        sim.run(seconds)
        shape = (-1, N_NEURONS)  # NengoDL has an axis of examples
        decoders = [sim.data[probe].reshape(shape) for probe in net.decoders]
        errors = sim.data[net.errors].reshape((-1, len(VARIANTS))).T
    return SimpleNamespace(
        t=EVERY * np.arange(1, len(decoders[0]) + 1),
        decoders=dict(zip(VARIANTS, decoders)),
        norms={name: np.linalg.norm(d, axis=1) for name, d in zip(VARIANTS, decoders)},
        errors=dict(zip(VARIANTS, errors)),
    )


# -- the balance of PES and decay --------------------------------------------------------------


def balance():
    """Return norms and errors of decoders in balance, and the norms of the ridge regression."""
    n = len(RATES)
    with nengo.Network(seed=SEED) as net:
        stimulus = make_stimulus()
        error = nengo.Node(lambda t, values: values[:n] - values[n] ** 2, size_in=n + 1)
        rules = [[nengo_wd.Decay(rate)] for rate in RATES]
        ensemble, connections = add_learners(rules, SLOW_LEARNING_RATE, error, stimulus)
        decoders = [nengo.Probe(c, "weights", sample_every=EVERY) for c in connections]
        errors = nengo.Probe(error)
        activities = nengo.Probe(ensemble.neurons, synapse=SYNAPSE)
        inputs = nengo.Probe(stimulus)
    with nengo.Simulator(net, progress_bar=False) as sim:
        sim.run(SETTLED + MEASURED)
        settled = sim.trange() > SETTLED
        late = slice(int(SETTLED / EVERY), None)
        a, x = sim.data[activities][settled], sim.data[inputs][settled]
        return SimpleNamespace(
            norms=[np.linalg.norm(sim.data[d][late].mean(axis=0)) for d in decoders],
            errors=np.sqrt(np.mean(sim.data[errors][settled] ** 2, axis=0)),
            ridge=[np.linalg.norm(ridge_regression(a, x**2, rate)) for rate in RATES],
        )


def ridge_regression(activities, targets, rate):
    """Return the decoders that PES and decay end with, if the activities were always the same."""
    penalty = N_NEURONS * rate / SLOW_LEARNING_RATE
    gram = activities.T @ activities / len(activities) + penalty * np.eye(N_NEURONS)
    return np.linalg.solve(gram, activities.T @ targets / len(activities))


# -- what is shown -----------------------------------------------------------------------------


def between(result, start, end):
    return (result.t > start) & (result.t <= end)


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


PHASES = {  # seconds
    "learned": (LEARNED / 2, LEARNED),
    "held": (LEARNED + HELD / 2, LEARNED + HELD),
    "learned anew": (1.5 * LEARNED + HELD, 2 * LEARNED + HELD),
    "held again": (2 * LEARNED + 1.5 * HELD, 2 * (LEARNED + HELD)),
    "at last": (END / 2, END),
}


def print_tables(result):
    for title, series in (("error", result.errors), ("norm * 1000", result.norms)):
        print(f"\n{title:12}  " + "  ".join(f"{name:>27}" for name in VARIANTS))
        scale = 1 if title == "error" else 1000
        for phase, (start, end) in PHASES.items():
            now = between(result, start, end)
            row = "  ".join(f"{scale * rms(series[name][now]):27.3f}" for name in VARIANTS)
            print(f"{phase:12}  {row}")


def print_balance(found):
    print("\nrate   time constant  norm * 1000  of ridge regression * 1000  error")
    for rate, norm, ridge, error in zip(RATES, found.norms, found.ridge, found.errors):
        print(
            f"{rate:<5g}  {1 / rate:11.4g} s  {1e3 * norm:11.4f}  {1e3 * ridge:26.4f}  {error:.4f}"
        )


def check(result, found):
    """Check NengoDL against Nengo, and the decoders in balance against the regression."""
    difference = distance(result, simulate(nengo_dl.Simulator, COMPARED))
    print(f"\nNengoDL's decoders differ from Nengo's by {difference:.1e} of their norm.")
    assert difference < 1e-6, "NengoDL learns something else"
    for name in VARIANTS:
        assert np.isfinite(result.norms[name]).all(), f"{name}: decoders are not finite"
    np.testing.assert_allclose(found.norms, found.ridge, rtol=0.2 if SHORT else 0.06)


def check_findings(result, found):
    """Raise if the results differ from the description."""
    for name in VARIANTS:
        for phase in ("learned", "learned anew"):
            assert rms(result.errors[name][between(result, *PHASES[phase])]) < 0.3, name
    last, decoders = between(result, *PHASES["at last"]), result.decoders
    goals = {"decay to zero": 0, "decay to the initial values": decoders["no decay"][0]}
    for name, goal in goals.items():
        decayed, without = (rms(decoders[n][last] - goal) for n in (name, "no decay"))
        assert decayed < 0.5 * without, "decay does not hold the decoders"
    assert sorted(found.norms, reverse=True) == found.norms, "more decay, and no smaller norm"


def distance(result, other):
    """Return how far decoders are from each other, relative to their norm."""
    n = len(other.t)
    pairs = ((result.decoders[name][:n], other.decoders[name]) for name in VARIANTS)
    return max(np.linalg.norm(one - two) / np.linalg.norm(one) for one, two in pairs)


def mark_learning(axes):
    """Shade the time with an error signal, and return an area for the legend."""
    look = {"color": "0.9", "zorder": 0, "linewidth": 0, "label": "the error signal is there"}
    return [axes.axvspan(start, start + LEARNED, **look) for start in (0, LEARNED + HELD)][0]


def save_figure(result):
    first = between(result, 0, 2 * (LEARNED + HELD))
    per_minute = 1 if SHORT else 60
    with nengo_wd.plotting.style():
        figure, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 2.8))  # inches
        for name, style in STYLES.items():
            error, norm = np.abs(result.errors[name]), 1e3 * result.norms[name]
            left.semilogy(result.t[first], smooth(error)[first], **style)
            middle.plot(result.t[first], norm[first], **style)
            right.plot(result.t / per_minute, norm, label=name, **style)
        for axes in (left, middle):
            learning = mark_learning(axes)
            axes.set_xlabel("seconds")
        ticks = [0.02, 0.05, 0.1, 0.2, 0.5]
        left.set_yticks(ticks, ticks)
        left.set_yticks([], minor=True)
        left.set(title="(a) error", ylabel="distance from the target")
        middle.set(title="(b) decoders, at first", ylabel="norm (thousandths)")
        right.set(title="(c) decoders, in the long run", ylabel="norm (thousandths)")
        right.set(xlabel="seconds" if SHORT else "minutes")
        lines = right.get_legend_handles_labels()[0]
        # above the figure; Matplotlib has "outside" from 3.7 on, and Python 3.7 has 3.5
        above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1)}
        figure.legend(handles=[*lines, learning], ncol=4, **above)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE, bbox_inches="tight")


def smooth(values, n=10):
    """Return moving averages of ``n`` values."""
    return np.convolve(values, np.ones(n) / n, mode="same")


def main():
    result = simulate(nengo.Simulator, END)
    print_tables(result)
    found = balance()
    print_balance(found)
    check(result, found)
    if not SHORT:
        check_findings(result, found)
    without, to_zero, to_initial = (
        1e3 * rms(result.norms[name][between(result, *PHASES["at last"])]) for name in VARIANTS
    )
    print(
        f"After {END:g} seconds, the norm is {without:.2f} without decay, {to_zero:.2f} with decay "
        f"to zero and {to_initial:.2f} with\ndecay to the initial values (times 1000, root mean "
        "square of the second half)."
    )
    save_figure(result)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
