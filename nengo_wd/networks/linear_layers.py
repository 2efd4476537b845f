"""The steps of Keras layers that are linear, as transforms and slices of Nengo."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import nengo
import numpy as np
import tensorflow as tf
from nengo.transforms import ChannelShape
from scipy import sparse

from nengo_wd import _seam as seam
from nengo_wd._seam.keras2 import chain_of
from nengo_wd.energy import patterns
from nengo_wd.layers import TimeLoopLayer, refusals
from nengo_wd.networks.copies import built_layer
from nengo_wd.networks.transforms import Channels, is_channels_last

keras = tf.keras.layers
CHUNK = 2**22  # elements of the input and output of a layer that is measured
NUMPY = "a nengo.Node with the same function in NumPy"
NEURONS = {  # by what a layer computes, the nearest thing that is native
    "relu": "nengo_dl.Layer(nengo.RectifiedLinear()) or another neuron type",
    "sigmoid": "nengo_dl.Layer(nengo.Sigmoid())",
    "tanh": "nengo_dl.Layer(nengo.Tanh())",
    "softmax": "a loss from_logits=True, without softmax in the network",
    "ReLU": "nengo_dl.Layer(nengo.RectifiedLinear()) or another neuron type",
    "MaxPooling1D": "AveragePooling1D",
    "MaxPooling2D": "AveragePooling2D",
    "MaxPooling3D": "AveragePooling3D",
}


class NoNativeFormError(Exception):
    """Raised for what is not linear, or not known to be."""


class Step(NamedTuple):
    """A linear step: some elements, weights on them, and a bias; None where it has none."""

    transform: Any = None
    places: np.ndarray | None = None  # of the elements that are taken, in order
    bias: np.ndarray | None = None  # (elements after the step,)


def linear_steps(sim: Any, layer: Any, shape: Sequence) -> Iterator[Step]:
    """Yield the steps of a layer for inputs of a shape, those of a model layer by layer.

    Layers that change nothing have none.
    """
    for one in flat_chain(layer):
        name = f"layer {getattr(one, 'name', one)!r}"
        make = patterns.known_by_class(one, MAKERS)
        if make is None:
            kind = type(one).__name__
            what = kind if isinstance(one, keras.Layer) else "a function"
            raise NoNativeFormError(f"{name} is {what}, for which there is {_nearest(kind)}")
        activation = getattr(one, "activation", None)
        if activation not in (None, tf.keras.activations.linear):
            of = getattr(activation, "__name__", type(activation).__name__)
            raise NoNativeFormError(
                f"{name} has the activation {of}, for which there is {_nearest(of)}"
            )
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
            f"model {layer.name!r} is no chain of layers, for which there is nengo_wd.Converter"
        )
    return [one for inner in found for one in flat_chain(inner)]


def _nearest(what: str) -> str:
    return NEURONS.get(what, NUMPY)


# -- steps of layers -----------------------------------------------------------------------


def _dense(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return a matrix on the last axis, which is a convolution where there are other axes."""
    kernel, n = _kernel(sim, layer), int(np.prod(shape[:-1]))
    bias = _bias(sim, layer, n * kernel.shape[1])
    if n == 1:
        return Step(nengo.Dense(kernel.T.shape, kernel.T), bias=bias)
    return Step(_convolution_transform((n, shape[-1]), kernel[None], (1,), "valid"), bias=bias)


def _convolution(sim: Any, layer: Any, shape: tuple) -> Step:
    last, padding = is_channels_last(layer), layer.padding
    kernel = _without_groups(_kernel(sim, layer), getattr(layer, "groups", 1))
    kernel = _without_holes(kernel, layer.dilation_rate)
    if padding == "causal" or len(layer.strides) > 2:
        return _with_bias(sim, layer, shape, _sparse_convolution(layer, shape, kernel))
    transform = _convolution_transform(shape, kernel, layer.strides, padding, last)
    return _with_bias(sim, layer, shape, transform)


def _pooling(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return a convolution with equal weights, each of a channel with itself.

    Keras takes means over what is inside of the border.
    """
    last, n = is_channels_last(layer), len(shape) - 1
    window, strides = ([*np.broadcast_to(one, n)] for one in (layer.pool_size, layer.strides))
    channels = np.eye(shape[-1 if last else 0])
    kernel = np.broadcast_to(channels / np.prod(window), (*window, *channels.shape))
    if layer.padding == "valid" and n <= 2:
        return Step(_convolution_transform(shape, kernel, strides, "valid", last))
    ones = patterns.convolution_pattern(
        shape[:-1] if last else shape[1:],
        (kernel != 0).astype(float),
        strides,
        (1,) * n,
        layer.padding,
        last,
    )
    ones.eliminate_zeros()
    return Step(_sparse(sparse.diags(1 / ones.getnnz(axis=1)) @ ones))


def _places(sim: Any, layer: Any, shape: tuple) -> Step:
    """Return the elements that a layer takes, in their new order."""
    if isinstance(layer, UPSAMPLING) and getattr(layer, "interpolation", "nearest") != "nearest":
        return _measured(sim, layer, shape)
    indices = np.arange(np.prod(shape)).reshape(1, *shape)
    places = np.round(_applied(layer, indices)).astype(int).ravel()
    return Step(places=None if np.array_equal(places, indices.ravel()) else places)


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
    return Step(_sparse(sparse.hstack(columns)), bias=bias if bias.any() else None)


def _nothing(sim: Any, layer: Any, shape: tuple) -> Step:
    return Step()


# -- weights -------------------------------------------------------------------------------


def _kernel(sim: Any, layer: Any) -> np.ndarray:
    return np.asarray(seam.values.fetch(sim, [layer.kernel])[0], float)


def _bias(sim: Any, layer: Any, size: int) -> np.ndarray | None:
    """Return a layer's bias for each element of its output, if it is not zero."""
    if not layer.use_bias:
        return None
    bias = np.asarray(seam.values.fetch(sim, [layer.bias])[0], float)
    every = Channels(len(bias), is_channels_last(layer), size).all_of(bias)
    return every if bias.any() else None


def _with_bias(sim: Any, layer: Any, shape: tuple, transform: Any) -> Step:
    return Step(transform, bias=_bias(sim, layer, transform.size_out))


def _convolution_transform(
    shape: tuple, kernel: np.ndarray, strides: Sequence, padding: str, channels_last: bool = True
) -> nengo.Convolution:
    return nengo.Convolution(
        kernel.shape[-1],
        ChannelShape(shape, channels_last=channels_last),
        kernel_size=kernel.shape[:-2],
        strides=tuple(map(int, strides)),
        padding=padding,
        channels_last=channels_last,
        init=kernel,
    )


def _sparse_convolution(layer: Any, shape: tuple, kernel: np.ndarray) -> nengo.Sparse:
    """Return a convolution for which Nengo has no transform, as a sparse matrix."""
    last, ones = is_channels_last(layer), (1,) * len(layer.strides)
    sizes = shape[:-1] if last else shape[1:]
    pattern = patterns.convolution_pattern(sizes, kernel, layer.strides, ones, layer.padding, last)
    return _sparse(pattern)


def _sparse(matrix: Any) -> nengo.Sparse:
    places = matrix.tocoo()
    indices = np.stack([places.row, places.col], axis=1)
    return nengo.Sparse(matrix.shape, indices=indices, init=np.asarray(places.data, float))


def as_matrix(transform: Any) -> Any:
    """Return a convolution that Nengo can't compute as a sparse matrix, others as they are."""
    if not isinstance(transform, nengo.Convolution) or transform.dimensions <= 2:
        return transform
    kernel = _without_groups(np.asarray(transform.init), transform.groups)
    strides, padding, last = transform.strides, transform.padding, transform.channels_last
    sizes, ones = transform.input_shape.spatial_shape, (1,) * transform.dimensions
    return _sparse(patterns.convolution_pattern(sizes, kernel, strides, ones, padding, last))


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


def _classes(*names: str) -> tuple[type, ...]:
    """Return classes of Keras, without those that this version lacks."""
    return tuple(getattr(keras, name) for name in names if hasattr(keras, name))


def _dimensions(name: str) -> tuple[type, ...]:
    return _classes(*(name.replace("*", f"{n}D") for n in (1, 2, 3)))


UPSAMPLING = _dimensions("UpSampling*")
PLACES = ("Flatten", "Reshape", "Permute", "RepeatVector")
NOTHING = (
    *("Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "GaussianDropout"),
    *("GaussianNoise", "Identity", "InputLayer"),
)
MAKERS: dict[type, Callable] = {  # functions that make a step, by class of layers
    keras.Dense: _dense,
    **dict.fromkeys(_dimensions("Conv*"), _convolution),
    **dict.fromkeys(patterns.POOLING, _pooling),
    **dict.fromkeys((*_classes(*PLACES), *_dimensions("Cropping*"), *UPSAMPLING), _places),
    **dict.fromkeys((*_classes(*NOTHING), *_dimensions("SpatialDropout*")), _nothing),
    **dict.fromkeys(_classes("BatchNormalization", "Rescaling", "Normalization"), _elements),
    **dict.fromkeys(
        (
            *_dimensions("Conv*Transpose"),
            *_dimensions("DepthwiseConv*"),
            *_dimensions("GlobalAveragePooling*"),
            *_dimensions("LocallyConnected*"),
            *_dimensions("SeparableConv*"),
            *_dimensions("ZeroPadding*"),
        ),
        _measured,
    ),
}
