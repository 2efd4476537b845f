"""The private parts of Keras 2 that this package uses; leaving Keras 2 replaces this module.

- TensorFlow 1.15 to 2.15, tf-keras: ``_losses`` and ``_callable_losses`` of layers; ``AddLoss``,
  a layer for tensors that are added as losses; partial functions and closures around regularizers.
- TensorFlow 2, tf-keras: ``_flatten_layers``, ``_metrics`` and ``_handle_weight_regularization`` of
  layers, ``_keras_history``, ``_inbound_nodes``, ``_used`` of initializers, ``_track_trackable``,
  ``_coalesced_children``, ``base_layer_utils.call_context``.
- TensorFlow 2.12 to 2.15, tf-keras: ``_exclude_from_weight_decay``, also with ``_names``.

``nengo_dl3/optimizers.py`` uses more of Keras' optimizers, and ``nengo_dl2`` of TensorFlow 1.15.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import numbers
import re
import sys
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Sequence

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import check_finite, is_real
from nengo_wd._groups import KERAS, Sides, sides_in_layer, use_sides
from nengo_wd._seam import state

# -- penalties of layers -------------------------------------------------------------------


def check_penalty(name: str, penalty: Any) -> tf.Tensor:
    """Return ``penalty`` as a tensor; raise if it is not a real scalar."""
    number, hint = (numbers.Real, np.ndarray, np.generic), "have its regularizer return one"
    if isinstance(penalty, bool) or not (tf.is_tensor(penalty) or isinstance(penalty, number)):
        raise _penalty_error(name, f"is {penalty!r}", f"a scalar tensor; {hint}")
    if isinstance(penalty, numbers.Real):
        check_finite(name, penalty)
    penalty = tf.convert_to_tensor(penalty)
    dtype, shape = penalty.dtype.base_dtype, penalty.shape
    if not is_real(dtype):
        raise _penalty_error(name, f"has dtype {dtype.name}", f"a real number; {hint}")
    if shape.rank not in (0, None):
        hint = "reduce what its regularizer returns, with tf.reduce_sum for example"
        raise _penalty_error(name, f"has shape {tuple(shape.as_list())}", f"a scalar; {hint}")
    return penalty


def _penalty_error(name: str, found: str, wanted: str) -> ValidationError:
    """Return the error for a penalty that is not a real scalar."""
    return ValidationError(f"the penalty {name} {found}, but must be {wanted}", "regularizer")


class LayerPenalty(NamedTuple):
    """A penalty of a layer: its name, its value, and its variable if it is on a single one."""

    name: str
    value: tf.Tensor
    variable: tf.Variable | None = None

    @property
    def key(self) -> tuple[int, int]:
        """The key of the `Parameter` that the penalty is on."""
        return id(self.variable), 0


def layer_penalties(layer: tf.keras.layers.Layer, skip: Any = None) -> Iterator[LayerPenalty]:
    """Yield each penalty of ``layer`` but not of its sub-layers; raise if it is not a scalar.

    The loss ``skip`` is left out. ``layer.losses`` does not say which weight a penalty is on.
    """
    found: list[tuple[Any, Any]] = [(loss, None) for loss in layer._losses]
    for function in layer._callable_losses:
        bound = _innermost(function)
        if bound is not skip:
            with use_sides(penalized_sides(layer, function)):
                found.append((function(), bound if is_on_variable(function) else None))
    for loss, variable in found:
        if loss is not None:  # None for a step of the optimizer, or from Keras
            name = f"{layer.name}.{'loss' if variable is None else variable_name(variable)}"
            yield LayerPenalty(name, check_penalty(name, loss), variable)


def penalized_sides(layer: Any, function: Callable) -> Sides:
    """Return the axes of inputs and outputs in what a function of a layer penalizes."""
    if not is_on_variable(function):
        return KERAS
    weight = variable_name(_innermost(function))
    return sides_in_layer(layer, weight, f"{layer.name}.{weight}")


def variable_penalties(layer: Any) -> dict[int, Callable]:
    """Return the functions that compute the penalties on variables of ``layer``, by variable id."""
    functions = getattr(layer, "_callable_losses", ())
    return {id(_innermost(f)): f for f in functions if is_on_variable(f)}


def is_on_variable(function: Callable) -> bool:
    """Tell whether a function computes the penalty of a layer on a single variable."""
    return isinstance(_innermost(function), tf.Variable)


def regularizer_of(function: Callable) -> Any:
    """Return the regularizer in a layer's penalty on a variable, or None if Keras hides it."""
    while isinstance(function, functools.partial):
        function = function.args[0] if callable(function.args[0]) else function.func
    found = inspect.getclosurevars(function).nonlocals.get("regularizer")
    return getattr(found, "regularizer", found) if hasattr(found, "name") else found


def own_decay(optimizer: Any) -> tuple[Any, bool]:
    """Return the decay that an optimizer has itself, and whether it leaves out variables."""
    decay = getattr(optimizer, "weight_decay", None) or getattr(optimizer, "_weight_decay", None)
    excluded = "_exclude_from_weight_decay"
    return decay, any(getattr(optimizer, excluded + end, None) for end in ("", "_names"))


def chain_of(model: Any) -> list[Any] | None:
    """Return the layers of a model in order, or None if it is not a chain of layers."""
    functional = tf.keras.Sequential.__mro__[1]
    if type(model).call not in (tf.keras.Sequential.call, functional.call):
        return None
    if isinstance(model, tf.keras.Sequential):
        return [*model.layers]
    found: list[Any] = []
    tensors = model.outputs
    while len(tensors) == 1:
        layer, node, _ = tensors[0]._keras_history
        if isinstance(layer, tf.keras.layers.InputLayer):
            return found[::-1]
        found.append(layer)
        tensors = layer._inbound_nodes[node].keras_inputs
    return None


def n_added_losses(layer: Any) -> int:
    """Return how many losses were added to ``layer`` by ``add_loss``, not by regularizers."""
    functions = getattr(layer, "_callable_losses", ())
    return (type(layer).__name__ == "AddLoss") + sum(not is_on_variable(f) for f in functions)


def set_penalties(layer: Any, functions: Sequence[Callable]) -> None:
    """Replace the penalties of ``layer``; Keras must not track them, or copies would fail."""
    vars(layer)["_callable_losses"] = list(functions)


def leave_out(left_out: dict[int, Callable], layer: Any, variable: tf.Variable) -> bool:
    """Put the penalty of ``layer`` on a variable aside, and return whether there was one."""
    function = variable_penalties(layer).get(id(variable))
    if function is not None:
        left_out[id(variable)] = function
        set_penalties(layer, [other for other in layer._callable_losses if other is not function])
    return function is not None


def take_back(left_out: dict[int, Callable], layer: Any, variable: tf.Variable) -> bool:
    """Give ``layer`` its penalty on a variable again, and return whether it was left out."""
    function = left_out.pop(id(variable), None)
    if function is not None:
        layer._callable_losses.append(function)
    return function is not None


def _innermost(function: Callable) -> Any:
    """Return the innermost function or variable of the partial functions that Keras nests."""
    while isinstance(function, functools.partial) and function.args:
        function = function.args[0]
    return function


def variable_name(variable: tf.Variable) -> str:
    """Return the last part of a variable's name, such as ``"kernel"``."""
    return variable.name.split("/")[-1].split(":")[0]


def scope(name: str) -> str:
    """Replace each character that TensorFlow refuses in the name of a scope by "_"."""
    valid = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return valid if re.match(r"[A-Za-z0-9.]", valid) else f"layer{valid}"


# -- stand-ins of layers -------------------------------------------------------------------


def parts(layer: Any) -> list[Any]:
    """Return a layer and all layers in its attributes, each of them once."""
    return [layer, *(one for one in layer.submodules if isinstance(one, tf.keras.layers.Layer))]


def stand_in(layer: Any) -> Any:
    """Return a copy of a layer and the layers in it, with the same weights and penalties.

    A layer has the weights of the newest simulator, and earlier ones get copies. Return None for a
    Keras model, which can't be copied in this way.
    """
    found = parts(layer)
    if any(isinstance(part, tf.keras.Model) for part in found):
        return None
    copies = {id(part): object.__new__(type(part)) for part in found}
    for part in found:
        held = vars(copies[id(part)])
        held.update((name, _replaced(value, copies)) for name, value in vars(part).items())
        known = held.get(state.ATTRIBUTE, state.LayerState())
        held[state.ATTRIBUTE] = dataclasses.replace(known, original=state.original(part))
    return copies[id(layer)]


def _replaced(value: Any, copies: dict[int, Any]) -> Any:
    """Return a value, or a copy of a container, with copies instead of layers."""
    if id(value) in copies:
        return copies[id(value)]
    if hasattr(value, "_replace"):  # a named tuple, such as a reference that checkpoints follow
        return value._replace(**{k: _replaced(getattr(value, k), copies) for k in value._fields})
    if not isinstance(value, (list, dict)):
        return value
    copied = copy.copy(value)
    for key in range(len(value)) if isinstance(value, list) else list(value):
        new = _replaced(value[key], copies)
        if new is not value[key]:
            copied[key] = new
    return copied


# -- TensorFlow 2 --------------------------------------------------------------------------


def flat_layers(layer: Any) -> list[Any]:
    """Return a layer and all layers in it."""
    return list(layer._flatten_layers())


def loss_weights(model: Any) -> Any:
    """Return the weights of losses that a model was compiled with: by name, or None."""
    return getattr(getattr(model, "compiled_loss", None), "_user_loss_weights", None)


def layer_being_built() -> Any:
    """Return the layer that Keras is building or calling, if any."""
    base_layer = sys.modules[tf.keras.layers.Layer.__module__]
    return base_layer.base_layer_utils.call_context().layer


def add_penalty(layer: Any, variable: tf.Variable, regularizer: Any) -> None:
    """Give ``layer`` a penalty on a variable, as ``add_weight`` does."""
    layer._handle_weight_regularization(variable.name.partition(":")[0], variable, regularizer)


def forget_initializers(layer: Any) -> None:
    """Prevent a warning of Keras that this building uses unseeded initializers twice."""
    for part in flat_layers(layer):
        for value in vars(part).values():
            if isinstance(value, tf.keras.initializers.Initializer):
                vars(value).pop("_used", None)


def exchange_metrics(layer: Any, before: Iterable[Any], after: Iterable[Any]) -> None:
    """Replace metrics of a layer by others."""
    ids = {id(metric) for metric in before}
    layer._metrics[:] = [*(one for one in layer._metrics if id(one) not in ids), *after]


def save_with(owner: Any, name: str, kept: Any) -> None:
    """Save ``kept`` by a name in checkpoints of a layer or optimizer."""
    owner._track_trackable(kept, name)
    vars(owner).pop("_coalesced_children", None)  # Keras' optimizers look it up only once
