"""The look of figures, grids of axes, and the choice of what to plot."""

from __future__ import annotations

import contextlib
import itertools
import textwrap
from typing import TYPE_CHECKING, Any, ContextManager, Iterator, Mapping, Sequence

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._parameters import selection
from nengo_wd.recording.history import History, Records
from nengo_wd.recording.neuron_rates import RateHistory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, which colour-blind readers can tell apart; yellow is too light for lines
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# differ in grey; all 7 * 5 styles are different, because 7 and 5 have no common divisor
LINES: Any = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)))
LOOK: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": "medium",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
}
KINDS: dict[str, Any] = {"WeightNorms": History, "NeuronRates": RateHistory}  # of records
STEP = "step (batches)"
WIDTH = 7.2  # inches, the text of a page
COLUMN = 1.3  # inches, for the narrowest of columns
CHARACTER = 0.075  # inches, in the font


def style(rc: Mapping[str, Any] | None = None) -> ContextManager[None]:
    """Give your own figures the look of ``nengo_wd``'s figures.

    Text has 8 points, and files have 300 dots per inch. Lines differ in colour and in dashes, so
    colour-blind readers can tell them apart, also in a grey print. The colours, ``"C0"`` to
    ``"C6"``, are those of Okabe and Ito ("Color universal design", 2008), without yellow.

    Parameters
    ----------
    rc : dict of {str: object}, optional
        Matplotlib's settings to change, such as ``{"font.size": 12}`` for slides.

    Returns
    -------
    context : context manager
        The look applies only to what is drawn and saved within its ``with`` block.

    Raises
    ------
    ImportError
        If Matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> with nengo_wd.plotting.style():
    ...     figure, axes = plt.subplots(figsize=(3.5, 2.5))  # inches
    ...     lines = axes.plot([1.0, 0.5], label="with decay")
    ...     lines += axes.plot([1.0, 1.5], label="without")
    ...     legend = axes.legend()  # and here figure.savefig("norms.png")
    >>> [line.get_linestyle() for line in lines]
    ['-', '--']
    """
    try:
        import matplotlib
        from cycler import cycler
    except ImportError as error:
        raise ImportError("nengo_wd.plotting needs Matplotlib: pip install matplotlib") from error
    cycle = cycler(color=COLORS * len(LINES), linestyle=LINES * len(COLORS))
    settings: Any = {**LOOK, "axes.prop_cycle": cycle, **(rc or {})}
    return matplotlib.rc_context(settings)


def line_styles() -> Iterator[dict[str, Any]]:
    """Yield colours and dashes of lines, without end."""
    pairs = zip(itertools.cycle(COLORS), itertools.cycle(LINES))
    return ({"color": color, "linestyle": line} for color, line in pairs)


@contextlib.contextmanager
def grid_of_axes(
    shape: tuple[int, int], axes: Any, height: float, **sharing: Any
) -> Iterator[np.ndarray]:
    """Give a grid of axes with this shape: the user's axes, or those of a new figure."""
    if axes is not None:
        yield _reshaped(axes, shape)
        return
    with style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(WIDTH, COLUMN * shape[1]), height), dpi=300)
        yield figure.subplots(*shape, squeeze=False, **sharing)


def _reshaped(axes: Any, shape: tuple[int, int]) -> np.ndarray:
    from matplotlib.axes import Axes

    given = np.array(axes, dtype=object)
    for one in given.flat:
        if not isinstance(one, Axes):
            fault = f"{one!r} of type {type(one).__name__}, and not a matplotlib.axes.Axes"
            remedy = "give what plt.subplots or figure.subplots returns for axes"
            raise ValidationError(f"axes has {fault}; {remedy}", attr="axes")
    if given.shape not in {shape, tuple(n for n in shape if n > 1)}:
        fault = f"axes has shape {given.shape}, but must have shape {shape}"
        raise ValidationError(fault, attr="axes")
    return given.reshape(shape)


def escaped(name: str) -> str:
    """Return a name with each "$" escaped, so that Matplotlib does not read mathematics."""
    return name.replace("$", r"\$")


def label_of(run: Any) -> str:
    """Return the label of a run; escape it if Matplotlib can't read its mathematics."""
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(str(run))
    except ValueError:
        return escaped(str(run))
    return str(run)


def add_title(column: Axes, name: str, n_columns: int) -> None:
    """Put a name above a column, broken into lines that fit."""
    width = int(max(WIDTH / n_columns, COLUMN) / CHARACTER)
    column.set_title(escaped(textwrap.fill(name, width)), loc="center")


def add_legend(panel: Axes, axes: Any, lines: Sequence[Line2D] = ()) -> None:
    """Add a legend: beside the panel in a new figure, or inside a panel of the user's.

    Matplotlib leaves out labels that begin with an underscore, unless their lines are given.
    """
    place: Any = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if axes is None else {}
    shown = panel.get_legend_handles_labels()[0]
    shown += [line for line in lines if line not in shown]
    legend = panel.legend(shown, [str(number) for number in range(len(shown))], **place)
    for text, artist in zip(legend.get_texts(), shown):
        text.set_text(artist.get_label())


def upper_limit(samples: list[np.ndarray]) -> float:
    """Return an upper limit of an axis for all finite samples."""
    values = np.concatenate(samples)
    return 1.05 * np.max(values, where=np.isfinite(values), initial=0) or 1.0


def asked_for(history: Any, which: Any, kind: str = "WeightNorms", where: str = "") -> list[str]:
    """Return the names that ``which`` asks for in records of a kind, each once, or raise."""
    if not isinstance(history, KINDS[kind]):
        raise ValidationError(f"expected a {kind}, got {history!r}{where}", attr="history")
    if not len(history.steps):
        remedy = f"call record(), or give the {kind} to sim.fit as a callback"
        raise ValidationError(f"nothing was recorded{where}; {remedy}", attr="history")
    found: list[str] = []
    for one in which if isinstance(which, (list, tuple)) else [which]:
        names = _names_of(history, one)
        if not names:
            fault = f"nothing was recorded of {one!r}{where}, but only of"
            raise ValidationError(f"{fault} {', '.join(history.names)}", attr="which")
        found += names
    if not found:
        raise ValidationError(f"which={which!r} has nothing to plot", attr="which")
    return list(dict.fromkeys(found))


def _names_of(history: Any, one: Any) -> list[str]:
    """Return the names of a probe or of an object's parameters; a name itself; for None, all."""
    if one is None or isinstance(one, str):
        return [name for name in history.names if one in (None, name)]
    if isinstance(history, RateHistory):
        return [name for name, probe in history.probes.items() if one is probe]
    meant = selection.matching_parameters(list(history.parameters.values()), one)
    return [name for name, parameter in history.parameters.items() if parameter in meant]


def marker_of(history: Records) -> str | None:
    """Return the marker of lines over training: a single record needs one to be visible."""
    return "o" if len(history.steps) == 1 else None


def height_for(names: list[str]) -> float:
    """Return the height in inches of a figure with these names in its legend."""
    return max(2.8, 0.7 + 0.18 * len(names))
