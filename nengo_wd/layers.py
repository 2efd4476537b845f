"""Keras layers as TensorNodes: variables before the time loop, applied inside it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import regularizers, seam

if TYPE_CHECKING:  # the mixin's attributes come from the layer that it is mixed into
    from typing import Any as _KerasLayer
else:
    _KerasLayer = object


class TimeLoopLayer(_KerasLayer):
    """Make a Keras layer class usable, with its regularizers, inside NengoDL's time loop.

    A mixin for any ``tf.keras.layers.Layer`` class with one input, Keras' or your own: the
    class ``InLoop(TimeLoopLayer, Layer)`` has nothing else in it. Its variables are made
    by `pre_build` (NengoDL 2) or ``build`` (NengoDL 3), outside the simulator's loop; calling
    the layer applies them. Variables, arithmetic and arguments are those of the Keras class.

    Parameters
    ----------
    *args, **kwargs
        What the Keras layer takes. With ``input_shape``, a flat input is given that shape
        first, and the output is flattened. Without ``dtype``, the layer takes on the
        simulator's.

    Raises
    ------
    nengo.exceptions.ValidationError
        For a regularizer that Keras does not know, a strength that is negative or not
        finite, an ``activity_regularizer``, a variable that is not made in ``build``, and a
        class in which the mixin does not come first.

    Notes
    -----
    The layer accepts ``layer(t, x)``, ``layer([t, x])`` and ``layer(x)``, with the scalar
    simulation time ``t`` and the input ``x`` of shape ``(minibatch_size, ...)``; the
    layer itself does not use the time.

    Examples
    --------
    >>> class RegularizedDepthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
    ...     pass
    >>> RegularizedDepthwise(3, depthwise_regularizer="l2", name="edges").name
    'edges'
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        before = cls.__mro__[: cls.__mro__.index(TimeLoopLayer)]
        if any(
            issubclass(c, tf.keras.layers.Layer) and not issubclass(c, TimeLoopLayer)
            for c in before
        ):
            raise ValidationError(
                f"{cls.__name__} must have TimeLoopLayer as the first of its base classes",
                attr="bases",
            )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        owner = f"layer {kwargs.get('name') or type(self).__name__!r}"
        regularized = [attr for attr in kwargs if attr.endswith("_regularizer")]
        for attr in regularized:
            kwargs[attr] = regularizers.get(kwargs[attr], attr, owner)
        super().__init__(*args, **kwargs)
        self._regularized = regularized
        self._dtype_given = kwargs.get("dtype") is not None
        self._default_dtype = tf.keras.backend.floatx()
        if self.activity_regularizer is not None:
            raise ValidationError(
                f"layer {self.name!r}: its output exists only inside the time loop, where no "
                "loss can be collected; put a probe on the TensorNode and the penalty on "
                "the probe",
                attr="activity_regularizer",
                obj=self,
            )

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
        seam.build_layer(self, shape_in)
        if shape_out is not None:
            self._check_use(shape_in, int(np.prod(shape_out[1:])))

    def build(self, input_shape: Any) -> None:
        """Make the variables for inputs of ``input_shape`` (time, where given, left out)."""
        input_shape = self._input_shape(input_shape)
        self._take_on_dtype()
        for attr in self._regularized:  # which may have been changed since
            regularizers.get(getattr(self, attr), attr, f"layer {self.name!r}")
        super().build(self._declared_shape(input_shape) or input_shape)
        self.built = True  # or Keras would build it again, to find out the shape of its output
        for use in seam.layer_uses(self):
            self._check_use(*use)
        seam.check_penalties(self)

    def add_weight(self, *args: Any, **kwargs: Any) -> tf.Variable:
        """Make a variable, in the simulator's dtype."""
        if not hasattr(self, "_dtype_given"):
            raise ValidationError(
                f"{type(self).__name__} makes a variable in __init__, before there is a simulator; "
                "make it in build",
                attr="add_weight",
            )
        self._take_on_dtype()
        return super().add_weight(*args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Apply the layer to ``x``, ``(t, x)`` or ``[t, x]``."""
        if len(args) > 1 and _is_time(args[0]):
            args = args[1:]
        if not args:
            args = (kwargs.pop("inputs"),)
        inputs = _without_time(args[0])
        return seam.apply_layer(self, super().__call__, inputs, *args[1:], **kwargs)

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Apply the variables to ``x`` or ``[t, x]``."""
        inputs = _without_time(inputs)
        accepted = inspect.signature(super().call).parameters
        for argument in ("training", "mask"):  # offered by NengoDL and Keras to every layer
            if argument not in accepted:
                kwargs.pop(argument, None)
        declared = self._declared_shape(inputs.shape)
        if declared is not None:
            inputs = tf.reshape(inputs, _batched(declared))
        self._check_input(inputs.shape.as_list())
        outputs = super().call(inputs, *args, **kwargs)
        if declared is not None:
            size = tf.TensorShape(outputs.shape[1:]).num_elements()
            outputs = tf.reshape(outputs, _batched((declared[0], size)))
        return outputs

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        """Return the shape of the output for ``input_shape`` (time, where given, left out)."""
        input_shape = self._input_shape(input_shape)
        declared = self._declared_shape(input_shape)
        if declared is None:
            return tf.TensorShape(super().compute_output_shape(input_shape))
        outputs = tf.TensorShape(super().compute_output_shape(declared))
        return tf.TensorShape([outputs[0], outputs[1:].num_elements()])

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same layer again."""
        config = super().get_config()
        if not self._dtype_given:
            config["dtype"] = None
        return config

    def _input_shape(self, shape: Any) -> tuple[int | None, ...]:
        """Take the time's shape away, and make sure that something is left."""
        if _is_pair(shape) and _rank(shape[0]) == 0:
            shape = shape[1]
        if _rank(shape) in (0, None):
            raise ValidationError(
                f"layer {self.name!r} has no input; give its TensorNode one",
                attr="shape_in",
                obj=self,
            )
        return tuple(tf.TensorShape(shape).as_list())

    def _declared_shape(self, shape: Any) -> tuple[int | None, ...] | None:
        """Return the ``input_shape`` argument where a flat input is to be given that shape."""
        declared = tuple(getattr(self, "_batch_input_shape", ()))[1:]
        batch, *given = tf.TensorShape(shape).as_list()
        if len(given) != 1 or len(declared) < 2 or None in declared:
            return None
        if given[0] != np.prod(declared):
            raise ValidationError(
                f"layer {self.name!r} has input_shape={declared}, of {np.prod(declared)} "
                f"elements, but its input has {given[0]}",
                attr="input_shape",
                obj=self,
            )
        return (batch, *declared)

    def _take_on_dtype(self) -> None:
        """Use the simulator's dtype, unless the user gave one."""
        dtype = seam.simulation_dtype()
        if not self._dtype_given and (dtype != self._default_dtype or self.dtype is None):
            self._dtype = self._default_dtype = dtype

    def _check_use(self, shape_in: Any, size_out: int) -> None:
        """Check what a TensorNode expects of the layer, once that is built."""
        shape_in = self._declared_shape(shape_in) or shape_in
        self._check_input(shape_in)
        try:
            shape_out = self.compute_output_shape(shape_in)[1:]
        except NotImplementedError:  # NengoDL checks the output itself, with less to say
            return
        if shape_out.num_elements() != size_out:
            raise ValidationError(
                f"layer {self.name!r} has outputs of shape {tuple(shape_out.as_list())}, which "
                f"do not fit the {size_out} that its TensorNode promises; leave the output "
                "size out to have it inferred",
                attr="size_out",
                obj=self,
            )

    def _check_input(self, shape: Any) -> None:
        """Compare with what the layer was built for; NengoDL leaves Keras' own check out."""
        for spec in tf.nest.flatten(self.input_spec):
            axes = getattr(spec, "axes", None) or {}
            for axis, size in axes.items():
                if size is not None and shape[axis] != size:
                    raise ValidationError(
                        f"layer {self.name!r} was built for inputs with {size} elements along "
                        f"axis {axis}, but is applied to shape {shape}; only inputs of "
                        "one shape can share a layer",
                        attr="shape_in",
                        obj=self,
                    )


def _rank(shape: Any) -> int | None:
    return tf.TensorShape(shape).rank


def _is_pair(shape: Any) -> bool:
    nested = (list, tuple, tf.TensorShape)
    return isinstance(shape, (list, tuple)) and len(shape) == 2 and isinstance(shape[0], nested)


def _is_time(value: Any) -> bool:
    return len(getattr(value, "shape", np.shape(value))) == 0


def _without_time(inputs: Any) -> Any:
    if isinstance(inputs, (list, tuple)) and len(inputs) == 2 and _is_time(inputs[0]):
        return inputs[1]
    return inputs


def _batched(shape: Any) -> tuple[int, ...]:
    return tuple(-1 if size is None else int(size) for size in shape)


class RegularizedDense(TimeLoopLayer, tf.keras.layers.Dense):
    r"""A fully connected layer with a penalty on its weights, for use as a TensorNode.

    .. math:: y = f(x W + b)

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : callable or str, optional
        The function :math:`f`; linear by default.
    use_bias : bool
        Whether there is a bias :math:`b`, of shape ``(units,)``.
    kernel_regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        Penalty on the weights :math:`W`, of shape ``(size_in, units)``. The name ``"l2"``
        means ``0.01 * sum(W ** 2)``, as everywhere in Keras.
    bias_regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        Penalty on the bias.
    **dense_arguments
        Any other argument of ``tf.keras.layers.Dense``.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0, -1.0])
    ...     layer = nengo_wd.RegularizedDense(3, kernel_regularizer="l2", name="readout")
    ...     node = nengo_dl.tensor_layer(source, layer)
    >>> print(node.size_out)
    3
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_regularizer: Any = "l2",
        bias_regularizer: Any = None,
        **dense_arguments: Any,
    ) -> None:
        super().__init__(
            units,
            activation=activation,
            use_bias=use_bias,
            kernel_regularizer=kernel_regularizer,
            bias_regularizer=bias_regularizer,
            **dense_arguments,
        )


class _KernelPenalty(TimeLoopLayer):
    """A layer whose kernel has a penalty unless the user says otherwise."""

    def __init__(self, *args: Any, kernel_regularizer: Any = "l2", **kwargs: Any) -> None:
        super().__init__(*args, kernel_regularizer=kernel_regularizer, **kwargs)


class RegularizedConv1D(_KernelPenalty, tf.keras.layers.Conv1D):
    """A convolution over one dimension with a penalty on its kernel, for use as a TensorNode.

    Inputs have the shape ``(minibatch_size, steps, channels)``.

    Parameters
    ----------
    filters : int
        Number of filters, and so of output channels.
    kernel_size : int or tuple of int
        Size of a filter along the dimension.
    kernel_regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        Penalty on the kernel :math:`W`, of shape ``(kernel_size, channels, filters)``. The name
        ``"l2"``, the default, means ``0.01 * sum(W ** 2)``, as everywhere in Keras. None
        means no penalty.
    input_shape : tuple of int, optional
        The shape ``(steps, channels)`` that a flat input is given first. The
        output is then flattened. Inputs are always flat in NengoDL 2.
    *args, **kwargs
        Any other argument of ``tf.keras.layers.Conv1D``, ``bias_regularizer`` for one.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node(np.zeros(8 * 2))
    ...     layer = nengo_wd.RegularizedConv1D(4, 3, input_shape=(8, 2), name="edges")
    ...     node = nengo_dl.tensor_layer(source, layer)
    >>> print(node.size_out)
    24
    """


class RegularizedConv2D(_KernelPenalty, tf.keras.layers.Conv2D):
    """A convolution over two dimensions with a penalty on its kernel, for use as a TensorNode.

    Inputs have the shape ``(minibatch_size, rows, columns, channels)``.

    Parameters
    ----------
    filters : int
        Number of filters, and so of output channels.
    kernel_size : int or tuple of int
        Size of a filter along each dimension.
    kernel_regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        Penalty on the kernel :math:`W`, of shape ``(*kernel_size, channels, filters)``. The name
        ``"l2"``, the default, means ``0.01 * sum(W ** 2)``, as everywhere in Keras. None
        means no penalty.
    input_shape : tuple of int, optional
        The shape ``(rows, columns, channels)`` that a flat input is given first. The
        output is then flattened. Inputs are always flat in NengoDL 2.
    *args, **kwargs
        Any other argument of ``tf.keras.layers.Conv2D``, ``bias_regularizer`` for one.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node(np.zeros(5 * 5 * 2))
    ...     layer = nengo_wd.RegularizedConv2D(4, 3, input_shape=(5, 5, 2), name="edges")
    ...     node = nengo_dl.tensor_layer(source, layer)
    >>> print(node.size_out)
    36
    """


class RegularizedConv3D(_KernelPenalty, tf.keras.layers.Conv3D):
    """A convolution over three dimensions with a penalty on its kernel, for use as a TensorNode.

    Inputs have the shape ``(minibatch_size, x, y, z, channels)``.

    Parameters
    ----------
    filters : int
        Number of filters, and so of output channels.
    kernel_size : int or tuple of int
        Size of a filter along each dimension.
    kernel_regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        Penalty on the kernel :math:`W`, of shape ``(*kernel_size, channels, filters)``. The name
        ``"l2"``, the default, means ``0.01 * sum(W ** 2)``, as everywhere in Keras. None
        means no penalty.
    input_shape : tuple of int, optional
        The shape ``(x, y, z, channels)`` that a flat input is given first. The
        output is then flattened. Inputs are always flat in NengoDL 2.
    *args, **kwargs
        Any other argument of ``tf.keras.layers.Conv3D``, ``bias_regularizer`` for one.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node(np.zeros(4 * 4 * 4 * 1))
    ...     layer = nengo_wd.RegularizedConv3D(2, 3, input_shape=(4, 4, 4, 1), name="edges")
    ...     node = nengo_dl.tensor_layer(source, layer)
    >>> print(node.size_out)
    16
    """
