"""What is done beside a simulator's own when it is made, compiled and trained."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable

import nengo_dl

from nengo_wd._seam import patches


def watch(watcher: Any) -> None:
    """Have the methods of ``watcher`` called for every simulator.

    They are ``made(sim)``; ``check(sim, objective, optimizer)`` and then
    ``compiled(sim, objective, optimizer)`` before it is trained; and ``check`` alone before its
    loss is computed, with None for the optimizer.
    """
    simulator = nengo_dl.Simulator
    for name, around in (("__init__", _making), ("train", _training), ("loss", _losing)):
        patches.wrap(simulator, name, "watched", functools.partial(around, watcher=watcher))


def _making(init: Callable, watcher: Any) -> Callable:
    def make(sim: Any, *args: Any, **kwargs: Any) -> None:
        init(sim, *args, **kwargs)
        watcher.made(sim)

    return make


def _training(train: Callable, watcher: Any) -> Callable:
    def train_watched(sim: Any, *args: Any, **kwargs: Any) -> Any:
        given = _given(train, sim, *args, **kwargs)
        watcher.check(sim, given.get("objective"), given["optimizer"])
        watcher.compiled(sim, given.get("objective"), given["optimizer"])
        return train(sim, *args, **kwargs)

    return train_watched


def _losing(loss: Callable, watcher: Any) -> Callable:
    def loss_watched(sim: Any, *args: Any, **kwargs: Any) -> Any:
        watcher.check(sim, _given(loss, sim, *args, **kwargs).get("objective"), None)
        return loss(sim, *args, **kwargs)

    return loss_watched


def _given(method: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return the arguments of a call by name; it raises where the call itself would."""
    return inspect.signature(method).bind(*args, **kwargs).arguments
