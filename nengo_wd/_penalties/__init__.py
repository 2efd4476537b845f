"""Penalties on parameters and on activities, and the objectives to which they are added."""

from nengo_wd._penalties import waking  # noqa: F401
from nengo_wd._penalties.objectives import (
    regularization_loss,
    regularization_losses,
    regularized_objective,
)

__all__ = ["regularization_loss", "regularization_losses", "regularized_objective"]
