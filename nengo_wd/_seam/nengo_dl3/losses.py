"""The losses of a simulator's Keras model."""

from __future__ import annotations

import functools
import weakref
from typing import Any, Callable

import nengo_dl
import tensorflow as tf

from nengo_wd import _clock as clock
from nengo_wd._seam import state
from nengo_wd._seam.layer_penalties import (
    LayerPenalty,
    is_on_variable,
    layer_penalties,
    leave_out,
    take_back,
)
from nengo_wd._seam.nengo_dl3.values import step_counter, training_step


def of_layers(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every penalty of the layers in ``sim.keras_model``, checked."""
    holder = state.of(sim).holder
    with clock.at(training_step(sim)):
        return [
            penalty
            for layer in sim.keras_model._flatten_layers()
            for penalty in layer_penalties(layer, skip=holder)
        ]


def bind(sim: nengo_dl.Simulator) -> None:
    """Have the penalties of layers know the training step of their simulator."""
    reference = weakref.ref(sim)  # or the user's layers would keep the simulator alive
    for layer in sim.keras_model._flatten_layers():
        functions = [
            functools.partial(_bound, function, reference, is_on_variable(function))
            for function in layer._callable_losses
        ]
        vars(layer)["_callable_losses"] = functions  # or Keras would track them


def _bound(function: Callable, reference: weakref.ref, on_variable: bool) -> tf.Tensor | None:
    """Return the penalty that ``function`` returns, in a simulator; None where it is a step."""
    sim = reference()
    if sim is not None and on_variable and state.is_proximal(sim):
        return None
    with clock.at(None if sim is None else step_counter(sim)):
        return function()


def hold(sim: nengo_dl.Simulator, losses: list[Any]) -> None:
    """Have a place for these in ``sim.keras_model.losses``, besides those of layers."""
    with clock.at(training_step(sim)):
        for loss in losses:
            loss()  # to be told now, not by Keras later, what is wrong with it
    kept = state.of(sim)
    if losses and kept.holder is None:
        kept.holder = _Holder(sim, kept)
        sim.tensor_graph.add_loss(kept.holder)


def is_compiled(sim: nengo_dl.Simulator) -> bool:
    """Tell whether what counts was compiled, so that objectives made later don't change it."""
    return state.of(sim).penalized is not None


def have_settings(sim: nengo_dl.Simulator) -> bool:
    """Tell whether the penalties of settings count: unless they were left out in compiling."""
    return state.of(sim).penalized is not False


def leave_out_parameters(sim: nengo_dl.Simulator) -> None:
    """Have no penalty on a parameter be among the losses from the next compiling on.

    In a simulator that was not compiled yet, that is at once.
    """
    kept = state.of(sim)
    kept.proximal = True
    kept.left_out_parameters = kept.left_out_parameters or not is_compiled(sim)


def count_default(sim: nengo_dl.Simulator, layer: Any, variable: Any, counts: bool) -> None:
    """Have a layer's penalty on a variable be part of ``sim.keras_model.losses``, or not."""
    (take_back if counts else leave_out)(state.of(sim).left_out, layer, variable)


class _Holder:
    """The sum of the penalties on parameters that count when it is called."""

    def __init__(self, sim: nengo_dl.Simulator, kept: state.SimulatorState) -> None:
        self.sim, self.kept = sim, kept

    def __call__(self) -> tf.Tensor | None:
        """Return the sum, a scalar tensor; None where there are no losses."""
        installed = self.kept.installed
        if installed is None or self.kept.left_out_parameters or not installed.terms.expressions:
            return None
        with clock.at(step_counter(self.sim)):
            return tf.add_n([loss() for loss in installed.terms.expressions])
