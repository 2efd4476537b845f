"""Convolutions as windows and one matrix product, for what XLA compiles for a CPU.

Inside a loop, XLA runs the gradients of convolutions as plain loops over numbers. What the kernel
sees at each place, its window, is cut out of the inputs by slices with strides, and one product
takes all of the windows. The gradients are products and sums of slices, which are fast. Weights,
shapes and results stay the same.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import numpy as np
import tensorflow as tf

from nengo_wd._seam import keras2

# Measured in loops of compiled steps, XLA of TensorFlow 2.21, kernels of 3 to 11 a side, 1 to 128
# channels. Gradients by windows take 0.03 to 0.35 of the time of XLA's own, in all cases. Outputs
# take 0.07 to 0.4 of it in 3D, 0.8 to 1.45 where a window has few numbers, and up to 2.3 where it
# has many: there XLA's own are used. Each place of a kernel's sides is a slice to compile: 50 of
# them take 1.5 s more.
MOST_PLACES, FEW_NUMBERS = 64, 128


def _pays(inputs: tf.Tensor, kernel: tf.Tensor) -> bool:
    """Tell whether windows can be made, and make a convolution with its gradients faster."""
    return inputs.shape.is_fully_defined() and sum(kernel.shape[:-2]) <= MOST_PLACES


def _outputs_pay(kernel: tf.Tensor) -> bool:
    """Tell whether outputs by windows take no longer than those of XLA's own convolution."""
    return kernel.shape.ndims == 5 or int(np.prod(kernel.shape[:-1])) <= FEW_NUMBERS


class Windows(NamedTuple):
    """How the windows of a convolution lie in its inputs, which have channels last."""

    size: Sequence[int]
    strides: Sequence[int]
    dilations: Sequence[int]
    padding: str  # "VALID" or "SAME"

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the windows of all places, each with its numbers in the order of the kernel."""
        first = inputs.shape.ndims - 1 - len(self.size)
        for i in reversed(range(len(self.size))):
            inputs = self._along(inputs, first + i, i)
        return inputs

    def _along(self, inputs: tf.Tensor, axis: int, i: int) -> tf.Tensor:
        """Return the windows along one axis, with the channels of their places side by side."""
        stride, length = self.strides[i], inputs.shape[axis]
        reach = (self.size[i] - 1) * self.dilations[i] + 1
        if self.padding == "SAME":
            missing = max((-(-length // stride) - 1) * stride + reach - length, 0)
            pads = np.zeros((inputs.shape.ndims, 2), int)
            pads[axis] = missing // 2, missing - missing // 2
            inputs, length = (tf.pad(inputs, pads) if missing else inputs), length + missing
        span = (length - reach) // stride * stride + 1
        before = (slice(None),) * axis
        starts = range(0, reach, self.dilations[i])
        parts = [inputs[(*before, slice(start, start + span, stride))] for start in starts]
        return tf.concat(parts, -1) if len(parts) > 1 else parts[0]


def convolve(
    inputs: tf.Tensor, kernel: tf.Tensor, windows: Windows, channels_first: bool = False
) -> tf.Tensor:
    """Return what ``tf.nn.convolution`` returns, with gradients by windows.

    The loop keeps the inputs for the gradients, not their windows, which are many times as large.
    The inputs have the shape (..., *places, channels), or (..., channels, *places) with
    ``channels_first``, and the kernel has the shape (*size, channels, filters).
    """

    @tf.custom_gradient
    def convolved(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        if _outputs_pay(kernel):
            seen = windows(inputs)
            outputs = tf.reshape(_flat(seen) @ _flat(kernel), (*seen.shape[:-1], kernel.shape[-1]))
        else:
            _, strides, dilations, padding = windows
            outputs = tf.nn.convolution(inputs, kernel, strides, padding, dilations=dilations)
        return outputs, lambda upstream: _gradients(inputs, kernel, windows, upstream)

    kernel = tf.convert_to_tensor(kernel)
    if not channels_first:
        return convolved(inputs, kernel)
    channels = inputs.shape.ndims - 1 - len(windows.size)
    return _moved(convolved(_moved(inputs, channels, -1), kernel), -1, channels)


def _gradients(
    inputs: tf.Tensor, kernel: tf.Tensor, windows: Windows, upstream: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the gradients for inputs and kernel."""
    inputs = tf.identity(inputs)  # or the tape would not know it, in the graph of gradients
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        seen = windows(inputs)
    upstream = _flat(upstream)
    for_kernel = tf.matmul(_flat(seen), upstream, transpose_a=True)
    for_seen = tf.matmul(upstream, _flat(kernel), transpose_b=True)
    for_inputs = tape.gradient(seen, inputs, tf.reshape(for_seen, seen.shape))
    return for_inputs, tf.reshape(for_kernel, kernel.shape)


def _flat(values: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, (-1, values.shape[-1]))


def _moved(values: tf.Tensor, source: int, target: int) -> tf.Tensor:
    """Return ``values`` with one axis moved elsewhere."""
    order = list(range(values.shape.ndims))
    axis = order.pop(source)
    order.insert(target % len(values.shape), axis)
    return tf.transpose(values, order)


# -- Keras layers in TensorNodes -----------------------------------------------------------


def _build_tensor_node(build_step: Callable, builder: Any, signals: Any) -> Any:
    """Build a TensorNode; convolutions of its layer use windows where that pays."""
    with _as_windows(builder.func) if builder.config.cpu_only else contextlib.nullcontext():
        return build_step(signals)


@contextlib.contextmanager
def _as_windows(layer: Any) -> Iterator[None]:
    """Replace Keras' own method for convolutions by one with windows, in a layer's parts."""
    layers = keras2.flat_layers(layer) if isinstance(layer, tf.keras.layers.Layer) else []
    method = tf.keras.layers.Conv1D.convolution_op
    found = [one for one in layers if getattr(type(one), "convolution_op", None) is method]
    for one in found:
        vars(one)["convolution_op"] = functools.partial(_convolution_op, one)
    try:
        yield
    finally:
        for one in found:
            vars(one).pop("convolution_op", None)


def _convolution_op(layer: Any, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Apply the kernel of a Keras layer; Keras itself has padded what is causal."""
    if layer.groups > 1 or not _pays(inputs, kernel):
        return type(layer).convolution_op(layer, inputs, kernel)
    padding = "SAME" if layer.padding == "same" else "VALID"
    windows = Windows(layer.kernel_size, layer.strides, layer.dilation_rate, padding)
    return convolve(inputs, kernel, windows, layer.data_format == "channels_first")


# -- nengo.Convolution ---------------------------------------------------------------------


def _build_conv_inc(build_step: Callable, builder: Any, signals: Any) -> Any:
    """Build convolutions of the same input, as NengoDL does, by windows where that pays."""
    has_groups = getattr(builder.conv, "groups", 1) > 1  # from Nengo 4 on
    if builder.transpose or has_groups or not builder.config.cpu_only:
        return build_step(signals)
    conv, static = builder.conv, tf.get_static_value
    inputs, kernel = signals.gather(builder.X_data), signals.gather(builder.W_data)
    if builder.perm_x is not None:
        inputs = tf.transpose(inputs, static(builder.perm_x))
    if builder.perm_w is not None:
        kernel = tf.reshape(tf.transpose(kernel, static(builder.perm_w)), static(builder.reshape_w))
    if not _pays(inputs, kernel):
        return build_step(signals)
    windows = Windows(conv.kernel_size, conv.strides, (1,) * conv.dimensions, conv.padding.upper())
    outputs = convolve(inputs, kernel, windows, builder.fmt.startswith("NC"))
    if builder.reshape_y is not None:
        outputs = tf.reshape(outputs, static(builder.reshape_y))
    if builder.perm_y is not None:
        outputs = tf.transpose(outputs, static(builder.perm_y))
    signals.scatter(builder.Y_data, outputs, mode=builder.mode)
    return None
