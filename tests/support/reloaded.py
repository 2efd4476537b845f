"""Reload the package and its modules that change others' classes, and look at what has become."""

import importlib
import inspect
import json
import os
import warnings

import nengo
import numpy as np
from generations import GENERATION, sgd, simulator, train
from nengo.config import ClassParams

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd._seam import state

FOLDER = os.path.dirname(nengo_wd.__file__)
SEAM = f"nengo_wd._seam.nengo_dl{GENERATION}."
MODULES = ["nengo_wd._seam." + name for name in ("hooks", "state", "keras2", "bridge")]
MODULES += [SEAM + name for name in ("layers", "simulators", "training", "values")]
MODULES += ["nengo_wd._seam", "nengo_wd.learning_rules"]
MODULES += [
    "nengo_wd.converter",
    "nengo_wd._simulators",
    "nengo_wd.settings",
    "nengo_wd",
]
CLASSES = [ClassParams, nengo.Config, nengo_dl.Simulator, nengo_dl.tensor_graph.TensorGraph]
CLASSES += [nengo_dl.tensor_node.TensorFuncParam, nengo_dl.process_builders.LinearFilterBuilder]


def depth(method):
    """Return how many functions of the package are around a method, by their code."""
    function = method if inspect.isfunction(method) else None
    if function is None or not function.__code__.co_filename.startswith(FOLDER):
        return 0
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    inside = [depth(cell) for cell in cells if callable(cell) and not inspect.isclass(cell)]
    return 1 + max(inside) if inside else -1  # a function that is around nothing


def depths():
    found = {
        f"{cls.__name__}.{name}": depth(vars(cls)[name]) for cls in CLASSES for name in vars(cls)
    }
    return {name: number for name, number in found.items() if number}


def said(call):
    """Return the warnings of this package, and the error, of a call."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            call()
        except Exception as error:
            return [str(error)]
    return [str(one.message) for one in caught if "settings for" in str(one.message)]


def trained():
    """Train a network with a setting, a layer and a rule, and without the objective."""
    with nengo.Network(seed=0, label="here") as net:
        nengo_wd.configure_settings()
        source, end = nengo.Node(np.zeros(2)), nengo.Node(size_in=3)
        conn = nengo.Connection(source, end, transform=np.ones((3, 2)), synapse=None)
        net.config[conn].regularizer = "l2"
        probe = nengo.Probe(nengo_dl.tensor_layer(end, nengo_wd.RegularizedDense(1)))
        rule = nengo_wd.Decay(1.0)
        neurons = nengo.Ensemble(5, 1).neurons
        nengo.Connection(neurons, end, transform=np.ones((3, 5)), learning_rule_type=rule)
    data = {source: np.ones((1, 2, 2))}, {probe: np.ones((1, 2, 1))}
    with simulator(net) as sim:
        train(sim, *data, {probe: "mse"}, sgd(0.1))
        train(sim, *data, nengo_wd.regularized_objective(sim, {probe: "mse"}), sgd(0.1))


def asked_in_vain():
    with nengo.Network() as net:
        print(net.config[nengo.Connection].regularizer)


class Owner:
    """Stands for a simulator or a graph."""


owner = Owner()
state._compiled.add(owner)
state.with_layers.add(owner)
found = {"before": depths()}
with warnings.catch_warnings(record=True) as of_reload:
    warnings.simplefilter("always")
    for name in MODULES:
        importlib.reload(importlib.import_module(name))
        importlib.reload(nengo_wd)
        found[name] = depths()
found["of reload"] = [str(one.message) for one in of_reload]
found["kept"] = [owner in state._compiled, owner in state.with_layers]
del owner  # which has none of what a graph has
found["trained"], found["asked"] = said(trained), said(asked_in_vain)
print(json.dumps(found))
