"""Which settings hold: those of objects, of classes and of layers, and the defaults of layers."""

from __future__ import annotations

import contextlib
from typing import Any, FrozenSet, Iterator

import nengo
import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._parameters.objects import check_layers, layers, parameters_of, why_not_trained
from nengo_wd._parameters.parameter import Parameter
from nengo_wd._seam import state
from nengo_wd.layers import defaults
from nengo_wd.settings import SETTINGS, Setting

Nodes = FrozenSet[nengo_dl.TensorNode]


def with_setting(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Any]]:
    """Return each parameter whose object has a setting, with the value.

    A regularizer that was given to a layer wins over those of classes and networks; a layer's None
    does not. Settings that contradict each other raise a ``ValidationError``, and so does an
    object's own setting if the object has nothing to train.
    """
    found = _set_parameters(sim, name)
    if name == "regularizer":
        with defaults_as_set(sim):
            found = [(one, setting) for one, setting in found if _holds_beside_layer(one, setting)]
    return [(one, setting.value) for one, setting in found if setting.value is not None]


def _set_parameters(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Setting]]:
    """Return each parameter with the setting that was made for its object, None included."""
    if not settings.is_configured(sim.model.toplevel):
        return []
    _check_not_removed(sim)
    found: dict[tuple[int, int], tuple[Parameter, Setting]] = {}
    for setting in settings.look_up(sim.model.toplevel, name, settings.TRAINABLE):
        for parameter in _parameters_with(sim, name, setting):
            other, first = found.setdefault(parameter.key, (parameter, setting))
            if not _is_same(first.value, setting.value):
                raise ValidationError(
                    f"{parameter.name} is shared by {other.obj} and {setting.obj}, which have "
                    f"different settings for {name}; give both the same",
                    attr=name,
                    obj=setting.obj,
                )
            if setting.own:
                found[parameter.key] = other, setting
    return list(found.values())


def _parameters_with(sim: nengo_dl.Simulator, name: str, setting: Setting) -> list[Parameter]:
    """Return the parameters that a setting applies to; raise if an object's own applies to none."""
    is_none = setting.value is None
    if is_none and not isinstance(setting.obj, nengo_dl.TensorNode):
        return []  # None asks for nothing; native parameters are not shared
    least_rank = 2 if SETTINGS[name].keeps_small else 1  # of the weights of layers
    found = [
        parameter
        for parameter in parameters_of(sim, setting.obj)
        if parameter.is_trained and (parameter.layer is None or len(parameter.shape) >= least_rank)
    ]
    if not (found or is_none) and setting.own and not sim.tensor_graph.inference_only:
        raise ValidationError(
            f"{setting.obj} has a {name}, but {why_not_trained(sim, setting.obj)}",
            attr=name,
            obj=setting.obj,
        )
    return found


def _holds_beside_layer(parameter: Parameter, setting: Setting) -> bool:
    """Tell whether a setting counts beside the layer's own regularizer; raise if they conflict."""
    if parameter.layer_penalty is not None and setting.own:
        raise ValidationError(
            f"layer {parameter.layer.name!r} was given a regularizer for {parameter.name}, and its "
            f"{setting.obj} has a setting of its own, {setting.value}; leave one of them out",
            attr="regularizer",
            obj=setting.obj,
        )
    return parameter.layer_penalty is None


def _check_not_removed(sim: nengo_dl.Simulator) -> None:
    """Raise if an object was removed from the network after the simulator was built."""
    inside = set(settings.members(sim.model.toplevel))
    for obj in sim.model.params:
        of_probe = isinstance(getattr(obj, "post_obj", None), nengo.Probe)  # made by the builder
        can_have = isinstance(obj, (*settings.TRAINABLE, nengo.Probe)) and not of_probe
        if can_have and obj not in inside:
            raise ValidationError(
                f"{obj} was removed from {sim.model.toplevel} after the simulator was built, which "
                "still has it; make a simulator anew",
                attr="network",
                obj=obj,
            )


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and one.get_config() == other.get_config()
    except (AttributeError, NotImplementedError, TypeError):  # no configuration to compare
        return bool(one == other)


def replaced_defaults(sim: nengo_dl.Simulator) -> Nodes:
    """Return the TensorNodes whose settings replace the default penalties of layers, as of now."""
    network = sim.model.toplevel
    found = (
        setting
        for name, definition in SETTINGS.items()
        if definition.replaces_default and network is not None
        for setting in settings.look_up(network, name, nengo_dl.TensorNode, check=False)
        if definition.none_replaces or setting.value is not None
    )
    return frozenset(setting.obj for setting in found)


def apply_defaults(sim: nengo_dl.Simulator, without: Nodes | None = None) -> None:
    """Count the default penalties of all layers, except those in the TensorNodes ``without``.

    If that is None, these are the TensorNodes whose settings replace defaults now.
    """
    check_layers(sim)
    if not settings.is_configured(sim.model.toplevel):
        return
    without = state.simulator_state(sim).replaced = (
        replaced_defaults(sim) if without is None else without
    )
    members = settings.members(sim.model.toplevel)
    nodes = [node for node in members if isinstance(node, nengo_dl.TensorNode)]
    replaced = {id(layer) for node in without for layer in layers(node, sim)}
    for layer in (layer for node in nodes for layer in layers(node, sim)):
        for variable in defaults.variables_with_default(layer):
            seam.training.count_default(sim, layer, variable, id(layer) not in replaced)


@contextlib.contextmanager
def defaults_as_set(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Apply the current settings to default penalties in the body.

    Afterwards, they count as before, if an objective has fixed which of them count.
    """
    kept = state.simulator_state(sim)
    is_fixed = kept.installed is not None or seam.training.is_compiled(sim)
    before = kept.replaced
    apply_defaults(sim)
    try:
        yield
    finally:
        if is_fixed:
            apply_defaults(sim, before)
