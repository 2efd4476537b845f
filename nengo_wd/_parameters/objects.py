"""Parameters by object, with the settings of the objects."""

from __future__ import annotations

from typing import Any, Iterator

import nengo
import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import settings
from nengo_wd._parameters import defaults, native, tensor_nodes
from nengo_wd._parameters.parameter import Parameter

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


def everything(
    sim: nengo_dl.Simulator, skip_later: bool = False, kind: type = object, frozen: bool = True
) -> list[Parameter]:
    """Return the parameters of all objects in the simulator's network, each of them once.

    With ``skip_later``, what a later simulator has built again is left out. With ``kind``, only
    objects of that class are looked at. Without ``frozen``, what is penalized but not trained is
    left out.
    """
    objects = [] if sim.model.toplevel is None else settings.members(sim.model.toplevel)
    found: dict[tuple[int, int], Parameter] = {}
    for obj in (obj for obj in objects if isinstance(obj, kind)):
        is_node = isinstance(obj, nengo_dl.TensorNode)
        if not (skip_later and is_node) or tensor_nodes.is_current(sim, obj):
            for parameter in of(sim, obj, min_rank=1, frozen=frozen):
                found.setdefault(parameter.key, parameter)
    return list(found.values())


def without_frozen(
    sim: nengo_dl.Simulator, found: list[tuple[Parameter, Any]]
) -> list[tuple[Parameter, Any]]:
    """Return parameters with what is known of each, but for the weights of frozen layers."""
    in_layers = everything(sim, kind=nengo_dl.TensorNode, frozen=False)
    trained = {parameter.key for parameter in in_layers}
    return [(one, known) for one, known in found if one.layer is None or one.key in trained]


def why_none(sim: nengo_dl.Simulator, obj: Any) -> str | None:
    """Say why an object has nothing to train, or return None if it has something."""
    if isinstance(obj, nengo_dl.TensorNode):
        return "its function has no trainable weights of rank 2 or more"
    return native.why_none(sim, obj)


def with_setting(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Any]]:
    """Return each parameter for whose object a setting was made, with the setting's value.

    A regularizer that was given to a layer wins over those of classes and networks. None given
    to a layer is no regularizer: settings hold.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a setting on an object itself has nothing to work on, TensorNodes that share
        a layer have different settings, a layer and its TensorNode have regularizers of their
        own, or an object was removed from the network.
    """
    found = _settings(sim, name)
    if name == "regularizer":
        with defaults.as_set(sim):
            found = [(one, setting) for one, setting in found if _holds_beside_layer(one, setting)]
    return [(one, setting.value) for one, setting in found if setting.value is not None]


def _holds_beside_layer(parameter: Parameter, setting: settings.Setting) -> bool:
    """Tell whether a regularizer holds, and not what the layer of the parameter was given."""
    if parameter.layer_penalty is not None and setting.own:
        raise ValidationError(
            f"layer {parameter.layer.name!r} was given a regularizer for {parameter.name}, and its "
            f"{setting.obj} has a setting of its own, {setting.value}; leave one of them out",
            attr="regularizer",
            obj=setting.obj,
        )
    return parameter.layer_penalty is None


def _settings(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, settings.Setting]]:
    """Return each parameter with the setting that was made for its object, None included."""
    found: dict[tuple[int, int], tuple[Parameter, settings.Setting]] = {}
    if not settings.is_configured(sim.model.toplevel):
        return []
    _check_not_removed(sim)
    for setting in settings.look_up(sim.model.toplevel, name):
        if isinstance(setting.obj, nengo.Probe):
            continue  # has activity, and no parameters
        if setting.value is None and not isinstance(setting.obj, nengo_dl.TensorNode):
            continue  # asks for nothing, of a parameter that no other object shares
        parameters = list(of(sim, setting.obj, MIN_RANK.get(name, 2)))
        if setting.value is None and not parameters:
            continue  # asks for nothing
        if setting.own and not parameters and not sim.tensor_graph.inference_only:
            raise ValidationError(
                f"{setting.obj} has a {name}, but {why_none(sim, setting.obj)}",
                attr=name,
                obj=setting.obj,
            )
        for parameter in parameters:
            other, first = found.setdefault(parameter.key, (parameter, setting))
            if not _same(first.value, setting.value):
                raise ValidationError(
                    f"{parameter.name} is shared by {other.obj} and {setting.obj}, which have "
                    f"different settings for {name}; give both the same",
                    attr=name,
                    obj=setting.obj,
                )
            if setting.own:
                found[parameter.key] = other, setting
    return list(found.values())


def _check_not_removed(sim: nengo_dl.Simulator) -> None:
    """Raise if an object was removed from the network after the simulator was built."""
    inside = set(settings.members(sim.model.toplevel))
    for obj in sim.model.params:
        of_probe = isinstance(getattr(obj, "post_obj", None), nengo.Probe)  # made by the builder
        if isinstance(obj, settings.CLASSES) and not of_probe and obj not in inside:
            raise ValidationError(
                f"{obj} was removed from {sim.model.toplevel} after the simulator was built, which "
                "still has it; make a simulator anew",
                attr="network",
                obj=obj,
            )


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and one.get_config() == other.get_config()
    except (AttributeError, NotImplementedError, TypeError):  # no configuration to compare
        return bool(one == other)
