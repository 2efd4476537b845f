"""Old place."""

from nengo_wd._checks import Loss, Objective, Rate, Regularizer  # noqa: F401
