"""What this package keeps for a simulator, a layer and a graph, and what belongs to one simulator.

A record is an attribute of its owner; `hooks.OBJECTS` lists the few others. Records refer back to
their simulators, so a dictionary of them, even one with weak keys, would keep simulators alive.
"""

from __future__ import annotations

import contextlib
import dataclasses
import weakref
from typing import Any, Iterator

import tensorflow as tf
from nengo.exceptions import ValidationError
from tensorflow.python.ops import control_flow_util

ATTRIBUTE = "_nengo_wd"


def _new(kind: Any) -> Any:
    """Return a field whose value is a new object for each record."""
    return dataclasses.field(default_factory=kind)


@dataclasses.dataclass
class SimulatorState:
    """The record of a simulator."""

    # The terms on parameters that settings asked for at the last look, and the penalties.
    asked: Any = None
    built: Any = None  # the terms on parameters in the newest objective
    installed: Any = None  # the penalties that count, of an objective, with their current strengths
    compiled: bool = False  # whether the simulator was compiled
    warned: set = _new(set)  # the warnings that the user got since then
    # Whether the user was told which neurons would train better; in NengoDL 3, since then.
    advised: bool = False
    proximal: bool = False  # whether regularizers are steps of the newest optimizer
    left_out_parameters: bool = False  # whether the losses leave them out for that reason
    replaced: frozenset = frozenset()  # the TensorNodes whose settings replace default penalties
    left_out: dict = _new(dict)  # the default penalties that are left out, by id of the variable
    initial: dict = _new(dict)  # variables with the initial values of others, by id of the others
    # The bounds of norms, by id of the variable, in the optimizer that was made or compiled last.
    bounds: dict = _new(dict)
    log_dirs: set = _new(set)  # the folders with event files of the simulator

    # NengoDL 3: what adds the penalties of settings to the losses of the model: those on
    # parameters, and those on what probes record.
    settings_loss: Any = None
    activity_losses: Any = None
    jit_compile: bool = False  # whether XLA compiles the time loop if sim.compile does not say

    # NengoDL 2: the tensors among the losses of the graph that settings asked for, and all tensors
    # that were built in the graph, by key.
    settings_losses: list = _new(list)
    tensors: dict = _new(dict)


@dataclasses.dataclass
class LayerState:
    """The record of a layer, which many simulators may build one after the other."""

    # The weights when something was first pulled towards them, by name.
    initial: dict = _new(dict)
    original: Any = None  # the layer that this one replaces


@dataclasses.dataclass
class GraphState:
    """The record of a graph, made before its simulator: a TensorGraph, or that of TensorFlow 1."""

    # The layers that a later graph has built again, and their stand-ins, by id of the layer. A
    # layer that is its own stand-in has lost its weights.
    stand_ins: dict = _new(dict)
    for_spikes: dict = _new(dict)  # how neurons are trained for their spikes, by neurons

    # NengoDL 3: the simulations that were compiled to measure signals, by what they measure.
    simulations: dict = _new(dict)
    # NengoDL 3, if the graph draws random numbers: a weak reference to its simulator, and the
    # variable that counts calls.
    simulator: Any = None
    calls: Any = None

    # NengoDL 2: the layers with penalties among the losses; these penalties, by name of their
    # operations; and the names of all penalties of settings that were ever among the losses, and
    # of the penalties that all objectives leave out.
    layers: weakref.WeakSet = _new(weakref.WeakSet)
    penalties: dict = _new(dict)
    settings_loss_names: set = _new(set)
    left_out: set = _new(set)


class NotCopyable:
    """A mixin for optimizers: copying and pickling them raise an error that says what to do."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Raise an error: a copy would change the weights, and the state, of the original."""
        raise ValidationError(
            f"{type(self).__name__} is bound to its simulator, and can't be copied or pickled; "
            "make another one for the simulator that you want to train",
            attr="optimizer",
        )


class Rule(NotCopyable):
    """A mixin for optimizers with their own rule for all variables."""

    settings: tuple[str, ...] = ()  # the settings of objects that it uses

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        """Update all variables; a missing gradient counts as zero."""
        pairs = [(tf.zeros_like(v) if g is None else g, v) for g, v in grads_and_vars]
        return super().apply_gradients(pairs, *args, **kwargs)  # type: ignore[misc]


class DecayedBySettings(NotCopyable):
    """A mixin for Keras optimizers that decay by settings: it refuses Keras' own decay."""

    decays_by_settings: bool = True  # whether settings of objects tell the optimizer what to decay

    @property
    def weight_decay(self) -> Any:
        """Keras' own decay of all variables."""
        return vars(self).get("weight_decay")

    @weight_decay.setter
    def weight_decay(self, value: Any) -> None:
        if value:
            self._check_no_settings(f"weight_decay={value!r} would decay them again")
        vars(self)["weight_decay"] = value

    def exclude_from_weight_decay(self, *args: Any, **kwargs: Any) -> None:
        """Leave out variables from Keras' decay; raise if settings say what decays."""
        self._check_no_settings("exclude_from_weight_decay would have no effect")
        super().exclude_from_weight_decay(*args, **kwargs)  # type: ignore[misc]

    def _check_no_settings(self, what: str) -> None:
        if self.decays_by_settings:
            raise ValidationError(
                f"{type(self).__name__} decays weights by the settings of objects, and {what}; "
                "change net.config[...].weight_decay of objects, and call update_settings()",
                attr="weight_decay",
                obj=self,
            )


def chain(optimizer: Any) -> list[Any]:
    """Return an optimizer and those inside it, because Keras' loss scaling wraps another one."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, *chain(inner)]


def steps_of(optimizer: Any) -> list[Any]:
    """Return our steps in an optimizer and in those inside it."""
    return [step for one in chain(optimizer) for step in getattr(one, "nengo_wd_steps", ())]


def own_parts(optimizer: Any) -> list[Any]:
    """Return the parts of an optimizer that are ours: the rule, if it is one, and the steps."""
    return [one for one in chain(optimizer) if isinstance(one, Rule)] + steps_of(optimizer)


# Reloading this module does not empty these: the simulators of `note_compiled`, and the
# TensorGraphs of NengoDL 3 that have built their layers.
_compiled: weakref.WeakSet = globals().setdefault("_compiled", weakref.WeakSet())
with_layers: weakref.WeakSet = globals().setdefault("with_layers", weakref.WeakSet())


def simulator_state(sim: Any) -> SimulatorState:
    """Return the record of a simulator."""
    if ATTRIBUTE not in vars(sim):
        vars(sim)[ATTRIBUTE] = SimulatorState(compiled=sim in _compiled)
    return vars(sim)[ATTRIBUTE]


def note_compiled(sim: Any) -> None:
    """Note that a simulator was compiled, without giving it a record for that."""
    if has_record(sim):
        simulator_state(sim).compiled = True
    else:
        _compiled.add(sim)


def is_proximal(sim: Any) -> bool:
    """Tell whether regularizers of parameters are steps of an optimizer instead of losses."""
    return getattr(vars(sim).get(ATTRIBUTE), "left_out_parameters", False)


def is_to_be_proximal(sim: Any) -> bool:
    """Tell whether they are, or will be when the newest optimizer is compiled."""
    return getattr(vars(sim).get(ATTRIBUTE), "proximal", False)


def is_jit_compiled(sim: Any) -> bool:
    """Tell whether a setting of a simulator's network has XLA compile the time loop."""
    return getattr(vars(sim).get(ATTRIBUTE), "jit_compile", False)


def layer_state(layer: Any) -> LayerState:
    """Return the record of a layer, or of its stand-in."""
    return vars(layer).setdefault(ATTRIBUTE, LayerState())


def original(layer: Any) -> Any:
    """Return the layer that a stand-in replaces, and any other object as it is."""
    found = getattr(getattr(layer, "__dict__", {}).get(ATTRIBUTE), "original", None)
    return layer if found is None else found


def has_record(owner: Any) -> bool:
    """Tell whether a simulator or graph has a record."""
    return ATTRIBUTE in vars(owner)


def graph_state(graph: Any) -> GraphState:
    """Return the record of a graph, which from then on keeps its layers when others build them."""
    return vars(graph).setdefault(ATTRIBUTE, GraphState())


# -- when changes in `hooks` are used -----------------------------------------------------------


def is_compiling(*_: Any) -> bool:
    """Tell whether XLA compiles what TensorFlow traces now."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def is_compiled_whole(sim: Any) -> bool:
    """Tell whether XLA compiles everything that Keras does for a batch."""
    return bool(not sim.closed and sim.keras_model.jit_compile)


def checks_otherwise(sim: Any) -> bool:
    """Tell whether this package checks gradients instead of NengoDL."""
    return not sim.closed and (is_compiled_whole(sim) or has_record(sim.tensor_graph))


def lacks_inputs(graph: Any) -> bool:
    """Tell whether a graph has no input Node whose values would show the number of steps."""
    return not graph.invariant_inputs


def draws(graph: Any) -> bool:
    """Tell whether a builder of this package draws random numbers for a graph."""
    return any(map(is_drawing, graph.op_builder.op_builds.values()))


def compiles_or_draws(graph: Any) -> bool:
    """Tell whether XLA compiles the loop of a graph, or an operator in it draws numbers."""
    return is_compiling() or draws(graph)


def is_drawing(builder: Any) -> bool:
    """Tell whether a builder of NengoDL, or the one in it, draws random numbers."""
    has_noise = getattr(for_spikes(builder), "deviation", None) is not None
    return has_noise or getattr(built(builder), "draws", False)


def train_for_spikes(builder: Any, trained: Any) -> None:
    """Note how the neurons of a builder of NengoDL are trained for spikes; None if they aren't."""
    vars(builder).pop(ATTRIBUTE, None)
    if trained is not None:
        vars(builder)[ATTRIBUTE] = trained


def for_spikes(builder: Any) -> Any:
    """Return how the neurons of a builder of NengoDL are trained for spikes, or None."""
    return vars(builder).get(ATTRIBUTE)


@contextlib.contextmanager
def rates_as_they_are(graph: Any) -> Iterator[None]:
    """Have neurons output their rates in training in the body, whatever settings say."""
    kept = graph_state(graph) if has_record(graph) else GraphState()
    trained = {builder: for_spikes(builder) for builder in graph.op_builder.op_builds.values()}
    before, kept.for_spikes = kept.for_spikes, {}
    for builder in trained:
        train_for_spikes(builder, None)
    try:
        yield
    finally:
        kept.for_spikes = before
        for builder, how in trained.items():
            train_for_spikes(builder, how)


def built(builder: Any) -> Any:
    """Return the builder inside one of NengoDL's builders, or the builder itself."""
    return getattr(builder, "built_neurons", getattr(builder, "built_process", builder))
