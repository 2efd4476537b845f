"""What this package keeps for a simulator, a layer, and a graph of TensorFlow 1: a record each.

A record is an attribute of what it is kept for, and the only one. It refers back to its
simulator, so that a dictionary from simulators to records, even one with weak keys, would keep
every simulator alive.
"""

from __future__ import annotations

import dataclasses
import weakref
from typing import Any

ATTRIBUTE = "_nengo_wd"


@dataclasses.dataclass
class SimulatorState:
    """What is kept for a simulator.

    Attributes
    ----------
    asked : tuple or None
        What settings asked for when they were last looked at, and the penalties on parameters.
    built : Terms or None
        The penalties on parameters that the objective made last carries.
    installed : Carried or None
        What counts of an objective: what it carries, with the strengths of now.
    compiled : Carried or None
        What that objective carries.
    held : list of tf.Tensor
        The penalties of settings among the simulator's losses, in NengoDL 2.
    holder : callable or None
        What stands for the penalties of settings among the losses of the model, in NengoDL 3.
    tensors : dict of {hashable: tf.Tensor}
        What was built in the simulator's graph, in NengoDL 2.
    recorder : callable or None
        What adds penalties on what probes record to the losses of the model, in NengoDL 3.
    replaced : frozenset of nengo_dl.TensorNode
        The TensorNodes whose settings take the place of default penalties, for what counts.
    left_out : dict of {int: tuple}
        The default penalties of layers that settings have taken the place of, by the ids of
        their variables.
    penalized : bool or None
        Whether the objective that the simulator was compiled with last is one with penalties;
        None if it was not compiled yet.
    warned : set of str
        What the user was warned of since the simulator was compiled.
    initial : dict of {int: tf.Variable}
        The initial values of variables that something is pulled towards, by the variables' ids.
    bounds : dict of {int: Bounds}
        The bounds of norms by the ids of their variables, of the optimizer that was made or
        compiled last.
    proximal : bool
        Whether an optimizer was made that takes the regularizers of parameters as steps.
    left_out_parameters : bool
        Whether penalties on parameters are left out of the losses, since they are such steps.
    log_dirs : set of str
        The folders in which the simulator has event files.
    """

    asked: Any = None
    built: Any = None
    installed: Any = None
    compiled: Any = None
    held: list = dataclasses.field(default_factory=list)
    holder: Any = None
    tensors: dict = dataclasses.field(default_factory=dict)
    recorder: Any = None
    replaced: frozenset = frozenset()
    left_out: dict = dataclasses.field(default_factory=dict)
    penalized: bool | None = None
    warned: set = dataclasses.field(default_factory=set)
    initial: dict = dataclasses.field(default_factory=dict)
    bounds: dict = dataclasses.field(default_factory=dict)
    proximal: bool = False
    left_out_parameters: bool = False
    log_dirs: set = dataclasses.field(default_factory=set)


@dataclasses.dataclass
class LayerState:
    """What is kept for a layer, which many simulators may build one after the other.

    Attributes
    ----------
    initial : dict of {tuple: tf.Variable or np.ndarray}
        The weights that it had when something was first pulled towards them, by their names.
    """

    initial: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class GraphState:
    """What is kept for a graph, which is there before its simulator.

    It is a graph of TensorFlow 1, or NengoDL 3's TensorGraph.

    Attributes
    ----------
    layers : weakref.WeakSet of tf.keras.layers.Layer
        The layers whose penalties are among the graph's losses.
    penalties : dict of {str: LayerPenalty}
        These penalties, by the name of their operation.
    held : set of str
        The names of all penalties of settings that were ever among its losses.
    left_out : set of str
        The names of the penalties that no objective has any longer, whenever it was made.
    stand_ins : dict of {int: tuple of tf.keras.layers.Layer}
        The layers that a later graph has built again, by their ids, each with its stand-in.
    lost : list of tf.keras.layers.Layer
        The layers that a later graph has built again, and that have no stand-in.
    simulations : dict of {tuple: callable}
        The simulations that were compiled for records, by what they measure, in NengoDL 3. They
        go with the graph when the simulator is closed.
    """

    layers: weakref.WeakSet = dataclasses.field(default_factory=weakref.WeakSet)
    penalties: dict = dataclasses.field(default_factory=dict)
    held: set = dataclasses.field(default_factory=set)
    left_out: set = dataclasses.field(default_factory=set)
    stand_ins: dict = dataclasses.field(default_factory=dict)
    lost: list = dataclasses.field(default_factory=list)
    simulations: dict = dataclasses.field(default_factory=dict)


_compiled: weakref.WeakSet = weakref.WeakSet()  # the simulators of `note_compiled`


def of(sim: Any) -> SimulatorState:
    """Return what is kept for a simulator."""
    if ATTRIBUTE not in vars(sim):
        vars(sim)[ATTRIBUTE] = SimulatorState(penalized=False if sim in _compiled else None)
    return vars(sim)[ATTRIBUTE]


def note_compiled(sim: Any) -> None:
    """Note that a simulator was compiled without penalties, where nothing else is kept for it."""
    if has_record(sim):
        of(sim).penalized = False
    else:
        _compiled.add(sim)


def is_proximal(sim: Any) -> bool:
    """Tell whether the regularizers of parameters are steps of an optimizer, and not losses."""
    return getattr(vars(sim).get(ATTRIBUTE), "left_out_parameters", False)


def is_to_be_proximal(sim: Any) -> bool:
    """Tell whether they are, or will be once the optimizer that was made last is compiled."""
    return getattr(vars(sim).get(ATTRIBUTE), "proximal", False)


def of_layer(layer: Any) -> LayerState:
    """Return what is kept for a layer, or for what stands in for one."""
    return vars(layer).setdefault(ATTRIBUTE, LayerState())


def layer_in(graph: Any, layer: Any) -> Any:
    """Return the stand-in that a graph has for a layer, or the layer where it has none.

    A graph that was asked for its layers has a record, and so keeps them from then on.
    """
    return of_graph(graph).stand_ins.get(id(layer), (layer, layer))[1]


def has_record(owner: Any) -> bool:
    """Tell whether something is kept for a simulator or graph."""
    return ATTRIBUTE in vars(owner)


def of_graph(graph: Any) -> GraphState:
    """Return what is kept for a graph."""
    return vars(graph).setdefault(ATTRIBUTE, GraphState())
