"""What is expected, worked out in NumPy."""

from functools import partial

import numpy as np
import tensorflow as tf
from generations import GENERATION, outputs, values

# -- norms, penalties and layers ---------------------------------------------------------


def norm(weights, axis=None):
    """Return the norm over some axes, in float64."""
    return np.sqrt(np.sum(np.square(np.asarray(weights, np.float64)), axis=axis))


def penalty(weights, l1, l2):
    weights = np.asarray(weights, dtype=np.float64)
    return l1 * np.sum(np.abs(weights)) + l2 * np.sum(weights**2)


def rate_penalty(rates, minimum=0, maximum=np.inf, l1=0, l2=0, percentile=None):
    """Return the penalty on rates in Hz, of shape (examples, neurons)."""
    rates = np.asarray(rates, np.float64)
    if percentile is not None:
        rates = np.percentile(rates, percentile, axis=0)
    distance = np.maximum(minimum - rates, 0) + np.maximum(rates - maximum, 0)
    return l1 * np.mean(distance) + l2 * np.mean(distance**2)


def assert_dense(sim, layer, source, probe, rng, n_steps=5, tolerance=1e-5):
    """Compare the output of a layer with tanh to NumPy's."""
    x = rng.uniform(-1, 1, size=(sim.minibatch_size, n_steps, source.size_out))
    weights = values(sim, layer.weights)
    expected = np.tanh(x @ weights[0].astype(np.float64) + (weights[1] if layer.use_bias else 0))
    (y,) = outputs(sim, {source: x}, [probe])
    assert y.shape == (sim.minibatch_size, n_steps, layer.units)
    np.testing.assert_allclose(y, expected, atol=tolerance)


# -- the rules of optimizers -------------------------------------------------------------

RATE, DECAY, MOMENTUM = 0.125, 0.25, 0.5  # exact in float32, in which Keras keeps the rate
STEPS = 10


def gradient_descent(gradient, rate):
    while True:
        yield rate * gradient


def momentum(gradient, rate):
    velocity = 0
    while True:
        velocity = MOMENTUM * velocity + gradient
        yield rate * velocity


# exact in float32 again: Keras works out powers of the betas in that precision
ADAM = dict(beta1=0.75, beta2=0.9375, epsilon=2**-10)
KERAS_ADAM = dict(beta_1=0.75, beta_2=0.9375, epsilon=2**-10)


def adam(gradient, rate, beta1, beta2, epsilon):
    mean, square, step = 0, 0, 0
    while True:
        step += 1
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        corrected = rate * np.sqrt(1 - beta2**step) / (1 - beta1**step)
        yield corrected * mean / (np.sqrt(square) + epsilon)


def trained(start, updates, factors):
    """Return the weights after steps that multiply by a factor and subtract an update."""
    weights = start
    for update, factor in zip(updates, factors):
        weights = weights * factor - update
    return weights


def shrunk(weights, l1=0, l2=0, centre=0):
    """Return weights after a proximal step of L1, and then one of L2."""
    distance = weights - centre
    distance = np.sign(distance) * np.maximum(np.abs(distance) - l1, 0)
    return distance / (1 + 2 * l2) + centre


def shrunk_groups(weights, strength, axis):
    """Return weights after a proximal step of a group lasso; with None, all are a group."""
    within = tuple(i for i in range(weights.ndim) if i != axis)
    size = np.prod([weights.shape[i] for i in within])
    norms = np.sqrt(np.sum(weights**2, axis=within, keepdims=True))
    return weights * np.maximum(0, 1 - strength * np.sqrt(size) / norms)


def with_proximal_steps(start, updates, step, n_steps=STEPS):
    """Return the weights after steps that subtract an update, and then are proximal."""
    weights = start
    for update, _ in zip(updates, range(n_steps)):
        weights = step(weights - update)
    return weights


def cuda_convnet(weights, gradient, eps, mom, wc, n_steps):
    increment = np.zeros_like(weights)
    for _ in range(n_steps):
        increment = mom * increment - eps * gradient - wc * eps * weights
        weights = weights + increment
    return weights


class Constrained:
    """The norm of one parameter, kept at a bound: that of the paper, in its four ways.

    It is called with the weights after each step of the optimizer, and returns what is left.
    """

    def __init__(self, number=None, at_step=None, every=None):
        self.bound, self.at_step, self.every = number, at_step, every
        self.multiplier, self.steps, self.averages, self.growths = 0.0, 0, {0: 0.0}, {}
        self.n_scaled = 0  # how many times weights were scaled to the bound

    def __call__(self, weights):
        self.steps += 1
        size = np.linalg.norm(weights)
        if self.bound is not None:
            excess = (size**2 - self.bound**2) / weights.size
            self.multiplier = max(0.0, self.multiplier + excess)
            if 2 * self.multiplier > 1:
                self.multiplier, self.n_scaled = 0.0, self.n_scaled + 1
                return weights * (self.bound / size)
            return weights * (1 - 2 * self.multiplier)
        if self.at_step == self.steps or (self.every and self._is_slower(size)):
            self.bound = size
        return weights

    def _is_slower(self, size):
        """Tell whether the growth of the averaged norm is slower than in the interval before."""
        averaged = self.steps >= self.every
        self.average = 0.99 * self.average + 0.01 * size if averaged else size
        interval, rest = divmod(self.steps, self.every)
        if rest or interval < 2:
            return False
        self.averages[interval] = self.average
        last = self.averages.get(interval - 1, 0.0)
        self.growths[interval] = growth = (self.average - last) / self.average
        return interval > 3 and self.growths[interval - 1] > growth > 0.01


if GENERATION == 2:
    v1 = tf.compat.v1.train
    OPTIMIZERS = {  # the rule, and what makes the optimizer
        "SGD": (gradient_descent, lambda: v1.GradientDescentOptimizer(RATE)),
        "momentum": (momentum, lambda: v1.MomentumOptimizer(RATE, MOMENTUM)),
        "Adam": (partial(adam, **ADAM), lambda: v1.AdamOptimizer(RATE, **ADAM)),
    }
else:
    new, legacy = tf.keras.optimizers, tf.keras.optimizers.legacy
    OPTIMIZERS = {
        "SGD": (gradient_descent, lambda: new.SGD(RATE)),
        "momentum": (momentum, lambda: new.SGD(RATE, momentum=MOMENTUM)),
        "Adam": (partial(adam, **ADAM), lambda: new.Adam(RATE, **KERAS_ADAM)),
        "legacy SGD": (gradient_descent, lambda: legacy.SGD(RATE)),
        "legacy momentum": (momentum, lambda: legacy.SGD(RATE, momentum=MOMENTUM)),
        "legacy Adam": (partial(adam, **ADAM), lambda: legacy.Adam(RATE, **KERAS_ADAM)),
    }
