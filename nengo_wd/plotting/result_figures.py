"""Figures of firing rates over training, of gaps to spikes, of energy and of searches."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.energy import Energy
from nengo_wd.plotting import figures
from nengo_wd.recording.gap import SpikeGap
from nengo_wd.recording.neuron_rates import RateHistory

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE = figures.COLORS[:2]
BAND = (10, 90)  # percentiles of the neurons
HATCHES = ("", "///", "...", "xxx", "---")  # for bars of the same colour
COMPLETE: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 3.5, "color": BLUE}
PRUNED: dict[str, Any] = {**COMPLETE, "marker": "x", "color": "0.6"}
ABOVE: dict[str, Any] = {**PRUNED, "marker": "^", "clip_on": False}
BELOW: dict[str, Any] = {**ABOVE, "marker": "v"}
BEST: dict[str, Any] = {**COMPLETE, "marker": "*", "markersize": 11, "color": ORANGE}
MARGIN = 0.1  # of the range of errors, above and below


def rates(history: RateHistory, which: Any = None, axes: Any = None) -> Figure:
    """Plot firing rates over training, shares of silent neurons, and gaps to spikes.

    On the left, a line is the mean over a probe's neurons, and the band around it goes from their
    10th to their 90th percentile. The next panel has the shares of silent neurons. The last one has
    the gaps between rates in training and with spikes, if any were recorded.

    Parameters
    ----------
    history : NeuronRates
        What was recorded.
    which : str, nengo.Probe, or list of these, optional
        The probes to plot, or their names. By default, all.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (3,); of shape (2,) if no gap was recorded.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``; and for other ``axes``.
    ImportError
        If Matplotlib is not installed.
    """
    names = figures.asked_for(history, which, "NeuronRates")
    has_gaps = np.isfinite(history.gaps).any()
    with figures.grid_of_axes((1, 2 + has_gaps), axes, figures.height_for(names)) as grid:
        firing, silent, *gap = grid[0]
        steps, lines = history.steps, []
        for name, line in zip(names, figures.line_styles()):
            line["marker"], column = figures.marker_of(history), history.names.index(name)
            low, high = np.percentile(history.rates[name], BAND, axis=1)
            firing.fill_between(steps, low, high, color=line["color"], alpha=0.2, lw=0)
            firing.plot(steps, history.mean_rates[:, column], **line)
            share, label = 100 * history.silent[:, column], figures.escaped(name)
            lines += silent.plot(steps, share, label=label, **line)
            for panel in gap:
                panel.plot(steps, history.gaps[:, column], **line)
        silent.set(xlabel=figures.STEP, ylabel="silent neurons (%)", ylim=(-2, 102))
        labels = "firing rate (Hz)", "gap of rates to spikes (Hz)"
        for panel, label in zip([firing, *gap], labels):
            panel.set(xlabel=figures.STEP, ylabel=label)
            panel.set_ylim(bottom=0)
        figures.add_legend(grid[0, -1], axes, lines)
    return firing.figure


def spike_gap(gap: SpikeGap, axes: Any = None) -> Figure:
    """Plot losses and accuracies with spikes, over the time that data are shown, and on rates.

    A line shows a probe with spikes, a thin line of that colour on rates, a mark where they meet.

    Parameters
    ----------
    gap : nengo_wd.recording.SpikeGap
        What `nengo_wd.spike_gap` returned.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (2,): losses and accuracies; of shape (1,) without accuracies.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``gap`` is something else; and for other ``axes``.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(gap, SpikeGap):
        remedy = "give what nengo_wd.spike_gap returns"
        raise ValidationError(f"expected a SpikeGap, got {gap!r}; {remedy}", attr="gap")
    kinds = [("loss", gap.losses, gap.losses_on_rates)]
    if np.isfinite(gap.accuracies).any():
        kinds.append(("accuracy (%)", 100 * gap.accuracies, 100 * gap.accuracies_on_rates))
    with figures.grid_of_axes((1, len(kinds)), axes, figures.height_for(gap.names)) as grid:
        for panel, (quantity, with_spikes, on_rates) in zip(grid[0], kinds):
            lines = []
            for i, (name, style) in enumerate(zip(gap.names, figures.line_styles())):
                meets = np.flatnonzero(gap.times == gap.meets[i]).tolist()
                mark: dict[str, Any] = {"marker": "o", "markersize": 4, "markevery": meets}
                label = figures.escaped(name)
                lines += panel.plot(gap.times, with_spikes[:, i], label=label, **mark, **style)
                panel.plot(gap.times, on_rates[:, i], linewidth=0.6, **style)
            panel.set(xlabel="time shown (s)", ylabel=quantity)
        figures.add_legend(grid[0, -1], axes, lines)
    return panel.figure


def energy(
    runs: Energy | Mapping[str, Energy],
    device: str = "loihi",
    inputs: bool = True,
    axes: Axes | None = None,
) -> Figure:
    """Plot the energy that one example takes: bars side by side, stacked by object.

    Parameters
    ----------
    runs : nengo_wd.Energy or dict of {str: nengo_wd.Energy}
        What networks cost, by the label of the run. Labels may contain Matplotlib's mathematics.
        Objects of the same name have the same colour in all runs.
    device : str
        The device, as in `nengo_wd.Energy`.
    inputs : bool
        Whether synapses from Nodes count.
    axes : matplotlib.axes.Axes, optional
        Where to plot.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it, without what can't be counted or takes no energy.

    Raises
    ------
    nengo.exceptions.ValidationError
        If there are no runs, or there is no such device.
    ImportError
        If Matplotlib is not installed.
    """
    found = {label: one.by_object(device, inputs) for label, one in _by_label(runs).items()}
    names = list(dict.fromkeys(name for by_name in found.values() for name in by_name))
    heights = np.nan_to_num([[run.get(name, 0) for run in found.values()] for name in names])
    styles = zip(itertools.cycle(figures.COLORS), itertools.cycle(HATCHES))
    with figures.grid_of_axes((1, 1), axes, 3.0) as grid:
        panel = grid[0, 0]
        shown = []
        bottoms = np.cumsum(heights, axis=0) - heights  # on the bars of the objects before
        drawn = list(zip(names, heights, bottoms, styles))[::-1]  # from the top, as in the legend
        for name, height, bottom, (color, hatch) in drawn:
            if height.any():
                look = {"hatch": hatch, "edgecolor": "white", "linewidth": 0.5}
                bars = panel.bar(range(len(found)), height, 0.6, bottom, color=color, **look)
                bars[0].set_label(figures.escaped(name))
                shown.append(bars[0])
        panel.set_xticks(range(len(found)), [figures.label_of(label) for label in found])
        panel.set_ylabel(f"energy on {figures.escaped(device)}\n(J for one example)")
        figures.add_legend(panel, axes, shown)
    return panel.figure


def _by_label(runs: Any) -> Mapping[str, Energy]:
    """Return runs by label, or raise if there are none."""
    if isinstance(runs, Energy):
        return {"": runs}
    if not isinstance(runs, Mapping) or not runs:
        fault = f"runs={runs!r} must be a nengo_wd.Energy, or a dictionary of them by label"
        raise ValidationError(fault, attr="runs")
    for label, run in runs.items():
        if not isinstance(run, Energy):
            fault = f"expected a nengo_wd.Energy, got {run!r} in the run {label!r}"
            raise ValidationError(fault, attr="runs")
    return runs


def search(study: optuna.Study, axes: Any = None) -> Figure:
    """Plot the error over each strength and over the trials, with the best so far.

    You can also plot your own study that maximizes; the largest value is then the best.

    Parameters
    ----------
    study : optuna.Study
        What `nengo_wd.search.strengths` returned, or has in its storage so far. The best trial is
        marked. A pruned trial shows the last error that it reported, at the edge if that is beyond
        the errors of complete trials. Others are left out.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (1 + n_strengths,): the trials, and each strength.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``study`` is not a study, or none of its trials is complete; and for other ``axes``.
    ImportError
        If Matplotlib is not installed.
    """
    complete, pruned = _trials(study, "COMPLETE"), _trials(study, "PRUNED")
    if not complete:
        fault = f"no trial of the search {study.study_name!r} is complete"
        raise ValidationError(f"{fault}, so there is nothing to plot", attr="study")
    maximizes = study.direction.name == "MAXIMIZE"  # a study of the user's own
    value, better = ("value", np.maximum) if maximizes else ("error", np.minimum)
    names, values = list(study.best_params), [trial.value for trial in complete]
    room = MARGIN * (max(values) - min(values)) or 1.0
    limits = min(values) - room, max(values) + room
    kinds: list[tuple] = [
        ([trial for trial in pruned if limits[0] <= trial.value <= limits[1]], PRUNED, "pruned"),
        ([trial for trial in pruned if trial.value > limits[1]], ABOVE, f"pruned, {value} above"),
        ([trial for trial in pruned if trial.value < limits[0]], BELOW, f"pruned, {value} below"),
        (complete, COMPLETE, "complete"),
        ([study.best_trial], BEST, "best"),
    ]
    with figures.grid_of_axes((1, 1 + len(names)), axes, 2.6, sharey="row") as grid:
        over_trials, *over_strengths = grid[0]
        _plot(over_trials, kinds, limits)
        numbers, so_far = [trial.number for trial in complete], better.accumulate(values)
        line = {"where": "post", "color": ORANGE, "linewidth": 1}
        best_so_far = over_trials.step(numbers, so_far, label="best so far", **line)
        over_trials.set(xlabel="trial", ylabel=value)
        for panel, name in zip(over_strengths, names):
            _plot(panel, kinds, limits, name)
            panel.set(xscale="log", xlabel="strength")
            figures.add_title(panel, name, 1 + len(names))
        figures.add_legend(grid[0, -1], axes, best_so_far)
    return over_trials.figure


def _trials(study: Any, state: str) -> list:
    """Return the trials that are in a state and have a value, in order."""
    if not hasattr(study, "get_trials"):
        raise ValidationError(f"expected an optuna.Study, got {study!r}", attr="study")
    found = study.get_trials(deepcopy=False)
    return [one for one in found if one.state.name == state and one.value is not None]


def _plot(
    panel: Axes, kinds: list[tuple], limits: tuple[float, float], name: str | None = None
) -> None:
    """Plot the values of trials over a strength, or else over their numbers."""
    for order, (trials, look, label) in enumerate(kinds, 2):
        if trials:
            x = [trial.number if name is None else trial.params[name] for trial in trials]
            y = np.clip([trial.value for trial in trials], *limits)
            panel.plot(x, y, label=label, zorder=2 + 0.1 * order, **look)
    panel.set_ylim(limits)
