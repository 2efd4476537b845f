"""The training step, and the strengths that depend on it."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Iterator, NamedTuple

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import check_scalar, is_number

_here = threading.local()  # a strategy traces its replicas in threads of their own


@contextlib.contextmanager
def use_step(step: Any) -> Iterator[None]:
    """Have `current_step` return this step in the body, unless an outer body has set one."""
    before = getattr(_here, "step", None)
    _here.step = step if before is None else before
    try:
        yield
    finally:
        _here.step = before


def current_step() -> Any:
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
    """Return the value of a number, schedule or variable at a training step: a single number."""
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


class Strength(NamedTuple):
    """A number, times schedules and variables with their values at each step."""

    number: float
    factors: tuple = ()

    @classmethod
    def from_value(cls, value: Any) -> Strength:
        """Return a number, schedule or variable as a strength."""
        return cls(float(value)) if is_number(value) else cls(1.0, (value,))

    def times(self, other: Strength) -> Strength:
        """Return the product of two strengths; zero, which no factor changes, has no factors."""
        number = self.number * other.number
        return Strength(number, (*self.factors, *other.factors) if number else ())

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the schedules and variables."""
        return tuple(map(id, self.factors))

    def at(self, training_step: Any) -> tf.Tensor:
        """Return the value at a training step, a scalar in float64."""
        product = tf.constant(self.number, tf.float64)
        for factor in self.factors:
            product *= tf.cast(value_at(factor, training_step), tf.float64)
        return product
