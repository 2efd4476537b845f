"""A parameter against NengoDL's own records of its values."""

import numpy as np
import pytest
from generations import simulator
from networks import Ensembles, native_weights, parameters_of


@pytest.fixture
def model():
    return Ensembles()


def test_parameter_knows_its_values(model):
    with simulator(model.net) as sim:
        for obj, shape in ((model.conn, (2, 5)), (model.a, (5, 2)), (model.b.neurons, (6,))):
            (parameter,) = parameters_of(sim, obj)
            assert parameter.shape == parameter.value.shape == shape
            np.testing.assert_array_equal(parameter.value, native_weights(sim, obj))
            np.testing.assert_allclose(parameter.initial, native_weights(sim, obj), rtol=1e-12)
