"""Keras' dense and convolutional layers with a penalty on their kernel."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nengo_wd.layers.time_loop import TimeLoopLayer
from nengo_wd.types import Regularizer


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
        kernel_regularizer: Regularizer | None = "l2",
        bias_regularizer: Regularizer | None = None,
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

    def __init__(
        self, *args: Any, kernel_regularizer: Regularizer | None = "l2", **kwargs: Any
    ) -> None:
        super().__init__(*args, kernel_regularizer=kernel_regularizer, **kwargs)


class RegularizedConv1D(_KernelPenalty, tf.keras.layers.Conv1D):
    """A convolution over one dimension with a penalty on its kernel.

    Takes the arguments of ``tf.keras.layers.Conv1D``, with ``kernel_regularizer="l2"`` by
    default, and inputs of shape ``(minibatch_size, steps, channels)``. Where the
    input is flat, as it always is in NengoDL 2, give ``input_shape=(steps, channels)``.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.
    """


class RegularizedConv2D(_KernelPenalty, tf.keras.layers.Conv2D):
    """A convolution over two dimensions with a penalty on its kernel.

    Takes the arguments of ``tf.keras.layers.Conv2D``, with ``kernel_regularizer="l2"`` by
    default, and inputs of shape ``(minibatch_size, rows, columns, channels)``. Where the
    input is flat, as it always is in NengoDL 2, give ``input_shape=(rows, columns, channels)``.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.
    """


class RegularizedConv3D(_KernelPenalty, tf.keras.layers.Conv3D):
    """A convolution over three dimensions with a penalty on its kernel.

    Takes the arguments of ``tf.keras.layers.Conv3D``, with ``kernel_regularizer="l2"`` by
    default, and inputs of shape ``(minibatch_size, x, y, z, channels)``. Where the input is
    flat, as it always is in NengoDL 2, give ``input_shape=(x, y, z, channels)``.

    See Also
    --------
    TimeLoopLayer : what it accepts and raises.
    """
