"""Wrappers of methods of NengoDL 2's simulator and TensorGraph, saving, and builders."""

from __future__ import annotations

import inspect
from typing import Any, Callable

import nengo_dl
import tensorflow as tf

from nengo_wd._seam.builders import DecayOperators
from nengo_wd._seam.nengo_dl2.values import state_variable

AXIS = 0  # of neurons, in what is of shape (size, minibatch_size)
GATHERING = {"force_copy": True}  # options with which NengoDL gathers signals

# -- wrappers, see `hooks` -----------------------------------------------------------------


def _make(init: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> None:
    init(*args, **kwargs)
    watcher.prepare(sim)


def _train(train: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> Any:
    given = _given(train, *args, **kwargs)
    watcher.check(sim, given.get("objective"), given["optimizer"])
    watcher.compiled(sim, given.get("objective"), given["optimizer"])
    return train(*args, **kwargs)


def _loss(loss: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> Any:
    watcher.check(sim, _given(loss, *args, **kwargs).get("objective"), None)
    return loss(*args, **kwargs)


def _given(method: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a call by name; it raises where the call itself would."""
    return inspect.signature(method).bind(*args, **kwargs).arguments


def _build_step(build: Callable, watcher: Any, graph: Any, *args: Any, **kwargs: Any) -> Any:
    recorded, side_effects = build(*args, **kwargs)
    return watcher.woken(graph, recorded), side_effects


# -- saving --------------------------------------------------------------------------------


def writes(sim: nengo_dl.Simulator) -> bool:
    """Tell whether a simulator writes files."""
    return True


def keep_initial(
    sim: nengo_dl.Simulator, variable: tf.Variable, values: Any
) -> tuple[tf.Variable, Any]:
    """Return a variable with the initial values of another one.

    Also return what to give as ``values`` for the next simulator: the values, since
    a variable is of one simulator's graph.
    """
    return state_variable(sim, values), values


# -- the time loop -------------------------------------------------------------------------


class DecayBuilder(DecayOperators):
    """Builds a group of operators of decaying weights as one; the minibatch is the last axis."""

    axis = AXIS

    def __init__(self, ops: Any, signals: Any, config: Any) -> None:
        super().__init__(ops, signals, config)
        self.combine(ops, signals, signals.constant)
