"""The parameters of given objects, classes, networks or layers, and their names."""

from __future__ import annotations

import inspect
from typing import Any

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import settings
from nengo_wd._parameters.objects import why_not_trained
from nengo_wd._parameters.parameter import Parameter
from nengo_wd._seam.state import original


def select_parameters(sim: nengo_dl.Simulator, asked: Any) -> list[Parameter]:
    """Return the parameters of objects, classes, networks or layers; raise if one has none."""
    among = parameters.all_parameters(sim)
    found: dict[tuple[int, int], Parameter] = {}
    for one in asked if isinstance(asked, (list, tuple, set)) else [asked]:
        of_one = matching_parameters(among, one)
        if not of_one:
            fault = f"{one!r} stands for no parameter of {sim.model.toplevel}"
            hint = "give objects with something to train, classes or networks of them, or layers"
            why = _why_no_parameters(sim, one)
            raise ValidationError(f"{fault}: {why}; {hint}", attr="objects", obj=one)
        found.update((p.key, p) for p in of_one if p.key not in found)
    if not found:
        raise ValidationError(f"{asked!r} contains no objects to record", attr="objects")
    return list(found.values())


def recorded_by_default(
    sim: nengo_dl.Simulator, among: list[Parameter] | None = None
) -> list[Parameter]:
    """Return the parameters with a penalty of their layer, or a setting that keeps them small."""
    among = parameters.all_parameters(sim) if among is None else among
    with parameters.defaults_as_set(sim):
        found = {p.key: p for p in among if p.layer_penalty is not None}
    for name, definition in settings.SETTINGS.items():
        if definition.keeps_small:
            found.update((p.key, p) for p, _ in parameters.with_setting(sim, name))
    return list(found.values())


def names_by_key(sim: nengo_dl.Simulator) -> dict[tuple[int, int], str]:
    """Return the names of all parameters, by their keys."""
    current = parameters.all_parameters(sim, skip_later=True)
    # the ones that are recorded by default come first, so others do not change their names
    found = {p.key: p for p in [*recorded_by_default(sim, current), *current]}
    named = parameters.unique_names((parameter.name, key) for key, parameter in found.items())
    return {key: name for name, key in named.items()}


def matching_parameters(among: list[Parameter], one: Any) -> list[Parameter]:
    """Return the parameters that one object, class, network or layer stands for."""
    if isinstance(one, nengo.Network):
        inside = set(settings.members(one))
        return [parameter for parameter in among if parameter.obj in inside]
    if inspect.isclass(one):
        return [parameter for parameter in among if isinstance(parameter.obj, one)]
    if isinstance(one, (tf.Module, nengo_dl.TensorNode)):
        ids = {id(layer) for layer in parameters.layers(one)}
        return [p for p in among if id(original(p.layer)) in ids]
    # of the same type, because objects of two types may not be comparable
    return [p for p in among if type(p.obj) is type(one) and p.obj == one]


def _why_no_parameters(sim: nengo_dl.Simulator, one: Any) -> str:
    """Say why something stands for no parameters."""
    network = sim.model.toplevel
    if not isinstance(one, settings.TRAINABLE):
        return "objects like it have no parameters, or nothing to train"
    if network is None or one not in set(settings.members(network)):
        return "it is not in that network"
    return why_not_trained(sim, one) or "it has nothing to train"
