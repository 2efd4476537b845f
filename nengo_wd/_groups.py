"""Groups of weights: along axes, or with an input or an output in common."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Iterator, NamedTuple, Sequence, Union

import nengo
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

SIDES = ("inputs", "outputs")
TRANSPOSED = tuple(  # in their kernels, output channels come before input channels
    cls for n in "123" for cls in [getattr(tf.keras.layers, f"Conv{n}DTranspose", None)] if cls
)
# By name, because several versions of Keras may each have such a class.
GATED = {"LSTMCell", "GRUCell", "ConvLSTMCell", "ConvLSTM2DCell"}  # several outputs make a unit
UNKNOWN = {"LocallyConnected1D", "LocallyConnected2D", "EinsumDense"}

_here = threading.local()  # a strategy traces each replica in a separate thread


class AlongAxes(NamedTuple):
    """Groups along axes: each index along them is a group."""

    axes: tuple[int, ...]  # from 0 on, in their order
    rank: int

    @property
    def within(self) -> list[int]:
        """The axes over which a group extends."""
        return [axis for axis in range(self.rank) if axis not in self.axes]

    @property
    def key(self) -> tuple:
        """A key that identifies the groups, in weights of one shape."""
        return self.axes

    def n_groups(self, shape: Sequence[Any]) -> int | None:
        """Return how many groups there are in weights of a shape, if that is known."""
        sizes = [shape[axis] for axis in self.axes]
        return None if None in sizes else int(np.prod(sizes))

    def sizes(self, weights: tf.Tensor) -> tf.Tensor:
        """Return how many weights a group has, in their dtype."""
        shape, within = weights.shape.as_list(), self.within
        if all(shape[axis] is not None for axis in within):
            return tf.cast(np.prod([shape[axis] for axis in within]), weights.dtype)
        # the examples and time steps of what a probe records are known only when it is run
        return tf.cast(tf.reduce_prod(tf.gather(tf.shape(weights), within)), weights.dtype)

    def by_group(self, values: np.ndarray, shape: Sequence[Any]) -> np.ndarray:
        """Return values, one for each group, in the shape of `sums`."""
        return values.reshape([n if i in self.axes else 1 for i, n in enumerate(shape)])

    def sums(self, values: tf.Tensor) -> tf.Tensor:
        """Return the sum of each group, with the rank of the weights."""
        return tf.reduce_sum(values, axis=self.within, keepdims=True)

    def over_weights(self, values: tf.Tensor) -> tf.Tensor:
        """Return values of groups in a shape that fits the weights'."""
        return values


class Labelled(NamedTuple):
    """Groups with numbers: each weight has the number of its group."""

    labels: np.ndarray  # of the shape of the weights
    number: int

    @property
    def key(self) -> tuple:
        """A key that identifies the groups, in weights of one shape."""
        return ("labels", self.number, self.labels.tobytes())

    def n_groups(self, shape: Sequence[Any]) -> int | None:
        """Return how many groups there are; some may have no weights."""
        return self.number

    def sizes(self, weights: tf.Tensor) -> tf.Tensor:
        """Return how many weights each group has, in their dtype."""
        return tf.cast(np.bincount(self.labels.ravel(), minlength=self.number), weights.dtype)

    def by_group(self, values: np.ndarray, shape: Sequence[Any]) -> np.ndarray:
        """Return values, one for each group, in the shape of `sums`."""
        return values

    def sums(self, values: tf.Tensor) -> tf.Tensor:
        """Return the sum of each group, of shape (groups,)."""
        flat = tf.reshape(values, [-1])
        return tf.math.unsorted_segment_sum(flat, self.labels.ravel(), self.number)

    def over_weights(self, values: tf.Tensor) -> tf.Tensor:
        """Return values of groups in the shape of the weights."""
        return tf.gather(values, self.labels)


Groups = Union[AlongAxes, Labelled]


class Sides(NamedTuple):
    """The axes along which the inputs and the outputs of weights lie; None, if along none."""

    inputs: tuple[int, ...] | None
    outputs: tuple[int, ...] | None
    what: str = "weights"  # their name in errors
    n_parts: int = 1  # the parts of a convolution, each with separate inputs and outputs
    places: np.ndarray | None = None  # of sparse weights: the output and the input of each
    size: tuple[int, int] = (0, 0)  # of sparse weights: the number of outputs and of inputs

    def groups(self, side: str, shape: Sequence[Any]) -> Groups:
        """Return the groups that "inputs" or "outputs" make of weights of a shape."""
        rank, axes = len(shape), getattr(self, side)
        if self.places is not None:
            column = 1 - SIDES.index(side)
            return Labelled(self.places[:, column], self.size[column])
        if axes is None or any(not -rank <= axis < rank for axis in axes):
            self._refuse(side, rank)
        if side == "inputs" and self.n_parts > 1:
            return _inputs_of_parts(shape, self.n_parts)
        return AlongAxes(tuple(sorted(axis % rank for axis in axes)), rank)

    def _refuse(self, side: str, rank: int) -> None:
        other = SIDES[1 - SIDES.index(side)]
        axes = getattr(self, other)
        fits = axes is not None and all(-rank <= axis < rank for axis in axes)
        instead = f"groups={other!r}, or an axis" if fits else "an axis"
        raise ValidationError(
            f"GroupLasso: {self.what}, of rank {rank}, can't be put into groups={side!r}; give "
            f"{instead}",
            attr="groups",
        )


KERAS = Sides((-2,), (-1,))  # kernels are (..., inputs, outputs)
RECORDED = Sides(None, None, "what a probe records")


def _inputs_of_parts(shape: Sequence[Any], n_parts: int) -> Labelled:
    """Return the groups of the input channels of a kernel (..., inputs of a part, outputs)."""
    *_, n_inputs, n_outputs = shape
    part = np.arange(n_outputs) // (n_outputs // n_parts)
    channel = np.arange(n_inputs)[:, None] + n_inputs * part
    return Labelled(np.broadcast_to(channel, shape), n_inputs * n_parts)


def sides_in_layer(layer: Any, weight: str, what: str) -> Sides:
    """Return the sides of a weight, by its name in a Keras layer or in a user's function."""
    classes = {cls.__name__ for cls in type(layer).__mro__}
    if classes & UNKNOWN:
        return Sides(None, None, what)
    if classes & GATED:
        return Sides(KERAS.inputs, None, what)
    if weight == "depthwise_kernel":  # a filter for each input channel
        return Sides(KERAS.inputs, (-2, -1), what)
    if weight == "kernel" and isinstance(layer, TRANSPOSED):
        return Sides(KERAS.outputs, KERAS.inputs, what)
    n_parts = getattr(layer, "groups", 1) if weight == "kernel" else 1
    return KERAS._replace(what=what, n_parts=n_parts if isinstance(n_parts, int) else 1)


def sides_of_native(obj: Any, rank: int, what: str) -> Sides:
    """Return the sides of a Nengo object's parameter, if it isn't sparse."""
    if isinstance(obj, nengo.ensemble.Neurons):
        return Sides(None, (0,), what)  # a bias has no input
    convolutions = nengo.Convolution, getattr(nengo, "ConvolutionTranspose", nengo.Convolution)
    if isinstance(getattr(obj, "transform", None), convolutions):
        return KERAS._replace(what=what, n_parts=getattr(obj.transform, "groups", 1))
    if rank < 2:  # each weight leads from one input to one output
        return Sides((0,)[:rank], (0,)[:rank], what)
    return Sides((1,), (0,), what)


@contextlib.contextmanager
def use_sides(sides: Sides) -> Iterator[None]:
    """Let `current_sides` return these sides while the body penalizes weights."""
    before = current_sides()
    _here.sides = sides
    try:
        yield
    finally:
        _here.sides = before


def current_sides() -> Sides:
    """Return the sides of the weights that are penalized now; by default, those of Keras."""
    return getattr(_here, "sides", KERAS)
