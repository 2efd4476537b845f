"""Weight decay, regularization and training for spikes, for NengoDL."""

from __future__ import annotations

# This import comes first: it makes NengoDL importable on TensorFlow 2.13 and later.
from nengo_wd._seam import hooks, nengo_dl

# isort: split
from nengo_wd import plotting, regularizers, search, target_norms
from nengo_wd._objectives import regularization_loss, regularization_losses, regularized_objective
from nengo_wd.converter import Converter
from nengo_wd.distributed import DistributedSimulator
from nengo_wd.energy import Energy
from nengo_wd.layers import (
    RegularizedConv1D,
    RegularizedConv2D,
    RegularizedConv3D,
    RegularizedDense,
    TimeLoopLayer,
)
from nengo_wd.learning_rules import Decay
from nengo_wd.networks import native, pruned
from nengo_wd.optimizers import (
    LayerwiseSGD,
    constrained_norms,
    decoupled_weight_decay,
    proximal_regularization,
    regularized_optimizer,
)
from nengo_wd.recording import NeuronRates, SpikeValidation, WeightNorms, spike_gap
from nengo_wd.settings import configure_settings
from nengo_wd.version import __version__  # noqa: F401

hooks.install()

__all__ = [
    "Converter",
    "Decay",
    "DistributedSimulator",
    "Energy",
    "LayerwiseSGD",
    "NeuronRates",
    "RegularizedConv1D",
    "RegularizedConv2D",
    "RegularizedConv3D",
    "RegularizedDense",
    "SpikeValidation",
    "TimeLoopLayer",
    "WeightNorms",
    "configure_settings",
    "constrained_norms",
    "decoupled_weight_decay",
    "native",
    "nengo_dl",
    "plotting",
    "proximal_regularization",
    "pruned",
    "regularization_loss",
    "regularization_losses",
    "regularized_objective",
    "regularized_optimizer",
    "regularizers",
    "search",
    "spike_gap",
    "target_norms",
]


def __dir__() -> list[str]:
    """Return the names that users may use."""
    return sorted({*__all__, "__doc__", "__file__", "__name__", "__path__", "__version__"})
