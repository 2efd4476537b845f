"""The figure of what networks cost, by object."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.energy import Energy
from nengo_wd.plotting.figures import COLORS, add_legend, grid_of_axes, label_of, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HATCHES = ("", "///", "...", "xxx", "---")  # which tell bars of one colour apart
WIDTH_OF_BAR = 0.6


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
        What networks cost, by the label of the run, in which there may be Matplotlib's mathematics.
        Objects of one name have one colour in all of them.
    device : str
        The device, as in `nengo_wd.Energy`.
    inputs : bool
        Whether synapses from Nodes count.
    axes : matplotlib.axes.Axes, optional
        Where to plot. By default in a new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new one is not among pyplot's: ``figure.savefig`` saves it. What
        can't be counted, or takes no energy, is left out.

    Raises
    ------
    nengo.exceptions.ValidationError
        If there are no runs, or there is no such device.
    ImportError
        If Matplotlib is not installed.
    """
    found = {label: one.by_object(device, inputs) for label, one in _checked(runs).items()}
    names = list(dict.fromkeys(name for by_name in found.values() for name in by_name))
    heights = np.nan_to_num([[run.get(name, 0) for run in found.values()] for name in names])
    styles = zip(itertools.cycle(COLORS), itertools.cycle(HATCHES))
    with grid_of_axes((1, 1), axes, 3.0, {}) as grid:
        panel = grid[0, 0]
        shown = []
        drawn = list(zip(names, heights, _below(heights), styles))
        for name, height, bottom, style in reversed(drawn):  # from the top, as in the legend
            if height.any():
                bars = panel.bar(range(len(found)), height, WIDTH_OF_BAR, bottom)
                for bar in bars:
                    bar.set(facecolor=style[0], hatch=style[1], edgecolor="white", linewidth=0.5)
                bars[0].set_label(plain(name))
                shown.append(bars[0])
        panel.set_xticks(range(len(found)), [label_of(label) for label in found])
        panel.set_ylabel(f"energy on {plain(device)}\n(J for one example)")
        add_legend(panel, axes, shown)
    return panel.figure


def _below(heights: np.ndarray) -> np.ndarray:
    """Return where each bar begins, on those of the objects before."""
    return np.cumsum(heights, axis=0) - heights


def _checked(runs: Any) -> Mapping[str, Energy]:
    """Return runs by label, or raise if there are none."""
    if isinstance(runs, Energy):
        return {"": runs}
    if not isinstance(runs, Mapping) or not runs:
        raise ValidationError(
            f"runs={runs!r} must be a nengo_wd.Energy, or a dictionary of them by label",
            attr="runs",
        )
    for label, run in runs.items():
        if not isinstance(run, Energy):
            raise ValidationError(
                f"expected a nengo_wd.Energy, got {run!r} in the run {label!r}", attr="runs"
            )
    return runs
