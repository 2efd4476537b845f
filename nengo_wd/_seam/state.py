"""What this package keeps for a simulator, a layer and a graph, and what belongs to one simulator.

A record is an attribute of its owner; `hooks.OBJECTS` lists the few others. It refers back to its
simulator, so that a dictionary from simulators to records, even one with weak keys, would keep all
simulators alive.
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

    # Terms on parameters that settings asked for when they were last looked at, and the penalties.
    asked: Any = None
    built: Any = None  # terms on parameters that the objective made last carries
    installed: Any = None  # the penalties of an objective that count, with the strengths of now
    compiled: bool = False  # whether the simulator was compiled
    warned: set = _new(set)  # what the user was warned of since then
    # whether the user was told how its neurons train better: since then, in NengoDL 2 at all
    advised: bool = False
    proximal: bool = False  # whether regularizers are steps of the optimizer that was made last
    left_out_parameters: bool = False  # whether they are left out of the losses for that
    replaced: frozenset = frozenset()  # the TensorNodes whose settings replace default penalties
    left_out: dict = _new(dict)  # the default penalties that are left out, by id of the variable
    initial: dict = _new(dict)  # the initial values of variables, as variables, by id of the former
    # The bounds of norms, by the ids of their variables: of the optimizer made or compiled last.
    bounds: dict = _new(dict)
    log_dirs: set = _new(set)  # the folders in which the simulator has event files

    # NengoDL 3: what adds the penalties of settings on parameters to the losses of the model,
    # and what adds those on what probes record.
    settings_loss: Any = None
    activity_losses: Any = None
    # Whether XLA compiles the time loop, unless sim.compile says otherwise.
    jit_compile: bool = False

    # NengoDL 2: the tensors of the penalties of settings among the losses of the graph, and all
    # tensors that were built in the graph, by keys.
    settings_losses: list = _new(list)
    tensors: dict = _new(dict)


@dataclasses.dataclass
class LayerState:
    """The record of a layer, which many simulators may build one after the other."""

    # The weights that it had when something was first pulled towards them, by their names.
    initial: dict = _new(dict)
    original: Any = None  # the layer that this one stands in for


@dataclasses.dataclass
class GraphState:
    """The record of a graph, made before its simulator: a TensorGraph, or that of TensorFlow 1."""

    # The layers that a later graph has built again, by their ids, each with its stand-in; with
    # itself, if it has none and so is lost.
    stand_ins: dict = _new(dict)

    # How neurons are trained for their spikes in this graph, by the neurons.
    for_spikes: dict = _new(dict)

    # NengoDL 3: the simulations that were compiled for records, by what they measure.
    simulations: dict = _new(dict)
    # NengoDL 3, of a graph that draws random numbers: its simulator, as a weak reference, and the
    # variable that counts calls.
    simulator: Any = None
    calls: Any = None

    # NengoDL 2: the layers whose penalties are among the losses, and these penalties by the names
    # of their operations; the names of all penalties of settings that were ever among the losses,
    # and of those that are left out of all objectives.
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
            "make another one for the simulator that it is to train",
            attr="optimizer",
        )


class Rule(NotCopyable):
    """A mixin for optimizers that have a rule of their own for all variables."""

    settings: tuple[str, ...] = ()  # those of objects that it uses

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        """Update all variables; a missing gradient counts as zero."""
        pairs = [(tf.zeros_like(v) if g is None else g, v) for g, v in grads_and_vars]
        return super().apply_gradients(pairs, *args, **kwargs)  # type: ignore[misc]


class DecayedBySettings(NotCopyable):
    """A mixin for Keras optimizers that decay by settings: it refuses Keras' own decay."""

    decays_by_settings: bool = True  # whether settings of objects say what the optimizer decays

    @property
    def weight_decay(self) -> Any:
        """Keras' own decay of all variables."""
        return vars(self).get("weight_decay")

    @weight_decay.setter
    def weight_decay(self, value: Any) -> None:
        if value:
            self._check_no_settings(f"weight_decay={value!r} would decay them once more")
        vars(self)["weight_decay"] = value

    def exclude_from_weight_decay(self, *args: Any, **kwargs: Any) -> None:
        """Leave out variables of Keras' decay; raise where settings say what decays."""
        self._check_no_settings("exclude_from_weight_decay would leave out none")
        super().exclude_from_weight_decay(*args, **kwargs)  # type: ignore[misc]

    def _check_no_settings(self, what: str) -> None:
        if self.decays_by_settings:
            raise ValidationError(
                f"{type(self).__name__} decays weights by the settings of objects, and {what}; "
                "change net.config[...].weight_decay of objects, and have the optimizer take it "
                "on, by update_settings()",
                attr="weight_decay",
                obj=self,
            )


def chain(optimizer: Any) -> list[Any]:
    """Return an optimizer and those inside it: Keras' loss scaling wraps another one."""
    inner = getattr(optimizer, "inner_optimizer", None)
    return [optimizer] if inner is None else [optimizer, *chain(inner)]


def steps_of(optimizer: Any) -> list[Any]:
    """Return the steps that an optimizer, or one inside it, takes beside its own."""
    return [step for one in chain(optimizer) for step in getattr(one, "nengo_wd_steps", ())]


def own_parts(optimizer: Any) -> list[Any]:
    """Return the parts of an optimizer that are ours: the rule, if it is one, and the steps."""
    rules = [one for one in chain(optimizer) if isinstance(one, Rule)]
    return [*rules, *steps_of(optimizer)]


# Reloading this module does not empty these.
_compiled: weakref.WeakSet  # the simulators of `note_compiled`
_compiled = globals().setdefault("_compiled", weakref.WeakSet())
with_layers: weakref.WeakSet  # the TensorGraphs of NengoDL 3 that have built their layers
with_layers = globals().setdefault("with_layers", weakref.WeakSet())


def simulator_state(sim: Any) -> SimulatorState:
    """Return the record of a simulator."""
    if ATTRIBUTE not in vars(sim):
        vars(sim)[ATTRIBUTE] = SimulatorState(compiled=sim in _compiled)
    return vars(sim)[ATTRIBUTE]


def note_compiled(sim: Any) -> None:
    """Note that a simulator was compiled without penalties, where nothing else is kept for it."""
    if has_record(sim):
        simulator_state(sim).compiled = True
    else:
        _compiled.add(sim)


def is_proximal(sim: Any) -> bool:
    """Tell whether the regularizers of parameters are steps of an optimizer, and not losses."""
    return getattr(vars(sim).get(ATTRIBUTE), "left_out_parameters", False)


def is_to_be_proximal(sim: Any) -> bool:
    """Tell whether they are, or will be when the optimizer that was made last is compiled."""
    return getattr(vars(sim).get(ATTRIBUTE), "proximal", False)


def is_jit_compiled(sim: Any) -> bool:
    """Tell whether XLA compiles the time loop of a simulator by a setting of its network."""
    return getattr(vars(sim).get(ATTRIBUTE), "jit_compile", False)


def layer_state(layer: Any) -> LayerState:
    """Return the record of a layer, or of its stand-in."""
    return vars(layer).setdefault(ATTRIBUTE, LayerState())


def original(layer: Any) -> Any:
    """Return the layer that a stand-in stands for, and any other as it is."""
    kept = getattr(layer, "__dict__", {}).get(ATTRIBUTE)
    found = getattr(kept, "original", None)
    return layer if found is None else found


def has_record(owner: Any) -> bool:
    """Tell whether something is kept for a simulator or graph."""
    return ATTRIBUTE in vars(owner)


def graph_state(graph: Any) -> GraphState:
    """Return the record of a graph; one that has a record keeps its layers from then on."""
    return vars(graph).setdefault(ATTRIBUTE, GraphState())


# -- what tells whether a change in `hooks` is wanted -------------------------------------------


def is_compiling(*_: Any) -> bool:
    """Tell whether XLA compiles what is being traced."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def is_compiled_whole(sim: Any) -> bool:
    """Tell whether Keras has XLA compile all that a simulator does for a batch."""
    return bool(not sim.closed and sim.keras_model.jit_compile)


def checks_otherwise(sim: Any) -> bool:
    """Tell whether gradients are checked in another way than NengoDL checks them."""
    return not sim.closed and (is_compiled_whole(sim) or has_record(sim.tensor_graph))


def lacks_inputs(graph: Any) -> bool:
    """Tell whether no input Node of a graph has the number of steps in the shape of its values."""
    return not graph.invariant_inputs


def draws(graph: Any) -> bool:
    """Tell whether an operator of a graph draws random numbers by a builder of this package."""
    return any(map(is_drawing, graph.op_builder.op_builds.values()))


def compiles_or_draws(graph: Any) -> bool:
    """Tell whether a graph has a loop that XLA compiles, or one in which an operator draws."""
    return is_compiling() or draws(graph)


def is_drawing(builder: Any) -> bool:
    """Tell whether a builder of NengoDL, or the one in it, draws random numbers."""
    trained = for_spikes(builder)
    has_noise = trained is not None and trained.deviation is not None
    return has_noise or getattr(built(builder), "draws", False)


def train_for_spikes(builder: Any, trained: Any) -> None:
    """Note how neurons that a builder of NengoDL builds are trained for spikes; None for not."""
    vars(builder).pop(ATTRIBUTE, None)
    if trained is not None:
        vars(builder)[ATTRIBUTE] = trained


def for_spikes(builder: Any) -> Any:
    """Return how neurons that a builder of NengoDL builds are trained for spikes, or None."""
    return vars(builder).get(ATTRIBUTE)


@contextlib.contextmanager
def rates_as_they_are(graph: Any) -> Iterator[None]:
    """Have neurons output their rates in training in the body, whatever settings say."""
    kept = graph_state(graph) if has_record(graph) else GraphState()
    builders = list(graph.op_builder.op_builds.values())
    before, for_spikes_before = [for_spikes(one) for one in builders], kept.for_spikes
    for builder in builders:
        train_for_spikes(builder, None)
    kept.for_spikes = {}
    try:
        yield
    finally:
        kept.for_spikes = for_spikes_before
        for builder, trained in zip(builders, before):
            train_for_spikes(builder, trained)


def built(builder: Any) -> Any:
    """Return the builder that one of NengoDL's has in it, or itself."""
    return getattr(builder, "built_neurons", getattr(builder, "built_process", builder))
