"""Values by row of a variable, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from generations import simulator, values
from networks import Ensembles

from nengo_wd import _parameters as parameters
from nengo_wd._checks import Strength
from nengo_wd._strengths import RowValues


@pytest.fixture
def sim():
    with simulator(Ensembles().net) as sim:
        yield sim


def row_values(sim, values, **kwargs):
    """Return the values by row of the variable that holds the encoders, and their number."""
    obj = sim.model.toplevel.all_ensembles[0]
    (encoders,) = parameters.parameters_of(sim, obj)
    return RowValues(sim, encoders.variable, values, **kwargs), int(encoders.variable.shape[0])


def now(sim, rows, *args):
    """Return the values at a step."""
    with sim.tensor_graph.graph.as_default() if hasattr(sim, "sess") else tf.init_scope():
        return values(sim, [rows.tensor(*args)])[0]


def test_strengths_multiply(sim):
    """Their numbers and what moves; zero, which no factor changes, does not move."""
    halved = tf.keras.optimizers.schedules.PiecewiseConstantDecay([3], [1.0, 0.5])
    moving = Strength(0.5).times(Strength.from_value(halved)).times(Strength.from_value(halved))
    rows, _ = row_values(sim, [(np.array([0]), moving)])
    assert [now(sim, rows, step)[0] for step in (2, 4)] == [0.5, 0.125]
    assert moving.ids == (id(halved), id(halved))
    assert moving.times(Strength(0.0)) == Strength(0.0)


def test_rows_without_a_value_have_zero(sim):
    rows, n_rows = row_values(sim, [(np.array([0, 2]), 0.25), (np.array([3]), 0.5)])
    expected = np.zeros(n_rows)
    expected[[0, 2, 3]] = 0.25, 0.25, 0.5
    np.testing.assert_array_equal(now(sim, rows), expected)
    rows.update_values([(np.array([1]), 1.0)])
    np.testing.assert_array_equal(now(sim, rows), np.eye(n_rows)[1])


def test_constants_cost_no_variable(sim):
    rows, n_rows = row_values(sim, [(np.array([1]), 1.0)], live=False)
    assert rows.numbers.variable is None
    np.testing.assert_array_equal(now(sim, rows), np.eye(n_rows)[1])


def test_rows_without_a_value_have_the_default(sim):
    rows, n_rows = row_values(sim, [(np.array([1]), 0.0)], unset=np.nan)
    expected = np.full(n_rows, 0.5)
    expected[1] = 0
    np.testing.assert_array_equal(now(sim, rows, None, 0.5), expected)


def test_schedules_are_for_their_rows_alone(sim):
    halved = tf.keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.5, np.nan])
    rows, n_rows = row_values(sim, [(np.array([0, 1]), halved), (np.array([2]), 0.25)])
    for step, value in ((2, 0.5), (4, np.nan)):
        expected = np.zeros(n_rows)
        expected[[0, 1, 2]] = value, value, 0.25
        with sim.tensor_graph.graph.as_default() if hasattr(sim, "sess") else tf.init_scope():
            at_step = rows.tensor(tf.constant(step))
        np.testing.assert_array_equal(values(sim, [at_step])[0], expected)
