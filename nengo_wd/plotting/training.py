"""The figure of norms over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nengo_wd.plotting.choices import Recorded, parameters_to_plot
from nengo_wd.plotting.figures import add_legend, grid_of_axes, line_styles, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

STEP, NORM = "step (batches)", "$L_2$ norm"


def norms(history: Recorded, which: Any = None, axes: Axes | None = None) -> Figure:
    """Plot the norms of parameters over training.

    Parameters
    ----------
    history : WeightNorms
        What was recorded.
    which : str, Nengo object, class, network, layer, or list of these, optional
        The parameters to plot, by name or by what they belong to. By default all.
    axes : matplotlib.axes.Axes, optional
        Where to plot. By default in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new one is not among pyplot's: ``figure.savefig`` saves it
        and notebooks show it; to use ``plt.show()``, give axes of pyplot's.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``.
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     recorded = nengo_wd.WeightNorms(sim)
    ...     recorded.record()
    >>> nengo_wd.plotting.norms(recorded, "readout.kernel").axes[0].get_ylabel()
    '$L_2$ norm'
    """
    names = parameters_to_plot(history, which)
    with grid_of_axes((1, 1), axes, max(2.8, 0.7 + 0.18 * len(names)), {}) as grid:
        panel = grid[0, 0]
        lines = [
            plot_norms(panel, history, name, label=plain(name), **line)
            for name, line in zip(names, line_styles())
        ]
        panel.set(xlabel=STEP, ylabel=NORM)
        panel.set_ylim(bottom=0)
        add_legend(panel, axes, lines)
    return panel.figure


def plot_norms(panel: Axes, history: Recorded, name: str, **line: Any) -> Line2D:
    """Plot the norms of a parameter over training, and return the line."""
    marker = "o" if len(history.steps) == 1 else None  # where there is nothing to connect
    return panel.plot(history.steps, norms_of(history, name), marker=marker, **line)[0]


def norms_of(history: Recorded, name: str) -> np.ndarray:
    """Return the norms of a parameter, one for each record."""
    return history.norms[:, history.names.index(name)]
