"""Parameters by object, with the settings of the objects."""

from __future__ import annotations

from typing import Any, Iterator

import nengo
import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import settings
from nengo_wd.parameters import native, tensor_nodes
from nengo_wd.parameters.parameter import Parameter

MIN_RANK = {"learning_rate": 1, "momentum": 1}  # of a TensorNode's variables with the setting


def of(
    sim: nengo_dl.Simulator, obj: Any, min_rank: int = 2, frozen: bool = False
) -> Iterator[Parameter]:
    """Yield the trainable parameters of an object; none where it has nothing to train.

    Of a TensorNode, they are the variables of ``min_rank`` or more; with ``frozen`` also those
    that are penalized but not trained.
    """
    if isinstance(obj, nengo_dl.TensorNode):
        yield from tensor_nodes.of_node(sim, obj, min_rank, frozen)
    elif isinstance(obj, tuple(native.KINDS)) and native.why_none(sim, obj) is None:
        yield native.of_signal(sim, obj)


def everything(sim: nengo_dl.Simulator, skip_later: bool = False) -> list[Parameter]:
    """Return the parameters of all objects in the simulator's network, each of them once.

    With ``skip_later``, what a later simulator has built again is left out.
    """
    objects = [] if sim.model.toplevel is None else settings.members(sim.model.toplevel)
    found: dict[tuple[int, int], Parameter] = {}
    for obj in objects:
        is_node = isinstance(obj, nengo_dl.TensorNode)
        if not (skip_later and is_node) or tensor_nodes.is_current(sim, obj):
            for parameter in of(sim, obj, min_rank=1, frozen=True):
                found.setdefault(parameter.key, parameter)
    return list(found.values())


def why_none(sim: nengo_dl.Simulator, obj: Any) -> str | None:
    """Say why an object has nothing to train, or return None if it has something."""
    if isinstance(obj, nengo_dl.TensorNode):
        return "its function has no trainable weights of rank 2 or more"
    return native.why_none(sim, obj)


def with_setting(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Any]]:
    """Return each parameter for whose object a setting was made, with the setting's value.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a setting on an object itself has nothing to work on, or TensorNodes that share
        a layer have different settings.
    """
    found: dict[tuple[int, int], tuple[Parameter, Any]] = {}
    if sim.model.toplevel is None:
        return []
    for setting in settings.look_up(sim.model.toplevel, name):
        if isinstance(setting.obj, nengo.Probe):
            continue  # has activity, and no parameters
        parameters = list(of(sim, setting.obj, MIN_RANK.get(name, 2)))
        if setting.own and not parameters and not sim.tensor_graph.inference_only:
            raise ValidationError(
                f"{setting.obj} has a {name}, but {why_none(sim, setting.obj)}",
                attr=name,
                obj=setting.obj,
            )
        for parameter in parameters:
            other, value = found.setdefault(parameter.key, (parameter, setting.value))
            if not _same(value, setting.value):
                raise ValidationError(
                    f"{parameter.name} is shared by {other.obj} and {setting.obj}, which have "
                    f"different settings for {name}; give both the same",
                    attr=name,
                    obj=setting.obj,
                )
    return list(found.values())


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and one.get_config() == other.get_config()
    except (AttributeError, NotImplementedError, TypeError):  # no configuration to compare
        return bool(one == other)
