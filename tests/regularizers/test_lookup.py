import pytest

from nengo_wd.regularizers import GroupLasso, TowardsInitial


@pytest.mark.parametrize("regularizer", [TowardsInitial(0.5, 0.25), GroupLasso(0.5, axis=(0, 1))])
def test_regularizers_round_trip(regularizer):
    again = type(regularizer).from_config(regularizer.get_config())
    assert again.get_config() == regularizer.get_config()
