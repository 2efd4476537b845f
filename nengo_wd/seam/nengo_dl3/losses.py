"""The losses of a simulator's Keras model."""

from __future__ import annotations

from typing import Any

import nengo_dl
import tensorflow as tf

from nengo_wd.seam import state
from nengo_wd.seam.layer_penalties import LayerPenalty, layer_penalties, leave_out, take_back


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


def have_settings(sim: nengo_dl.Simulator) -> bool:
    """Tell whether the penalties of settings count: unless they were left out in compiling."""
    return state.of(sim).penalized is not False


def count_default(sim: nengo_dl.Simulator, layer: Any, variable: Any, counts: bool) -> None:
    """Have a layer's penalty on a variable be part of ``sim.keras_model.losses``, or not."""
    (take_back if counts else leave_out)(state.of(sim).left_out, layer, variable)


class _Holder:
    """The sum of the losses that are held when it is called, if they were compiled."""

    def __init__(self, kept: state.SimulatorState) -> None:
        self.kept = kept

    def __call__(self) -> tf.Tensor | None:
        """Return the sum, a scalar tensor; None where there are no losses."""
        if not self.kept.held or self.kept.penalized is False:
            return None
        return tf.add_n([loss() for loss in self.kept.held])
