"""Numbers, schedules and variables as the numbers that they are at a step."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _clock as clock
from nengo_wd import _seam as seam
from nengo_wd._checks import is_number


class Now(NamedTuple):
    """What a schedule or a variable is at a step, to be built in a simulator."""

    value: Any
    step: Any

    @property
    def key(self) -> Now:
        """What tells it from all else in its simulator: itself."""
        return self

    def __call__(self) -> tf.Tensor:
        """Return a scalar tensor."""
        return tf.convert_to_tensor(clock.value_at(self.value, self.step))


def now(sim: nengo_dl.Simulator, values: list[Any], step: Any = None) -> list[float | None]:
    """Return the numbers that values are at a step; None for all that move if one has none yet.

    Without ``step``, it is that of the simulator.
    """
    different = {id(value): value for value in values}  # few, where settings are those of classes
    live = {key: value for key, value in different.items() if not is_number(value)}
    for value in live.values():
        check_graph(sim, value)
    step = seam.values.training_step(sim) if step is None else step
    tensors = [seam.values.build(sim, Now(value, step)) for value in live.values()]
    known: dict[int, float | None] = dict(zip(live, _fetch(sim, tensors)))
    known.update((key, float(value)) for key, value in different.items() if key not in live)
    return [known[id(value)] for value in values]


def _fetch(sim: nengo_dl.Simulator, tensors: list[tf.Tensor]) -> list[float | None]:
    try:
        return [float(number) for number in seam.values.fetch(sim, tensors)] if tensors else []
    except tf.errors.FailedPreconditionError:  # not initialized, in TensorFlow 1
        return [None] * len(tensors)


def check_graph(sim: nengo_dl.Simulator, value: Any) -> None:
    """Raise if a variable is in another graph than the simulator."""
    for part in clock.split(value)[1]:
        if isinstance(part, tf.Variable) and not seam.parameters.in_graph(sim, part):
            raise ValidationError(
                f"{part.name} is not in the graph of the simulator of {sim.model.toplevel}; make "
                "the variable within sim.tensor_graph.graph.as_default()",
                attr="variable",
            )
