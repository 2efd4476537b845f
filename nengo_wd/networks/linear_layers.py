"""The steps of Keras layers that are linear, as transforms and slices of Nengo."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterator, NamedTuple, NoReturn, Sequence

import nengo
import numpy as np
import tensorflow as tf
from nengo.transforms import ChannelShape
from scipy import sparse

from nengo_wd import _seam as seam
from nengo_wd._seam.keras2 import chain_of
from nengo_wd.energy import patterns
from nengo_wd.layers import TimeLoopLayer, refusals
from nengo_wd.networks.copies import as_sparse, built_layer
from nengo_wd.networks.elements import Channels, is_channels_last

keras = tf.keras.layers
CHUNK = 2**22  # elements of the input and output of a layer that is measured
NUMPY = "a nengo.Node with the same function in NumPy"
RELU = "nengo_dl.Layer(nengo.RectifiedLinear()) or another neuron type"
NEAREST = {  # the nearest thing that is native, by what a layer computes
    **dict.fromkeys(("relu", "ReLU"), RELU),
    **dict.fromkeys(("leaky_relu", "LeakyReLU"), "nengo_dl.Layer(nengo_dl.LeakyReLU())"),
    "sigmoid": "nengo_dl.Layer(nengo.Sigmoid())",
    "tanh": "nengo_dl.Layer(nengo.Tanh())",
    **dict.fromkeys(("softmax", "Softmax"), "a loss with from_logits=True, and no layer"),
    **{f"MaxPooling{n}D": f"AveragePooling{n}D" for n in (1, 2, 3)},
}


class NoNativeFormError(Exception):
    """Raised for what is not linear, or not known to be."""


class Step(NamedTuple):
    """A linear step: a choice of elements, their weights, and a bias; each of them may be None."""

    transform: Any = None
    places: np.ndarray | None = None  # of the elements that are taken, in order
    bias: np.ndarray | None = None  # (elements after the step,)


def linear_steps(sim: Any, layer: Any, shape: Sequence) -> Iterator[Step]:
    """Yield the steps of a layer, or of a model's layers, unless they change nothing."""
    for one in flat_chain(layer):
        name = f"layer {getattr(one, 'name', one)!r}"
        make = patterns.known_by_class(one, MAKERS)
        if make is None:
            kind = type(one).__name__
            if isinstance(one, keras.Layer):
                _refuse(f"{name} is {kind}", kind)
            _refuse(f"{name} is a function", getattr(one, "__name__", ""))
        activation = getattr(one, "activation", None)
        if activation not in (None, tf.keras.activations.linear):
            of = getattr(activation, "__name__", type(activation).__name__)
            _refuse(f"{name} has the activation {of}", of)
        if isinstance(one, TimeLoopLayer):
            shape = refusals.applied_shape(one, (None, *shape))[1:]
        step = make(sim, one, tuple(map(int, shape)))
        if any(part is not None for part in step):
            yield step
        shape = one.compute_output_shape((1, *shape))[1:]


def flat_chain(layer: Any) -> list[Any]:
    """Return the layers of a model in their order, and another layer as it is."""
    if not isinstance(layer, tf.keras.Model):
        return [layer]
    found = chain_of(layer)
    if found is None:
        raise NoNativeFormError(
            f"model {layer.name!r} is not a chain of layers, for which there is nengo_wd.Converter"
        )
    return [one for inner in found for one in flat_chain(inner)]


def _refuse(why: str, what: str) -> NoReturn:
    raise NoNativeFormError(f"{why}, for which there is {NEAREST.get(what, NUMPY)}")


# -- steps of layers -----------------------------------------------------------------------


def _dense(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return a matrix on the last axis, which is a convolution where there are other axes."""
    kernel, n = _values(sim, layer.kernel), int(np.prod(shape[:-1]))
    bias = _bias(sim, layer, n * kernel.shape[1])
    if n == 1:
        return Step(nengo.Dense(kernel.T.shape, kernel.T), bias=bias)
    return Step(_transform((n, shape[-1]), kernel[None], (1,), "valid"), bias=bias)


def _convolution(sim: Any, layer: Any, shape: tuple) -> Step:
    kernel = _without_holes(_window(sim, layer), layer.dilation_rate)
    last = is_channels_last(layer)
    transform = _transform(shape, kernel, layer.strides, layer.padding, last)
    return Step(transform, bias=_bias(sim, layer, transform.size_out))


def _pooling(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return a convolution with means within each channel; Keras leaves out what is padded."""
    last, n = is_channels_last(layer), len(shape) - 1
    sizes = shape[:-1] if last else shape[1:]
    padding = getattr(layer, "padding", "valid")  # those over all have none
    window = [*np.broadcast_to(getattr(layer, "pool_size", sizes), n)]
    strides = [*np.broadcast_to(getattr(layer, "strides", 1), n)]
    channels = np.eye(shape[-1 if last else 0])
    kernel = np.broadcast_to(channels / np.prod(window), (*window, *channels.shape))
    if padding == "valid":
        return Step(_transform(shape, kernel, strides, "valid", last))
    ones = patterns.convolution_pattern(sizes, kernel, strides, (1,) * n, padding, last)
    ones.eliminate_zeros()
    return Step(as_sparse(sparse.diags(1 / ones.sum(axis=1).A1) @ ones))


def _places(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return the elements that a layer takes, in their new order."""
    if getattr(layer, "interpolation", "nearest") != "nearest":  # of UpSampling2D
        return _measured(sim, layer, shape)
    size = int(np.prod(shape))
    numbers = np.arange(1, size + 1).reshape(1, *shape)
    places = np.round(_applied(layer, numbers)).astype(int).ravel() - 1
    if (places < 0).any():  # zeros that the layer puts in
        rows = np.flatnonzero(places >= 0)
        there = np.stack([rows, places[rows]], axis=1)
        return Step(nengo.Sparse((len(places), size), indices=there, init=np.ones(len(rows))))
    return Step(places=None if np.array_equal(places, np.arange(size)) else places)


def _elements(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return a factor and a bias for each element."""
    layer = _in_float64(sim, layer, shape)
    zeros, ones = (_applied(layer, np.full((1, *shape), value)).ravel() for value in (0.0, 1.0))
    return Step(nengo.Dense((len(ones),) * 2, ones - zeros), bias=zeros if zeros.any() else None)


def _measured(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return the weights that a layer gives to each of its inputs alone."""
    layer, size = _in_float64(sim, layer, shape), int(np.prod(shape))
    bias = _applied(layer, np.zeros((1, *shape))).ravel()
    each = max(1, CHUNK // (size + len(bias)))
    columns = []
    for start in range(0, size, each):
        inputs = np.eye(min(each, size - start), size, start).reshape(-1, *shape)
        outputs = _applied(layer, inputs).reshape(len(inputs), -1)
        columns.append(sparse.csr_matrix((outputs - bias).T))
    return Step(as_sparse(sparse.hstack(columns)), bias=bias if bias.any() else None)


def _nothing(sim: Any, layer: Any, shape: tuple) -> Step:
    return Step()


# -- transforms -----------------------------------------------------------------------------


def _transform(
    shape: Sequence, kernel: np.ndarray, strides: Sequence, padding: str, last: bool = True
) -> Any:
    """Return a convolution of an input of a shape with a kernel (*window, channels, filters).

    It is a sparse matrix in three dimensions and if it is causal: Nengo computes neither.
    """
    if padding != "causal" and len(strides) <= 2:
        return nengo.Convolution(
            kernel.shape[-1],
            ChannelShape(shape, channels_last=last),
            kernel_size=kernel.shape[:-2],
            strides=tuple(map(int, strides)),
            padding=padding,
            channels_last=last,
            init=kernel,
        )
    sizes, ones = shape[:-1] if last else shape[1:], (1,) * len(strides)
    return as_sparse(patterns.convolution_pattern(sizes, kernel, strides, ones, padding, last))


def computed(transform: Any) -> Any:
    """Return a transform that Nengo computes, in place of one that NengoDL alone does."""
    if not isinstance(transform, nengo.Convolution):
        return transform
    kernel = _without_groups(np.asarray(transform.init), getattr(transform, "groups", 1))
    shape, last = transform.input_shape.shape, transform.channels_last
    found = _transform(shape, kernel, transform.strides, transform.padding, last)
    return found if isinstance(found, nengo.Sparse) else transform


def _without_groups(kernel: np.ndarray, groups: int) -> np.ndarray:
    """Return a kernel between all channels, with zeros between groups."""
    *window, n_in, n_out = kernel.shape
    found = np.zeros((*window, groups, n_in, groups, n_out // groups))
    for group, part in enumerate(np.split(kernel, groups, axis=-1)):
        found[..., group, :, group, :] = part
    return found.reshape(*window, groups * n_in, n_out)


def _without_holes(kernel: np.ndarray, dilations: Sequence) -> np.ndarray:
    """Return a kernel without dilation, with zeros where it had holes."""
    window = [(n - 1) * dilation + 1 for n, dilation in zip(kernel.shape, dilations)]
    found = np.zeros((*window, *kernel.shape[-2:]))
    found[tuple(slice(None, None, dilation) for dilation in dilations)] = kernel
    return found


# -- weights -------------------------------------------------------------------------------


def _values(sim: Any, variable: Any) -> np.ndarray:
    return np.asarray(seam.values.fetch(sim, [variable])[0], float)


def _window(sim: Any, layer: Any) -> np.ndarray:
    """Return the weights of a convolution between all channels: (*window, before, after)."""
    depthwise = getattr(layer, "depthwise_kernel", None)
    if depthwise is None:
        return _without_groups(_values(sim, layer.kernel), getattr(layer, "groups", 1))
    by_channel = _values(sim, depthwise)
    *window, n_channels, each = by_channel.shape
    flat = by_channel.reshape(*window, 1, n_channels * each)
    kernel, pointwise = _without_groups(flat, n_channels), getattr(layer, "pointwise_kernel", None)
    if pointwise is None:
        return kernel
    return kernel @ _values(sim, pointwise).reshape(n_channels * each, -1)


def _bias(sim: Any, layer: Any, size: int) -> np.ndarray | None:
    """Return a layer's bias for each element of its output, if it is not zero."""
    if not layer.use_bias:
        return None
    bias = _values(sim, layer.bias)
    every = Channels(len(bias), is_channels_last(layer), size).all_of(bias)
    return every if bias.any() else None


# -- layers that are applied ---------------------------------------------------------------


def _applied(layer: Any, inputs: np.ndarray) -> np.ndarray:
    """Return what a layer makes of inputs when it predicts."""
    accepted = inspect.signature(layer.call).parameters
    kwargs = {"training": False} if "training" in accepted else {}
    dtype = getattr(layer, "compute_dtype", None) or tf.keras.backend.floatx()
    return np.asarray(layer.call(tf.cast(inputs, dtype), **kwargs), float)


def _in_float64(sim: Any, layer: Any, shape: tuple) -> Any:
    """Return a copy of a layer with the same weights, in which differences are not rounded."""
    new = built_layer(layer, shape, False, dtype="float64")
    new.set_weights(seam.values.fetch(sim, layer.weights))
    return new


def _classes(names: str) -> list[type]:
    """Return Keras' classes of these names, where * is 1, 2 or 3, without those that it lacks."""
    every = dict.fromkeys(one.replace("*", n) for one in names.split() for n in "123")
    return [getattr(keras, name) for name in every if hasattr(keras, name)]


MAKERS: dict[type, Callable] = {  # functions that make a step, by class of layers
    **dict.fromkeys(_classes("Dense"), _dense),
    **dict.fromkeys(_classes("Conv*D DepthwiseConv*D SeparableConv*D"), _convolution),
    **dict.fromkeys(_classes("AveragePooling*D GlobalAveragePooling*D"), _pooling),
    **dict.fromkeys(_classes("Flatten Permute RepeatVector Reshape"), _places),
    **dict.fromkeys(_classes("Cropping*D UpSampling*D ZeroPadding*D"), _places),
    **dict.fromkeys(_classes("Activation ActivityRegularization Identity InputLayer"), _nothing),
    **dict.fromkeys(_classes("AlphaDropout Dropout GaussianDropout GaussianNoise"), _nothing),
    **dict.fromkeys(_classes("SpatialDropout*D"), _nothing),
    **dict.fromkeys(_classes("BatchNormalization Rescaling"), _elements),
    **dict.fromkeys(_classes("Conv*DTranspose LocallyConnected*D"), _measured),
}
