"""The training step, and what numbers, schedules and variables are at it."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Iterator, NamedTuple

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import check_scalar, is_number

_here = threading.local()  # a strategy traces its replicas in threads of their own


@contextlib.contextmanager
def at(step: Any) -> Iterator[None]:
    """Have `step` return this step in the body, where no outer one holds; None stands for none."""
    before = getattr(_here, "step", None)
    _here.step = step if before is None else before
    try:
        yield
    finally:
        _here.step = before


def step() -> Any:
    """Return the training step of the simulator whose losses are computed.

    Raises
    ------
    nengo.exceptions.ValidationError
        If it is not known.
    """
    now = getattr(_here, "step", None)
    if now is None:
        raise ValidationError(
            "there is no training step to look a schedule up at: it is that of the optimizer that "
            "a simulator was compiled with; in a training loop without, use a tf.Variable as the "
            "strength, and assign it",
            attr="schedule",
        )
    return now


def value_at(value: Any, training_step: Any) -> Any:
    """Return a number, schedule or variable as it is at a training step: a single number."""
    if not callable(value):
        return value
    name = type(value).__name__
    try:
        now = tf.convert_to_tensor(value(training_step))
    except (TypeError, ValueError) as error:
        raise ValidationError(
            f"the schedule {name} has no value at a training step: {error}", attr="schedule"
        ) from error
    check_scalar(now, "value of a schedule", f"the schedule {name}")
    return now


class Product(NamedTuple):
    """A number or variable times a schedule or variable."""

    number: Any
    factor: Any

    def __call__(self, training_step: Any) -> tf.Tensor:
        """Return the product at a training step, in float64."""
        one, other = (tf.cast(value_at(part, training_step), tf.float64) for part in self)
        return one * other


def times(one: Any, other: Any) -> Any:
    """Return the product of two numbers, schedules or variables; it moves if one of them does."""
    if is_number(one) and is_number(other):
        return float(one) * float(other)
    number, factor = (one, other) if is_number(one) else (other, one)
    return number if is_number(number) and number == 0 else Product(number, factor)


def split(value: Any) -> tuple[Any, tuple]:
    """Return the number in a value, and the schedules and variables that it is multiplied by."""
    if is_number(value):
        return value, ()
    if not isinstance(value, Product):
        return 1.0, (value,)
    return (value.number, (value.factor,)) if is_number(value.number) else (1.0, tuple(value))


def ids(value: Any) -> tuple[int, ...]:
    """Return the ids of the schedules and variables in a value; none for a number."""
    return tuple(id(factor) for factor in split(value)[1])
