"""The figure of several runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.plotting.channels import CHANNEL_NORM, edges_of_bins
from nengo_wd.plotting.choices import Recorded, parameters_to_plot
from nengo_wd.plotting.figures import (
    add_legend,
    add_title,
    grid_of_axes,
    label_of,
    limit,
    line_styles,
)
from nengo_wd.plotting.training import NORM, STEP, norms_of, plot_norms

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(
    runs: Mapping[str, Recorded],
    which: Any = None,
    bins: int = 30,
    axes: Any = None,
    equal_axes: bool = True,
) -> Figure:
    """Plot several runs on equal axes: norms over training, and by output channel at its end.

    Parameters
    ----------
    runs : dict of {str: WeightNorms}
        What was recorded in each run, by the label of the run, in which there may be
        Matplotlib's mathematics: ``"$10^{-3}$"``.
    which : str, Nengo object, class, network, layer, or list of these, optional
        The parameters, a column each, by name or by what they belong to in the first run. By
        default all of the first run. They must have the same names in the others; so give
        layers names, because Keras numbers those without.
    bins : int
        How many bins the histograms have from zero to the largest norm, 10,000 at the most.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (2, n_parameters): norms in the first row, histograms in the
        second. By default in a new figure.
    equal_axes : bool
        Whether all parameters have equal axes, to be compared with each other. With False, for
        parameters of different kinds, axes are equal for the runs of each.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new one is not among pyplot's: ``figure.savefig`` saves it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If there are no runs, or nothing was recorded of a parameter in one of them; if
        ``bins`` is no such number; and if ``axes`` has another shape.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(runs, Mapping) or not runs:
        raise ValidationError(
            f"runs={runs!r} must be a dictionary from labels to what was recorded", attr="runs"
        )
    names = parameters_to_plot(next(iter(runs.values())), which)
    for label, history in runs.items():
        parameters_to_plot(history, names, f" in the run {label!r}")
    last = {label: history.last_channel_norms for label, history in runs.items()}
    sharing = {"sharey": "row"} if equal_axes else {}
    with grid_of_axes((2, len(names)), axes, 3.6, sharing) as grid:
        for name, over_training, by_channel in zip(names, *grid):
            together = names if equal_axes else [name]
            top = limit([norms_of(run, other) for run in runs.values() for other in together])
            samples = [run[other] for run in last.values() for other in together]
            edges, most = edges_of_bins(samples, bins)
            lines = []
            for (label, history), line in zip(runs.items(), line_styles()):
                shown = label_of(label)
                lines.append(plot_norms(over_training, history, name, label=shown, **line))
                by_channel.stairs(np.histogram(last[label][name], edges)[0], edges, **line)
            add_title(over_training, name, len(names))
            over_training.set(xlabel=STEP, ylim=(0, top))
            by_channel.set(xlabel=CHANNEL_NORM, xlim=edges[[0, -1]], ylim=(0, most))
        grid[0, 0].set_ylabel(NORM)
        grid[1, 0].set_ylabel("at the end\nchannels per bin")
        add_legend(grid[0, -1], axes, lines)
    return grid[0, 0].figure
