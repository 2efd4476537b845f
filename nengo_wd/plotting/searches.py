"""The figure of a search for strengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd.plotting.figures import COLORS, add_legend, add_title, grid_of_axes

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPLETE: dict[str, Any] = {"marker": "o", "linestyle": "", "markersize": 3.5, "color": COLORS[0]}
PRUNED: dict[str, Any] = {**COMPLETE, "marker": "x", "color": "0.6"}
ABOVE: dict[str, Any] = {**PRUNED, "marker": "^", "clip_on": False}
BELOW: dict[str, Any] = {**ABOVE, "marker": "v"}
BEST: dict[str, Any] = {**COMPLETE, "marker": "*", "markersize": 11, "color": COLORS[1]}
ERROR, ROOM = "error", 0.1  # of the range of errors, above and below


def search(study: optuna.Study, axes: Any = None) -> Figure:
    """Plot the error over each strength, and over the trials with the best so far.

    Parameters
    ----------
    study : optuna.Study
        What `nengo_wd.search.strengths` returned, or has in its storage so far. The best trial is
        marked. A trial that was pruned is shown with what it reported last, and at the edge where
        that is beyond the errors of complete trials; one that failed, or is running, is left out.
    axes : array of matplotlib.axes.Axes, optional
        Where to plot, of shape (1 + n_strengths,): the trials, and each strength. By default in a
        new figure.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure of the axes. A new one is not among pyplot's: ``figure.savefig`` saves it.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``study`` is no study, or none of its trials came to its end; and if ``axes`` has another
        shape.
    ImportError
        If Matplotlib is not installed.
    """
    complete, pruned = _trials(study, "COMPLETE"), _trials(study, "PRUNED")
    if not complete:
        raise ValidationError(
            f"no trial of the search {study.study_name!r} came to its end, so there is nothing to "
            "plot",
            attr="study",
        )
    names = list(study.best_params)
    numbers = [trial.number for trial in complete]
    so_far = np.minimum.accumulate([trial.value for trial in complete])
    limits = _limits(so_far, complete)
    kinds = [*_pruned(pruned, limits), (complete, COMPLETE, "complete")]
    kinds.append(([study.best_trial], BEST, "best"))
    with grid_of_axes((1, 1 + len(names)), axes, 2.6, {"sharey": "row"}) as grid:
        over_trials, *over_strengths = grid[0]
        _plot(over_trials, kinds, limits)
        best_so_far = over_trials.step(
            numbers, so_far, where="post", color=COLORS[1], linewidth=1, label="best so far"
        )
        over_trials.set(xlabel="trial", ylabel=ERROR)
        for panel, name in zip(over_strengths, names):
            _plot(panel, kinds, limits, name)
            panel.set(xscale="log", xlabel="strength")
            add_title(panel, name, 1 + len(names))
        add_legend(grid[0, -1], axes, best_so_far)
    return over_trials.figure


def _trials(study: Any, state: str) -> list:
    """Return the trials that are in a state and have an error, in their order."""
    if not hasattr(study, "get_trials"):
        raise ValidationError(f"expected an optuna.Study, got {study!r}", attr="study")
    found = study.get_trials(deepcopy=False)
    return [one for one in found if one.state.name == state and one.value is not None]


def _pruned(trials: list, limits: tuple[float, float]) -> list[tuple]:
    """Return trials that were pruned, with their look and label: within the limits or beyond."""
    low, high = limits
    return [
        ([trial for trial in trials if low <= trial.value <= high], PRUNED, "pruned"),
        ([trial for trial in trials if trial.value > high], ABOVE, "pruned, error above"),
        ([trial for trial in trials if trial.value < low], BELOW, "pruned, error below"),
    ]


def _plot(
    panel: Axes, kinds: list[tuple], limits: tuple[float, float], name: str | None = None
) -> None:
    """Plot the errors of trials over a strength, or else over their numbers."""
    for order, (trials, look, label) in enumerate(kinds, 2):
        if trials:
            x = [trial.number if name is None else trial.params[name] for trial in trials]
            y = np.clip([trial.value for trial in trials], *limits)
            panel.plot(x, y, label=label, zorder=2 + 0.1 * order, **look)
    panel.set_ylim(limits)


def _limits(so_far: np.ndarray, complete: list) -> tuple[float, float]:
    """Return the limits of errors: of the trials that came to their end, with room around."""
    least, most = so_far[-1], max(trial.value for trial in complete)
    room = ROOM * (most - least) or 1.0
    return least - room, most + room
