"""The parameters of Nengo objects: weights, encoders, biases and the variables of layers."""

from __future__ import annotations

import collections
from typing import Any, Iterable, Iterator

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _names as names
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._parameters.parameter import Parameter, trained_variables
from nengo_wd._seam.keras2 import variable_penalties

KINDS = {  # the trainable parameter of each class, and the signal that holds it
    nengo.Connection: ("weights", "weights"),
    nengo.Ensemble: ("encoders", "encoders"),
    nengo.ensemble.Neurons: ("biases", "bias"),
}


def label(obj: Any) -> str:
    """Return the label of an object, or one made of its class or of the ends it connects."""
    if isinstance(obj, nengo.ensemble.Neurons):
        return label(obj.ensemble)
    if getattr(obj, "label", None) is not None:
        return obj.label
    if isinstance(obj, nengo.Connection):
        return f"{label(obj.pre_obj)}->{label(obj.post_obj)}"
    return type(obj).__name__.lower()


def unique_names(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Append numbers to names that occur twice, as TensorFlow does: a, a_1, a_2."""
    found: dict[str, Any] = {}
    counts: dict[str, int] = collections.Counter()
    for name, value in named:
        candidate = name
        while candidate in found:
            counts[name] += 1
            candidate = f"{name}_{counts[name]}"
        found[candidate] = value
    return found


def parameters_of(sim: nengo_dl.Simulator, obj: Any) -> Iterator[Parameter]:
    """Yield the parameters of an object, if it has any.

    For a TensorNode, they are the variables that are trained, or penalized but not trained.
    """
    if isinstance(obj, nengo_dl.TensorNode):
        for variable in _variables(sim, obj):
            if variable.shape.rank > 0:
                yield _layer_parameter(sim, obj, variable)
    elif isinstance(obj, tuple(KINDS)) and why_not_trained(sim, obj) is None:
        kind, signal = _kind_and_signal(sim, obj)
        variable, rows, shape = seam.values.base_rows(sim, signal)
        yield Parameter(sim, obj, f"{label(obj)}.{kind}", variable, rows, shape, signal)


def all_parameters(
    sim: nengo_dl.Simulator, skip_later: bool = False, kind: type = object
) -> list[Parameter]:
    """Return the parameters of all objects in the simulator's network, each of them once.

    With ``skip_later``, layers that a later simulator built again are left out. With ``kind``, only
    objects of that class are looked at.
    """
    objects = [] if sim.model.toplevel is None else settings.members(sim.model.toplevel)
    found: dict[tuple[int, int], Parameter] = {}
    for obj in (obj for obj in objects if isinstance(obj, kind)):
        if not (skip_later and _is_lost(sim, obj)):
            for parameter in parameters_of(sim, obj):
                found.setdefault(parameter.key, parameter)
    return list(found.values())


def why_not_trained(sim: nengo_dl.Simulator, obj: Any) -> str | None:
    """Say why an object has nothing to train, or return None if it has something."""
    if isinstance(obj, nengo_dl.TensorNode):
        return "its function has no trainable weights of rank 2 or more"
    kind, signal = _kind_and_signal(sim, obj)
    if getattr(obj, "ensemble", obj) not in sim.model.params:
        return "it was added after the simulator was built; make a simulator anew"
    if signal is None or signal not in sim.tensor_graph.signals:
        return f"it has no {kind} that could be trained"
    if signal.minibatched:
        return (
            f"its {kind} are changed by a learning rule, not by training; nengo_wd.Decay is a "
            "learning rule that has them decay"
        )
    if not signal.trainable and not sim.tensor_graph.inference_only:
        return f"its {kind} are set not to be trainable"
    return None


def layers(holder: Any, sim: nengo_dl.Simulator | None = None) -> list[Any]:
    """Return a layer or a TensorNode's function, and the layers in it.

    With ``sim``, they have the weights of that simulator, also after a later one was made.
    """
    is_node = isinstance(holder, nengo_dl.TensorNode)
    func = seam.values.function_of(holder) if is_node else holder
    if sim is not None:
        func = seam.values.layer_in(sim, func)
    return [func, *(func.submodules if isinstance(func, tf.Module) else ())]


def _kind_and_signal(sim: nengo_dl.Simulator, obj: Any) -> tuple[str, Any]:
    """Return kind and signal of an object's trainable parameter; None if it has no signal."""
    kind, key = next(KINDS[c] for c in type(obj).__mro__ if c in KINDS)
    return kind, sim.model.sig.get(obj, {}).get(key)


def _is_lost(sim: nengo_dl.Simulator, obj: Any) -> bool:
    """Tell whether an object is a TensorNode whose weights a later simulator has."""
    variables = _variables(sim, obj) if isinstance(obj, nengo_dl.TensorNode) else ()
    return not all(seam.values.in_graph(sim, variable) for variable in variables)


def _layer_parameter(
    sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, variable: Any
) -> Parameter:
    if not seam.values.in_graph(sim, variable):
        raise _lost_error(str(node), node)
    layer = _owner(sim, node, variable)
    name = f"{getattr(layer, 'name', None) or label(node)}.{names.variable_name(variable)}"
    shape = tuple(variable.shape.as_list())
    return Parameter(sim, node, name, variable, np.arange(shape[0]), shape, layer=layer)


def _owner(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, variable: tf.Variable) -> Any:
    """Return the layer that made a variable: a TensorNode's function, or one inside it."""
    func, *inner = layers(node, sim)
    own = ("_trainable_weights", "_non_trainable_weights")
    for layer in inner:
        if any(variable is weight for name in own for weight in getattr(layer, name, ())):
            return layer
    return func


def _variables(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode) -> list[tf.Variable]:
    """Return the variables of a TensorNode's function that are trained or penalized."""
    func, *inner = layers(node, sim)
    if not isinstance(func, tf.Module):  # which every Keras layer is
        return trained_variables(func)
    wanted = {id(variable) for variable in trained_variables(func)}
    wanted.update(*(variable_penalties(layer) for layer in (func, *inner)))
    return [variable for variable in func.variables if id(variable) in wanted]


def check_layers(sim: nengo_dl.Simulator) -> None:
    """Raise if a later simulator has the weights of a layer."""
    for layer in seam.values.lost_layers(sim):
        raise _lost_error(f"{layer.name!r}, in a TensorNode,", layer)


def _lost_error(name: str, obj: Any) -> ValidationError:
    return ValidationError(
        f"{name} was built again by a later simulator, to which its weights belong now; "
        "use one simulator of its network at a time",
        attr="tensor_func",
        obj=obj,
    )
