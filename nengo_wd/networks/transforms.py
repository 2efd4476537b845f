"""Transforms of connections: those of layers, and those, with costs of groups, that are cut."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple, Sequence

import nengo
import numpy as np
from nengo.transforms import ChannelShape, SparseMatrix

from nengo_wd import _parameters as parameters
from nengo_wd.energy import patterns
from nengo_wd.regularizers.forms import Scheduled, unscheduled
from nengo_wd.regularizers.weights import GroupLasso

NoTransform: Any = getattr(nengo.transforms, "NoTransform", None)  # which Nengo 3.0 lacks


def is_channels_last(layer: Any) -> bool:
    """Tell whether a layer has its channels along the last axis."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"


class Channels(NamedTuple):
    """The channels of one side of a layer, among its elements."""

    number: int
    is_last: bool  # whether they are the last axis, or the first
    size: int  # of all elements

    def any_of(self, elements: np.ndarray) -> np.ndarray:
        """Return for which channels any of their elements is true."""
        shape = (-1, self.number) if self.is_last else (self.number, -1)
        return np.any(elements.reshape(shape), axis=0 if self.is_last else 1)

    def all_of(self, channels: np.ndarray) -> np.ndarray:
        """Return the value of each element, from one for each channel."""
        each = self.size // self.number
        return np.tile(channels, each) if self.is_last else np.repeat(channels, each)


def cut_dense(transform: nengo.Dense, before: np.ndarray, after: np.ndarray) -> nengo.Dense:
    """Return a transform with the weights between elements that are left."""
    init, shape = np.asarray(transform.init), (int(after.sum()), int(before.sum()))
    if init.ndim == 2:
        return nengo.Dense(shape, init[after][:, before])
    return nengo.Dense(shape, init[after] if init.ndim else init)


def cut_sparse(transform: nengo.Sparse, before: np.ndarray, after: np.ndarray) -> nengo.Sparse:
    """Return a sparse transform with the weights between elements that are left."""
    matrix = transform.init
    rows, columns = parameters.sparse_places(matrix).T
    data = (matrix if isinstance(matrix, SparseMatrix) else matrix.tocoo()).data
    there = after[rows] & before[columns]
    indices = np.stack([np.cumsum(after)[rows] - 1, np.cumsum(before)[columns] - 1], axis=1)
    shape = int(after.sum()), int(before.sum())
    data = np.broadcast_to(data, len(rows))[there]
    return nengo.Sparse(shape, indices=indices[there], init=data)


def cut_filters(old: nengo.Convolution, before: np.ndarray, after: np.ndarray) -> nengo.Convolution:
    """Return a convolution with some of the input channels and of the filters."""
    shape = [*old.input_shape.shape]
    shape[-1 if old.channels_last else 0] = int(before.sum())
    return nengo.Convolution(
        int(after.sum()),
        ChannelShape(tuple(shape), channels_last=old.channels_last),
        kernel_size=old.kernel_size,
        strides=old.strides,
        padding=old.padding,
        channels_last=old.channels_last,
        init=np.asarray(old.init)[..., before, :][..., after],
    )


def cut_costs(regularizer: Any, before: np.ndarray, after: np.ndarray) -> Any:
    """Return a regularizer with the costs of the inputs or outputs that are left."""
    lasso = unscheduled(regularizer)
    if not isinstance(lasso, GroupLasso) or lasso.costs is None or lasso.groups is None:
        return regularizer
    new = copy.copy(lasso)
    new.costs = tuple(np.asarray(lasso.costs)[before if lasso.groups == "inputs" else after])
    return new if lasso is regularizer else Scheduled(new, regularizer.strength)


def part_of(obj: Any, places: np.ndarray, size: int) -> Any:
    """Return an object of a size, or the part of it that has some of its elements, in order."""
    if np.array_equal(places, np.arange(size)):
        return obj
    if len(places) and np.array_equal(places, np.arange(places[0], places[0] + len(places))):
        return obj[int(places[0]) : int(places[0]) + len(places)]
    return obj[places.tolist()]


def filled(pre: Any, there: np.ndarray, label: str) -> nengo.Node:
    """Return a Node that has the values of ``pre`` where they are there, and zeros elsewhere."""
    node = nengo.Node(size_in=len(there), label=label)
    nengo.Connection(pre, node[np.flatnonzero(there).tolist()], synapse=None)
    return node


def taken(post: Any, there: np.ndarray, label: str) -> nengo.Node:
    """Return a Node some of whose values go to ``post``."""
    node = nengo.Node(size_in=len(there), label=label)
    nengo.Connection(node[np.flatnonzero(there).tolist()], post, synapse=None)
    return node


# -- transforms that are made --------------------------------------------------------------


def convolution(
    shape: Sequence, kernel: np.ndarray, strides: Sequence, padding: str, last: bool = True
) -> nengo.transforms.Transform:
    """Return a convolution, as a sparse matrix where Nengo's simulator computes none.

    It has none over three dimensions, and none that is causal. ``kernel`` has the shape (*window,
    input channels, filters), and ``shape`` that of an input.
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


def as_sparse(matrix: Any) -> nengo.Sparse:
    """Return a transform with the weights of a sparse matrix of SciPy."""
    places = matrix.tocoo()
    indices = np.stack([places.row, places.col], axis=1)
    return nengo.Sparse(matrix.shape, indices=indices, init=np.asarray(places.data, float))


def computed(transform: Any) -> Any:
    """Return a transform that Nengo computes, in place of one that NengoDL alone does."""
    if not isinstance(transform, nengo.Convolution):
        return transform
    kernel = without_groups(np.asarray(transform.init), getattr(transform, "groups", 1))
    shape, last = transform.input_shape.shape, transform.channels_last
    found = convolution(shape, kernel, transform.strides, transform.padding, last)
    return found if isinstance(found, nengo.Sparse) else transform


def without_groups(kernel: np.ndarray, groups: int) -> np.ndarray:
    """Return a kernel between all channels, with zeros between groups."""
    *window, n_in, n_out = kernel.shape
    found = np.zeros((*window, groups, n_in, groups, n_out // groups))
    for group, part in enumerate(np.split(kernel, groups, axis=-1)):
        found[..., group, :, group, :] = part
    return found.reshape(*window, groups * n_in, n_out)


def without_holes(kernel: np.ndarray, dilations: Sequence) -> np.ndarray:
    """Return a kernel without dilation, with zeros where it had holes."""
    window = [(n - 1) * dilation + 1 for n, dilation in zip(kernel.shape, dilations)]
    found = np.zeros((*window, *kernel.shape[-2:]))
    found[tuple(slice(None, None, dilation) for dilation in dilations)] = kernel
    return found
