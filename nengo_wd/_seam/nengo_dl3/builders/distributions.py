"""Samples of Nengo's distributions, drawn in the time loop of NengoDL 3."""

from __future__ import annotations

from typing import Any, Callable

import nengo
import numpy as np
import tensorflow as tf

from nengo_wd._seam.nengo_dl3.builders.random_numbers import folded, normal, uniform


def _exponential(dist: Any, shape: tuple, seed: tf.Tensor, dtype: Any) -> tf.Tensor:
    drawn = dist.shift - dist.scale * tf.math.log1p(-uniform(shape, seed, dtype))
    below = np.nextafter(dtype.as_numpy_dtype(dist.high), dtype.as_numpy_dtype(-np.inf))
    return tf.clip_by_value(drawn, tf.cast(dist.shift, dtype), below)


def _hypersphere(dist: Any, shape: tuple, seed: tf.Tensor, dtype: Any) -> tf.Tensor:
    directions = normal(shape, seed, dtype)
    directions /= tf.norm(directions, axis=1, keepdims=True)
    if dist.surface:
        return directions
    low = dist.min_magnitude ** shape[1]
    volumes = low + (1 - low) * uniform((shape[0], 1), folded(seed, 1), dtype)
    return directions * volumes ** (1 / shape[1])


def _uniform(dist: Any, shape: tuple, seed: tf.Tensor, dtype: Any) -> tf.Tensor:
    drawn = dist.low + (dist.high - dist.low) * uniform(shape, seed, dtype)
    return tf.floor(drawn) if dist.integer else drawn


def _choice(dist: Any, shape: tuple, seed: tf.Tensor, dtype: Any) -> tf.Tensor:
    bounds = tf.constant(np.cumsum(dist.p)[:-1], dtype)
    above = uniform((shape[0], 1), seed, dtype) > bounds
    options = tf.constant(np.reshape(dist.options, (len(dist.options), -1)), dtype)
    return tf.gather(options, tf.reduce_sum(tf.cast(above, tf.int32), axis=1))


def _pdf(dist: Any, shape: tuple, seed: tf.Tensor, dtype: Any) -> tf.Tensor:
    """Invert the cumulative distribution, which is linear between its points."""
    cdf, x = tf.constant(dist.cdf, dtype), tf.constant(dist.x, dtype)
    drawn = uniform(shape, seed, dtype)
    after = tf.reduce_sum(tf.cast(drawn[..., None] > cdf, tf.int32), axis=-1)
    after = tf.clip_by_value(after, 1, len(dist.x) - 1)
    low, high = tf.gather(cdf, after - 1), tf.gather(cdf, after)
    share = tf.clip_by_value(tf.math.divide_no_nan(drawn - low, high - low), 0, 1)
    return tf.gather(x, after - 1) + share * (tf.gather(x, after) - tf.gather(x, after - 1))


# How samples of a shape (n, size) are drawn, by the class of Nengo's distribution.
SAMPLERS: dict[type, Callable] = {
    nengo.dists.Gaussian: lambda dist, shape, seed, dtype: (
        dist.mean + dist.std * normal(shape, seed, dtype)
    ),
    nengo.dists.Uniform: _uniform,
    nengo.dists.Exponential: _exponential,
    nengo.dists.UniformHypersphere: _hypersphere,
    nengo.dists.Choice: _choice,
    nengo.dists.PDF: _pdf,
}
