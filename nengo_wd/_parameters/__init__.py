"""Which rows of which variable belong to which Nengo object."""

from nengo_wd._parameters.objects import (
    everything,
    of,
    why_none,
    with_setting,
    without_frozen,
)
from nengo_wd._parameters.parameter import Parameter, values
from nengo_wd._parameters.tensor_nodes import layers

__all__ = [
    "Parameter",
    "everything",
    "layers",
    "of",
    "values",
    "why_none",
    "with_setting",
    "without_frozen",
]
