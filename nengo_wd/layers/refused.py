"""What a layer is refused for when it is made: its class, and arguments that no layer can have."""

from __future__ import annotations

import inspect
import numbers
from typing import Any, Callable, NoReturn

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

MIXIN = "TimeLoopLayer"
COUNTS = ("units", "filters", "depth_multiplier")
SIZES = ("kernel_size", "pool_size", "strides", "dilation_rate")
OBJECTS = ("activation", "initializer", "constraint")  # how the names of such attributes end
KERAS = ("keras", "tf_keras", "tensorflow", "tensorflow_core")
OF_SEVERAL = tuple(
    getattr(tf.keras.layers, name)
    for name in (
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
        *("Attention", "AdditiveAttention", "MultiHeadAttention"),
    )
    if hasattr(tf.keras.layers, name)  # not all of them in TensorFlow 1
)


def check_class(layer: Any) -> None:
    """Raise if the class of a layer is not a class of Keras layers with one input."""
    name = type(layer).__name__
    if not isinstance(layer, tf.keras.layers.Layer):
        example = "Mine" if name == MIXIN else name
        _refuse(
            f"{name} has no Keras layer among its base classes; {MIXIN} is for classes such as "
            f"class {example}({MIXIN}, tf.keras.layers.Dense)",
            "bases",
        )
    if isinstance(layer, OF_SEVERAL) or _n_required(keras_method(layer, "call")) > 1:
        _refuse(
            f"{name} is a layer of several inputs, and a TensorNode has one; connect all of them "
            "to one TensorNode, whose layer splits its input",
            "bases",
        )


def keras_method(layer: Any, name: str) -> Callable:
    """Return the method of Keras' class, or of the user's, that the mixins extend."""
    classes = (cls for cls in type(layer).__mro__ if not cls.__module__.startswith("nengo_wd."))
    return next(vars(cls)[name] for cls in classes if name in vars(cls))


def _n_required(call: Callable) -> int:
    """Return how many arguments a method needs beside ``self``."""
    parameters = list(inspect.signature(call).parameters.values())[1:]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)


def check_arguments(layer: Any, args: tuple, kwargs: dict[str, Any], owner: str) -> None:
    """Raise for numbers of outputs, and sizes, that Keras rounds, or takes without a word."""
    init = keras_method(layer, "__init__")
    if str(init.__module__).partition(".")[0] not in KERAS:
        return  # arguments of a user's own layer are the user's
    try:
        given = inspect.signature(init).bind_partial(None, *args, **kwargs).arguments
    except TypeError:  # of which Keras tells
        return
    given = {**given, **given.get("kwargs", {})}
    for attr, value in given.items():
        whole = f"{owner}: {attr}={value!r} must be a whole number, 1 or more"
        if attr in COUNTS and not _is_count(value):
            _refuse(whole, attr)
        if attr in SIZES and not (_are_counts(value) or attr == "strides" and value is None):
            _refuse(f"{whole}, or a tuple of them", attr)


def _is_count(value: Any) -> bool:
    """Tell whether a value is a whole number from 1 on; a float may be one."""
    number = value.item() if np.shape(value) == () and isinstance(value, np.ndarray) else value
    if isinstance(number, (bool, np.bool_)) or not isinstance(number, numbers.Real):
        return False
    return float(number) >= 1 and float(number).is_integer()


def _are_counts(value: Any) -> bool:
    several = isinstance(value, (list, tuple)) and len(value) > 0
    return all(map(_is_count, value if several else [value]))


def check_made(layer: Any) -> None:
    """Raise if a layer has a class where Keras calls an object, or a penalty on its output."""
    if layer.activity_regularizer is not None:
        _refuse(
            f"layer {layer.name!r}: its output exists only inside the time loop, where no loss can "
            "be collected; put a probe on the TensorNode and the penalty on the probe",
            "activity_regularizer",
        )
    for attr, value in vars(layer).items():
        if isinstance(value, type) and attr.endswith(OBJECTS):
            _refuse(
                f"layer {layer.name!r}: {attr}={value.__name__} is a class; give an instance, "
                f"{value.__name__}(...), a function, or a name that Keras knows",
                attr,
            )


def _refuse(message: str, attr: str) -> NoReturn:
    raise ValidationError(message, attr=attr)
