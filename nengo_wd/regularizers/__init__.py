"""Regularizers that Keras does not have."""

from nengo_wd.regularizers.firing_rates import FiringRates
from nengo_wd.regularizers.group_lasso import GroupLasso
from nengo_wd.regularizers.scheduled import Scheduled
from nengo_wd.regularizers.towards_initial import TowardsInitial

__all__ = ["FiringRates", "GroupLasso", "Scheduled", "TowardsInitial"]
