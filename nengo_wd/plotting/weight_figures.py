"""Figures of weights: their norms over training and by channel, and what pruning leaves of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._checks import is_whole
from nengo_wd.networks import MadeNetwork
from nengo_wd.plotting import figures
from nengo_wd.recording.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

NORM, CHANNEL_NORM = "$L_2$ norm", "$L_2$ norm of channel"
STATISTICS: dict[str, Any] = {  # of the channels, and their lines
    "mean": (np.mean, {"color": figures.COLORS[0], "linestyle": "-", "linewidth": 1}),
    "maximum": (np.max, {"color": figures.COLORS[1], "linestyle": "--", "linewidth": 1}),
}
MOST_BINS = 10_000  # more than any figure has dots
MOST_ROWS = 5  # of records, by default
COUNTS = {"neurons": "neurons", "parameters": "weights and biases"}  # columns, with their labels
BEFORE: dict[str, Any] = {"color": "0.85", "label": "before"}
LEFT: dict[str, Any] = {"color": figures.COLORS[0], "label": "left"}
ROOM = 1.7  # times the longest bar: the limit of the axis, since numbers are beside the bars


def norms(history: History, which: Any = None, axes: Axes | None = None) -> Figure:
    """Plot the norms of parameters over training.

    Parameters
    ----------
    history : WeightNorms
        What was recorded.
    which : str, Nengo object, class, network, layer, or list of these, optional
        The parameters to plot, by name or by what they belong to. By default, all.
    axes : matplotlib.axes.Axes, optional
        Where to plot. By default, in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new figure does not belong to pyplot: ``figure.savefig`` saves it
        and notebooks show it. To use ``plt.show()``, give axes from pyplot.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``.
    ImportError
        If Matplotlib is not installed.
    """
    names = figures.asked_for(history, which)
    with figures.grid_of_axes((1, 1), axes, figures.height_for(names)) as grid:
        panel = grid[0, 0]
        lines = []
        for name, line in zip(names, figures.line_styles()):
            lines += _plot_norms(panel, history, name, label=figures.escaped(name), **line)
        panel.set(xlabel=figures.STEP, ylabel=NORM)
        panel.set_ylim(bottom=0)
        figures.add_legend(panel, axes, lines)
    return panel.figure


def histograms(
    history: History,
    which: Any = None,
    records: int | Sequence[int] | None = None,
    bins: int = 30,
    axes: Any = None,
    equal_axes: bool = True,
) -> Figure:
    """Plot histograms of the norms of output channels: records by parameters, on equal axes.

    Mean and maximum over the channels are vertical lines.

    Parameters
    ----------
    history : WeightNorms
        What was recorded.
    which : str, Nengo object, class, network, layer, or list of these, optional
        The parameters, a column each, by name or by what they belong to. By default, all.
    records : int or sequence of int, optional
        The records, a row each, by their place in ``history.steps``. By default, at most five,
        including the first and the last.
    bins : int
        The number of bins from zero to the largest norm, at most 10,000.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (n_records, n_parameters).
    equal_axes : bool
        Whether all parameters have equal axes, so you can compare them. With False, which suits
        parameters of different kinds, only the records of each parameter have equal axes.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``; and if ``records``, ``bins``
        or the shape of ``axes`` are not valid.
    ImportError
        If Matplotlib is not installed.
    """
    names, rows = figures.asked_for(history, which), _records_to_plot(history, records)
    recorded = history.channel_norms
    values = {name: list(recorded[name][rows]) for name in names}
    sharing = {"sharex": "all", "sharey": "all"} if equal_axes else {"sharex": "col"}
    shape, height = (len(rows), len(names)), 0.7 + 0.9 * len(rows)
    with figures.grid_of_axes(shape, axes, height, **sharing) as grid:
        for name, column in zip(names, grid.T):
            together = names if equal_axes else [name]
            samples = [sample for other in together for sample in values[other]]
            edges, most = _edges_of_bins(samples, bins)
            for panel, sample in zip(column, values[name]):
                # a single shape, however many bins
                panel.stairs(np.histogram(sample, edges)[0], edges, fill=True, color="0.8")
                for label, (statistic, line) in STATISTICS.items():
                    panel.axvline(statistic(sample), label=label, **line)
                panel.set(xlim=edges[[0, -1]], ylim=(0, most))
            figures.add_title(column[0], name, len(names))
            column[-1].set_xlabel(CHANNEL_NORM)
        are_epochs = len(np.unique(history.epochs)) == len(history.epochs)  # all different
        for panel, row in zip(grid[:, 0], rows):
            time = f"epoch {history.epochs[row]:g}" if are_epochs else f"step {history.steps[row]}"
            panel.set_ylabel(f"{time}\nchannels")
        figures.add_legend(grid[0, -1], axes)
    return grid[0, 0].figure


def compare(
    runs: Mapping[str, History],
    which: Any = None,
    bins: int = 30,
    axes: Any = None,
    equal_axes: bool = True,
) -> Figure:
    """Plot several runs on equal axes: norms over training, and by output channel at its end.

    Parameters
    ----------
    runs : dict of {str: WeightNorms}
        What was recorded in each run, by label; labels may have mathematics: ``"$10^{-3}$"``.
    which : str, Nengo object, class, network, layer, or list of these, optional
        The parameters, a column each, by name or by what they belong to in the first run. By
        default, all of them. They need the same names in all runs, so give names to layers.
    bins : int
        The number of bins from zero to the largest norm, at most 10,000.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (2, n_parameters): norms in the first row, histograms in the second.
    equal_axes : bool
        Whether all parameters have equal axes, as in `histograms`, or only the runs of each.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If there are no runs, or nothing was recorded of a parameter in one of them; and if
        ``bins`` or the shape of ``axes`` are not valid.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(runs, Mapping) or not runs:
        fault = f"runs={runs!r} must be a dictionary from labels to what was recorded"
        raise ValidationError(fault, attr="runs")
    names = figures.asked_for(next(iter(runs.values())), which)
    for label, history in runs.items():
        figures.asked_for(history, names, where=f" in the run {label!r}")
    last = {label: history.last_channel_norms for label, history in runs.items()}
    sharing = {"sharey": "row"} if equal_axes else {}
    with figures.grid_of_axes((2, len(names)), axes, 3.6, **sharing) as grid:
        for name, over_training, by_channel in zip(names, *grid):
            together = names if equal_axes else [name]
            over_runs = [r.norms[:, r.names.index(n)] for r in runs.values() for n in together]
            samples = [run[other] for run in last.values() for other in together]
            edges, most = _edges_of_bins(samples, bins)
            lines = []
            for (label, history), line in zip(runs.items(), figures.line_styles()):
                shown = figures.label_of(label)
                lines += _plot_norms(over_training, history, name, label=shown, **line)
                by_channel.stairs(np.histogram(last[label][name], edges)[0], edges, **line)
            figures.add_title(over_training, name, len(names))
            over_training.set(xlabel=figures.STEP, ylim=(0, figures.upper_limit(over_runs)))
            by_channel.set(xlabel=CHANNEL_NORM, xlim=edges[[0, -1]], ylim=(0, most))
        grid[0, 0].set_ylabel(NORM)
        grid[1, 0].set_ylabel("at the end\nchannels per bin")
        figures.add_legend(grid[0, -1], axes, lines)
    return grid[0, 0].figure


def _plot_norms(panel: Axes, history: History, name: str, **line: Any) -> list[Line2D]:
    norms = history.norms[:, history.names.index(name)]
    return panel.plot(history.steps, norms, marker=figures.marker_of(history), **line)


def _edges_of_bins(samples: list[np.ndarray], bins: int) -> tuple[np.ndarray, float]:
    """Return the edges of bins for all samples, and the upper limit of all their counts."""
    if not is_whole(bins) or bins > MOST_BINS:
        fault = f"bins={bins!r} must be a number of bins, from 1 to {MOST_BINS:,}"
        raise ValidationError(fault, attr="bins")
    edges = np.linspace(0, figures.upper_limit(samples), bins + 1)
    return edges, figures.upper_limit([np.histogram(sample, edges)[0] for sample in samples])


def _records_to_plot(history: History, records: int | Sequence[int] | None) -> list[int]:
    """Return the places of the records to plot."""
    n_records = len(history.steps)
    if records is None:
        return np.unique(np.linspace(0, n_records - 1, MOST_ROWS).round().astype(int)).tolist()
    rows = np.atleast_1d(records).tolist()
    known = range(-n_records, n_records)
    if not rows or any(row not in known for row in rows):
        fault = f"records={records} must be places among the {n_records} records"
        raise ValidationError(fault, attr="records")
    return [int(row) for row in rows]


def pruned(smaller: MadeNetwork, axes: Any = None) -> Figure:
    """Plot what is left of a network, by object: neurons, and weights and biases.

    A grey bar shows an object before, its coloured part shows what is left, and the numbers are
    next to it. Objects without neurons or without weights have no bar there.

    Parameters
    ----------
    smaller : nengo_wd.networks.MadeNetwork
        What `nengo_wd.pruned` returned.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (2,): neurons, and weights and biases.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure, as `norms` returns it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``smaller`` is something else, or has neither neurons nor weights; for other ``axes``.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(smaller, MadeNetwork):
        fault = f"expected a network that was pruned, got {smaller!r}"
        raise ValidationError(f"{fault}; give what nengo_wd.pruned returns", attr="smaller")
    rows = [row for row in smaller.rows if any(row[column] for column in COUNTS)]
    if not rows:
        fault = f"{smaller.network} was made of a network without neurons and without weights"
        raise ValidationError(f"{fault}, so there is nothing to plot", attr="smaller")
    with figures.grid_of_axes((1, 2), axes, 0.8 + 0.22 * len(rows)) as grid:
        for panel, (column, label) in zip(grid[0], COUNTS.items()):
            _plot_counts(panel, *([row[one] for row in rows] for one in (column, f"{column}_left")))
            panel.set(xlabel=label, ylim=(len(rows) - 0.5, -0.5))  # from the top down
            panel.set_yticks(range(len(rows)), [figures.escaped(row["name"]) for row in rows])
        if axes is None:
            grid[0, 1].set_yticklabels([])
        figures.add_legend(grid[0, 1], axes)
    return panel.figure


def _plot_counts(panel: Axes, before: list[int], left: list[int]) -> None:
    """Plot bars with numbers beside them."""
    for values, look in ((before, BEFORE), (left, LEFT)):
        panel.barh(range(len(before)), values, 0.6, **look)
    for place, (n_before, n_left) in enumerate(zip(before, left)):
        if n_before:
            text = f" {n_left:,} of {n_before:,}"
            panel.text(max(n_before, n_left), place, text, va="center", fontsize="small")
    panel.set_xlim(0, ROOM * max(*before, *left, 1))
