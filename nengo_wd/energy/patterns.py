"""Which inputs of something linear reach which of its outputs: sparse matrices of bools.

A pattern has a row for each output, and a column for each input.
"""

from __future__ import annotations

import functools
import operator
from typing import Any, NamedTuple, Sequence

import numpy as np
from scipy import sparse
from scipy.sparse import csr_matrix as Pattern  # noqa: N812 - a class


def full(n_outputs: int, n_inputs: int) -> Pattern:
    """Return the pattern in which each input reaches each output."""
    return Pattern(np.ones((n_outputs, n_inputs), bool))


def identity(size: int) -> Pattern:
    """Return the pattern of what hands its inputs on."""
    return sparse.identity(size, bool, "csr")


def of_matrix(weights: np.ndarray, skip_zeros: bool) -> Pattern:
    """Return the pattern of a matrix, of shape (outputs, inputs)."""
    return Pattern(weights != 0) if skip_zeros else full(*weights.shape)


def of_places(indices: np.ndarray, shape: Sequence[int]) -> Pattern:
    """Return the pattern that has synapses at (row, column), of shape (synapses, 2)."""
    rows, columns = np.reshape(indices, (-1, 2)).T
    return Pattern((np.ones(len(rows), bool), (rows, columns)), shape=tuple(shape))


def of_slice(size: int, places: Any) -> Pattern:
    """Return the pattern of a slice of something of a size."""
    return identity(size)[np.atleast_1d(np.arange(size)[places])]


def composed(after: Pattern, before: Pattern) -> Pattern:
    """Return the pattern of one thing after another."""
    n_outputs = after.shape[0]
    if after.nnz != n_outputs * after.shape[1]:
        return after @ before
    columns = np.unique(before.indices)  # what comes in anywhere comes out everywhere
    ends = len(columns) * np.arange(n_outputs + 1)
    everywhere = np.ones(ends[-1], bool), np.tile(columns, n_outputs), ends
    return Pattern(everywhere, shape=(n_outputs, before.shape[1]))


def merged(patterns: Sequence[Pattern]) -> Pattern:
    """Return the pattern of things side by side, whose outputs are added."""
    return functools.reduce(operator.add, patterns)


def on_last_axis(pattern: Pattern, n_before: int) -> Pattern:
    """Return the pattern of what works on the last axis of an array."""
    return sparse.kron(identity(n_before), pattern, "csr")


class Filters(NamedTuple):
    """A convolution: the sizes of what it is applied to, and how it goes over them.

    ``kernel`` tells which weights there are. Its shape is (*sizes of the window, input channels of
    a group, output channels).
    """

    sizes: Sequence[int]
    kernel: np.ndarray
    strides: Sequence[int]
    dilations: Sequence[int]
    padding: str
    channels_last: bool = True
    groups: int = 1


def of_convolution(filters: Filters) -> Pattern:
    """Return the pattern of a convolution on flat inputs, in the order of their elements.

    It is the sum over the places in the window: for each of them, one element of the input
    contributes to each element of the output, except beyond the borders.
    """
    window = filters.kernel.shape[:-2]
    in_space = [_along_axes(filters, place) for place in np.ndindex(*window)]
    if filters.kernel.all():  # a single product, of all places
        in_space, window = [merged(in_space)], (1,) * len(window)
    parts = [
        _with_channels(space, _of_channels(filters.kernel[place], filters.groups), filters)
        for space, place in zip(in_space, np.ndindex(*window))
    ]
    return merged(parts)


def _with_channels(space: Pattern, channels: Pattern, filters: Filters) -> Pattern:
    pair = (space, channels) if filters.channels_last else (channels, space)
    return Pattern(sparse.kron(*pair, "csr"))


def _of_channels(kernel: np.ndarray, groups: int) -> Pattern:
    """Return which input channels reach which output channels, through one place of a kernel."""
    blocks = np.split(kernel.T, groups)  # of some output channels each
    return Pattern(sparse.block_diag([Pattern(block) for block in blocks]))


def _along_axes(filters: Filters, place: tuple[int, ...]) -> Pattern:
    """Return which elements of the input are at one place of the window, along all axes."""
    axes = zip(filters.sizes, filters.kernel.shape, filters.strides, filters.dilations, place)
    each = [_along_axis(*axis, filters.padding) for axis in axes]
    return functools.reduce(lambda one, other: sparse.kron(one, other, "csr"), each)


def _along_axis(
    size: int, width: int, stride: int, dilation: int, place: int, padding: str
) -> Pattern:
    """Return which element of an axis is at one place of the window, for each output.

    "same" pads as TensorFlow does, with the odd element at the end.
    """
    reach = (width - 1) * dilation + 1
    n_outputs = -(-(size - reach + 1 if padding == "valid" else size) // stride)
    padded = {
        "valid": 0,
        "same": max((n_outputs - 1) * stride + reach - size, 0) // 2,
        "causal": reach - 1,
    }[padding]
    outputs = np.arange(n_outputs)
    inputs = outputs * stride - padded + place * dilation
    inside = (inputs >= 0) & (inputs < size)
    return of_places(np.stack([outputs, inputs], 1)[inside], (n_outputs, size))
