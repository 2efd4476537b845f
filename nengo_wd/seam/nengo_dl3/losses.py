"""The losses of a simulator's Keras model."""

from __future__ import annotations

from typing import Any

import nengo_dl
import tensorflow as tf

from nengo_wd.seam import state
from nengo_wd.seam.layer_penalties import LayerPenalty, layer_penalties


def of_layers(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every penalty of the layers in ``sim.keras_model``, checked."""
    holder = state.of(sim).holder
    return [
        penalty
        for layer in sim.keras_model._flatten_layers()
        for penalty in layer_penalties(layer, skip=holder)
    ]


def hold(sim: nengo_dl.Simulator, losses: list[Any]) -> None:
    """Make these part of ``sim.keras_model.losses``, besides those of layers."""
    for loss in losses:
        loss()  # to be told now, not by Keras later, what is wrong with it
    kept = state.of(sim)
    kept.held = losses
    if losses and kept.holder is None:
        kept.holder = _Holder(kept)
        sim.tensor_graph.add_loss(kept.holder)


def holds(sim: nengo_dl.Simulator) -> bool:
    """Tell whether losses besides those of layers are part of ``sim.keras_model.losses``."""
    return bool(state.of(sim).held)


class _Holder:
    """The sum of the losses that are held when it is called."""

    def __init__(self, kept: state.SimulatorState) -> None:
        self.kept = kept

    def __call__(self) -> tf.Tensor | None:
        """Return the sum, a scalar tensor; None where there are no losses."""
        return tf.add_n([loss() for loss in self.kept.held]) if self.kept.held else None
