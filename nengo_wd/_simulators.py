"""What this package looks at when a simulator is made, compiled and trained."""

from __future__ import annotations

import warnings
from typing import Any, Iterator

import nengo
import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._checks import check_watched
from nengo_wd._parameters import defaults
from nengo_wd._penalties import counting, on_activities, on_parameters
from nengo_wd._seam import state
from nengo_wd._seam.penalized import Penalized
from nengo_wd.layers import TimeLoopLayer
from nengo_wd.optimizers.steps import settings_of, simulators_of, steps_of

RATES = {  # the settings that an optimizer takes notice of, and which one does
    "weight_decay": "regularized_optimizer(...) or decoupled_weight_decay(...)",
    "learning_rate": "LayerwiseSGD(...)",
    "momentum": "LayerwiseSGD(...)",
    "target_norm": "regularized_optimizer(...) or constrained_norms(...)",
}
PROXIMAL = "regularized_optimizer(..., proximal=True) or proximal_regularization(...)"
PENALIZED = "loss=nengo_wd.regularized_objective(...)"


class Watcher:
    """Looks at what a simulator is compiled with: whether it is for it, and what is left idle."""

    @staticmethod
    def made(sim: nengo_dl.Simulator) -> None:
        """Bind the penalties of layers, and leave out defaults where settings take their place."""
        seam.losses.bind(sim)
        defaults.settle(sim)

    @staticmethod
    def check(sim: nengo_dl.Simulator, objective: Any, optimizer: Any) -> None:
        """Raise if an objective or optimizer was made for another simulator."""
        made_for = [("objective", objective.sim)] if isinstance(objective, Penalized) else []
        made_for += [("optimizer", other) for other in simulators_of(optimizer)]
        _check_layers(sim, bool(made_for))
        for what, other in made_for:
            if other is not sim:
                raise ValidationError(
                    f"the {what} was made for {_name(other)}, and is given to {_name(sim)}, which "
                    "is another simulator; make one for each simulator",
                    attr=what,
                )

    @staticmethod
    def compiled(sim: nengo_dl.Simulator, objective: Any, optimizer: Any) -> None:
        """Remember what counts now, and warn of settings that do not."""
        if _has_penalties(sim):
            counting.install(sim, objective)
            state.of(sim).warned.clear()
            if objective is not None or optimizer is not None:
                warn_of_idle(sim, idle_penalties(sim))
            if optimizer is not None:
                used = seam.optimizers.of_simulator(sim, optimizer)
                for step in steps_of(used):
                    step.added()
                warn_of_idle(sim, idle_rates(sim, used))
        else:
            state.note_compiled(sim)  # settings that are made later don't count

    @staticmethod
    def trained(sim: nengo_dl.Simulator, callbacks: Any = None) -> None:
        """Warn of settings that are idle in training, where the user was not warned before."""
        check_watched(callbacks)
        _check_layers(sim)
        warn_of_training(sim)

    @staticmethod
    def concerns(network: nengo.Network | None) -> bool:
        """Tell whether a network has our settings or layers."""
        nodes = [] if network is None else network.all_nodes
        nodes = [node for node in nodes if isinstance(node, nengo_dl.TensorNode)]
        parts = (part for node in nodes for part in parameters.layers(node))
        return settings.is_configured(network) or any(isinstance(p, TimeLoopLayer) for p in parts)


def _check_layers(sim: nengo_dl.Simulator, is_ours: bool = False) -> None:
    """Raise if a later simulator has the weights of a layer, where that concerns this package."""
    if seam.parameters.lost_layers(sim) and (is_ours or Watcher.concerns(sim.model.toplevel)):
        defaults.check_layers(sim)


def _has_penalties(sim: nengo_dl.Simulator) -> bool:
    """Tell whether there can be settings for a simulator, or an objective was made for it."""
    has_objective = state.has_record(sim) and state.of(sim).built is not None
    is_configured = settings.is_configured(sim.model.toplevel)
    return has_objective or is_configured or state.is_to_be_proximal(sim)


def warn_of_training(sim: nengo_dl.Simulator) -> None:
    """Warn of settings that the training of a compiled simulator takes no notice of."""
    if _has_penalties(sim):
        warn_of_idle(sim, idle_penalties(sim))
        warn_of_idle(sim, idle_rates(sim, seam.optimizers.of_simulator(sim, None)))


def idle_penalties(sim: nengo_dl.Simulator) -> Iterator[tuple[str, str]]:
    """Yield the regularizers of settings if the loss does not have them as they are, and why."""
    if sim.tensor_graph.inference_only:
        return
    carried = state.of(sim).installed
    if carried is None:
        if on_parameters.of_settings(sim) or on_activities.of_settings(sim):
            yield "regularizer", PENALIZED
    elif not counting.is_current(sim, carried):
        yield "regularizer", f"{PENALIZED}, made anew since the settings were changed"


def idle_rates(sim: nengo_dl.Simulator, optimizer: Any) -> Iterator[tuple[str, str]]:
    """Yield the settings that an optimizer takes no notice of, and the one that does."""
    if not sim.tensor_graph.inference_only:
        known = settings_of(optimizer)
        for name in sorted(set(RATES) - known):
            if parameters.with_setting(sim, name):
                yield name, f"nengo_wd.{RATES[name]}"
        if state.is_to_be_proximal(sim) and "regularizer" not in known:
            yield "regularizer", f"nengo_wd.{PROXIMAL}"


def warn_of_idle(sim: nengo_dl.Simulator, idle: Iterator[tuple[str, str]]) -> None:
    """Warn of each setting that is idle, once since the simulator was compiled."""
    for name, remedy in idle:
        if f"{name}: {remedy}" not in state.of(sim).warned:
            state.of(sim).warned.add(f"{name}: {remedy}")
            warnings.warn(
                f"{sim.model.toplevel} is trained without its settings for {name}: compile with "
                f"{remedy}",
                UserWarning,
                stacklevel=2,
            )


def _name(sim: nengo_dl.Simulator) -> str:
    return f"the simulator of {sim.model.toplevel} at {id(sim):#x}"


seam.simulators.watch(Watcher)
