"""Networks that are made from trained ones."""

from nengo_wd.networks.made import MadeNetwork
from nengo_wd.networks.native import native
from nengo_wd.networks.pruning import pruned

__all__ = ["MadeNetwork", "native", "pruned"]
