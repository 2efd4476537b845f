"""The figure of histograms of channels' norms."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._checks import is_number
from nengo_wd.plotting.choices import Recorded, parameters_to_plot, records_to_plot
from nengo_wd.plotting.figures import COLORS, add_legend, add_title, grid_of_axes, limit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATISTICS: dict[str, Any] = {  # of the channels, and their lines
    "mean": (np.mean, {"color": COLORS[0], "linestyle": "-", "linewidth": 1}),
    "maximum": (np.max, {"color": COLORS[1], "linestyle": "--", "linewidth": 1}),
}
MOST_BINS = 10_000  # more than any figure has dots
CHANNEL_NORM = "$L_2$ norm of channel"


def histograms(
    history: Recorded,
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
        The parameters, a column each, by name or by what they belong to. By default all.
    records : int or sequence of int, optional
        The records, a row each, by their place in ``history.steps``. By default five at the
        most, the first and the last among them.
    bins : int
        How many bins there are from zero to the largest norm, 10,000 at the most.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (n_records, n_parameters). By default in a new figure.
    equal_axes : bool
        Whether all parameters have equal axes, to be compared with each other. With False, for
        parameters of different kinds, axes are equal for the records of each.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new one is not among pyplot's: ``figure.savefig`` saves it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``; if there is no such
        record; if ``bins`` is no such number; and if ``axes`` has another shape.
    ImportError
        If Matplotlib is not installed.
    """
    names, rows = parameters_to_plot(history, which), records_to_plot(history, records)
    recorded = history.channel_norms
    values = {name: list(recorded[name][rows]) for name in names}
    sharing = {"sharex": "all", "sharey": "all"} if equal_axes else {"sharex": "col"}
    with grid_of_axes((len(rows), len(names)), axes, 0.7 + 0.9 * len(rows), sharing) as grid:
        for name, column in zip(names, grid.T):
            together = names if equal_axes else [name]
            samples = [sample for other in together for sample in values[other]]
            edges, most = edges_of_bins(samples, bins)
            for panel, sample in zip(column, values[name]):
                _plot_channels(panel, sample, edges)
                panel.set(xlim=edges[[0, -1]], ylim=(0, most))
            add_title(column[0], name, len(names))
            column[-1].set_xlabel(CHANNEL_NORM)
        for panel, row in zip(grid[:, 0], rows):
            panel.set_ylabel(f"{_time(history, row)}\nchannels")
        add_legend(grid[0, -1], axes)
    return grid[0, 0].figure


def _plot_channels(panel: Axes, norms: np.ndarray, edges: Any) -> None:
    # one shape, however many bins
    panel.stairs(np.histogram(norms, edges)[0], edges, fill=True, color="0.8")
    for label, (statistic, line) in STATISTICS.items():
        panel.axvline(statistic(norms), label=label, **line)


def _time(history: Recorded, row: int) -> str:
    """Say when a record was made: by its epoch, where that tells it from the others."""
    if len(np.unique(history.epochs)) == len(history.epochs):
        return f"epoch {history.epochs[row]:g}"
    return f"step {history.steps[row]}"


def edges_of_bins(samples: list[np.ndarray], bins: int) -> tuple[np.ndarray, float]:
    """Return the edges of bins for all samples, and the upper limit for all of their counts."""
    if not isinstance(bins, numbers.Integral) or not is_number(bins) or not 1 <= bins <= MOST_BINS:
        raise ValidationError(
            f"bins={bins!r} must be a number of bins, from 1 to {MOST_BINS:,}", attr="bins"
        )
    edges = np.linspace(0, limit(samples), bins + 1)
    return edges, limit([np.histogram(sample, edges)[0] for sample in samples])
