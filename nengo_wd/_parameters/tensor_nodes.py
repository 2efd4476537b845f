"""Parameters of TensorNodes: the variables of their layers."""

from __future__ import annotations

from typing import Any, Iterator

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _names as names
from nengo_wd import _seam as seam
from nengo_wd._parameters import channels
from nengo_wd._parameters.parameter import Parameter
from nengo_wd._seam.layer_penalties import variable_penalties


def of_node(
    sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, min_rank: int, frozen: bool
) -> Iterator[Parameter]:
    """Yield the parameters of a TensorNode: trainable variables of ``min_rank`` or more.

    With ``frozen``, also those that are penalized but not trained.
    """
    for variable in _variables(sim, node, frozen):
        if variable.shape.rank >= min_rank:
            yield _of_variable(sim, node, variable)


def layers(holder: Any, sim: nengo_dl.Simulator | None = None) -> list[Any]:
    """Return a layer or a TensorNode's function, and the layers in it.

    With ``sim``, they have the weights of that simulator, also after a later one was made.
    """
    is_node = isinstance(holder, nengo_dl.TensorNode)
    func = seam.parameters.function_of(holder) if is_node else holder
    if sim is not None:
        func = seam.parameters.layer_in(sim, func)
    return [func, *(func.submodules if isinstance(func, tf.Module) else ())]


def is_current(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode) -> bool:
    """Tell that the weights of a TensorNode are those of ``sim``, not of a later simulator."""
    return all(seam.parameters.in_graph(sim, variable) for variable in _variables(sim, node))


def _of_variable(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, variable: Any) -> Parameter:
    if not seam.parameters.in_graph(sim, variable):
        raise ValidationError(
            f"{node} was built again by a later simulator, to which its weights belong now; "
            "use one simulator of its network at a time",
            attr="tensor_func",
            obj=node,
        )
    layer = _owner(sim, node, variable)
    label = getattr(layer, "name", None) or names.of_object(node)
    shape = tuple(variable.shape.as_list())
    return Parameter(
        sim,
        node,
        f"{label}.{names.of_variable(variable)}",
        variable,
        rows=np.arange(shape[0]),
        shape=shape,
        channels=channels.of_layer(layer, variable),
        layer=layer,
    )


def _owner(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, variable: tf.Variable) -> Any:
    """Return the layer that made a variable: a TensorNode's function, or one inside it."""
    func, *inner = layers(node, sim)
    own = ("_trainable_weights", "_non_trainable_weights")
    for layer in inner:
        if any(variable is weight for name in own for weight in getattr(layer, name, ())):
            return layer
    return func


def _variables(
    sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, frozen: bool = False
) -> list[tf.Variable]:
    """Return the trainable variables of a TensorNode's function.

    With ``frozen``, also those that are penalized but not trained.
    """
    func, *inner = layers(node, sim)
    if not isinstance(func, tf.Module):  # which every Keras layer is
        held = getattr(func, "__dict__", {}).values()
        return [v for v in held if isinstance(v, tf.Variable) and v.trainable]
    wanted = {id(variable) for variable in func.trainable_variables}
    if frozen:
        wanted.update(*(variable_penalties(layer) for layer in (func, *inner)))
    return [variable for variable in func.variables if id(variable) in wanted]
