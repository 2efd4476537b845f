"""Keras' dense and convolutional layers with a penalty on their kernel."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nengo_wd._checks import Regularizer
from nengo_wd.layers.defaults import Default
from nengo_wd.layers.time_loop import TimeLoopLayer

L2 = Default("l2")


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
        Penalty on the weights :math:`W`, of shape ``(size_in, units)``. The name ``"l2"`` means
        ``0.01 * sum(W ** 2)``, as everywhere in Keras. If you don't give it, a setting can replace
        it; see `configure_settings`. None means no penalty.
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
        kernel_regularizer: Regularizer | None = L2,
        bias_regularizer: Regularizer | None = None,
        **dense_arguments: Any,
    ) -> None:
        regularizers = {
            "kernel_regularizer": kernel_regularizer,
            "bias_regularizer": bias_regularizer,
        }
        super().__init__(units, activation, use_bias, **regularizers, **dense_arguments)


class _KernelPenalty(TimeLoopLayer):
    """A layer whose kernel has a penalty unless the user says otherwise."""

    def __init__(
        self, *args: Any, kernel_regularizer: Regularizer | None = L2, **kwargs: Any
    ) -> None:
        super().__init__(*args, kernel_regularizer=kernel_regularizer, **kwargs)


class RegularizedConv1D(_KernelPenalty, tf.keras.layers.Conv1D):
    """A convolution over one dimension with a penalty on its kernel, for use as a TensorNode.

    Inputs have the shape ``(minibatch_size, steps, channels)``.

    Parameters
    ----------
    filters : int
        Number of filters, and thus of output channels.
    kernel_size : int or tuple of int
        Size of a filter along the dimension.
    kernel_regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        Penalty on the kernel :math:`W`, of shape ``(kernel_size, channels, filters)``. The name
        ``"l2"``, the default, means ``0.01 * sum(W ** 2)``, as everywhere in Keras. If you don't
        give it, a setting can replace it; see `configure_settings`. None means no penalty.
    input_shape : tuple of int, optional
        The shape ``(steps, channels)`` to which a flat input is reshaped first. The output is then
        flattened. Inputs are always flat in NengoDL 2.
    *args, **kwargs
        Any other argument of ``tf.keras.layers.Conv1D``, such as ``bias_regularizer``.

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
    filters, kernel_size, kernel_regularizer, *args, **kwargs
        As for `RegularizedConv1D`. The kernel has the shape ``(*kernel_size, channels, filters)``.
    input_shape : tuple of int, optional
        The shape ``(rows, columns, channels)`` to which a flat input is reshaped first.

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
    filters, kernel_size, kernel_regularizer, *args, **kwargs
        As for `RegularizedConv1D`. The kernel has the shape ``(*kernel_size, channels, filters)``.
    input_shape : tuple of int, optional
        The shape ``(x, y, z, channels)`` to which a flat input is reshaped first.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node(np.zeros(4 * 4 * 4 * 1))
    ...     layer = nengo_wd.RegularizedConv3D(2, 3, input_shape=(4, 4, 4, 1), name="edges")
    ...     node = nengo_dl.tensor_layer(source, layer)
    >>> print(node.size_out)
    16
    """
