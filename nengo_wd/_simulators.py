"""What a simulator trains on, and which settings its training ignores."""

from __future__ import annotations

import re
import warnings
from typing import Any, Iterable, Iterator, NamedTuple

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _neurons as neurons
from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import _spike_training as spike_training
from nengo_wd import settings
from nengo_wd._activity_penalties import ActivityPenalty, activity_penalties, woken
from nengo_wd._penalties import Penalty, Terms, penalties_of_settings
from nengo_wd._seam import state
from nengo_wd.layers import TimeLoopLayer

PROXIMAL = "regularized_optimizer(..., proximal=True) or proximal_regularization(...)"
PENALIZED = "compile with loss=nengo_wd.regularized_objective(...)"
# The names of metrics such as accuracy end like this; Keras appends numbers to equal names.
HIGHER_IS_BETTER = re.compile(
    r"(^|_)(acc|accuracy|auc|precision|recall|sensitivity|specificity|io_u|iou|(f1|fbeta|r2)_score)"
    r"(_\d+)?$"
)


class Carried(NamedTuple):
    """What an objective adds to the losses of probes, besides the penalties of layers."""

    terms: Terms  # on parameters
    activities: dict[str, ActivityPenalty]  # on what probes record, by name
    replaced: parameters.Nodes  # whose settings replace default penalties
    original: Terms | None = None  # of the objective, before others changed its strengths
    as_steps: bool = False  # whether an optimizer has the regularizers of parameters as steps

    @property
    def penalties(self) -> list[Penalty]:
        """The penalties on parameters, object by object."""
        return self.terms.penalties

    @property
    def layout(self) -> tuple:
        """A key that is equal if the same built losses serve for both."""
        return self.terms.layout, _keys(self.activities.values()), self.replaced, self.as_steps

    def is_current(self, sim: nengo_dl.Simulator) -> bool:
        """Tell whether settings ask for these penalties now, except those that are steps."""
        if _keys(activity_penalties(sim).values()) != _keys(self.activities.values()):
            return False
        now, carried = penalties_of_settings(sim), self.penalties
        return state.is_to_be_proximal(sim) or now is carried or _keys(now) == _keys(carried)


def _keys(penalties: Iterable[Penalty | ActivityPenalty]) -> list[tuple]:
    return [penalty.key for penalty in penalties]


def counting_penalties(sim: nengo_dl.Simulator) -> Carried:
    """Return the penalties of settings that count now.

    They are those of the objective in the last ``sim.compile``. Before that, they are those of the
    last objective, or else those that settings ask for now.
    """
    kept, carried = state.simulator_state(sim), state.simulator_state(sim).installed
    if carried is None:
        asks = not seam.simulators.is_compiled(sim)
        penalties = penalties_of_settings(sim) if asks else []
        activities = activity_penalties(sim) if asks else {}
        carried = Carried(Terms(sim, penalties, live=False), activities, kept.replaced)
    elif state.is_proximal(sim):
        carried = carried._replace(terms=Terms(sim, [], live=False))
    return carried._replace(as_steps=state.is_proximal(sim))


def carry(
    sim: nengo_dl.Simulator, penalties: list[Penalty], activities: dict[str, ActivityPenalty]
) -> Carried:
    """Return the penalties of a new objective.

    They count at once in a simulator that is not compiled yet. Strengths of L1 and L2 also do if
    the simulator was compiled with penalties that differ in nothing else.
    """
    kept = state.simulator_state(sim)
    before, built = kept.installed, [] if kept.built is None else [kept.built]
    terms = Terms(sim, penalties, built if before is None else [before.terms, *built])
    expressions, kept.built = terms.expressions, terms
    carried = Carried(terms, activities, parameters.replaced_defaults(sim), original=terms)
    seam.training.set_losses(sim, expressions)
    if not seam.simulators.is_compiled(sim):
        _install(sim, carried)
        if before is None or carried.layout != before.layout:
            seam.training.build_again(sim)  # if Keras itself was asked to compile
    elif before is not None and _changes_strengths(kept, carried):
        kept.installed = before._replace(terms=terms)
        terms.install()
    return carried


def _changes_strengths(kept: state.SimulatorState, carried: Carried) -> bool:
    """Tell whether an objective differs from the compiled one only in strengths on parameters."""
    terms, compiled = carried.terms, kept.installed.original
    is_built = terms.expressions is compiled.expressions and terms.changes_strengths_of(compiled)
    has_same_steps = kept.proximal == kept.left_out_parameters
    return is_built and has_same_steps and carried.replaced == kept.replaced


def _install(sim: nengo_dl.Simulator, carried: Carried | None) -> None:
    """Let these penalties count; with None, no setting counts."""
    kept, activities = state.simulator_state(sim), {} if carried is None else carried.activities
    kept.installed = carried
    parameters.apply_defaults(sim, None if carried is None else carried.replaced)
    if activities or kept.activity_losses is not None:
        seam.training.count_activities(sim, activities)
    if carried is not None:
        carried.terms.install()


class Watcher:
    """Checks what a simulator is compiled with, and warns of settings that are ignored."""

    @staticmethod
    def prepare(sim: nengo_dl.Simulator) -> None:
        """Leave out default penalties that settings replace; compile the time loop."""
        parameters.apply_defaults(sim)
        if settings.is_jit_compiled(sim.model.toplevel):
            seam.compiled.compile_loop(sim)

    @staticmethod
    def woken(graph: Any, recorded: list) -> list:
        """Return what probes record at a time step, with gradients for silent neurons."""
        rates_of = None
        if _is_for_spikes(graph):
            rates_of = spike_training.rates_in_training
            recorded = spike_training.recorded_in_training(graph, recorded)
        on_probes = settings.is_set(graph.model.toplevel, "regularizer", nengo.Probe)
        return woken(graph, recorded, rates_of) if on_probes else recorded

    @staticmethod
    def expect_spikes(graph: Any) -> None:
        """Train neurons for their spikes as settings ask for now."""
        if _is_for_spikes(graph):
            spike_training.expect_spikes(graph)

    @staticmethod
    def check_shown(sim: nengo_dl.Simulator, data: Any, n_steps: int | None = None) -> None:
        """Warn of settings for spikes that training ignores, and of a single time step."""
        if _is_for_spikes(sim.tensor_graph):
            warn_of_ignored(sim, spike_training.ignored_for_spikes(sim))
            spike_training.check_shown(sim, data, n_steps)

    @staticmethod
    def check(sim: nengo_dl.Simulator, objective: Any, optimizer: Any) -> None:
        """Raise if an objective or optimizer was made for another simulator."""
        made_for = [("objective", objective.sim)] if hasattr(objective, "carried") else []
        parts = state.own_parts(optimizer)
        made_for += [("optimizer", part.sim) for part in parts if part.sim is not None]
        _check_layers(sim, bool(made_for))
        for what, other in made_for:
            if other is not sim:
                one, this = (f"{s.model.toplevel} at {id(s):#x}" for s in (other, sim))
                fault = f"the {what} was made for the simulator of {one}, not for that of {this}"
                raise ValidationError(f"{fault}; make one for each simulator", attr=what)

    @staticmethod
    def compiled(sim: nengo_dl.Simulator, objective: Any, optimizer: Any) -> None:
        """Let the penalties of the objective count; warn of settings that are ignored."""
        if _has_penalties(sim):
            kept = state.simulator_state(sim)
            kept.compiled = True
            if seam.simulators.is_compiled(sim):
                kept.left_out_parameters = kept.proximal
                _install(sim, getattr(objective, "carried", None))
            elif kept.installed is None:
                parameters.apply_defaults(sim)
            kept.warned.clear()
            if objective is not None or optimizer is not None:
                warn_of_ignored(sim, ignored_by_loss(sim))
            if optimizer is not None:
                for step in state.steps_of(optimizer):
                    step.added()
                warn_of_ignored(sim, ignored_by_optimizer(sim, optimizer))
        else:
            state.note_compiled(sim)  # later settings don't count
        if state.has_record(sim) and seam.simulators.is_compiled(sim):
            state.simulator_state(sim).advised = False
        if optimizer is not None:
            neurons.advise(sim)

    @staticmethod
    def before_training(sim: nengo_dl.Simulator, callbacks: Any = None) -> None:
        """Warn of settings that training ignores, unless the user was warned before."""
        check_watched(callbacks)
        _check_layers(sim)
        warn_of_training(sim)
        neurons.advise(sim)

    @staticmethod
    def concerns(network: nengo.Network | None) -> bool:
        """Tell whether a network has our settings or layers."""
        nodes = [] if network is None else network.all_nodes
        nodes = [node for node in nodes if isinstance(node, nengo_dl.TensorNode)]
        parts = (part for node in nodes for part in parameters.layers(node))
        return settings.is_configured(network) or any(isinstance(p, TimeLoopLayer) for p in parts)


def _is_for_spikes(graph: Any) -> bool:
    if state.has_record(graph) and state.graph_state(graph).for_spikes:
        return True
    return any(settings.is_set(graph.model.toplevel, name) for name in settings.FOR_SPIKES)


def _check_layers(sim: nengo_dl.Simulator, is_ours: bool = False) -> None:
    """Raise if a later simulator has the weights of a layer, in a network that concerns us."""
    if seam.values.lost_layers(sim) and (is_ours or Watcher.concerns(sim.model.toplevel)):
        parameters.check_layers(sim)


def _has_penalties(sim: nengo_dl.Simulator) -> bool:
    """Tell whether there can be settings for a simulator, or an objective was made for it."""
    has_objective = state.has_record(sim) and state.simulator_state(sim).built is not None
    is_configured = settings.is_configured(sim.model.toplevel)
    return has_objective or is_configured or state.is_to_be_proximal(sim)


def check_watched(callbacks: Any) -> None:
    """Raise if a callback of Optuna reports a metric such as accuracy to a study that minimizes."""
    for callback in tf.nest.flatten(getattr(callbacks, "callbacks", callbacks)):
        metric = getattr(callback, "_monitor", None)
        study: Any = getattr(getattr(callback, "_trial", None), "study", None)
        is_high = study is not None and HIGHER_IS_BETTER.search(str(metric))
        if is_high and [direction.name for direction in study.directions] == ["MINIMIZE"]:
            fault = f"{type(callback).__name__} watches {metric!r}, which should be high"
            why = f"the search {study.study_name!r} minimizes, so it would prune the best trials"
            hint = "let it watch a loss, or an error (1 - accuracy) that an earlier callback logs"
            raise ValidationError(f"{fault}, but {why}; {hint}", attr="callbacks")


def warn_of_training(sim: nengo_dl.Simulator) -> None:
    """Warn of settings that the training of a compiled simulator ignores."""
    if _has_penalties(sim):
        warn_of_ignored(sim, ignored_by_loss(sim))
        used = next(iter(seam.simulators.optimizers_in_use(sim)), None)
        warn_of_ignored(sim, ignored_by_optimizer(sim, used))


def ignored_by_loss(sim: nengo_dl.Simulator) -> Iterator[tuple[str, str]]:
    """Yield "regularizer" and what to compile with, if the loss lacks current regularizers."""
    if sim.tensor_graph.inference_only:
        return
    carried = state.simulator_state(sim).installed
    if carried is None:
        has_any = settings.is_set(sim.model.toplevel, "regularizer")
        if has_any and (penalties_of_settings(sim) or activity_penalties(sim)):
            yield "regularizer", PENALIZED
    elif not carried.is_current(sim):
        yield "regularizer", f"{PENALIZED}, made anew since the settings were changed"


def ignored_by_optimizer(sim: nengo_dl.Simulator, optimizer: Any) -> Iterator[tuple[str, str]]:
    """Yield the settings that an optimizer ignores, each with an optimizer that uses it."""
    if not sim.tensor_graph.inference_only:
        known = {name for part in state.own_parts(optimizer) for name in part.settings}
        for name, definition in sorted(settings.SETTINGS.items()):
            is_used = definition.used_by in settings.NO_OPTIMIZER or name in known
            if not is_used and parameters.with_setting(sim, name):
                yield name, f"compile with nengo_wd.{definition.used_by}"
        if state.is_to_be_proximal(sim) and "regularizer" not in known:
            yield "regularizer", f"compile with nengo_wd.{PROXIMAL}"


def warn_of_ignored(sim: nengo_dl.Simulator, idle: Iterator[tuple[str, str]]) -> None:
    """Warn of each ignored setting, once since the simulator was compiled."""
    for name, remedy in idle:
        if f"{name}: {remedy}" not in state.simulator_state(sim).warned:
            state.simulator_state(sim).warned.add(f"{name}: {remedy}")
            what = f"{sim.model.toplevel} is trained without its settings for {name}"
            warnings.warn(f"{what}: {remedy}", UserWarning, stacklevel=2)
