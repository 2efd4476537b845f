"""Which inputs reach which outputs, against Keras layers of ones that are given one-hot inputs."""

import numpy as np
import pytest
import tensorflow as tf

import nengo_wd  # noqa: F401
from nengo_wd.energy import patterns

pytestmark = pytest.mark.generation(3)
keras = tf.keras.layers


def reached(layer, shape):
    """Return which elements of the output each element of the input reaches: (outputs, inputs)."""
    size = np.prod(shape)
    outputs = layer(tf.reshape(tf.eye(int(size)), (-1, *shape))).numpy()
    return outputs.reshape(size, -1).T != 0


def pattern(sizes, kernel, strides, padding, dilations=None, **kwargs):
    dilations = dilations or (1,) * len(sizes)
    found = patterns.convolution_pattern(sizes, kernel, strides, dilations, padding, **kwargs)
    return found.toarray()


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 1), (3, 2)])
@pytest.mark.parametrize("window", [(3, 2), (4, 4), (1, 5)])
@pytest.mark.parametrize("sizes", [(5, 6), (8, 7)])
def test_convolutions_in_two_dimensions(padding, strides, window, sizes):
    kernel = np.ones((*window, 2, 3), bool)
    layer = keras.Conv2D(3, window, strides, padding, kernel_initializer="ones", use_bias=False)
    ours = pattern(sizes, kernel, strides, padding)
    np.testing.assert_array_equal(ours, reached(layer, (*sizes, 2)))


@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
@pytest.mark.parametrize("dilation, stride", [(1, 2), (2, 1)])
def test_dilated_and_causal_convolutions(padding, dilation, stride):
    layer = keras.Conv1D(
        2, 3, stride, padding, dilation_rate=dilation, kernel_initializer="ones", use_bias=False
    )
    ours = pattern((9,), np.ones((3, 2, 2), bool), (stride,), padding, (dilation,))
    np.testing.assert_array_equal(ours, reached(layer, (9, 2)))


def test_zeros_of_a_kernel(rng):
    mask = rng.uniform(size=(2, 3, 2, 3)) < 0.5
    init = tf.constant_initializer(mask.astype(float))
    layer = keras.Conv2D(3, (2, 3), (2, 1), "same", kernel_initializer=init, use_bias=False)
    ours = pattern((5, 4), mask, (2, 1), "same")
    np.testing.assert_array_equal(ours, reached(layer, (5, 4, 2)))


def test_channels_that_come_first():
    """Channels first or last, the same elements are next to each other."""
    kernel = np.ones((3, 2, 4), bool)
    last = pattern((6,), kernel, (1,), "same").reshape(6, 4, 6, 2)
    first = pattern((6,), kernel, (1,), "same", channels_last=False).reshape(4, 6, 2, 6)
    np.testing.assert_array_equal(first, last.transpose(1, 0, 3, 2))


def test_groups_of_channels():
    ours = pattern((3,), np.ones((1, 2, 6), bool), (1,), "valid", groups=2)
    one = np.kron(np.eye(2), np.ones((3, 2)))  # a group has 2 channels, and makes 3
    np.testing.assert_array_equal(ours, np.kron(np.eye(3), one) != 0)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_one_after_another(rng, share):
    one, other = rng.uniform(size=(4, 5)) < 0.3, rng.uniform(size=(3, 4)) <= share
    ours = patterns.composed(patterns.Pattern(other), patterns.Pattern(one))
    np.testing.assert_array_equal(ours.toarray(), (other.astype(int) @ one) > 0)
