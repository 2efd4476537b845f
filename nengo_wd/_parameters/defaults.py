"""Old place."""

from nengo_wd._parameters import precedence
from nengo_wd._parameters.objects import check_layers  # noqa: F401

Nodes = precedence.Nodes
as_set = precedence.defaults_as_set
replaced = precedence.replaced_defaults
settle = precedence.settle_defaults
