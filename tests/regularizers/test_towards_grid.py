"""Weights that are led to a grid of few bits, against NumPy and a search over all values."""

import json

import numpy as np
import pytest
import tensorflow as tf
from generations import sgd, simulator, train, values
from nengo.exceptions import ValidationError
from networks import ThreeConnections, network_of
from slowly import slow_but

import nengo_wd
from nengo_wd.regularizers import Scheduled, TowardsGrid, moved


def grid_of(weights, bits):
    """Return levels, found by looking at all of them, and the distance that fits them best."""
    n, flat = 2 ** (bits - 1) - 1, np.ravel(weights).astype(np.float64)
    levels, widest = np.arange(-n, n + 1), np.max(np.abs(flat)) / n
    distance, n_fits = widest, 5
    for i in range(n_fits + 1):
        found = levels[np.abs(flat[:, None] - distance * levels).argmin(axis=1)]
        if i < n_fits:
            distance = min(np.linalg.lstsq(found[:, None] + 0.0, flat, rcond=None)[0][0], widest)
    return found.reshape(np.shape(weights)), distance


def nearest(weights, bits):
    levels, distance = grid_of(weights, bits)
    return distance * levels


def assert_on_grid(weights, bits):
    """Check that weights are one number times whole ones, to the last bit."""
    levels, distance = grid_of(weights, bits)
    unit = np.spacing(weights.dtype.type(distance))
    numbers = weights.dtype.type(distance) + unit * np.arange(-4, 5, dtype=weights.dtype)
    assert any(np.array_equal(number * levels.astype(weights.dtype), weights) for number in numbers)


def by_tensorflow(function, *arrays):
    """Return what a function of tensors returns, as arrays."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        return sess.run(function(*map(tf.constant, arrays)))


def with_gradient(regularizer):
    def of_weights(weights):
        penalty = regularizer(weights)
        return penalty, tf.gradients(penalty, weights)[0]

    return of_weights


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_value_and_gradient_are_those_of_numpy(bits, rng):
    weights = rng.uniform(-1, 1, size=(4, 30))
    value, gradient = by_tensorflow(with_gradient(TowardsGrid(0.5, bits)), weights)
    distances = weights - nearest(weights, bits)
    assert value == pytest.approx(0.5 * np.abs(distances).sum(), rel=1e-9)
    np.testing.assert_array_equal(gradient, 0.5 * np.sign(distances))


@pytest.mark.parametrize("bits, by", [(2, 0.1), (3, 0.05), (3, 10.0)])
def test_step_is_the_proximal_map(bits, by, rng):
    """Where penalty and half the squared distance are least, of all places on a fine line."""
    weights = rng.uniform(-1, 1, size=20)
    stepped = by_tensorflow(lambda w: TowardsGrid(1.0, bits).shrunk(w, by), weights)
    line, values_of_grid = np.linspace(-2, 2, 40001), nearest(weights, bits)
    to_grid = np.abs(line - values_of_grid[:, None])
    cost = by * to_grid + (line - weights[:, None]) ** 2 / 2
    np.testing.assert_allclose(stepped, line[np.argmin(cost, axis=1)], atol=1e-4)
    left = np.maximum(np.abs(weights - values_of_grid) - by, 0)
    expected = values_of_grid + np.sign(weights - values_of_grid) * left
    np.testing.assert_allclose(stepped, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bits", slow_but({4}, [2, 4, 8, 16]))
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_steps_end_on_the_grid_to_the_last_bit(bits, size, rng):
    """And stay there but for a rounding of all together; no strength changes no bit."""
    weights = (size * rng.normal(size=(20, 20))).astype(np.float32)
    grid = TowardsGrid(1.0, bits)
    once = by_tensorflow(lambda w: grid.shrunk(w, np.float32(10 * size)), weights)
    twice = by_tensorflow(lambda w: grid.shrunk(w, np.float32(10 * size)), once)
    np.testing.assert_allclose(once, nearest(weights, bits), rtol=1e-6, atol=0)
    np.testing.assert_allclose(twice, once, rtol=1e-6, atol=0)
    for found in (once, twice):
        assert_on_grid(found, bits)
    by_nothing = by_tensorflow(lambda w: grid.shrunk(w, np.float32(0)), weights)
    np.testing.assert_array_equal(by_nothing, weights)


def test_zeros_are_a_grid():
    value, gradient = by_tensorflow(with_gradient(TowardsGrid(0.5, 4)), np.zeros((2, 3)))
    assert value == 0 and not gradient.any()


def test_scheduled_ones_keep_their_bits():
    config = json.loads(json.dumps(Scheduled(TowardsGrid(0.5, bits=3), 2.0).get_config()))
    assert vars(Scheduled.from_config(config).regularizer) == {"strength": 0.5, "bits": 3}


def test_it_stays_one_where_weights_are_scaled_or_moved():
    grid = TowardsGrid(0.5, bits=3)
    assert moved.rescaled(grid, 2.0).get_config() == {"strength": 0.25, "bits": 3}
    assert moved.transformed(grid, tf.transpose) is grid


# -- in networks -----------------------------------------------------------------------------


def test_objects_in_one_variable_have_grids_of_their_own():
    model = ThreeConnections()
    model.set("regularizer", TowardsGrid(0.5, 2), TowardsGrid(0.25, 4))
    with simulator(model.net) as sim:
        weights = model.weights(sim)
        losses = nengo_wd.regularization_losses(sim)
    expected = [
        strength * np.abs(one - nearest(one, bits)).sum()
        for one, strength, bits in zip(weights, (0.5, 0.25), (2, 4))
    ]
    np.testing.assert_allclose(sorted(losses.values()), sorted(expected), rtol=1e-6)


def test_strengths_that_rise_end_on_the_grid():
    """That of each object, exactly; another in their variable is left as it is."""

    class Rising(tf.keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return tf.cast(step, tf.float32)

    model = ThreeConnections()
    grids = TowardsGrid(0.25, 3), TowardsGrid(0.25, 4)
    model.set("regularizer", *(Scheduled(grid, Rising()) for grid in grids))
    with simulator(model.net) as sim:
        optimizer = nengo_wd.proximal_regularization(sim, sgd(0.125))
        trained = model.train(sim, optimizer, epochs=30)
    for weights, grid in zip(trained, grids):
        assert_on_grid(weights, grid.bits)
    third = model.start[2] - 30 * 0.125 * model.gradient[2]
    np.testing.assert_allclose(trained[2], third, rtol=1e-6)
    assert np.sum(nearest(third, 4) != third) >= 5  # the largest may be at its place


def test_a_layer_takes_it_as_its_own():
    grid = TowardsGrid(1e3, bits=2)
    layer = nengo_wd.RegularizedDense(5, kernel_regularizer=grid, bias_regularizer=None)
    net, source, probe = network_of(layer, 4, 5)
    with simulator(net) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(0.125), proximal=True)
        (before,) = values(sim, [layer.kernel])
        data = {source: np.zeros((1, 1, 4))}, {probe: np.zeros((1, 1, 5))}
        train(sim, *data, {probe: "mse"}, optimizer)
        (kernel,) = values(sim, [layer.kernel])
    np.testing.assert_allclose(kernel, nearest(before, 2), rtol=1e-6)


def test_other_strengths_need_no_new_step_and_other_bits_do():
    model = ThreeConnections()
    model.set("regularizer", TowardsGrid(0.5, 2))
    with simulator(model.net) as sim:
        optimizer = nengo_wd.proximal_regularization(sim, sgd(0.125))
        model.set("regularizer", TowardsGrid(1e3, 2))
        optimizer.update_settings()
        trained = model.train(sim, optimizer, epochs=1)
        moved = model.start[0] - 0.125 * model.gradient[0]
        np.testing.assert_allclose(trained[0], nearest(moved, 2), rtol=1e-6)
        model.set("regularizer", TowardsGrid(0.5, 3))
        with pytest.raises(ValidationError, match="make the optimizer anew"):
            optimizer.update_settings()
