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
