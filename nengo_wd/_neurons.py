"""What the neurons of a trained network are like, and what would have them train better."""

from __future__ import annotations

import collections
import warnings
from typing import Any, Callable, Iterable, Iterator

import nengo
import nengo_dl
from nengo.ensemble import Neurons
from nengo_dl import config, neuron_builders

from nengo_wd import _parameters as parameters
from nengo_wd._seam import state

RANDOM = ("max_rates", "intercepts")  # of ensembles, which Nengo draws unless they are set
# Accuracies with spikes are those of `examples/neurons_that_train_well.py`.
UNSMOOTHED = (
    "LIF neurons without smoothing: {} trained, and the slope of the rates of LIF neurons has no "
    "bound at their threshold. With nengo_dl.configure_settings(lif_smoothing=0.02) in the with "
    "block of the outermost network, gradients see a smooth one: it raised the accuracy with "
    "spikes of a network of layers from 68 % to 82 %. lif_smoothing=None keeps the slope, without "
    "this warning"
)
AT_RANDOM = (
    "neurons with random gains: {} between layers of weights, and trained, with {} as Nengo draws "
    "them. Before neurons are made, write net.config[nengo.Ensemble].max_rates = "
    "nengo.dists.Choice([100]) and net.config[nengo.Ensemble].intercepts = "
    "nengo.dists.Choice([0]): it raised the accuracy with spikes of a network from 50 % to 96 %. "
    "warnings.filterwarnings('ignore', 'neurons with random gains') silences this warning"
)


class _Wiring:
    """A network as a graph: ensembles, with their neurons, nodes, and the connections among them.

    Gradients flow along it, but not through nodes that compute in Python.
    """

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        network = sim.model.toplevel
        self.after: dict = collections.defaultdict(list)
        self.before: dict = collections.defaultdict(list)
        for connection in network.all_connections:
            pre, post = _ensemble_of(connection.pre_obj), _ensemble_of(connection.post_obj)
            for one, following in ((pre, connection), (connection, post)):
                self.after[one].append(following)
                self.before[following].append(one)
        trained: list = [one for one in network.all_connections if _is_trained(sim, one)]
        trained += [one for one in network.all_nodes if _is_trained_node(sim, one)]
        for one in network.all_ensembles:
            trained += [one] if _is_trained(sim, one) or _is_trained(sim, one.neurons) else []
        self.trained = set(trained)
        self.probed = {_ensemble_of(probe.obj) for probe in network.all_probes}

    def with_slopes(self) -> set:
        """Return the objects through which a gradient flows on its way to something trained."""
        fed = _reached(self.trained, self.after, _has_gradient)
        return fed & _reached(self.probed, self.before, _has_gradient)

    def between_weights(self, ensemble: nengo.Ensemble) -> bool:
        """Tell whether trained weights lead to the neurons of an ensemble, and others from them."""
        before = [one for one in self.before[ensemble] if isinstance(one.post_obj, Neurons)]
        after = [one for one in self.after[ensemble] if isinstance(one.pre_obj, Neurons)]
        ways = (before, self.before), (after, self.after)
        return all(self.trained & _reached(start, links, _is_linear) for start, links in ways)


def _ensemble_of(obj: Any) -> Any:
    """Return the ensemble of neurons, and any other object as it is."""
    return obj.ensemble if isinstance(obj, Neurons) else obj


def _is_trained(sim: nengo_dl.Simulator, obj: Any) -> bool:
    is_direct = isinstance(getattr(_ensemble_of(obj), "neuron_type", None), nengo.Direct)
    return not is_direct and parameters.why_not_trained(sim, obj) is None


def _is_trained_node(sim: nengo_dl.Simulator, node: nengo.Node) -> bool:
    if not isinstance(node, nengo_dl.TensorNode):
        return False
    return bool(parameters.trained_variables(parameters.layers(node, sim)[0]))


def _reached(start: Iterable, links: dict, passes: Callable[[Any], bool]) -> set:
    """Return what links lead to, those that start included, by way of what passes them on."""
    found = set(start)
    new = list(found)
    while new:
        following = [one for one in links[new.pop()] if one not in found and passes(one)]
        found.update(following)
        new += following
    return found


def _has_gradient(obj: Any) -> bool:
    is_python = isinstance(obj, nengo.Node) and not isinstance(obj, nengo_dl.TensorNode)
    return not is_python or obj.output is None


def _is_linear(obj: Any) -> bool:
    return _has_gradient(obj) and not isinstance(obj, nengo.Ensemble)


def _without_smoothing(sim: nengo_dl.Simulator) -> list[nengo.Ensemble]:
    """Return the ensembles whose slopes NengoDL could smooth, in a network that says nothing."""
    if config.get_setting(sim.model, "lif_smoothing", default="unset") != "unset":
        return []
    builders = neuron_builders.SimNeuronsBuilder.TF_NEURON_IMPL.items()
    kinds = [kind for kind, one in builders if issubclass(one, neuron_builders.LIFBuilder)]
    return [one for one in sim.model.toplevel.all_ensembles if type(one.neuron_type) in kinds]


def _left_random(ensemble: nengo.Ensemble) -> list[str]:
    """Return which of the attributes that decide gains and biases are as Nengo has them."""
    if ensemble.gain is not None or not has_spikes(ensemble.neuron_type):
        return []
    values = {name: getattr(ensemble, name) for name in RANDOM}
    return [
        name
        for name, value in values.items()
        if isinstance(value, nengo.dists.Distribution)
        and value == getattr(nengo.Ensemble, name).default
    ]


def _said_of(ensembles: list[nengo.Ensemble]) -> str:
    n_others = len(ensembles) - 1
    others = f" and {n_others} other ensemble" + "s" * (n_others > 1)
    return f"the neurons of {ensembles[0]}{others if n_others else ''} are"


def _advice(sim: nengo_dl.Simulator) -> Iterator[str]:
    """Yield what would have the neurons of a simulator train better, and how to keep them."""
    unsmoothed = _without_smoothing(sim)
    random = {one: _left_random(one) for one in sim.model.toplevel.all_ensembles}
    if not (unsmoothed or any(random.values())):
        return
    wiring = _Wiring(sim)
    with_slopes = wiring.with_slopes()
    unsmoothed = [one for one in unsmoothed if one in with_slopes]
    if unsmoothed:
        yield UNSMOOTHED.format(_said_of(unsmoothed))
    at_random = [one for one in random if random[one] and wiring.between_weights(one)]
    if at_random:
        names = [name for name in RANDOM if any(name in random[one] for one in at_random)]
        yield AT_RANDOM.format(_said_of(at_random), " and ".join(names))


def advise(sim: nengo_dl.Simulator) -> None:
    """Warn once of neurons that would train better, in a simulator that is about to be trained."""
    is_told = state.has_record(sim) and state.simulator_state(sim).advised
    if is_told or sim.tensor_graph.inference_only or sim.model.toplevel is None:
        return
    for message in _advice(sim):
        state.simulator_state(sim).advised = True
        warnings.warn(message, UserWarning, stacklevel=5)  # the user's call of a wrapped method


def has_spikes(neuron_type: Any) -> bool:
    """Tell whether neurons of a type spike."""
    return getattr(neuron_type, "spiking", "spikes" in getattr(neuron_type, "probeable", ()))
