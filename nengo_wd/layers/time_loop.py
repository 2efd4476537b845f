"""Keras layers as TensorNodes: variables before the time loop, applied inside it."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import check_keras_2
from nengo_wd._groups import KERAS, Sides, sides_in_layer, use_sides
from nengo_wd._seam.keras2 import check_penalty
from nengo_wd.layers import defaults, refusals
from nengo_wd.regularizers import forms


class TimeLoopLayer(defaults.KeepsDefaults):
    """Make a Keras layer class usable, with its regularizers, inside NengoDL's time loop.

    A mixin for any ``tf.keras.layers.Layer`` class with one input, Keras' or your own: write an
    otherwise empty class ``InLoop(TimeLoopLayer, Layer)``. `pre_build` (NengoDL 2) or ``build``
    (NengoDL 3) creates its variables, outside the simulator's loop; calling the layer applies them.
    Variables, arithmetic and arguments are those of the Keras class.

    Parameters
    ----------
    *args, **kwargs
        The arguments of the Keras layer. With ``input_shape``, a flat input is reshaped first, and
        the output is flattened. Without ``dtype``, the layer uses the simulator's.

    Raises
    ------
    nengo.exceptions.ValidationError
        For a class without a Keras layer, with a layer of several inputs, or if the mixin does not
        come first. For a regularizer that Keras does not know, a strength that is negative or not
        finite, and an ``activity_regularizer``. For ``units``, ``filters`` and sizes that are not
        whole numbers from 1 on, and for a kernel that is larger than the input. For a variable that
        is not created in ``build``.

    Notes
    -----
    The layer accepts ``layer(t, x)``, ``layer([t, x])`` and ``layer(x)``, with the scalar
    simulation time ``t`` and the input ``x`` of shape ``(minibatch_size, ...)``. It does not use
    the time.

    Examples
    --------
    >>> class RegularizedDepthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
    ...     pass
    >>> RegularizedDepthwise(3, depthwise_regularizer="l2", name="edges").name
    'edges'
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_order(cls)
        if "call" in vars(cls):
            cls.call = _while_in_call(cls.call)  # type: ignore[method-assign]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refusals.check_class(self)
        owner = f"layer {kwargs.get('name') or type(self).__name__!r}"
        regularizers, by_default = defaults.regularizer_arguments(kwargs, owner)
        refusals.check_arguments(self, args, kwargs, owner)
        super().__init__(*args, **{**kwargs, **regularizers})
        refusals.check_made(self)
        self._regularized = list(regularizers)
        self._default_regularizers = tuple((attr, regularizers[attr]) for attr in by_default)
        object.__setattr__(self, "penalized", [])  # hidden from Keras, which would wrap it
        self._dtype_given = kwargs.get("dtype") is not None
        self._default_dtype = tf.keras.backend.floatx()

    def pre_build(
        self, shape_in: tuple[int, ...] | None, shape_out: tuple[int, ...] | None = None
    ) -> None:
        """Make the variables; NengoDL 2 calls this once for every TensorNode of the layer.

        Parameters
        ----------
        shape_in : tuple of int
            Shape of the input, with the minibatch in front.
        shape_out : tuple of int, optional
            Shape that the output must have, with the minibatch in front.

        Raises
        ------
        nengo.exceptions.ValidationError
            If there is no input, or the output does not fit ``shape_out``.
        """
        seam.layers.build_layer(self, shape_in)
        if shape_out is not None:
            refusals.check_use(self, shape_in, int(np.prod(shape_out[1:])))

    def build(self, input_shape: Any) -> None:
        """Make the variables for inputs of ``input_shape`` (time, where given, left out)."""
        input_shape = refusals.applied_shape(self, input_shape)
        self._take_on_dtype()
        self.penalized.clear()
        for attr in self._regularized:  # which may have been changed since
            forms.as_regularizer(getattr(self, attr), attr, f"layer {self.name!r}")
        if refusals.has_window(self):
            refusals.check_output(self, input_shape, super().compute_output_shape)
        with seam.layers.building(self, functools.partial(refusals.check_use, self)):
            super().build(input_shape)
            self.built = True  # or Keras would build it again, to find out the shape of its output

    def add_weight(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """Make a variable, in the simulator's dtype."""
        _check_in_build(self)
        self._take_on_dtype()
        regularizer = kwargs.get("regularizer")
        if regularizer is None:
            return super().add_weight(*args, **kwargs)
        weight = args[0] if args else kwargs.get("name")
        name = f"{self.name}.{weight}"
        sides = sides_in_layer(self, str(weight), name)
        kwargs["regularizer"] = checked = CheckedPenalty(name, regularizer, sides)
        variable = super().add_weight(*args, **kwargs)
        self.penalized.append((variable, checked))
        return variable

    def __call__(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Apply the layer to ``x``, ``(t, x)`` or ``[t, x]``."""
        if len(args) > 1 and _is_time(args[0]):
            args = args[1:]
        args = args or (kwargs.pop("inputs"),)
        inputs = _without_time(args[0])
        return seam.layers.apply_layer(self, super().__call__, inputs, *args[1:], **kwargs)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Apply the variables to ``x`` or ``[t, x]``."""
        inputs = _without_time(inputs)
        accepted = inspect.signature(super().call).parameters
        for argument in {"training", "mask"}.difference(accepted):  # which every layer is offered
            kwargs.pop(argument, None)
        declared = refusals.declared_shape(self, inputs.shape)
        if declared is not None:
            inputs = tf.reshape(inputs, (-1, *declared[1:]))
        refusals.check_input(self, inputs.shape.as_list())
        outputs = super().call(inputs, *args, **kwargs)
        if declared is None:
            return outputs
        size = tf.TensorShape(outputs.shape[1:]).num_elements()
        return tf.reshape(outputs, (declared[0] or -1, size or -1))

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        """Return the shape of the output for ``input_shape`` (time, where given, left out)."""
        input_shape = refusals.input_shape(self, input_shape)
        applied = refusals.applied_shape(self, input_shape)
        outputs = refusals.check_output(self, applied, super().compute_output_shape)
        if len(applied) == len(input_shape):
            return outputs
        return tf.TensorShape([outputs[0], outputs[1:].num_elements()])


class CheckedPenalty(NamedTuple):
    """A regularizer of a weight that returns a real scalar, or raises with the weight's name."""

    name: str
    regularizer: Any
    sides: Sides = KERAS

    def __call__(self, weights: tf.Variable) -> tf.Tensor:
        """Return the penalty on ``weights``."""
        with use_sides(self.sides):
            return check_penalty(self.name, self.regularizer(weights))


def _is_time(value: Any) -> bool:
    """Tell whether ``value`` is a scalar, as the simulation time is."""
    return len(getattr(value, "shape", np.shape(value))) == 0


def _without_time(inputs: Any) -> Any:
    """Return ``x`` of ``[t, x]``, and anything else as it is."""
    if isinstance(inputs, (list, tuple)) and len(inputs) == 2 and _is_time(inputs[0]):
        return inputs[1]
    return inputs


def _check_in_build(layer: Any) -> None:
    """Raise if a layer makes a variable in ``__init__`` or ``call``, and not in ``build``."""
    if not hasattr(layer, "_dtype_given"):
        fault = f"{type(layer).__name__} makes a variable in __init__, before there is a simulator"
        hint = "make it in build"
        raise ValidationError(f"{fault}; {hint}", attr="add_weight")
    if vars(layer).get("_in_call", False):
        why = "makes a variable in call, inside the time loop, where no loss can reach it"
        refusals.refuse(layer, f"{why}; make it in build", "add_weight")


def _while_in_call(call: Callable) -> Callable:
    """Return a layer's ``call``, which sets ``_in_call`` of the layer while it runs."""

    @functools.wraps(call)
    def flagged(self: TimeLoopLayer, *args: Any, **kwargs: Any) -> Any:
        before = vars(self).get("_in_call", False)  # one class calls another's
        self._in_call = True
        try:
            return call(self, *args, **kwargs)
        finally:
            self._in_call = before

    flagged.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]  # Keras reads it
    return flagged


TimeLoopLayer.call = _while_in_call(TimeLoopLayer.call)  # type: ignore[method-assign]


def _check_order(cls: type) -> None:
    """Raise if a class has a Keras layer before the mixin, which then could not extend it."""
    check_keras_2(cls, "bases", cls.__name__)
    before = cls.__mro__[: cls.__mro__.index(TimeLoopLayer)]
    others = [one for one in before if not issubclass(one, TimeLoopLayer)]
    if any(issubclass(one, tf.keras.layers.Layer) for one in others):
        message = f"{cls.__name__} must have TimeLoopLayer as the first of its base classes"
        raise ValidationError(message, attr="bases")
