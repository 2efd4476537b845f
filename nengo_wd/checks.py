"""What is refused, and the remedy: simulators, rates, strengths and penalties."""

from __future__ import annotations

import numbers
from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import SimulatorClosed, ValidationError

SYMBOLIC = (tf.Variable, tf.keras.optimizers.schedules.LearningRateSchedule)

LARGEST = float(np.finfo(np.float32).max)


def check_simulator(sim: Any) -> None:
    """Raise unless ``sim`` is a NengoDL simulator that is open."""
    if not isinstance(sim, nengo_dl.Simulator):
        raise ValidationError(
            f"expected a nengo_dl.Simulator, got {sim!r} of type {type(sim).__name__}",
            attr="sim",
        )
    if sim.closed:
        raise SimulatorClosed(
            f"the simulator of {sim.model.toplevel} is closed; use it inside its with block"
        )


def check_trains(sim: nengo_dl.Simulator) -> None:
    """Raise if the weights of an open simulator are not trained."""
    if sim.tensor_graph.inference_only:
        raise ValidationError(
            f"{sim.model.toplevel} is for inference only, and its weights are not trained",
            attr="inference_only",
        )


def check_rate(value: Any, name: str, owner: str) -> None:
    """Raise unless ``value`` is a finite number, zero or above, or will be one at every step."""
    if is_number(value):
        check_strength(float(value), name, name, owner)
    elif not isinstance(value, SYMBOLIC):
        raise ValidationError(
            f"{owner}: {value!r} is no {name}; give a number, a "
            "tf.keras.optimizers.schedules.LearningRateSchedule or a tf.Variable",
            attr=name,
        )


def check_momentum(value: Any, name: str, owner: str) -> None:
    """Raise unless ``value`` is a rate, and below one where it is known."""
    check_rate(value, name, owner)
    if is_number(value) and float(value) >= 1:
        raise ValidationError(
            f"{owner}: with a {name} of {value}, weights grow without end; it must be below 1",
            attr=name,
        )


def check_strength(value: Any, name: str, attr: str, owner: str) -> None:
    """Raise if ``value`` is a number that is no strength: not finite, in float32, or negative."""
    is_known = isinstance(value, (numbers.Real, np.ndarray))  # Keras makes them 0-d arrays
    if is_known and not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= LARGEST)):
        raise ValidationError(
            f"{owner}: the strength {name}={value} must be a finite number in float32, zero or "
            "above",
            attr=attr,
        )


def check_penalty(name: str, penalty: Any) -> tf.Tensor:
    """Return ``penalty`` as a tensor, or raise if it is not a scalar."""
    number = (numbers.Real, np.ndarray, np.generic)
    if not tf.is_tensor(penalty) and not isinstance(penalty, number):
        raise ValidationError(
            f"the penalty {name} is {penalty!r}, but must be a scalar tensor; have its "
            "regularizer return one",
            attr="regularizer",
        )
    penalty = tf.convert_to_tensor(penalty)
    if penalty.shape.rank not in (0, None):
        raise ValidationError(
            f"the penalty {name} has shape {tuple(penalty.shape.as_list())}, but must be a scalar; "
            "reduce what its regularizer returns, with tf.reduce_sum for example",
            attr="regularizer",
        )
    return penalty


def is_number(value: Any) -> bool:
    """Tell whether ``value`` is a real number; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_live(value: Any) -> bool:
    """Tell whether ``value`` is a variable, or a tensor, that can have another value later."""
    return isinstance(value, tf.Variable) or (tf.is_tensor(value) and not hasattr(value, "numpy"))
