"""What the examples printed in full, and the results of NengoDL's own tests, as numbers."""

import json
import re
from pathlib import Path

import nengo
import numpy as np

ROOT = Path(__file__).parents[2]
IF = "integrate-and-fire"
WORDS = "no one two three four five six seven eight nine ten".split()


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]


def kept(example):
    """Return what an example printed."""
    return (ROOT / "docs" / "figures" / f"{example}.txt").read_text(encoding="utf-8")


def row(example, start, below=""):
    """Return the numbers of the first line that begins with ``start``, from ``below`` on."""
    printed = kept(example)
    assert below in printed, f"{example}.txt has no {below!r}"
    for line in printed[printed.index(below) :].splitlines():
        if line.strip().startswith(start):
            return numbers(line.strip()[len(start) :])
    raise AssertionError(f"{example}.txt has no line that begins with {start!r}")


def column(example, starts, index, below=""):
    """Return the number at ``index`` of each of several lines."""
    return [row(example, start, below)[index] for start in starts]


def least_and_most(values):
    return [min(values), max(values)]


# -- accuracy_for_energy.txt -------------------------------------------------------------

ENERGY = "accuracy_for_energy"


def on_the_front(neurons, *ways):
    """Return, for each way as chosen: accuracy after 100 ms, and shares (%) of plain's events.

    The first way has to be the one that is best on the validation split. After its numbers come
    plain's accuracy and its share of plain's joules on Loihi.
    """
    assert f"{neurons}, plain and best on the validation split ({ways[0]})" in kept(ENERGY)
    plain, best = (starred(neurons, way) for way in ("plain", ways[0]))
    found = [best[6], plain[6], best[9], 100 * best[10] / plain[10]]
    return found + [number for way in ways[1:] for number in starred(neurons, way)[9:5:-3]]


def starred(neurons, way):
    """Return the numbers in the line of the strengths that were chosen for a way."""
    printed = kept(ENERGY)
    lines = printed[printed.index(f"\n{neurons}:") :].splitlines()
    return numbers(next(line for line in lines if line.startswith(way) and " *" in line))


def frontier(neurons, way, strength, noise=0):
    """Return accuracies on rates, after 50 and 100 ms, its error, and synaptic events.

    The time constant of the noise is in ms.
    """
    start = f"{way:12} {float(strength):>7g} {noise:>5g} "
    found = row(ENERGY, start, below=f"\n{neurons}:")
    _, on_rates, after_50, _, after_100, error, events, *_ = found
    return [on_rates, after_50, after_100, error, events]


def tried(neurons, way):
    """Return the strengths of a way that were tried without noise."""
    printed = kept(ENERGY)
    table = printed[printed.index(f"\n{neurons}:") :].split("\n\n")[0]
    return re.findall(rf"^{way} +([\d.]+) +0 ", table, re.M)


def chosen(neurons, way):
    """Return the same of the strengths that were chosen for a way, which have a star."""
    return frontier(neurons, way, *starred(neurons, way)[:2])


def sequence(way):
    """Return accuracies on rates and with spikes, each with its error, and synaptic events."""
    return row("spiking_sequence", f"{way:12} ")


# -- spiking_digits.txt ------------------------------------------------------------------


def digits(strength):
    """Return validation accuracy, norm of all weights and share of the penalties."""
    return row("spiking_digits", f"{strength} ", below="strength  validation")


def digits_summary():
    """Return norms with decay as shares of those without, accuracies and standard error."""
    norms = row("spiking_digits", "With weight decay, the norms")
    return norms + row("spiking_digits", "The test accuracy with spikes")


def standard_error(accuracy):
    """Return the binomial standard error of an accuracy on the 1050 test images, in percent."""
    return (accuracy * (100 - accuracy) / 1050) ** 0.5


def digits_over_strengths():
    """Return norms at the weakest and strongest, and without; the same of accuracies."""
    runs = [digits(strength) for strength in ("0.0003", "0.001", "0.003", "0.01")]
    accuracies, norms, _ = zip(*runs)
    accuracy, norm, _ = digits("0")
    return [norms[0], norms[-1], norm, *least_and_most(accuracies), accuracy]


# -- neurons_that_train_well.txt ---------------------------------------------------------------


def neurons_on_signals(kind):
    """Return accuracies with spikes and synaptic events, for each of three trainings."""
    trainings = ("plain", "rate targets", "and decay")
    found = [row("neurons_that_train_well", f"{kind:20}{one} ") for one in trainings]
    return [number for _, _, accuracy, _, events in found for number in (accuracy, events)]


def neurons_on_digits(name):
    """Return accuracies on rates and with spikes."""
    return row("neurons_that_train_well", f"{name} ", below="digits: max_rates")[::2]


def slopes_of_lif():
    """Return the slopes of LIF's rate (Hz) above the threshold, and the largest when smoothed."""
    lif, above = nengo.LIF(), np.linspace(-0.1, 0.1, 200001)
    smooth = 0.02 * np.logaddexp(0, above / 0.02)

    def rate(x):
        return 1 / (lif.tau_ref + lif.tau_rc * np.log1p(1 / x))

    slopes = [rate(x) ** 2 * lif.tau_rc / (x * (1 + x)) for x in (0.01, 0.001, 0.0001)]
    return [*slopes, np.gradient(rate(smooth), above).max()]


# -- smaller_network.txt -----------------------------------------------------------------


def made_smaller(way, strength):
    """Return accuracy, its error, neurons, synaptic events and microjoules on Loihi."""
    strength = "" if strength == "none" else strength
    _, accuracy, error, neurons, events, _, joules, _ = row(
        "smaller_network", f"{way:20} {strength:>8} "
    )
    return [accuracy, error, neurons, events, joules]


def chosen_to_be_small(title):
    """Return shares (%) of plain's joules, events and neurons, and the accuracy."""
    shares = [
        row("smaller_network", f"{name}:", title)[0] for name in ("joules", "events", "neurons")
    ]
    return [*shares, row("smaller_network", "accuracy:", title)[1]]


def emptied(optimizer, rate, strength):
    """Return channels near zero and at zero, the accuracy in the end, and microjoules."""
    return row("smaller_network", f"{optimizer:18} {rate:>8} {strength:>8} ")


# -- on_loihi.txt ------------------------------------------------------------------------

ON_LOIHI = ["on_loihi", "on_loihi_python_3.13"]  # the first on Python 3.11


def on_loihi(kept_in, way):
    """Return neurons, accuracies with errors, events of both, and microjoules."""
    *found, _, joules = row(kept_in, f"{way:12} ", "neurons")
    return [*found, joules]


def spikes_on_loihi(kept_in, layer):
    """Return the regularized network's spikes of a layer, in NengoDL and on the emulator."""
    return row(kept_in, f"{'regularized':12} {layer} ")[:2]


def with_neurons_of_nengo():
    """Return the regularized network's spikes with Nengo's own neurons, and with the chip's."""
    return row("on_loihi", "Regularized, NengoDL has")[1::-1]


# -- penalty_or_decay.txt ----------------------------------------------------------------

RATES = ("0.001", "0.0032", "0.01", "0.032")
WAYS = ("penalty", "decay", "unscaled")


class Grid:
    """Errors and norms of one way to decay, by learning rate and decay."""

    def __init__(self, way):
        below = f"{way}: validation error"
        self.decays = row("penalty_or_decay", "rate  |  decay", below)
        table = np.array([row("penalty_or_decay", f"{rate}  |", below) for rate in RATES])
        self.best = table[:, -1]
        self.errors, self.norms = table[:, :-1:2], table[:, 1:-1:2]

    def at(self, rate, decay):
        """Return error and norm."""
        cell = RATES.index(rate), self.decays.index(decay)
        return [self.errors[cell], self.norms[cell]]

    def best_at(self, rate):
        """Return the best decay at a learning rate."""
        return self.best[RATES.index(rate)]

    def at_best(self):
        """Return the best decays, and norms and errors where the error is lowest.

        They are from least to most. A best decay is a mean of those that are almost as good.
        """
        cells = range(len(RATES)), self.errors.argmin(axis=1)
        norms, errors = self.norms[cells], self.errors[cells]
        return sorted(set(self.best)), least_and_most(norms), least_and_most(errors)


def one_best(way):
    """Return the decay that is best at all learning rates, and norms and errors there."""
    (best,), norms, errors = Grid(way).at_best()
    return [best, *norms, *errors]


def many_best(way):
    best, norms, errors = Grid(way).at_best()
    return [*least_and_most(best), *norms, *errors]


def with_weakest_decays():
    grids = [Grid(way) for way in WAYS]
    norms = least_and_most(np.concatenate([grid.norms[:, 0] for grid in grids]))
    return norms + least_and_most(np.concatenate([grid.errors[:, 0] for grid in grids]))


def with_too_much_decay():
    """Return errors and norms of the networks that are wrong four times in five."""
    grids = [Grid(way) for way in WAYS]
    errors = np.concatenate([grid.errors.ravel() for grid in grids])
    norms = np.concatenate([grid.norms.ravel() for grid in grids])[errors > 80]
    return least_and_most(errors[errors > 80]) + least_and_most(norms)


def ties():
    """Return exponent and price of each way."""
    rows = [row("penalty_or_decay", f"{way} ", below="way       exponent") for way in WAYS]
    # zeros without a sign
    return [number + 0.0 for exponent, _, price, _ in rows for number in (exponent, price)]


def errors_at(rate, decays):
    return [Grid("penalty").at(rate, decay)[0] for decay in decays]


def size_of_grid():
    return [WORDS[len(values)] for values in (RATES, Grid("penalty").decays, WAYS)]


# -- online_decay.txt --------------------------------------------------------------------


def balance_online(rate):
    """Return a rate, and times 1000 the norms of the decoders and of the regression; the error."""
    _, norm, ridge, error = row("online_decay", f"{rate} ", below="rate   time constant")
    return [float(rate), norm, ridge, error]


def norms_and_errors_online(phase):
    """Return norm, times 1000, and error of each variant in turn."""
    errors, norms = (row("online_decay", phase, below) for below in ("error ", "norm * 1000"))
    return [value for pair in zip(norms, errors) for value in pair]


# -- zeros_and_norms.txt -----------------------------------------------------------------


def small_weights(way, strength):
    """Return accuracy with spikes, exact zeros, norm, events, microjoules and trainings."""
    found = row("zeros_and_norms", f"{way:12} {strength:>8} ")
    _, accuracy, _, zeros, _, norm, events, microjoules = found
    trainings = 1 if way == "plain" else row("zeros_and_norms", f"{way}, {strength}:")[-1]
    return [accuracy, zeros, norm, events, microjoules, trainings]


# -- the other examples ------------------------------------------------------------------

ENSEMBLES = "regularized_ensembles"
LAYERS = "decay_strength"


def of_ensembles(below, starts, index):
    return column(ENSEMBLES, starts, index, below)


def penalties_of_ensembles():
    starts = [f"{name} " for name in ("square.weights", "readout.weights")]
    starts += [f"{name} " for name in ("first.encoders", "first.biases", "second.encoders")]
    return least_and_most(of_ensembles("penalties\n", starts, 0))


def norms_of_ensembles():
    starts = ["first.encoders", "second.encoders", "square.weights", "readout.weights"]
    return of_ensembles("norms\n", starts, 0)


def changes(strength, *starts):
    """Return by how many percent norms of ``decay_strength.py`` changed."""
    below = f"with penalty {strength}:" if strength else "with no penalty:"
    return column(LAYERS, starts, 0, below)


def cuda_norms(layer):
    """Return the mean norm of a layer, with decay and without."""
    printed = (ROOT / "docs" / "figures" / "cuda_convnet_layers.txt").read_text(encoding="utf-8")
    table = {
        wc: np.mean([numbers(line) for line in re.findall(rf"^{wc} .*%.*", printed, re.M)], axis=0)
        for wc in ("with", "without")
    }
    index = 2 + ("conv1", "conv2", "fc10").index(layer)
    return [table["with"][index], table["without"][index]]


def cuda_decayed():
    (conv2, conv2_without), (fc10, fc10_without) = cuda_norms("conv2"), cuda_norms("fc10")
    return [conv2, fc10, conv2_without, fc10_without]


def few_bits(bits):
    """Return what the benchmark's page has, whose output is not kept: the five means of a row."""
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    return numbers(re.search(rf"^\| {bits} (\| .* ± .*)", page, re.M)[1])[::2]


def counts(stack):
    """Return how many tests of NengoDL, or of its family, passed, failed and were skipped."""
    path = ROOT / "benchmarks" / "nengo_dl_results" / f"{stack}.json"
    results = list(json.loads(path.read_text(encoding="utf-8"))["tests"].values())
    starts = ("passed", "failed", "skipped")
    return [sum(result.startswith(start) for result in results) for start in starts]


# -- plain networks on MNIST-1D -----------------------------------------------------------


def plain_networks():
    """Return, by example, the accuracy with spikes of what it calls plain."""
    return {
        "`accuracy_for_energy.py`": starred(IF, "plain")[6],
        "`neurons_that_train_well.py`": neurons_on_signals(IF)[0],
        "`smaller_network.py`": made_smaller("plain", "none")[0],
        "`smaller_network.py`, as long": made_smaller("plain, as long", "none")[0],
        "`on_loihi.py`, neurons of the chip": on_loihi("on_loihi", "plain")[1],
        "`zeros_and_norms.py`": small_weights("plain", 0)[0],
        "`search_strengths.py`": 100 - errors_of("none")[0],
    }


# -- search_strengths.txt ----------------------------------------------------------------

SEARCH = "search_strengths"


def searched_by_group():
    """Return the numbers of trials and of those pruned, the best strengths, and test errors."""
    by_group = [int(number) for number in row(SEARCH, "by group:")[:2]]
    best = re.search(r"best: kernels (\S+), biases (\S+), rates (\S+);", kept(SEARCH)).groups()
    return [*by_group, *map(float, best), *errors_of("by group"), *errors_of("none")]


def errors_of(way):
    """Return the mean test error of a way, and its standard error."""
    return row(SEARCH, f"{way} ", below="none        ")


def gain_by_group():
    """Return the test error of one strength for all, and by how much those by group are better."""
    return errors_of("one for all") + row(SEARCH, "Strengths by group make")
