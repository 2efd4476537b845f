"""Which parameters are meant by objects, classes, networks and layers."""

from __future__ import annotations

import inspect
from typing import Any, Iterator

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import config, parameters, penalties
from nengo_wd.parameters import Parameter


def asked_for(sim: nengo_dl.Simulator, asked: Any) -> list[Parameter]:
    """Return the trainable parameters that are meant, each of them once.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    asked : Nengo object, class, nengo.Network, tf.Module, or a list of these
        What the parameters belong to.

    Raises
    ------
    nengo.exceptions.ValidationError
        If something is not in the simulator's network, or has nothing to train.
    """
    found: dict[tuple[int, int], Parameter] = {}
    for one in asked if isinstance(asked, (list, tuple, set)) else [asked]:
        of_one = {parameter.key: parameter for parameter in _matching(sim, one)}
        if not of_one:
            raise ValidationError(
                f"{one!r} stands for no trainable parameter of {sim.model.toplevel}; give objects "
                "of that network that have something to train, their classes, networks in it, or "
                "layers of its TensorNodes",
                attr="objects",
                obj=one,
            )
        found.update((key, of_one[key]) for key in of_one if key not in found)
    return list(found.values())


def regularized_or_decayed(sim: nengo_dl.Simulator) -> list[Parameter]:
    """Return the parameters with a regularizer, their own or a setting, or a weight decay."""
    set_for = {
        parameter.key
        for name in ("regularizer", "weight_decay")
        for parameter, _ in parameters.with_setting(sim, name)
    }
    every = {parameter.key: parameter for parameter in _everything(sim)}
    return [
        parameter
        for key, parameter in every.items()
        if key in set_for or penalties.of_layer(parameter) is not None
    ]


def _matching(sim: nengo_dl.Simulator, one: Any) -> Iterator[Parameter]:
    """Yield the parameters that one object, class, network or layer stands for."""
    if isinstance(one, nengo.Network):
        inside = set(config.members(one))
        return (p for p in _everything(sim) if p.obj in inside)
    if inspect.isclass(one):
        return (p for p in _everything(sim) if isinstance(p.obj, one))
    if isinstance(one, tf.Module):
        variables = {id(variable) for variable in one.trainable_variables}
        return (p for p in _everything(sim) if id(p.variable) in variables)
    return (p for p in _everything(sim) if p.belongs_to(one))


def _everything(sim: nengo_dl.Simulator) -> Iterator[Parameter]:
    """Yield the trainable parameters of all objects in the simulator's network."""
    for obj in () if sim.model.toplevel is None else config.members(sim.model.toplevel):
        if not isinstance(obj, nengo.Probe):
            yield from parameters.of(sim, obj, min_rank=1)
