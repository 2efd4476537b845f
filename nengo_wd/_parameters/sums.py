"""Old place."""

from nengo_wd._parameters.parameter import norms_of_groups, sum_channels, sum_rows  # noqa: F401
