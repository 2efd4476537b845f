"""Figures of weight norms: over training, by output channel, and of several runs."""

from __future__ import annotations

import contextlib
import itertools
import numbers
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Iterator, Sequence

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.parameters import selection
from nengo_wd.recording.history import History, ShowsHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; without yellow, too light for lines
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))  # told apart in grey
STATISTICS: dict[str, Any] = {  # of the channels, and how they are drawn
    "mean": (np.mean, {"color": COLORS[0], "linestyle": "-", "linewidth": 1}),
    "maximum": (np.max, {"color": COLORS[1], "linestyle": "--", "linewidth": 1}),
}
RC_PARAMS: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
WIDTH = 7.2  # inches, the text of a page
COLUMN = 1.3  # inches, for the narrowest of columns
CHARACTER = 0.075  # inches, in the font
MOST_ROWS = 5  # of a grid of histograms, unless more are asked for
STEP, NORM = "step (batches)", "$L_2$ norm"
CHANNEL_NORM, COUNT = "$L_2$ norm of channel", "channels per bin"


def norms(history: History, which: Any = None, axes: Axes | None = None) -> Figure:
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
    names = _select(history, which)
    with _grid((1, 1), axes, max(2.8, 0.7 + 0.18 * len(names)), {}) as grid:
        panel = grid[0, 0]
        for name, style in zip(names, _styles()):
            _plot_norms(panel, history, name, label=name, **style)
        panel.set(xlabel=STEP, ylabel=NORM)
        panel.set_ylim(bottom=0)
        _legend(panel, axes)
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
        The parameters, a column each, by name or by what they belong to. By default all.
    records : int or sequence of int, optional
        The records, a row each, by their place in ``history.steps``. By default five at the
        most, the first and the last among them.
    bins : int
        How many bins there are from zero to the largest norm.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (n_records, n_parameters). By default in a new figure.
    equal_axes : bool
        Whether all parameters have equal axes, to be compared with each other. With False, for
        parameters of different kinds, axes are equal for the records of each.

    Returns
    -------
    figure : matplotlib.figure.Figure
        As from `norms`.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was recorded, or nothing of something in ``which``; if there is no such
        record; if ``bins`` is no positive number; and if ``axes`` has another shape.
    ImportError
        If Matplotlib is not installed.
    """
    names, rows = _select(history, which), _rows(history, records)
    recorded = history.channel_norms
    values = {name: list(recorded[name][rows]) for name in names}
    sharing = {"sharex": "all", "sharey": "all"} if equal_axes else {"sharex": "col"}
    with _grid((len(rows), len(names)), axes, 0.7 + 0.9 * len(rows), sharing) as grid:
        for name, column in zip(names, grid.T):
            together = names if equal_axes else [name]
            edges, most = _bins([sample for other in together for sample in values[other]], bins)
            for panel, sample in zip(column, values[name]):
                _plot_channels(panel, sample, edges)
                panel.set(xlim=edges[[0, -1]], ylim=(0, most))
            column[0].set_title(_title(name, len(names)))
            column[-1].set_xlabel(CHANNEL_NORM)
        for panel, row in zip(grid[:, 0], rows):
            panel.set_ylabel(f"{_time(history, row)}\nchannels")
        _legend(grid[0, -1], axes)
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
        What was recorded in each run, by the label of the run.
    which : str, Nengo object, class, network, layer, or list of these, optional
        The parameters, a column each, by name or by what they belong to in the first run. By
        default all of the first run. They must have the same names in the others; so give
        layers names, because Keras numbers those without.
    bins : int
        How many bins the histograms have from zero to the largest norm.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (2, n_parameters): norms in the first row, histograms in the
        second. By default in a new figure.
    equal_axes : bool
        Whether all parameters have equal axes, to be compared with each other. With False, for
        parameters of different kinds, axes are equal for the runs of each.

    Returns
    -------
    figure : matplotlib.figure.Figure
        As from `norms`.

    Raises
    ------
    nengo.exceptions.ValidationError
        If there are no runs, or nothing was recorded of a parameter in one of them; if
        ``bins`` is no positive number; and if ``axes`` has another shape.
    ImportError
        If Matplotlib is not installed.
    """
    if not isinstance(runs, Mapping) or not runs:
        raise ValidationError(
            f"runs={runs!r} must be a dictionary from labels to what was recorded", attr="runs"
        )
    names = _select(next(iter(runs.values())), which)
    for label, history in runs.items():
        _select(history, names, f" in the run {label!r}")
    last = {label: history.last_channel_norms for label, history in runs.items()}
    sharing = {"sharey": "row"} if equal_axes else {}
    with _grid((2, len(names)), axes, 3.6, sharing) as grid:
        for name, over_training, by_channel in zip(names, *grid):
            together = names if equal_axes else [name]
            top = _limit([_norms_of(run, other) for run in runs.values() for other in together])
            edges, most = _bins([run[other] for run in last.values() for other in together], bins)
            for (label, history), style in zip(runs.items(), _styles()):
                _plot_norms(over_training, history, name, label=label, **style)
                by_channel.hist(last[label][name], edges, histtype="step", **style)
            over_training.set(title=_title(name, len(names)), xlabel=STEP, ylim=(0, top))
            by_channel.set(xlabel=CHANNEL_NORM, xlim=edges[[0, -1]], ylim=(0, most))
        grid[0, 0].set_ylabel(NORM)
        grid[1, 0].set_ylabel(f"at the end\n{COUNT}")
        _legend(grid[0, -1], axes)
    return grid[0, 0].figure


def _plot_channels(panel: Axes, norms: np.ndarray, edges: Any) -> None:
    panel.hist(norms, edges, color="0.8")
    for label, (statistic, style) in STATISTICS.items():
        panel.axvline(statistic(norms), label=label, **style)


def _plot_norms(panel: Axes, history: History, name: str, **style: Any) -> None:
    marker = "o" if len(history.steps) == 1 else None  # where there is nothing to connect
    panel.plot(history.steps, _norms_of(history, name), marker=marker, **style)


def _title(name: str, n_columns: int) -> str:
    """Return a name in lines that fit above a column."""
    return textwrap.fill(name, int(max(WIDTH / n_columns, COLUMN) / CHARACTER))


def _norms_of(history: History, name: str) -> np.ndarray:
    return history.norms[:, history.names.index(name)]


def _select(history: History, which: Any, where: str = "") -> list[str]:
    """Return the names of the parameters that are meant."""
    if not isinstance(history, (History, ShowsHistory)):
        raise ValidationError(f"expected a WeightNorms, got {history!r}{where}", attr="history")
    if not len(history.steps):
        raise ValidationError(
            f"nothing was recorded{where}; call record(), or give the WeightNorms to sim.fit as a "
            "callback",
            attr="history",
        )
    asked = which if isinstance(which, (list, tuple)) else [which]
    found = [name for one in asked for name in _names_of(history, one, where)]
    if not found:
        raise ValidationError(f"which={which!r} holds nothing to plot", attr="which")
    return list(dict.fromkeys(found))


def _names_of(history: History, one: Any, where: str) -> list[str]:
    if one is None:
        return history.names
    if isinstance(one, str):
        found = [name for name in history.names if name == one]
    else:
        meant = selection.matching(list(history.parameters.values()), one)
        found = [name for name, p in history.parameters.items() if p in meant]
    if not found:
        raise ValidationError(
            f"nothing was recorded of {one!r}{where}, but only of {', '.join(history.names)}",
            attr="which",
        )
    return found


def _rows(history: History, records: int | Sequence[int] | None) -> list[int]:
    """Return the places of the records to plot."""
    n_records = len(history.steps)
    if records is None:
        return np.unique(np.linspace(0, n_records - 1, MOST_ROWS).round().astype(int)).tolist()
    rows = np.atleast_1d(records).tolist()
    known = range(-n_records, n_records)
    if not rows or any(row not in known for row in rows):
        raise ValidationError(
            f"records={records} must be places among the {n_records} records", attr="records"
        )
    return [int(row) for row in rows]


def _time(history: History, row: int) -> str:
    """Say when a record was made: by its epoch, where that tells it from the others."""
    if len(np.unique(history.epochs)) == len(history.epochs):
        return f"epoch {history.epochs[row]:g}"
    return f"step {history.steps[row]}"


def _bins(samples: list[np.ndarray], bins: int) -> tuple[np.ndarray, float]:
    """Return the edges of bins for all samples, and the upper limit for all of their counts."""
    if not isinstance(bins, numbers.Integral) or bins < 1:
        raise ValidationError(f"bins={bins!r} must be a number of bins, 1 or more", attr="bins")
    edges = np.linspace(0, _limit(samples), bins + 1)
    return edges, _limit([np.histogram(sample, edges)[0] for sample in samples])


def _limit(samples: list[np.ndarray]) -> float:
    """Return an upper limit of an axis for all samples, those that are not finite left out."""
    values = np.concatenate(samples)
    return 1.05 * np.max(values, where=np.isfinite(values), initial=0) or 1.0


def _styles() -> Iterator[dict[str, Any]]:
    """Yield colours and lines: 35 pairs, as the numbers of the two have no common divisor."""
    pairs = zip(itertools.cycle(COLORS), itertools.cycle(LINES))
    return ({"color": color, "linestyle": line} for color, line in pairs)


def _legend(panel: Axes, axes: Any) -> None:
    """Add a legend: beside the panel in a new figure, which makes room for it, or within."""
    place = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if axes is None else {}
    panel.legend(**place)


@contextlib.contextmanager
def _grid(
    shape: tuple[int, int], axes: Any, height: float, sharing: dict[str, Any]
) -> Iterator[np.ndarray]:
    """Give a grid of axes, of the shape: those of the user, or those of a new figure."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("nengo_wd.plotting needs Matplotlib: pip install matplotlib") from error
    if axes is not None:
        if np.shape(axes) not in {shape, tuple(n for n in shape if n > 1)}:
            raise ValidationError(
                f"axes has shape {np.shape(axes)}, but must have shape {shape}", attr="axes"
            )
        yield np.reshape(axes, shape)
        return
    with matplotlib.rc_context(RC_PARAMS):
        width = max(WIDTH, COLUMN * shape[1])
        figure = Figure(figsize=(width, height), dpi=300, constrained_layout=True)
        yield figure.subplots(*shape, squeeze=False, **sharing)
