"""Columns of the tables against NumPy."""

import by_hand
import numpy as np
import pytest
from generations import simulator
from nengo.exceptions import ValidationError
from networks import EveryParameter, native_weights

import nengo_wd
from nengo_wd.recording.measurement import COLUMNS


@pytest.fixture(scope="module")
def recorded():
    """Return records of connections that differ in number and shape of their channels."""
    model = EveryParameter()
    model.net.config[model.readout].regularizer = nengo_wd.regularizers.GroupLasso(0.5, axis=None)
    objects = [model.readout, model.full, model.a]
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=objects)
        norms.record()
        norms.record(loss=8.0)
        weights = [np.asarray(native_weights(sim, obj), np.float64) for obj in objects]
    return norms, weights


def lasso(weights):
    """Return the penalty on the readout, the only one."""
    return 0.5 * np.sqrt(weights[0].size) * by_hand.norm(weights[0])


EXPECTED = {
    "norm": lambda weights: [by_hand.norm(w) for w in weights],
    "channel_mean": lambda weights: [by_hand.norm(w, axis=1).mean() for w in weights],
    "channel_max": lambda weights: [by_hand.norm(w, axis=1).max() for w in weights],
    "penalty": lambda weights: [lasso(weights), 0, 0],
    "share": lambda weights: [lasso(weights) / 8, 0, 0],
    "multiplier": lambda weights: [np.nan] * 3,  # there are target norms in tests of these
    "target_norm": lambda weights: [np.nan] * 3,
    "zeros": lambda weights: [np.mean(w == 0) for w in weights],
    "zero_channels": lambda weights: [np.mean(np.all(w == 0, axis=1)) for w in weights],
}


@pytest.mark.parametrize("name", [column.name for column in COLUMNS])
def test_column_equals_numpy(name, recorded):
    norms, weights = recorded
    column = norms.column(name)
    assert column.shape == (2, 3)
    np.testing.assert_allclose(column[1], EXPECTED[name](weights), rtol=1e-6)
    in_table = [getattr(row, name) for row in norms.rows()]
    np.testing.assert_array_equal(in_table, column.ravel())


def test_share_of_an_unknown_loss_is_unknown(recorded):
    norms, _ = recorded
    assert np.isnan(norms.column("share")[0]).all()


def test_column_that_there_is_not(recorded):
    norms, _ = recorded
    with pytest.raises(ValidationError, match="'nrom' is not a column; there are .*'norm'"):
        norms.column("nrom")
