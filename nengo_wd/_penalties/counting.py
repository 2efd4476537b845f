"""Which penalties count: those of the objective that a simulator was compiled with last."""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple

import nengo_dl

from nengo_wd import _seam as seam
from nengo_wd._parameters import defaults
from nengo_wd._penalties import on_activities, on_parameters
from nengo_wd._penalties.on_activities import ProbePenalty
from nengo_wd._penalties.on_parameters import Penalty, Terms
from nengo_wd._seam import state
from nengo_wd._seam.penalized import Penalized


class Carried(NamedTuple):
    """What an objective adds to the losses of probes, besides the penalties of layers.

    Attributes
    ----------
    terms : Terms
        The penalties on parameters.
    activities : dict of {str: ProbePenalty}
        The penalties on what probes record, by name.
    replaced : frozenset of nengo_dl.TensorNode
        The TensorNodes whose settings take the place of default penalties.
    """

    terms: Terms
    activities: dict[str, ProbePenalty]
    replaced: defaults.Nodes

    def builds_as(self, other: Carried) -> bool:
        """Tell whether losses that were built of the other have all that these add."""
        activities, others = self.activities, other.activities
        is_same = activities.keys() == others.keys() and self.replaced == other.replaced
        same_activities = _keys(activities.values()) == _keys(others.values())
        return is_same and same_activities and self.terms.expressions is other.terms.expressions


class Counting(NamedTuple):
    """The penalties that count.

    Attributes
    ----------
    penalties : list of Penalty
        Those of settings on parameters.
    terms : Terms or None
        What an objective has of them; None where there is no objective.
    activities : dict of {str: ProbePenalty}
        Those on what probes record, by name.
    of_layers : tuple
        What is equal while the same penalties of layers count.
    """

    penalties: list[Penalty]
    terms: Terms | None
    activities: dict[str, ProbePenalty]
    of_layers: tuple

    def builds_as(self, other: Counting) -> bool:
        """Tell whether what was built of the penalties that counted before can be used again."""
        if self.of_layers != other.of_layers or (self.terms is None) != (other.terms is None):
            return False
        if self.terms is None or other.terms is None:
            return _are_equal(self.penalties, other.penalties)
        return self.terms is other.terms or self.terms.layout == other.terms.layout


def _keys(penalties: Iterable[Penalty | ProbePenalty]) -> list[tuple]:
    return [penalty.key for penalty in penalties]


def _are_equal(some: list[Penalty], others: list[Penalty]) -> bool:
    return some is others or _keys(some) == _keys(others)


def is_current(sim: nengo_dl.Simulator, carried: Carried) -> bool:
    """Tell whether an objective carries what settings ask for now, where it is not a step."""
    if _keys(on_activities.of_settings(sim)) != _keys(carried.activities.values()):
        return False
    is_step = state.is_to_be_proximal(sim)
    return is_step or _are_equal(on_parameters.of_settings(sim), carried.terms.penalties)


def now(sim: nengo_dl.Simulator) -> Counting:
    """Return the penalties of settings that count now.

    They are those of the objective that the simulator was compiled with last. Before that, they
    are those of the objective that was made last, or else those that settings ask for now.
    """
    kept = state.of(sim)
    carried = kept.installed
    if not seam.losses.have_settings(sim):
        penalties, terms, activities = [], None, {}
    elif carried is None:
        penalties, terms = on_parameters.of_settings(sim), None
        activities = on_activities.by_name(sim)
    elif state.is_proximal(sim):
        penalties, terms, activities = [], None, carried.activities
    else:
        terms, activities = carried.terms, carried.activities
        penalties = terms.penalties
    return Counting(penalties, terms, activities, (kept.replaced, kept.left_out_parameters))


def carry(
    sim: nengo_dl.Simulator, penalties: list[Penalty], activities: dict[str, ProbePenalty]
) -> Carried:
    """Return what an objective is to carry.

    It counts at once in a simulator that was not compiled yet. Strengths of L1 and L2 count at
    once where the simulator was compiled with the same penalties of other strengths.
    """
    kept = state.of(sim)
    built = [kept.built] if kept.installed is None else [kept.installed.terms, kept.built]
    terms = kept.built = Terms(sim, penalties, [one for one in built if one is not None])
    carried = Carried(terms, activities, defaults.replaced(sim))
    seam.losses.hold(sim, terms.expressions)
    if not seam.losses.is_compiled(sim):
        before = kept.installed
        _count(sim, carried)
        if before is None or not carried.builds_as(before):
            seam.objectives.build_again(sim)  # where Keras alone was asked to compile
    elif kept.compiled is not None and _changes_strengths(kept, carried):
        kept.installed = kept.installed._replace(terms=terms)
        terms.install()
    return carried


def _changes_strengths(kept: state.SimulatorState, carried: Carried) -> bool:
    """Tell whether an objective differs from the compiled one in strengths on parameters alone."""
    terms, compiled = carried.terms, kept.compiled.terms
    is_built = terms.expressions is compiled.expressions and terms.changes_strengths_of(compiled)
    has_same_steps = kept.proximal == kept.left_out_parameters
    return is_built and has_same_steps and carried.replaced == kept.replaced


def install(sim: nengo_dl.Simulator, objective: Any) -> None:
    """Have what an objective carries count from now on; of another objective, no setting does."""
    kept = state.of(sim)
    kept.penalized = isinstance(objective, Penalized)
    if seam.losses.is_compiled(sim):
        kept.left_out_parameters = kept.proximal
        _count(sim, objective.carried if kept.penalized else None)
    elif kept.installed is None:
        defaults.settle(sim)


def _count(sim: nengo_dl.Simulator, carried: Carried | None) -> None:
    kept = state.of(sim)
    kept.installed = kept.compiled = carried
    defaults.settle(sim, None if carried is None else carried.replaced)
    seam.objectives.count(sim, {} if carried is None else carried.activities)
    if carried is not None:
        carried.terms.install()
