"""Regularizers that Keras does not have."""

import sys as _sys

from nengo_wd.regularizers.firing_rates import FiringRates
from nengo_wd.regularizers.forms import Scheduled
from nengo_wd.regularizers.grid import TowardsGrid
from nengo_wd.regularizers.weights import GroupLasso, TowardsInitial

__all__ = ["FiringRates", "GroupLasso", "Scheduled", "TowardsGrid", "TowardsInitial"]

for _name in ("group_lasso", "scheduled", "towards_initial"):  # in older pickles and configurations
    _sys.modules[f"{__name__}.{_name}"] = _sys.modules[__name__]
