"""Which rows of which variable belong to which Nengo object."""

# ruff: noqa: F401  these names are for the rest of the package

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
    set_values,
    unique_names,
    value_keys,
    why_not_trained,
    with_setting,
)
from nengo_wd._parameters.parameter import (
    Parameter,
    parameter_values,
    sparse_places,
    trained_variables,
)
