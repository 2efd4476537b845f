"""The penalties that Keras layers hold, each with its name."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Iterator, NamedTuple

import tensorflow as tf

from nengo_wd import _names as names
from nengo_wd._checks import check_penalty


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
    """Yield each penalty of ``layer`` itself, its sub-layers left out.

    The function ``skip``, where it was added to the layer's losses, is left out.

    Read from where ``layer.losses`` reads them, because ``layer.losses`` does not say
    which weight a penalty is on.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a penalty is not a scalar.
    """
    for loss in layer._losses:
        yield _named(layer, "loss", loss)
    for function in layer._callable_losses:
        bound = _bound(function)
        if _is_variable(bound):
            loss = function()
            if loss is not None:  # it is a step of the optimizer instead
                yield _named(layer, names.of_variable(bound), loss, bound)
        elif bound is not skip or skip is None:
            loss = function()
            if loss is not None:  # Keras allows that
                yield _named(layer, "loss", loss)


def variable_penalties(layer: Any) -> dict[int, Callable]:
    """Return what computes the penalties of ``layer`` on its variables, by their ids."""
    functions = getattr(layer, "_callable_losses", ())
    return {id(_bound(f)): f for f in functions if _is_variable(_bound(f))}


def is_on_variable(function: Callable) -> bool:
    """Tell whether what computes a penalty of a layer computes it of a variable alone."""
    return _is_variable(_bound(function))


def regularizer_of(function: Callable) -> Any:
    """Return the regularizer in what computes the penalty of a layer on a variable.

    None is returned where Keras does not keep it where its current versions do.
    """
    while isinstance(function, functools.partial):
        function = function.args[0] if callable(function.args[0]) else function.func
    found = inspect.getclosurevars(function).nonlocals.get("regularizer")
    return getattr(found, "regularizer", found) if hasattr(found, "name") else found


def n_added_losses(layer: Any) -> int:
    """Return how many losses were added to ``layer`` by ``add_loss``, not by regularizers."""
    functions = getattr(layer, "_callable_losses", ())
    of_tensor = type(layer).__name__ == "AddLoss"  # what Keras makes of a tensor in a model
    return of_tensor + sum(not _is_variable(_bound(function)) for function in functions)


def leave_out(left_out: dict[int, Callable], layer: Any, variable: tf.Variable) -> bool:
    """Put the penalty of ``layer`` on a variable aside, and return whether there was one."""
    function = variable_penalties(layer).get(id(variable))
    if function is None:
        return False
    left_out[id(variable)] = function
    others = [other for other in layer._callable_losses if other is not function]
    vars(layer)["_callable_losses"] = others  # or Keras would track them, and copies fail
    return True


def take_back(left_out: dict[int, Callable], layer: Any, variable: tf.Variable) -> bool:
    """Give ``layer`` its penalty on a variable again, and return whether it was left out."""
    function = left_out.pop(id(variable), None)
    if function is not None:
        layer._callable_losses.append(function)
    return function is not None


def _named(layer: Any, weight: str, loss: Any, variable: Any = None) -> LayerPenalty:
    name = f"{layer.name}.{weight}"
    return LayerPenalty(name, check_penalty(name, loss), variable)


def _bound(function: Callable) -> Any:
    """Return what is bound in the partial functions that Keras nests: function or variable."""
    while isinstance(function, functools.partial) and function.args:
        function = function.args[0]
    return function


def _is_variable(value: Any) -> bool:
    return isinstance(value, tf.Variable)
