"""Which rows of which variable belong to which Nengo object."""

from nengo_wd._parameters.objects import (
    all_parameters,
    check_layers,
    label,
    layers,
    parameters_of,
    unique_names,
)
from nengo_wd._parameters.parameter import Parameter, parameter_values
from nengo_wd._parameters.precedence import with_setting

__all__ = [
    "Parameter",
    "check_layers",
    "all_parameters",
    "label",
    "layers",
    "parameter_values",
    "parameters_of",
    "unique_names",
    "with_setting",
]
