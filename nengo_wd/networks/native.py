"""A trained network made of Nengo's own objects, which runs wherever Nengo does."""

from __future__ import annotations

import inspect
from typing import Any, Container, Iterable, Mapping

import nengo
import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks
from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd.energy.network_energy import check_network
from nengo_wd.networks.copies import Copy, replace, tensor_nodes
from nengo_wd.networks.joins import Joins
from nengo_wd.networks.linear_layers import NoNativeFormError, Step, computed, linear_steps
from nengo_wd.networks.made import MadeNetwork, Whole

OF_NENGO_DL = ("trainable", "keep_history")  # settings of other classes than networks
NEED_TENSORFLOW = ("nengo_dl", "nengo_wd", "keras_spiking", "keras", "tf_keras", "tensorflow")


def native(sim: nengo_dl.Simulator, keep: Iterable[nengo_dl.TensorNode] = ()) -> MadeNetwork:
    """Return the trained network made of Nengo's own objects, without TensorFlow.

    Networks with layers in TensorNodes run only in NengoDL. The new network runs in
    ``nengo.Simulator``, in NengoDL and on other backends, with the same outputs. Dense layers
    become connections with dense transforms, convolutions become ``nengo.Convolution``, other
    linear layers become sparse or dense transforms, and reshapes become slices. Neurons and other
    native objects get their trained parameters. A layer with one connection in, from neurons or a
    Node, and one connection out becomes one connection with the layer's weights, if that is exact:
    neither of the two has weights, and at most one has a synapse. Otherwise the layer's output is a
    passthrough Node. If only neurons get a layer's bias, unfiltered, it is added to their bias, and
    the passthrough Node lacks it. Otherwise another Node provides it. The simulator and its network
    do not change.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        An open simulator of NengoDL 3. Its current weights count, without the changes of learning
        rules.
    keep : iterable of nengo_dl.TensorNode
        TensorNodes to keep. With them, the network runs only in NengoDL.

    Returns
    -------
    MadeNetwork
        The network, and the new object for each old one. For a TensorNode, that is the passthrough
        Node, or the single Connection with its weights, which is then also the new object for the
        connections around it. You can pickle the network if the functions of its Nodes can be
        pickled, and read it wherever Nengo is installed. Settings of NengoDL and of this package
        are left out; others stay.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a layer or function has no native form; the error names the closest one. If something in
        ``keep`` is not a TensorNode of the network, an object was added after the simulator was
        built, or a later simulator has a layer.
    nengo.exceptions.SimulatorClosed
        If the simulator is closed.
    NotImplementedError
        In NengoDL 2.

    Notes
    -----
    Layers behave as in prediction: dropout and noise are left out. Outputs are equal up to
    rounding, and so are spikes unless a neuron is within rounding of its threshold. NengoDL's
    neuron types, such as ``nengo_dl.LeakyReLU``, stay, so the network then needs NengoDL to run.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0, -1.0])
    ...     layer = nengo_wd.RegularizedDense(3, name="hidden")
    ...     neurons = nengo_dl.Layer(nengo.LIF())(nengo_dl.Layer(layer)(source))
    ...     probe = nengo.Probe(neurons)
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     native = nengo_wd.native(sim)
    >>> native[net.nodes[1]].transform
    Dense(shape=(3, 2))
    >>> with nengo.Simulator(native.network, progress_bar=False) as sim:
    ...     sim.run(0.1)
    ...     sim.data[native[probe]].shape
    (100, 3)
    """
    checks.check_simulator(sim)
    seam.layers.check_weights_can_leave()
    check_network(sim)
    parameters.check_layers(sim)
    steps = _steps(sim, _checked(sim, keep))
    copied = Copy(sim, steps)
    own = vars(nengo.Network(add_to_container=False))
    for network in (copied.network, *copied.network.all_networks):
        _leave_out_settings(network.config)
        _leave_out_attributes(network, own)
    for connection in copied.network.all_connections:
        replace(connection, "transform", computed(connection.transform))
    Joins(copied, steps)
    return MadeNetwork(copied, Whole(_notes(copied, steps)), set())


def _checked(sim: nengo_dl.Simulator, keep: Any) -> set[nengo_dl.TensorNode]:
    nodes = {*tensor_nodes(sim.model.toplevel)}
    if not isinstance(keep, Iterable):
        raise ValidationError(f"keep={keep!r} must be a list of TensorNodes", attr="keep")
    keep = [*keep]
    for node in keep:
        if node not in nodes:
            raise ValidationError(
                f"keep has {node!r}, which is not a TensorNode of {sim.model.toplevel}; give "
                "TensorNodes, such as nengo_dl.Layer(...) returns",
                attr="keep",
            )
    return set(keep)


def _steps(sim: nengo_dl.Simulator, kept: set) -> dict[Any, list[Step]]:
    """Return the steps of all TensorNodes except the kept ones."""
    found, refused = {}, []
    for node in tensor_nodes(sim.model.toplevel):
        try:
            if node not in kept:
                layer = parameters.layers(node, sim)[0]
                found[node] = [*linear_steps(sim, layer, node.shape_in)]
        except NoNativeFormError as error:
            refused.append(f"{node}: {error}")
    if refused:
        raise ValidationError(
            f"{'; '.join(refused)}. Put that in its place, or name the TensorNode in keep=[...]; "
            "the network then still runs in NengoDL",
            attr="keep",
        )
    return found


def _leave_out_settings(config: nengo.Config) -> None:
    """Leave out settings that need the classes of NengoDL or of this package."""
    for key, params in [*config.params.items()]:
        cls = key if inspect.isclass(key) else type(key)
        if issubclass(cls, nengo.Network) or _needs_tensorflow(cls):
            config.params.pop(key)
        elif cls is key:
            for name in (*settings.SETTINGS, *OF_NENGO_DL):
                params._extra_params.pop(name, None)
            for name in params.default_params:
                is_set = params in params.get_param(name)
                if is_set and _needs_tensorflow(type(getattr(params, name))):
                    delattr(params, name)


def _leave_out_attributes(network: nengo.Network, own: Container[str]) -> None:
    """Leave out attributes that need TensorFlow, such as a converter's, but not Nengo's own."""
    for name in [name for name in vars(network) if name not in own]:
        if _has_tensorflow(getattr(network, name)):
            delattr(network, name)


def _has_tensorflow(value: Any) -> bool:
    if _needs_tensorflow(type(value)):
        return True
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    return isinstance(value, (list, tuple, set, frozenset)) and any(map(_has_tensorflow, value))


def _needs_tensorflow(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in NEED_TENSORFLOW


def _notes(copied: Copy, steps: Any) -> dict[Any, str]:
    """Say what became of TensorNodes."""
    found = {}
    for node in tensor_nodes(copied.sim.model.toplevel):
        new = copied[node]
        if isinstance(new, nengo.Connection):
            ends = f"{parameters.label(new.pre_obj)} to {parameters.label(new.post_obj)}"
            found[node] = f"{type(new.transform).__name__} from {ends}"
        else:
            found[node] = "a passthrough Node" if node in steps else "a TensorNode, as it was"
    return found
