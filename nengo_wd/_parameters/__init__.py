"""Which rows of which variable belong to which Nengo object."""

from nengo_wd._parameters.objects import (
    Nodes,
    all_parameters,
    apply_defaults,
    check_layers,
    defaults_as_set,
    label,
    layers,
    parameters_of,
    replaced_defaults,
    unique_names,
    why_not_trained,
    with_setting,
)
from nengo_wd._parameters.parameter import (
    Parameter,
    parameter_values,
    sparse_places,
    trained_variables,
)

__all__ = [
    "Nodes",
    "Parameter",
    "all_parameters",
    "apply_defaults",
    "check_layers",
    "defaults_as_set",
    "label",
    "layers",
    "parameter_values",
    "parameters_of",
    "replaced_defaults",
    "sparse_places",
    "trained_variables",
    "unique_names",
    "why_not_trained",
    "with_setting",
]
