"""Settings on Nengo objects, in Nengo's own config system, and how they are looked up."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Iterator, NamedTuple

import nengo
import nengo_dl
from nengo.config import ClassParams
from nengo.exceptions import NetworkContextError, ValidationError
from nengo.params import BoolParam, Parameter

from nengo_wd import _checks as checks
from nengo_wd import target_norms
from nengo_wd._checks import Hyperparameter, Regularizer
from nengo_wd.regularizers import forms


class SettingParam(Parameter):
    """A setting of Nengo's config, whose values are checked when they are set."""

    def __init__(self, name: str) -> None:
        super().__init__(name, default=None, optional=True)

    def coerce(self, instance: Any, value: Any) -> Any:
        """Return ``value`` as it is kept, or raise if it does not fit the setting."""
        if value is not None:
            owner = getattr(instance, "_configures", instance)
            value = SETTINGS[self.name].check(value, self.name, owner)
        return super().coerce(instance, value)


def _check_regularizer(value: Any, name: str, owner: Any) -> Any:
    of_probe = owner is nengo.Probe or isinstance(owner, nengo.Probe)
    return forms.as_regularizer(value, name, str(owner), of_probe)


TRAINABLE = (nengo.Connection, nengo_dl.TensorNode, nengo.Ensemble, nengo.ensemble.Neurons)
NEURONS, FOR_SPIKES = (nengo.ensemble.Neurons,), ("spike_noise", "spiking_aware_training")
OBJECTIVE, SIMULATOR = NO_OPTIMIZER = "regularized_objective(...)", "sim.compile(...)"


class Definition(NamedTuple):
    """The definition of a setting: a row of `SETTINGS`."""

    check: Callable[[Any, str, Any], Any]  # of value, name and owner; returns the value to keep
    used_by: str  # the functions of `nengo_wd` that use it, as warnings name them
    classes: tuple[type, ...] = TRAINABLE  # of the objects that take it
    # it keeps weights small: the biases beside them are left out, it takes the place of the default
    # penalty of a layer, and `WeightNorms` records the parameters that have it
    keeps_small: bool = False
    none_replaces: bool = False  # None takes the place of a default penalty, too


SETTINGS = {  # a new setting is a new row
    "regularizer": Definition(
        _check_regularizer,
        OBJECTIVE,
        (*TRAINABLE, nengo.Probe),
        keeps_small=True,
        none_replaces=True,
    ),
    "weight_decay": Definition(
        checks.check_hyperparameter,
        "regularized_optimizer(...) or decoupled_weight_decay(...)",
        keeps_small=True,
    ),
    "target_norm": Definition(
        target_norms.check_target_norm,
        "regularized_optimizer(...) or constrained_norms(...)",
        keeps_small=True,
    ),
    "learning_rate": Definition(checks.check_hyperparameter, "LayerwiseSGD(...)"),
    "momentum": Definition(checks.check_momentum, "LayerwiseSGD(...)"),
    # of FOR_SPIKES: how neurons are trained for the spikes that they will have
    "spike_noise": Definition(checks.check_time_constant, SIMULATOR, NEURONS),
    "spiking_aware_training": Definition(checks.check_switch, SIMULATOR, NEURONS),
}


def configure_settings(
    regularizer: Regularizer | None = None,
    weight_decay: Hyperparameter | None = None,
    jit_compile: bool | None = None,
) -> None:
    """Add this package's settings to the config of the network that is being built.

    Afterwards ``net.config[...].regularizer``, ``weight_decay`` and ``target_norm`` (a number or
    one of ``nengo_wd.target_norms``) can be set for the classes `nengo.Connection` (decoders or
    full weights), `nengo.Ensemble` (encoders, scaled by gain and radius, as NengoDL trains them),
    ``nengo.ensemble.Neurons`` (biases) and `nengo_dl.TensorNode` (weights of rank 2 or more), and
    for single objects of these classes. So can ``learning_rate`` and ``momentum``, for
    `LayerwiseSGD`. The regularizer of a `nengo.Probe` is on what it records, averaged over examples
    and time steps, or on the rates of its neurons, with `regularizers.FiringRates`.

    Spiking ``nengo.ensemble.Neurons`` also have ``spike_noise``: a time constant in s, a variable
    or a schedule. It adds noise to their rates in training, as large as spikes will cause. With
    ``spiking_aware_training`` (True or False) they spike in training too.

    Parameters
    ----------
    regularizer : str, callable or tf.keras.regularizers.Regularizer, optional
        The regularizer of all Connections and TensorNodes. Biases and encoders are regularized only
        if their own setting says so.
    weight_decay : float, tf.Variable or LearningRateSchedule, optional
        The decay of all Connections and TensorNodes, for `regularized_optimizer`, `LayerwiseSGD`.
    jit_compile : bool, optional
        Whether XLA compiles the time loop of every simulator of this network, in NengoDL 3. The
        network must be the outermost one. ``sim.compile(..., jit_compile=...)`` is for one
        simulator.

    Raises
    ------
    nengo.exceptions.NetworkContextError
        If called outside of a ``with`` block of a network.
    nengo.exceptions.ValidationError
        For a regularizer that Keras does not know, or a strength or decay below 0 or not finite.

    Notes
    -----
    Settings are looked up like NengoDL's ``trainable``: the config of an inner network overrides
    that of an outer one, and in each, the setting of an object overrides that of its class.
    ``net.config[...].regularizer = None`` switches an outer setting off; None as an argument of
    this function sets nothing. To give an inner network its own settings, call this again within
    it.

    On a TensorNode, a regularizer (even None), a weight decay or a target norm replaces the layer's
    default penalty. A regularizer that you gave to the layer wins over settings of classes and
    networks; together with a regularizer of the TensorNode itself, it is an error.

    If you train without the objective or the optimizer that a setting needs, a warning says so.

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
        where = "within a network: `with nengo.Network(): ...`"
        raise NetworkContextError(f"nengo_wd.configure_settings must be called {where}")
    config = nengo.Network.context[-1].config
    for name, definition in SETTINGS.items():
        for configured in definition.classes:
            if configured not in config.params:
                config.configures(configured)
            if name not in config[configured].extra_params:
                config[configured].set_param(name, SettingParam(name))
    for name, value in (("regularizer", regularizer), ("weight_decay", weight_decay)):
        for configured in (nengo.Connection, nengo_dl.TensorNode) if value is not None else ():
            setattr(config[configured], name, value)
    if jit_compile is not None:
        if nengo.Network not in config.params:  # NengoDL has its settings there
            config.configures(nengo.Network)
        config[nengo.Network].set_param("jit_compile", BoolParam("jit_compile", default=False))
        config[nengo.Network].jit_compile = jit_compile


def is_jit_compiled(network: nengo.Network | None) -> bool:
    """Tell whether XLA is to compile the time loop of the simulators of a network.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an inner network asks for it, and the outermost one does not.
    """
    asking = [one for one in _networks(network) if _asks_for_xla(one[0])] if network else []
    if asking and asking[0][0] is not network:
        fault = f"{asking[0][0]} asks for jit_compile, which is a setting of whole simulators"
        hint = f"set it in {network}, the outermost network"
        raise ValidationError(f"{fault}; {hint}", attr="jit_compile", obj=asking[0][0])
    return bool(asking)


def _asks_for_xla(network: nengo.Network) -> bool:
    params = network.config.params.get(nengo.Network)
    return has_setting(params, "jit_compile") and params.jit_compile


class Setting(NamedTuple):
    """The value that was set for an object, None included."""

    obj: Any
    value: Any
    own: bool  # whether it was set on the object itself, not on its class


def look_up(
    network: nengo.Network | None, name: str, kind: Any = object, check: bool = True
) -> Iterator[Setting]:
    """Yield a setting for each object of ``kind`` in a network and its subnetworks that has one.

    A setting of None is one, too: it switches off what would hold otherwise. With ``check``, raise
    if an object has the setting in the config of a network that it is not part of.
    """
    for inner, _ in _networks(network) if check else ():
        _check_members(inner, name)
    for inner, configs in _networks(network) if is_configured(network) else ():
        for obj in _objects(inner):
            setting = _innermost(configs, obj, name) if isinstance(obj, kind) else None
            if setting is not None:
                yield setting


def is_configured(network: nengo.Network | None) -> bool:
    """Tell whether `configure_settings` was called in a network or one of its subnetworks."""
    networks = () if network is None else (network, *network.all_networks)
    return any("regularizer" in one.config[nengo.Connection].extra_params for one in networks)


def is_set(network: nengo.Network | None, name: str, kind: Any = object) -> bool:
    """Tell whether anything of a class in a network has a setting, other than None."""
    return any(one.value is not None for one in look_up(network, name, kind, check=False))


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
        if has_setting(config.params.get(obj), name):
            found = Setting(obj, getattr(config.params[obj], name), True)
        elif has_setting(by_class, name):
            found = Setting(obj, getattr(by_class, name), False)
    return found


def has_setting(params: Any, name: str) -> bool:
    """Tell whether a setting was made in Nengo's ClassParams or InstanceParams."""
    try:
        return params is not None and name in params
    except AttributeError:  # its class has no such setting
        return False


def _check_members(network: nengo.Network, name: str) -> None:
    """Raise if the network's config has a setting for an object from elsewhere."""
    inside = set(members(network))
    for obj, params in network.config.params.items():
        if not inspect.isclass(obj) and has_setting(params, name) and obj not in inside:
            fault = f"{obj} has a {name} in the config of {network}, but is not in that network"
            hint = "set it in the config of the network that holds the object"
            raise ValidationError(f"{fault}; {hint}", attr=name, obj=obj)


def explain_error(get: Callable, params: ClassParams, name: str) -> Any:
    """Say in Nengo's error about a setting of this package how to get it."""
    try:
        return get(name)
    except AttributeError as error:
        if name not in SETTINGS:
            raise
        classes, cls = SETTINGS[name].classes, params._configures
        if issubclass(cls, nengo.Probe) and nengo.Connection in classes:
            hint = f"a Probe has no {name}, because what it records is not trained"
        else:
            hint = (
                "nengo_wd.configure_settings(), called in the network's with block, makes "
                f"{name} a setting of {', '.join(one.__name__ for one in classes)}"
            )
        raise AttributeError(f"{error}; {hint}") from None
