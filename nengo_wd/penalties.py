"""The penalties that Keras layers hold, each with its name."""

from __future__ import annotations

import functools
from typing import Any, Callable, Iterator

import tensorflow as tf
from nengo.exceptions import ValidationError


def layer_penalties(layer: tf.keras.layers.Layer) -> Iterator[tuple[str, tf.Tensor]]:
    """Yield name and value of each penalty of ``layer`` itself, its sub-layers left out.

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
        loss = function()
        if loss is not None:
            yield _named(layer, _regularized_weight(function) or "loss", loss)


def _named(layer: tf.keras.layers.Layer, weight: str, loss: Any) -> tuple[str, tf.Tensor]:
    name = f"{layer.name}.{weight}"
    return name, check_penalty(name, loss)


def _regularized_weight(function: Callable) -> str | None:
    """Find the name of the variable bound in the partial functions that Keras nests."""
    while isinstance(function, functools.partial) and function.args:
        bound = function.args[0]
        if isinstance(bound, tf.Variable):
            return bound.name.split("/")[-1].split(":")[0]
        function = bound
    return None


def check_penalty(name: str, penalty: Any) -> tf.Tensor:
    """Return ``penalty`` as a tensor, or raise a ValidationError if it is not a scalar."""
    penalty = tf.convert_to_tensor(penalty)
    if penalty.shape.rank not in (0, None):
        raise ValidationError(
            f"the penalty {name} has shape {tuple(penalty.shape.as_list())}, but must be a scalar; "
            "reduce what its regularizer returns, with tf.reduce_sum for example",
            attr="regularizer",
        )
    return penalty
