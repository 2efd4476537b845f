"""The penalty on rates, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from by_hand import rate_penalty

from nengo_wd.regularizers import FiringRates

RANGES = [
    dict(minimum=10, maximum=30, l1=0.5),
    dict(minimum=10, maximum=30, l2=0.25, percentile=99),
    dict(maximum=20, l1=0.5, l2=0.25, percentile=37.5),
    dict(minimum=30, l1=0.5, l2=0.25),
    dict(minimum=15, maximum=15, l2=1.0, percentile=0),
    dict(minimum=15, maximum=15, l2=1.0, percentile=100),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arguments", RANGES)
@pytest.mark.parametrize("n_examples", [1, 6])
def test_penalty(arguments, dtype, n_examples, rng):
    rates = rng.uniform(0, 50, size=(n_examples, 4)).astype(dtype)
    penalty = tf.keras.backend.get_value(FiringRates(**arguments).of_rates(tf.constant(rates)))
    assert penalty.dtype == dtype and penalty.shape == ()
    rel = {"float32": 1e-5, "float64": 1e-12}[dtype]
    assert penalty == pytest.approx(rate_penalty(rates, **arguments), rel=rel)


def test_gradient_of_a_percentile():
    """It is that of the two nearest examples, as far from the percentile as they are weighted."""
    rates = np.array([[1.0], [4.0], [2.0], [8.0]])
    regularizer = FiringRates(maximum=1, l1=1.0, percentile=75)  # 4 + 0.25 * (8 - 4)

    def gradient():
        tensor = tf.constant(rates)
        return tf.gradients(regularizer.of_rates(tensor), tensor)[0]

    found = tf.keras.backend.get_value(tf.function(gradient)())
    np.testing.assert_allclose(found, [[0], [0.75], [0], [0.25]], atol=1e-12)


def test_configuration():
    regularizer = FiringRates(np.float32(5), 20, l1=0.1, l2=0.2, percentile=np.int64(90))
    expected = dict(minimum=5.0, maximum=20.0, l1=0.1, l2=0.2, percentile=90.0)
    assert regularizer.get_config() == expected
    assert FiringRates.from_config(expected).get_config() == expected
