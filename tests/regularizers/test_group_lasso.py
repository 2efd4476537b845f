import json
import pickle

import numpy as np
import pytest
import tensorflow as tf

from nengo_wd.regularizers import GroupLasso


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 1), None])
def test_group_lasso_equals_numpy(axis):
    weights = np.random.RandomState(0).uniform(-1, 1, size=(4, 3))
    weights[1] = 0
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        tensor = tf.constant(weights)
        penalty = GroupLasso(0.5, axis)(tensor)
        value, gradient = sess.run([penalty, tf.gradients(penalty, tensor)[0]])
    over = {0: 1, 1: 0, -1: 0, (0, 1): (), None: (0, 1)}[axis]
    norms = np.sqrt(np.sum(weights**2, axis=over, keepdims=True))
    scale = 0.5 * np.sqrt(weights.size / norms.size)
    assert value == pytest.approx(scale * norms.sum(), rel=1e-12)
    direction = np.divide(weights, norms, where=norms > 0, out=np.zeros_like(weights))
    np.testing.assert_allclose(gradient, scale * direction, rtol=1e-12)


@pytest.mark.parametrize("size", [1e-25, 1e20, 1e37])
def test_squares_that_float32_does_not_hold(size):
    """Norm, gradient and step are those of float64."""
    weights = np.float32(size) * np.array([[3, -4], [0, 0], [5, 12]], np.float32)
    norms = np.linalg.norm(weights.astype(np.float64), axis=1)
    lasso, by = GroupLasso(0.5), 10 * size
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        tensor = tf.constant(weights)
        penalty = lasso(tensor)
        found = sess.run([penalty, tf.gradients(penalty, tensor)[0], lasso.shrunk(tensor, by)])
    scale = np.sqrt(2)
    directions = weights / np.maximum(norms, 1e-300)[:, None]
    shrunk = directions * np.maximum(norms - by * scale, 0)[:, None]
    assert [one.dtype for one in found] == [np.float32] * 3
    for one, other in zip(found, (0.5 * scale * norms.sum(), 0.5 * scale * directions, shrunk)):
        np.testing.assert_allclose(one, other, rtol=1e-6)


CONFIGS = [
    (GroupLasso(0.5), {"strength": 0.5, "axis": 0}),
    (GroupLasso(0.5, None), {"strength": 0.5, "axis": None}),
    (GroupLasso(0.5, 1, costs=np.arange(2)), {"strength": 0.5, "axis": 1, "costs": [0.0, 1.0]}),
    (GroupLasso(0.5, groups="inputs"), {"strength": 0.5, "groups": "inputs"}),
    (
        GroupLasso(0.5, groups="outputs", costs=(1, 0.25)),
        {"strength": 0.5, "groups": "outputs", "costs": [1.0, 0.25]},
    ),
]


@pytest.mark.parametrize("lasso, config", CONFIGS)
def test_copies(lasso, config):
    """Those of a configuration, also as text, and those of a pickle."""
    assert lasso.get_config() == config
    again = GroupLasso.from_config(json.loads(json.dumps(config)))
    for copy in (again, pickle.loads(pickle.dumps(lasso))):
        assert vars(copy) == vars(lasso)


def test_pickles_that_know_no_groups():
    older = GroupLasso(0.5, axis=1)
    del vars(older)["groups"], vars(older)["costs"]
    again = pickle.loads(pickle.dumps(older))
    assert again.get_config() == {"strength": 0.5, "axis": 1}
    weights = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    assert tf.keras.backend.get_value(again(weights)) == pytest.approx(0.5 * np.sqrt(2) * 5)
