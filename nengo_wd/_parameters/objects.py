"""The parameters of Nengo objects, and which settings and defaults of layers hold for them."""

from __future__ import annotations

import collections
import contextlib
from typing import Any, FrozenSet, Iterable, Iterator

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._checks import is_number
from nengo_wd._parameters.parameter import Parameter, trained_variables
from nengo_wd._seam import state
from nengo_wd._seam.keras2 import variable_name, variable_penalties
from nengo_wd.layers import defaults
from nengo_wd.regularizers.forms import value_key
from nengo_wd.settings import Setting

Nodes = FrozenSet[nengo_dl.TensorNode]

KINDS = {  # the trainable parameter of each class, and the signal that holds it
    nengo.Connection: ("weights", "weights"),
    nengo.Ensemble: ("encoders", "encoders"),
    nengo.ensemble.Neurons: ("biases", "bias"),
}


def label(obj: Any) -> str:
    """Return the label of an object, or one from its class or from the ends that it connects."""
    if isinstance(obj, nengo.ensemble.Neurons):
        return label(obj.ensemble)
    if getattr(obj, "label", None) is not None:
        return obj.label
    if isinstance(obj, nengo.Connection):
        return f"{label(obj.pre_obj)}->{label(obj.post_obj)}"
    return type(obj).__name__.lower()


def unique_names(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Append numbers to names that occur twice, as TensorFlow does: a, a_1, a_2."""
    found: dict[str, Any] = {}
    counts: dict[str, int] = collections.Counter()
    for name, value in named:
        candidate = name
        while candidate in found:
            counts[name] += 1
            candidate = f"{name}_{counts[name]}"
        found[candidate] = value
    return found


def parameters_of(sim: nengo_dl.Simulator, obj: Any) -> Iterator[Parameter]:
    """Yield the parameters of an object: of a TensorNode, those that are trained or penalized."""
    if isinstance(obj, nengo_dl.TensorNode):
        variables = (one for one in _variables(sim, obj) if one.shape.rank > 0)
        yield from (_layer_parameter(sim, obj, variable) for variable in variables)
    elif isinstance(obj, tuple(KINDS)) and why_not_trained(sim, obj) is None:
        kind, signal = _kind_and_signal(sim, obj)
        variable, rows, shape = seam.values.base_rows(sim, signal)
        yield Parameter(sim, obj, f"{label(obj)}.{kind}", variable, rows, shape, signal)


def all_parameters(
    sim: nengo_dl.Simulator, skip_later: bool = False, kind: type = object
) -> list[Parameter]:
    """Return the parameters of all objects of ``kind`` in a simulator's network, each one once.

    With ``skip_later``, leave out layers that a later simulator has built again.
    """
    objects = [] if sim.model.toplevel is None else settings.members(sim.model.toplevel)
    found: dict[tuple[int, int], Parameter] = {}
    for obj in (obj for obj in objects if isinstance(obj, kind)):
        of_layer = skip_later and isinstance(obj, nengo_dl.TensorNode)
        variables = _variables(sim, obj) if of_layer else ()
        if all(seam.values.in_graph(sim, variable) for variable in variables):
            for parameter in parameters_of(sim, obj):
                found.setdefault(parameter.key, parameter)
    return list(found.values())


def why_not_trained(sim: nengo_dl.Simulator, obj: Any) -> str | None:
    """Say why an object has nothing to train, or return None if it has something."""
    if isinstance(obj, nengo_dl.TensorNode):
        return "its function has no trainable weights of rank 2 or more"
    kind, signal = _kind_and_signal(sim, obj)
    if getattr(obj, "ensemble", obj) not in sim.model.params:
        return "it was added after the simulator was built; make a simulator anew"
    if signal is None or signal not in sim.tensor_graph.signals:
        return f"it has no {kind} that could be trained"
    if signal.minibatched:
        hint = "nengo_wd.Decay is a learning rule that makes them decay"
        return f"its {kind} are changed by a learning rule, not by training; {hint}"
    if not signal.trainable and not sim.tensor_graph.inference_only:
        return f"its {kind} are set not to be trainable"
    return None


def layers(holder: Any, sim: nengo_dl.Simulator | None = None) -> list[Any]:
    """Return a layer or a TensorNode's function, and the layers in it.

    With ``sim``, they have the weights of that simulator, even if there is a later one.
    """
    is_node = isinstance(holder, nengo_dl.TensorNode)
    func = seam.values.function_of(holder) if is_node else holder
    if sim is not None:
        func = seam.values.layer_in(sim, func)
    return [func, *(func.submodules if isinstance(func, tf.Module) else ())]


def _kind_and_signal(sim: nengo_dl.Simulator, obj: Any) -> tuple[str, Any]:
    kind, key = next(KINDS[c] for c in type(obj).__mro__ if c in KINDS)
    return kind, sim.model.sig.get(obj, {}).get(key)


def _layer_parameter(
    sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, variable: tf.Variable
) -> Parameter:
    if not seam.values.in_graph(sim, variable):
        raise _lost_error(str(node), node)
    func, *inner = layers(node, sim)
    own = ("_trainable_weights", "_non_trainable_weights")
    owners = (one for one in inner for name in own for v in getattr(one, name, ()) if v is variable)
    layer = next(owners, func)  # the layer that made the variable
    name = f"{getattr(layer, 'name', None) or label(node)}.{variable_name(variable)}"
    shape = tuple(variable.shape.as_list())
    return Parameter(sim, node, name, variable, np.arange(shape[0]), shape, layer=layer)


def _variables(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode) -> list[tf.Variable]:
    """Return the variables of a TensorNode's function that are trained or penalized."""
    func, *inner = layers(node, sim)
    trained = trained_variables(func)
    if not isinstance(func, tf.Module):  # every Keras layer is one
        return trained
    wanted = {id(one) for one in trained}.union(*map(variable_penalties, (func, *inner)))
    return [variable for variable in func.variables if id(variable) in wanted]


def check_layers(sim: nengo_dl.Simulator) -> None:
    """Raise if a later simulator has the weights of a layer."""
    for layer in seam.values.lost_layers(sim):
        raise _lost_error(f"{layer.name!r}, in a TensorNode,", layer)


def _lost_error(name: str, obj: Any) -> ValidationError:
    fault = f"{name} was built again by a later simulator, which has its weights now"
    hint = "use one simulator of its network at a time"
    return ValidationError(f"{fault}; {hint}", attr="tensor_func", obj=obj)


def with_setting(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Any]]:
    """Return each parameter whose object has a setting, with the value.

    A layer's own regularizer wins over those of classes and networks; a layer's None does not.
    Raise if settings contradict each other, or an object has its own and nothing to train.
    """
    if not settings.is_configured(sim.model.toplevel):
        return []
    found = _set_parameters(sim, name)
    if name == "regularizer":
        with defaults_as_set(sim):
            found = [(one, setting) for one, setting in found if _holds_beside_layer(one, setting)]
    return [(one, setting.value) for one, setting in found if setting.value is not None]


def set_values(sim: nengo_dl.Simulator, names: Iterable[str]) -> dict[str, dict]:
    """Return keys of the values that objects have now for settings, to tell later changes."""
    values = {}
    for name in names:
        found = list(settings.look_up(sim.model.toplevel, name, check=False))
        keys = value_keys(found)
        values[name] = {one.obj: keys[id(one.value)] for one in found}
    return values


def value_keys(found: Iterable[Setting]) -> dict[int, Any]:
    """Return keys of the values of settings, by their ids: few, because classes share values."""
    different = {id(one.value): one.value for one in found}
    return {i: one if is_number(one) else value_key(one) for i, one in different.items()}


def _set_parameters(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Setting]]:
    """Return each parameter with the setting of its object, None included."""
    _check_not_removed(sim)
    found: dict[tuple[int, int], tuple[Parameter, Setting]] = {}
    for setting in settings.look_up(sim.model.toplevel, name, settings.TRAINABLE):
        for parameter in _parameters_with(sim, name, setting):
            other, first = found.setdefault(parameter.key, (parameter, setting))
            if not _is_same(first.value, setting.value):
                who = f"{parameter.name} is shared by {other.obj} and {setting.obj}"
                fault = f"which have different settings for {name}; give them the same"
                raise ValidationError(f"{who}, {fault}", attr=name, obj=setting.obj)
            if setting.own:
                found[parameter.key] = other, setting
    return list(found.values())


def _parameters_with(sim: nengo_dl.Simulator, name: str, setting: Setting) -> list[Parameter]:
    """Return the parameters that a setting applies to; raise if an object's own applies to none."""
    is_none = setting.value is None
    if is_none and not isinstance(setting.obj, nengo_dl.TensorNode):
        return []  # None asks for nothing; native parameters are not shared
    least_rank = 2 if settings.SETTINGS[name].keeps_small else 1  # of the weights of layers
    found = [one for one in parameters_of(sim, setting.obj) if one.is_trained]
    found = [one for one in found if one.layer is None or len(one.shape) >= least_rank]
    if not (found or is_none) and setting.own and not sim.tensor_graph.inference_only:
        fault = f"{setting.obj} has a {name}, but {why_not_trained(sim, setting.obj)}"
        raise ValidationError(fault, attr=name, obj=setting.obj)
    return found


def _holds_beside_layer(parameter: Parameter, setting: Setting) -> bool:
    """Tell whether the layer has no regularizer, so the setting counts; raise if they conflict."""
    if parameter.layer_penalty is not None and setting.own:
        layer = f"layer {parameter.layer.name!r} was given a regularizer for {parameter.name}"
        fault = f"{setting.obj} has its own setting, {setting.value}; leave one of them out"
        raise ValidationError(f"{layer}, and its {fault}", attr="regularizer", obj=setting.obj)
    return parameter.layer_penalty is None


def _check_not_removed(sim: nengo_dl.Simulator) -> None:
    """Raise if an object was removed from the network after the simulator was built."""
    inside = set(settings.members(sim.model.toplevel))
    for obj in sim.model.params:
        of_probe = isinstance(getattr(obj, "post_obj", None), nengo.Probe)  # made by the builder
        can_have = isinstance(obj, (*settings.TRAINABLE, nengo.Probe)) and not of_probe
        if can_have and obj not in inside:
            fault = f"{obj} was removed from {sim.model.toplevel} after the simulator was built"
            raise ValidationError(f"{fault}; make a simulator anew", attr="network", obj=obj)


def _is_same(one: Any, other: Any) -> bool:
    try:
        return one is other or (type(one) is type(other) and one.get_config() == other.get_config())
    except (AttributeError, NotImplementedError, TypeError):  # no configuration to compare
        return bool(one == other)


def replaced_defaults(sim: nengo_dl.Simulator) -> Nodes:
    """Return the TensorNodes whose settings replace the default penalties of layers now."""
    network = sim.model.toplevel
    return frozenset(
        setting.obj
        for name, definition in settings.SETTINGS.items()
        if definition.keeps_small and network is not None
        for setting in settings.look_up(network, name, nengo_dl.TensorNode, check=False)
        if definition.none_replaces or setting.value is not None
    )


def apply_defaults(sim: nengo_dl.Simulator, without: Nodes | None = None) -> None:
    """Count the default penalties of all layers, except in the TensorNodes ``without``.

    By default, these are the ones whose settings replace defaults now.
    """
    check_layers(sim)
    if not settings.is_configured(sim.model.toplevel):
        return
    without = replaced_defaults(sim) if without is None else without
    state.simulator_state(sim).replaced = without
    replaced = {id(layer) for node in without for layer in layers(node, sim)}
    for obj in settings.members(sim.model.toplevel):
        for layer in layers(obj, sim) if isinstance(obj, nengo_dl.TensorNode) else ():
            for variable in defaults.variables_with_default(layer):
                seam.training.count_default(sim, layer, variable, id(layer) not in replaced)


@contextlib.contextmanager
def defaults_as_set(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Apply current settings to default penalties in the body; restore what an objective fixed."""
    kept = state.simulator_state(sim)
    before, is_fixed = kept.replaced, kept.installed is not None or seam.simulators.is_compiled(sim)
    apply_defaults(sim)
    try:
        yield
    finally:
        if is_fixed:
            apply_defaults(sim, before)
