"""The shapes of a layer's inputs and outputs, with the time and the flat form left out."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd.layers import refused


def input_shape(layer: Any, shape: Any) -> tuple[int | None, ...]:
    """Take the time's shape away, and make sure that something is left."""
    if _is_pair(shape) and _rank(shape[0]) == 0:
        shape = shape[1]
    if _rank(shape) in (0, None):
        raise ValidationError(
            f"layer {layer.name!r} has no input; give its TensorNode one",
            attr="shape_in",
            obj=layer,
        )
    return tuple(tf.TensorShape(shape).as_list())


def applied_shape(layer: Any, shape: Any) -> tuple[int | None, ...]:
    """Return the shape to which the Keras layer is applied, checked: the declared one, if any."""
    shape = input_shape(layer, shape)
    shape = declared_shape(layer, shape) or shape
    check_rank(layer, shape)
    return shape


def check_rank(layer: Any, shape: tuple[int | None, ...]) -> None:
    """Raise if a layer takes no inputs of so many dimensions, such as flat ones."""
    for spec in tf.nest.flatten(layer.input_spec):
        exactly, least = getattr(spec, "ndim", None), getattr(spec, "min_ndim", None)
        rank = exactly or max(least or 0, len(shape))
        if rank != len(shape):
            raise ValidationError(
                f"layer {layer.name!r} takes inputs of {rank - 1} dimensions, but its input has "
                f"the shape {shape[1:]}; give the layer an input_shape of {rank - 1} dimensions, "
                "which a flat input is then given",
                attr="input_shape",
                obj=layer,
            )


def declared_shape(layer: Any, shape: Any) -> tuple[int | None, ...] | None:
    """Return the ``input_shape`` argument where a flat input is to be given that shape."""
    declared = tuple(getattr(layer, "_batch_input_shape", ()))[1:]
    batch, *given = tf.TensorShape(shape).as_list()
    if len(given) != 1 or len(declared) < 2 or None in declared:
        return None
    if given[0] != np.prod(declared):
        raise ValidationError(
            f"layer {layer.name!r} has input_shape={declared}, of {np.prod(declared)} "
            f"elements, but its input has {given[0]}",
            attr="input_shape",
            obj=layer,
        )
    return (batch, *declared)


def has_window(layer: Any) -> bool:
    """Tell whether a layer has a window that may be larger than an input, and says its output."""
    computes = refused.keras_method(layer, "compute_output_shape")
    says_output = computes is not vars(tf.keras.layers.Layer).get("compute_output_shape")
    return says_output and any(hasattr(layer, attr) for attr in refused.SIZES)


def check_window(layer: Any, shape: Any, compute_output_shape: Callable) -> None:
    """Raise if the window of a layer is larger than its input."""
    if has_window(layer):
        check_output(layer, shape, compute_output_shape)


def check_output(layer: Any, shape: Any, compute_output_shape: Callable) -> tf.TensorShape:
    """Return the shape of a layer's output, which must not be empty."""
    try:
        outputs = tf.TensorShape(compute_output_shape(shape))
        is_empty = any(size is not None and size < 1 for size in outputs.as_list()[1:])
    except ValueError as error:
        if isinstance(error, ValidationError) or not has_window(layer):
            raise
        is_empty = True
    if is_empty:
        window = [f"{a}={getattr(layer, a)}" for a in refused.SIZES if hasattr(layer, a)]
        raise ValidationError(
            f"layer {layer.name!r} has no output for inputs of shape {tuple(shape)[1:]}, which are "
            f"too small for its {', '.join(window) or 'arguments'}; make the kernel or pool "
            "smaller, or give padding='same'",
            attr="kernel_size",
            obj=layer,
        )
    return outputs


def check_use(layer: Any, shape_in: Any, size_out: int) -> None:
    """Check that a layer, built already, fits the input and output of a TensorNode."""
    shape_in = declared_shape(layer, shape_in) or shape_in
    check_input(layer, shape_in)
    try:
        shape_out = layer.compute_output_shape(shape_in)[1:]
    except NotImplementedError:  # NengoDL checks the output itself, with less to say
        return
    if shape_out.num_elements() != size_out:
        raise ValidationError(
            f"layer {layer.name!r} has outputs of shape {tuple(shape_out.as_list())}, which "
            f"do not fit the {size_out} that its TensorNode promises; leave the output "
            "size out to have it inferred",
            attr="size_out",
            obj=layer,
        )


def check_input(layer: Any, shape: Any) -> None:
    """Check that a layer was built for inputs of a shape; NengoDL skips Keras' own check."""
    for spec in tf.nest.flatten(layer.input_spec):
        axes = getattr(spec, "axes", None) or {}
        for axis, size in axes.items():
            if size is not None and shape[axis] != size:
                raise ValidationError(
                    f"layer {layer.name!r} was built for inputs with {size} elements along "
                    f"axis {axis}, but is applied to shape {shape}; only inputs of "
                    "one shape can share a layer",
                    attr="shape_in",
                    obj=layer,
                )


def is_time(value: Any) -> bool:
    """Tell whether ``value`` is a scalar, as the simulation time is."""
    return len(getattr(value, "shape", np.shape(value))) == 0


def without_time(inputs: Any) -> Any:
    """Return ``x`` of ``[t, x]``, and anything else as it is."""
    if isinstance(inputs, (list, tuple)) and len(inputs) == 2 and is_time(inputs[0]):
        return inputs[1]
    return inputs


def batched(shape: Any) -> tuple[int, ...]:
    """Return a shape for ``tf.reshape``, with -1 for what is not known."""
    return tuple(-1 if size is None else int(size) for size in shape)


def _rank(shape: Any) -> int | None:
    return tf.TensorShape(shape).rank


def _is_pair(shape: Any) -> bool:
    nested = (list, tuple, tf.TensorShape)
    return isinstance(shape, (list, tuple)) and len(shape) == 2 and isinstance(shape[0], nested)
