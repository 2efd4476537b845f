"""Optimizers that use the settings of objects."""

from nengo_wd.optimizers.all_steps import regularized_optimizer
from nengo_wd.optimizers.constrained import constrained_norms
from nengo_wd.optimizers.decay import decoupled_weight_decay
from nengo_wd.optimizers.layerwise import LayerwiseSGD
from nengo_wd.optimizers.proximal import proximal_regularization

__all__ = [
    "LayerwiseSGD",
    "constrained_norms",
    "decoupled_weight_decay",
    "proximal_regularization",
    "regularized_optimizer",
]
