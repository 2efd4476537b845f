"""The figure of firing rates over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nengo_wd.plotting.choices import RecordedRates, probes_to_plot
from nengo_wd.plotting.figures import add_legend, grid_of_axes, line_styles, plain
from nengo_wd.plotting.training import STEP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE, SILENT = "firing rate (Hz)", "silent neurons (%)"
BAND = (10, 90)  # percentiles of the neurons


def rates(history: RecordedRates, which: Any = None, axes: Any = None) -> Figure:
    """Plot firing rates over training: their means, most of the neurons, and the silent ones.

    On the left, a line is the mean over a probe's neurons, and the band around it goes from their
    10th to their 90th percentile. On the right, a line is the share of silent neurons.

    Parameters
    ----------
    history : NeuronRates
        What was recorded.
    which : str, nengo.Probe, or list of these, optional
        The probes to plot, or their names. By default all.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (2,). By default in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new one is not among pyplot's: ``figure.savefig`` saves it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``; and if ``axes`` has another
        shape.
    ImportError
        If Matplotlib is not installed.
    """
    names = probes_to_plot(history, which)
    with grid_of_axes((1, 2), axes, max(2.8, 0.7 + 0.18 * len(names)), {}) as grid:
        firing, silent = grid[0]
        marker = "o" if len(history.steps) == 1 else None  # where there is nothing to connect
        lines = []
        for name, line in zip(names, line_styles()):
            of_neurons, column = history.rates[name], history.names.index(name)
            low, high = np.percentile(of_neurons, BAND, axis=1)
            firing.fill_between(history.steps, low, high, color=line["color"], alpha=0.2, lw=0)
            firing.plot(history.steps, history.mean_rates[:, column], marker=marker, **line)
            share, label = 100 * history.silent[:, column], plain(name)
            lines += silent.plot(history.steps, share, marker=marker, label=label, **line)
        firing.set(xlabel=STEP, ylabel=RATE)
        firing.set_ylim(bottom=0)
        silent.set(xlabel=STEP, ylabel=SILENT, ylim=(-2, 102))
        add_legend(silent, axes, lines)
    return firing.figure
