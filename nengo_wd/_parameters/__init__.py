"""Which rows of which variable belong to which Nengo object."""

from nengo_wd._parameters.objects import (
    check_layers,
    everything,
    label,
    layers,
    parameters_of,
    unique_names,
)
from nengo_wd._parameters.parameter import Parameter, values
from nengo_wd._parameters.precedence import with_setting

__all__ = [
    "Parameter",
    "check_layers",
    "everything",
    "label",
    "layers",
    "parameters_of",
    "unique_names",
    "values",
    "with_setting",
]
