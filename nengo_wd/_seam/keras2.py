"""The private parts of Keras 2 that this package uses; leaving Keras 2 replaces this module.

Keras' optimizers have more, in ``nengo_dl3/optimizers.py``, and TensorFlow 1.15 in ``nengo_dl2``.

========================================================  =======================================
``_losses``, ``_callable_losses`` of layers               TensorFlow 1.15 to 2.15, tf-keras
partial functions and closures around regularizers        the same
``AddLoss``, a layer for a tensor that is added as loss   the same
``_flatten_layers``, ``_metrics`` of layers               TensorFlow 2, tf-keras
``_keras_history``, ``_inbound_nodes``                    TensorFlow 2, tf-keras
``_handle_weight_regularization`` of layers               the same
``_used`` of initializers                                 the same
``base_layer_utils.call_context``                         the same
``_track_trackable``, ``_coalesced_children``             the same
``_exclude_from_weight_decay``, with ``_names``           TensorFlow 2.12 to 2.15, tf-keras
========================================================  =======================================
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
    """Return ``penalty`` as a tensor, or raise if it is not a real scalar."""
    number = (numbers.Real, np.ndarray, np.generic)
    if isinstance(penalty, bool) or not (tf.is_tensor(penalty) or isinstance(penalty, number)):
        raise ValidationError(
            f"the penalty {name} is {penalty!r}, but must be a scalar tensor; have its "
            "regularizer return one",
            attr="regularizer",
        )
    if isinstance(penalty, numbers.Real):
        check_finite(name, penalty)
    penalty = tf.convert_to_tensor(penalty)
    if not is_real(penalty.dtype.base_dtype):
        raise ValidationError(
            f"the penalty {name} has dtype {penalty.dtype.base_dtype.name}, but must be a real "
            "number; have its regularizer return one",
            attr="regularizer",
        )
    if penalty.shape.rank not in (0, None):
        raise ValidationError(
            f"the penalty {name} has shape {tuple(penalty.shape.as_list())}, but must be a scalar; "
            "reduce what its regularizer returns, with tf.reduce_sum for example",
            attr="regularizer",
        )
    return penalty


class LayerPenalty(NamedTuple):
    """A penalty of a layer: its name, its value, and the variable that it is on, if on one."""

    name: str
    value: tf.Tensor
    variable: tf.Variable | None = None

    @property
    def key(self) -> tuple[int, int]:
        """The key of the `Parameter` that the penalty is on."""
        return id(self.variable), 0


def layer_penalties(layer: tf.keras.layers.Layer, skip: Any = None) -> Iterator[LayerPenalty]:
    """Yield each penalty of ``layer`` itself, without those of its sub-layers.

    If the function ``skip`` was added to the layer's losses, it is left out. Raise an error if a
    penalty is not a scalar. ``layer.losses`` does not say which weight a penalty is on, so they
    are read from where it reads them.
    """
    found: list[tuple[Any, Any]] = [(loss, None) for loss in layer._losses]
    for function in layer._callable_losses:
        bound = _innermost(function)
        if skip is None or bound is not skip:
            with use_sides(penalized_sides(layer, function)):
                found.append((function(), bound if is_on_variable(function) else None))
    for loss, variable in found:
        if loss is not None:  # it is a step of the optimizer, or Keras' own None
            weight = "loss" if variable is None else variable_name(variable)
            name = f"{layer.name}.{weight}"
            yield LayerPenalty(name, check_penalty(name, loss), variable)


def penalized_sides(layer: Any, function: Callable) -> Sides:
    """Return where inputs and outputs lie in what a function of a layer penalizes."""
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
    """Return the regularizer in a function that computes the penalty of a layer on a variable.

    Return None if this Keras does not keep it where current versions do.
    """
    while isinstance(function, functools.partial):
        function = function.args[0] if callable(function.args[0]) else function.func
    found = inspect.getclosurevars(function).nonlocals.get("regularizer")
    return getattr(found, "regularizer", found) if hasattr(found, "name") else found


def own_decay(optimizer: Any) -> tuple[Any, bool]:
    """Return the decay that an optimizer has itself, and whether it leaves out variables."""
    decay = getattr(optimizer, "weight_decay", None) or getattr(optimizer, "_weight_decay", None)
    excluded = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_names")
    return decay, any(getattr(optimizer, attr, None) for attr in excluded)


def chain_of(model: Any) -> list[Any] | None:
    """Return the layers of a model in their order; None, if it is not a chain of layers."""
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
    of_tensor = type(layer).__name__ == "AddLoss"
    return of_tensor + sum(not is_on_variable(function) for function in functions)


def set_penalties(layer: Any, functions: Sequence[Callable]) -> None:
    """Give ``layer`` other penalties, which Keras does not track: copies of it would fail."""
    vars(layer)["_callable_losses"] = list(functions)


def leave_out(left_out: dict[int, Callable], layer: Any, variable: tf.Variable) -> bool:
    """Put the penalty of ``layer`` on a variable aside, and return whether there was one."""
    function = variable_penalties(layer).get(id(variable))
    if function is None:
        return False
    left_out[id(variable)] = function
    set_penalties(layer, [other for other in layer._callable_losses if other is not function])
    return True


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


# -- names ---------------------------------------------------------------------------------


def variable_name(variable: tf.Variable) -> str:
    """Return the last part of a variable's name, such as ``"kernel"``."""
    return variable.name.split("/")[-1].split(":")[0]


def scope(name: str) -> str:
    """Return ``name`` with "_" for each character that TensorFlow refuses in a scope."""
    valid = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return valid if re.match(r"[A-Za-z0-9.]", valid) else f"layer{valid}"


# -- stand-ins of layers -------------------------------------------------------------------


def parts(layer: Any) -> list[Any]:
    """Return a layer and all layers in its attributes, each of them once."""
    return [layer, *(one for one in layer.submodules if isinstance(one, tf.keras.layers.Layer))]


def stand_in(layer: Any) -> Any:
    """Return a copy of a layer, and of the layers in it, with the same weights and penalties.

    A layer has the weights of the last simulator that was made with it. Earlier ones get
    stand-ins. Return None for a Keras model, which can't be copied this way.
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
    """Return a value, or a copy of a container, with copies in the place of layers."""
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
    """Have Keras not warn of unseeded initializers in a layer as used twice: by this building."""
    for part in flat_layers(layer):
        for value in vars(part).values():
            if isinstance(value, tf.keras.initializers.Initializer):
                vars(value).pop("_used", None)


def exchange_metrics(layer: Any, before: Iterable[Any], after: Iterable[Any]) -> None:
    """Put metrics of a layer in the place of others."""
    ids = {id(metric) for metric in before}
    layer._metrics[:] = [metric for metric in layer._metrics if id(metric) not in ids]
    layer._metrics.extend(after)


def save_with(owner: Any, name: str, kept: Any) -> None:
    """Have checkpoints of a layer or optimizer hold ``kept``, too, under a name."""
    owner._track_trackable(kept, name)
    vars(owner).pop("_coalesced_children", None)  # which Keras' optimizers look up only once
