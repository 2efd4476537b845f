"""Checks of layers: their classes, their arguments, and the shapes of inputs and outputs."""

from __future__ import annotations

import inspect
from typing import Any, Callable, NoReturn, Optional, Tuple

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import is_number

Shape = Tuple[Optional[int], ...]  # with the minibatch in front

MIXIN = "TimeLoopLayer"
COUNTS = ("units", "filters", "depth_multiplier")
SIZES = ("kernel_size", "pool_size", "strides", "dilation_rate")
OBJECTS = ("activation", "initializer", "constraint")  # how the names of such attributes end
KERAS = ("keras", "tf_keras", "tensorflow", "tensorflow_core")
ATTENTION = ("Attention", "AdditiveAttention", "MultiHeadAttention")
MERGING = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot")
# TensorFlow 1.15 does not have all of them
WITH_SEVERAL_INPUTS = tuple(getattr(tf.keras.layers, name, ()) for name in (*ATTENTION, *MERGING))


def refuse(layer: Any, why: str, attr: str) -> NoReturn:
    """Raise an error that names a layer."""
    raise ValidationError(f"layer {layer.name!r} {why}", attr=attr, obj=layer)


def check_class(layer: Any) -> None:
    """Raise if the class of a layer is not a class of Keras layers with one input."""
    name = type(layer).__name__
    if not isinstance(layer, tf.keras.layers.Layer):
        example = "Mine" if name == MIXIN else name
        fault = f"{name} has no Keras layer among its base classes"
        hint = f"{MIXIN} is for classes such as class {example}({MIXIN}, tf.keras.layers.Dense)"
        raise ValidationError(f"{fault}; {hint}", attr="bases")
    call = list(inspect.signature(_keras_method(layer, "call")).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    n_required = sum(one.kind in positional and one.default is one.empty for one in call)
    if isinstance(layer, WITH_SEVERAL_INPUTS) or n_required > 1:
        fault = f"{name} is a layer of several inputs, and a TensorNode has one"
        hint = "connect all of them to one TensorNode, whose layer splits its input"
        raise ValidationError(f"{fault}; {hint}", attr="bases")


def _keras_method(layer: Any, name: str) -> Callable:
    """Return the method of Keras' class, or of the user's, that the mixin extends."""
    classes = (cls for cls in type(layer).__mro__ if not cls.__module__.startswith("nengo_wd."))
    return next(vars(cls)[name] for cls in classes if name in vars(cls))


def check_arguments(layer: Any, args: tuple, kwargs: dict[str, Any], owner: str) -> None:
    """Raise for numbers of outputs, and sizes, that Keras rounds or accepts silently."""
    init = _keras_method(layer, "__init__")
    if str(init.__module__).partition(".")[0] not in KERAS:
        return  # arguments of a user's own layer are the user's
    try:
        given = inspect.signature(init).bind_partial(None, *args, **kwargs).arguments
    except TypeError:  # which Keras raises, too
        return
    for attr, value in {**given, **given.get("kwargs", {})}.items():
        of_several = attr in SIZES and isinstance(value, (list, tuple)) and value
        is_given = attr in (*COUNTS, *SIZES) and not (attr == "strides" and value is None)
        if is_given and not all(map(_is_count, value if of_several else [value])):
            raise ValidationError(
                f"{owner}: {attr}={value!r} must be a whole number, 1 or more"
                f"{', or a tuple of them' if attr in SIZES else ''}",
                attr=attr,
            )


def _is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1 on; a float may be one."""
    number = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return is_number(number) and number >= 1 and float(number).is_integer()


def check_made(layer: Any) -> None:
    """Raise if an attribute is a class, not an instance, or if the output has a penalty."""
    if layer.activity_regularizer is not None:
        raise ValidationError(
            f"layer {layer.name!r}: its output exists only inside the time loop, where no loss can "
            "be collected; put a probe on the TensorNode and the penalty on the probe",
            attr="activity_regularizer",
        )
    for attr, value in vars(layer).items():
        if isinstance(value, type) and attr.endswith(OBJECTS):
            raise ValidationError(
                f"layer {layer.name!r}: {attr}={value.__name__} is a class; give an instance, "
                f"{value.__name__}(...), a function, or a name that Keras knows",
                attr=attr,
            )


def input_shape(layer: Any, shape: Any) -> Shape:
    """Return the shape of an input, without that of the time; raise if there is no input."""
    nested = (list, tuple, tf.TensorShape)
    is_pair = isinstance(shape, (list, tuple)) and len(shape) == 2 and isinstance(shape[0], nested)
    found = tf.TensorShape(shape[1] if is_pair and tf.TensorShape(shape[0]).rank == 0 else shape)
    if found.rank in (0, None):
        refuse(layer, "has no input; give its TensorNode one", "shape_in")
    return tuple(found.as_list())


def applied_shape(layer: Any, shape: Any) -> Shape:
    """Return the shape to which the Keras layer is applied, checked: the declared one, if any."""
    shape = input_shape(layer, shape)
    shape = declared_shape(layer, shape) or shape
    for spec in tf.nest.flatten(layer.input_spec):
        exactly, least = getattr(spec, "ndim", None), getattr(spec, "min_ndim", None)
        rank = exactly or max(least or 0, len(shape))
        if rank != len(shape):
            refuse(
                layer,
                f"takes inputs of {rank - 1} dimensions, but its input has the shape {shape[1:]}; "
                f"give the layer an input_shape of {rank - 1} dimensions, which a flat input is "
                "then given",
                "input_shape",
            )
    return shape


def declared_shape(layer: Any, shape: Any) -> Shape | None:
    """Return the ``input_shape`` argument where a flat input is to be given that shape."""
    declared = tuple(getattr(layer, "_batch_input_shape", ()))[1:]
    batch, *given = tf.TensorShape(shape).as_list()
    if len(given) != 1 or len(declared) < 2 or None in declared:
        return None
    if given[0] != np.prod(declared):
        has = f"has input_shape={declared}, of {np.prod(declared)} elements"
        refuse(layer, f"{has}, but its input has {given[0]}", "input_shape")
    return (batch, *declared)


def has_window(layer: Any) -> bool:
    """Tell whether a layer has a window, and computes the shape of its output."""
    computes = _keras_method(layer, "compute_output_shape")
    says_output = computes is not vars(tf.keras.layers.Layer).get("compute_output_shape")
    return says_output and any(hasattr(layer, attr) for attr in SIZES)


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
        window = [f"{attr}={getattr(layer, attr)}" for attr in SIZES if hasattr(layer, attr)]
        refuse(
            layer,
            f"has no output for inputs of shape {tuple(shape)[1:]}, which are too small for its "
            f"{', '.join(window) or 'arguments'}; make the kernel or pool smaller, or give "
            "padding='same'",
            "kernel_size",
        )
    return outputs


def check_use(layer: Any, shape_in: Any, size_out: int) -> None:
    """Raise unless a layer, built already, fits the input and output of a TensorNode."""
    shape_in = declared_shape(layer, shape_in) or shape_in
    check_input(layer, shape_in)
    try:
        shape_out = layer.compute_output_shape(shape_in)[1:]
    except NotImplementedError:  # NengoDL checks the output itself, with less to say
        return
    if shape_out.num_elements() != size_out:
        refuse(
            layer,
            f"has outputs of shape {tuple(shape_out.as_list())}, which do not fit the {size_out} "
            "that its TensorNode promises; leave the output size out to have it inferred",
            "size_out",
        )


def check_input(layer: Any, shape: Any) -> None:
    """Raise unless a layer was built for inputs of a shape; NengoDL skips Keras' own check."""
    for spec in tf.nest.flatten(layer.input_spec):
        for axis, size in (getattr(spec, "axes", None) or {}).items():
            if size is not None and shape[axis] != size:
                refuse(
                    layer,
                    f"was built for inputs with {size} elements along axis {axis}, but is applied "
                    f"to shape {shape}; only inputs of one shape can share a layer",
                    "shape_in",
                )
