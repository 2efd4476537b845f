"""Figures of networks that were made from trained ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nengo.exceptions import ValidationError

from nengo_wd.networks import MadeNetwork
from nengo_wd.plotting import figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNTS = {"neurons": "neurons", "parameters": "weights and biases"}  # columns, with their labels
BEFORE: dict[str, Any] = {"color": "0.85", "label": "before"}
LEFT: dict[str, Any] = {"color": figures.COLORS[0], "label": "left"}
ROOM = 1.7  # for the axis, over the longest bar: numbers are beside the bars


def pruned(smaller: MadeNetwork, axes: Any = None) -> Figure:
    """Plot what is left of a network, by object: neurons, and weights and biases.

    A grey bar shows an object before, and its coloured part shows what is left. The numbers are
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
        If ``smaller`` is something else, or has neither neurons nor weights; and for other
        ``axes``.
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
            _plot(panel, *([row[one] for row in rows] for one in (column, f"{column}_left")))
            panel.set(xlabel=label)
            panel.set_yticks(range(len(rows)), [figures.escaped(row["name"]) for row in rows])
        if axes is None:
            grid[0, 1].set_yticklabels([])
        figures.add_legend(grid[0, 1], axes)
    return panel.figure


def _plot(panel: Axes, before: list[int], left: list[int]) -> None:
    """Plot bars from the top down, with numbers beside them."""
    for values, look in ((before, BEFORE), (left, LEFT)):
        panel.barh(range(len(before)), values, 0.6, **look)
    for place, (n_before, n_left) in enumerate(zip(before, left)):
        if n_before:
            text = f" {n_left:,} of {n_before:,}"
            panel.text(max(n_before, n_left), place, text, va="center", fontsize="small")
    panel.set_ylim(len(before) - 0.5, -0.5)
    panel.set_xlim(0, ROOM * max(*before, *left, 1))
