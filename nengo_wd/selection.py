"""Which parameters are meant by objects, classes, networks and layers, and their names."""

from __future__ import annotations

import inspect
from typing import Any

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import config, names, parameters, penalties
from nengo_wd.parameters import Parameter


def asked_for(sim: nengo_dl.Simulator, asked: Any) -> list[Parameter]:
    """Return the parameters that are meant, each of them once.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    asked : Nengo object, class, nengo.Network, tf.Module, or a list of these
        What the parameters belong to.

    Raises
    ------
    nengo.exceptions.ValidationError
        If nothing was asked for, or something that is not in the simulator's network, or
        has nothing to train.
    """
    everything = _everything(sim)
    found: dict[tuple[int, int], Parameter] = {}
    for one in asked if isinstance(asked, (list, tuple, set)) else [asked]:
        of_one = matching(everything, one)
        if not of_one:
            raise ValidationError(
                f"{one!r} stands for no parameter of {sim.model.toplevel}: "
                f"{_why_none(sim, one)}; give objects that have something to train, classes or "
                "networks of them, or layers",
                attr="objects",
                obj=one,
            )
        found.update((p.key, p) for p in of_one if p.key not in found)
    if not found:
        raise ValidationError(f"{asked!r} holds no objects to record", attr="objects")
    return list(found.values())


def regularized_or_decayed(sim: nengo_dl.Simulator) -> list[Parameter]:
    """Return the parameters with a regularizer, their own or a setting, or a weight decay."""
    return _regularized_or_decayed(sim, _everything(sim))


def names_by_key(sim: nengo_dl.Simulator) -> dict[tuple[int, int], str]:
    """Return the names of all parameters, by their keys.

    Of those with equal labels, the ones that are regularized come first, and so keep their
    names whatever else is in the network.
    """
    everything = _everything(sim, skip_later=True)
    found = {p.key: p for p in [*_regularized_or_decayed(sim, everything), *everything]}
    named = names.unique((parameter.name, key) for key, parameter in found.items())
    return {key: name for name, key in named.items()}


def _regularized_or_decayed(
    sim: nengo_dl.Simulator, everything: list[Parameter]
) -> list[Parameter]:
    found = {p.key: p for p in everything if penalties.of_layer(p)}
    for name in ("regularizer", "weight_decay"):
        found.update((p.key, p) for p, _ in parameters.with_setting(sim, name))
    return list(found.values())


def matching(among: list[Parameter], one: Any) -> list[Parameter]:
    """Return the parameters that one object, class, network or layer stands for."""
    if isinstance(one, nengo.Network):
        inside = set(config.members(one))
        return [parameter for parameter in among if parameter.obj in inside]
    if inspect.isclass(one):
        return [parameter for parameter in among if isinstance(parameter.obj, one)]
    if isinstance(one, (tf.Module, nengo_dl.TensorNode)):
        layers = {id(layer) for layer in parameters.layers(one)}
        return [parameter for parameter in among if id(parameter.layer) in layers]
    # of the same type, because others may not be fit to be compared
    return [p for p in among if type(p.obj) is type(one) and p.obj == one]


def _why_none(sim: nengo_dl.Simulator, one: Any) -> str:
    """Say why something stands for no parameters."""
    network = sim.model.toplevel
    if not isinstance(one, config.TRAINABLE):
        return "it is nothing that could have any, or has nothing to train"
    if network is None or one not in set(config.members(network)):
        return "it is not in that network"
    return parameters.why_none(sim, one) or "it has nothing to train"


def _everything(sim: nengo_dl.Simulator, skip_later: bool = False) -> list[Parameter]:
    """Return the parameters of all objects in the simulator's network, each of them once.

    With ``skip_later``, what a later simulator has built again is left out.
    """
    objects = [] if sim.model.toplevel is None else config.members(sim.model.toplevel)
    found: dict[tuple[int, int], Parameter] = {}
    for obj in objects:
        if not skip_later or parameters.is_current(sim, obj):
            for parameter in parameters.of(sim, obj, min_rank=1, frozen=True):
                found.setdefault(parameter.key, parameter)
    return list(found.values())
