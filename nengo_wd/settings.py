"""Settings on Nengo objects, in Nengo's own config system, and how they are looked up."""

from __future__ import annotations

import inspect
from typing import Any, Iterator, NamedTuple

import nengo
import nengo_dl
from nengo.exceptions import NetworkContextError, ValidationError
from nengo.params import Parameter

from nengo_wd import target_norms
from nengo_wd._checks import check_momentum, check_rate
from nengo_wd._types import Rate, Regularizer
from nengo_wd.regularizers import lookup


class RegularizerParam(Parameter):
    """A regularizer: a name, a configuration, or what computes a scalar from a tensor."""

    def coerce(self, instance: Any, value: Any) -> Any:
        """Return the regularizer for ``value``."""
        owner = getattr(instance, "_configures", instance)
        of_probe = owner is nengo.Probe or isinstance(owner, nengo.Probe)
        found = lookup.get(value, self.name, str(owner), of_probe)
        return super().coerce(instance, found)


class RateParam(Parameter):
    """A number, a schedule or a variable: a rate per step of training."""

    check = staticmethod(check_rate)

    def coerce(self, instance: Any, value: Any) -> Any:
        """Return ``value``, checked where it is known now."""
        if value is not None:
            self.check(value, self.name, str(getattr(instance, "_configures", instance)))
        return super().coerce(instance, value)


class MomentumParam(RateParam):
    """A rate below one."""

    check = staticmethod(check_momentum)


class TargetNormParam(Parameter):
    """A target norm: a number, or a way to find one."""

    def coerce(self, instance: Any, value: Any) -> Any:
        """Return the target norm, checked."""
        if value is not None:
            owner = str(getattr(instance, "_configures", instance))
            value = target_norms.checked(value, self.name, owner)
        return super().coerce(instance, value)


SETTINGS = {
    "regularizer": RegularizerParam,
    "weight_decay": RateParam,
    "learning_rate": RateParam,
    "momentum": MomentumParam,
    "target_norm": TargetNormParam,
}
OF_WEIGHTS = ("regularizer", "weight_decay", "target_norm")  # biases need settings of their own
TRAINABLE = (nengo.Connection, nengo_dl.TensorNode, nengo.Ensemble, nengo.ensemble.Neurons)
CLASSES = (*TRAINABLE, nengo.Probe)
ACTIVITY_SETTINGS = ("regularizer",)
WEIGHTS = TRAINABLE[:2]  # those to which a value handed to `configure_settings` applies


def configure_settings(
    regularizer: Regularizer | None = None, weight_decay: Rate | None = None
) -> None:
    """Add this package's settings to the config of the network that is being built.

    Afterwards ``net.config[...].regularizer`` and ``weight_decay`` can be set for the classes
    `nengo.Connection` (decoders or full weights), `nengo.Ensemble` (encoders, scaled by gain
    and radius, as NengoDL trains them), ``nengo.ensemble.Neurons`` (biases),
    `nengo_dl.TensorNode` (weights of rank 2 or more) and `nengo.Probe` (what the probe
    records, averaged over examples and time steps, or the rates of its neurons, with
    `regularizers.FiringRates`; a regularizer only), and for single objects of these classes. So
    can ``learning_rate`` and ``momentum``, which are for `LayerwiseSGD` alone, and ``target_norm``,
    a number or one of ``nengo_wd.target_norms``, which is for `regularized_optimizer`.

    Parameters
    ----------
    regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        The regularizer of all Connections and TensorNodes of the network. Biases and
        encoders are regularized only where their own setting says so.
    weight_decay : float, tf.Variable or LearningRateSchedule, optional
        The weight decay of all Connections and TensorNodes, for `regularized_optimizer`
        and `LayerwiseSGD`.

    Raises
    ------
    nengo.exceptions.NetworkContextError
        If called outside of a ``with`` block of a network.
    nengo.exceptions.ValidationError
        For a regularizer that Keras does not know, and a strength or decay that is
        negative or not finite.

    Notes
    -----
    A setting is looked up as NengoDL looks up ``trainable``: in the config of the outermost
    network first; that of an inner network overrides it; and in each, the setting of an
    object overrides that of its class. Where ``net.config[...]`` was set to None, there is
    no regularizer; where nothing was set, the outer network's setting holds. (None handed
    to this function sets nothing.)

    On a TensorNode, a setting takes the place of the layer's default penalty: a regularizer, None
    included, a weight decay or a target norm. What the layer was given wins over settings of
    classes and networks; together with a regularizer of the TensorNode itself, it is an error.

    Settings that a simulator takes no notice of, because it is compiled without
    `regularized_objective` or the optimizer that they are for, are warned of.

    Like ``nengo_dl.configure_settings(trainable=...)``, this works on the innermost
    network; call it again for an inner network that is to have settings of its own.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l2(1e-4))
    ...     a = nengo.Ensemble(10, 1, label="a")
    ...     b = nengo.Ensemble(10, 1, label="b")
    ...     decayed = nengo.Connection(a, b)
    ...     free = nengo.Connection(b, a)
    ...     net.config[free].regularizer = None
    ...     net.config[a].regularizer = "l1"
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     print(sorted(nengo_wd.regularization_losses(sim)))
    ['a->b.weights', 'a.encoders']
    """
    if not nengo.Network.context:
        raise NetworkContextError(
            "nengo_wd.configure_settings must be called within a network: "
            "`with nengo.Network(): ...`"
        )
    config = nengo.Network.context[-1].config
    for configured in CLASSES:
        if configured not in config.params:
            config.configures(configured)
        for name in ACTIVITY_SETTINGS if configured is nengo.Probe else SETTINGS:
            if name not in config[configured].extra_params:
                parameter = SETTINGS[name](name, default=None, optional=True)
                config[configured].set_param(name, parameter)
    values = {"regularizer": regularizer, "weight_decay": weight_decay}
    for name, value in values.items():
        for configured in WEIGHTS if value is not None else ():
            setattr(config[configured], name, value)


class Setting(NamedTuple):
    """The value that was set for an object, None included."""

    obj: Any
    value: Any
    own: bool  # whether it was set on the object itself, not on its class


def look_up(network: nengo.Network, name: str, of: Any = object) -> Iterator[Setting]:
    """Yield a setting for each object in ``network`` and its subnetworks that has one.

    A setting of None is one, too: it switches off what would hold otherwise. With ``of``, only
    settings of objects of a class.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an object has the setting in the config of a network that it is not part of.
    """
    for inner, _ in _networks(network):
        _check_members(inner, name)
    yield from made(network, name, of)


def made(network: nengo.Network, name: str, of: Any = object) -> Iterator[Setting]:
    """Yield what `look_up` yields, without a check that each object is in its network."""
    for inner, configs in _networks(network) if is_configured(network) else ():
        for obj in _objects(inner):
            setting = _innermost(configs, obj, name) if isinstance(obj, of) else None
            if setting is not None:
                yield setting


def is_configured(network: nengo.Network | None) -> bool:
    """Tell whether `configure_settings` was called in a network or one of its subnetworks."""
    networks = () if network is None else (network, *network.all_networks)
    return any("regularizer" in one.config[nengo.Connection].extra_params for one in networks)


def said_of_nodes(network: nengo.Network) -> set[nengo_dl.TensorNode]:
    """Return the TensorNodes with a regularizer, None included, a weight decay or a target norm."""
    node = nengo_dl.TensorNode
    others = (*made(network, "weight_decay", node), *made(network, "target_norm", node))
    others = tuple(one for one in others if one.value is not None)
    return {setting.obj for setting in (*made(network, "regularizer", node), *others)}


def members(network: nengo.Network) -> Iterator[Any]:
    """Yield the objects of a network and its subnetworks that can have settings."""
    for inner, _ in _networks(network):
        yield from _objects(inner)


def _networks(network: nengo.Network, configs: tuple = ()) -> Iterator[tuple[nengo.Network, tuple]]:
    """Yield each network with the configs that apply to it, the outermost first."""
    configs = (*configs, network.config)
    yield network, configs
    for inner in network.networks:
        yield from _networks(inner, configs)


def _objects(network: nengo.Network) -> Iterator[Any]:
    """Yield the objects of a network, subnetworks left out, that can have settings."""
    yield from network.connections
    for ensemble in network.ensembles:
        yield from (ensemble, ensemble.neurons)
    yield from (node for node in network.nodes if isinstance(node, nengo_dl.TensorNode))
    yield from network.probes


def _innermost(configs: tuple, obj: Any, name: str) -> Setting | None:
    """Return the setting in the last of ``configs`` that has one."""
    found = None
    for config in configs:
        by_class = next((config.params[c] for c in type(obj).__mro__ if c in config.params), None)
        if _has(config.params.get(obj), name):
            found = Setting(obj, getattr(config.params[obj], name), True)
        elif _has(by_class, name):
            found = Setting(obj, getattr(by_class, name), False)
    return found


def _has(params: Any, name: str) -> bool:
    """Tell whether a setting was made in Nengo's ClassParams or InstanceParams."""
    try:
        return params is not None and name in params
    except AttributeError:  # its class has no such setting
        return False


def _check_members(network: nengo.Network, name: str) -> None:
    """Raise if the network's config has a setting for an object from elsewhere."""
    configured = [
        obj
        for obj, params in network.config.params.items()
        if not inspect.isclass(obj) and _has(params, name)
    ]
    inside = set(members(network))
    for obj in configured:
        if obj not in inside:
            raise ValidationError(
                f"{obj} has a {name} in the config of {network}, but is not in that network; "
                "set it in the config of the network that holds the object",
                attr=name,
                obj=obj,
            )
