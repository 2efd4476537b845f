"""What is done beside a simulator's own when it is made, compiled and trained."""

from __future__ import annotations

import functools
import weakref
from typing import Any, Callable

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._seam import patches, state
from nengo_wd._seam.nengo_dl3.layers import _tensor_nodes
from nengo_wd._seam.nengo_dl3.saving import _save_layers
from nengo_wd._seam.stand_ins import stand_in

_built: weakref.WeakSet = weakref.WeakSet()  # the TensorGraphs that have layers


def watch(watcher: Any) -> None:
    """Have the methods of ``watcher`` called for every simulator.

    They are ``made(sim)``; ``check(sim, objective, optimizer)`` before something is compiled and
    ``compiled(sim, objective, optimizer)`` afterwards, with None for what was not given;
    ``trained(sim, callbacks)`` before it is trained; and ``concerns(network)``, which tells whether
    a simulator keeps its layers' weights when a later one is made.
    """
    simulator, graph = nengo_dl.Simulator, nengo_dl.tensor_graph.TensorGraph
    for cls, name, around in (
        (simulator, "__init__", _making),
        (simulator, "compile", _compiling),
        (simulator, "fit", _training),
        (simulator, "evaluate", _evaluating),
        (graph, "build", _building),
    ):
        patches.wrap(cls, name, "watched", functools.partial(around, watcher=watcher))


def _making(init: Callable, watcher: Any) -> Callable:
    def make(sim: Any, *args: Any, **kwargs: Any) -> None:
        init.__get__(sim, type(sim))(*args, **kwargs)
        watcher.made(sim)

    return make


def _compiling(compile_: Callable, watcher: Any) -> Callable:
    def compile_watched(sim: Any, *args: Any, **kwargs: Any) -> None:
        given = kwargs.get("loss"), args[0] if args else kwargs.get("optimizer")
        if not sim.closed:  # of which NengoDL tells
            watcher.check(sim, *given)
        compile_.__get__(sim, type(sim))(*args, **kwargs)
        watcher.compiled(sim, *given)

    return compile_watched


def _training(fit: Callable, watcher: Any) -> Callable:
    def fit_watched(sim: Any, *args: Any, **kwargs: Any) -> Any:
        if not sim.closed:
            watcher.trained(sim, kwargs.get("callbacks"))
        return fit.__get__(sim, type(sim))(*args, **_by_name(sim, kwargs))

    return fit_watched


def _evaluating(evaluate: Callable, watcher: Any) -> Callable:
    def evaluate_by_name(sim: Any, *args: Any, **kwargs: Any) -> Any:
        return evaluate.__get__(sim, type(sim))(*args, **_by_name(sim, kwargs))

    return evaluate_by_name


def _by_name(sim: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with the names of probes in sample weights, which Keras goes by."""
    if sim.closed:
        return kwargs
    named = dict(kwargs)
    if isinstance(kwargs.get("sample_weight"), dict):
        named["sample_weight"] = _weights_by_name(sim, kwargs["sample_weight"])
    validation = kwargs.get("validation_data")
    if isinstance(validation, tuple) and len(validation) == 3 and isinstance(validation[2], dict):
        named["validation_data"] = (*validation[:2], _weights_by_name(sim, validation[2]))
    return named


def _weights_by_name(sim: Any, weights: dict) -> dict[str, Any]:
    named = {}
    for key, value in weights.items():
        name = sim.get_name(key) if key in sim.model.probes else key
        if name not in sim.keras_model.output_names:
            raise ValidationError(
                f"{key!r} is not among the probes of {sim.model.toplevel}, which are "
                f"{sim.model.probes}",
                attr="sample_weight",
            )
        named[name] = value
    return named


def _building(build: Callable, watcher: Any) -> Callable:
    def build_watched(graph: Any, *args: Any, **kwargs: Any) -> None:
        for other in _built - {graph}:
            _keep_layers(other, graph, watcher)
        build.__get__(graph, type(graph))(*args, **kwargs)
        _built.add(graph)

    return build_watched


def _keep_layers(graph: Any, later: Any, watcher: Any) -> None:
    """Give ``graph`` stand-ins for the layers that a later graph is about to build again.

    It gets them if its network concerns this package, or if it was asked for its layers.
    Otherwise it is noted that it has lost them.
    """
    rebuilt = {id(part) for op in _tensor_nodes(later) for part in op.func._flatten_layers()}
    taken = [
        op
        for op in _tensor_nodes(graph)
        if op.func.built and any(id(part) in rebuilt for part in op.func._flatten_layers())
    ]
    keeps = taken and (state.has_record(graph) or watcher.concerns(graph.model.toplevel))
    for op in taken:
        op.func = _stand_in(graph, op.func, bool(keeps))


def _stand_in(graph: Any, layer: tf.keras.layers.Layer, keeps: bool) -> tf.keras.layers.Layer:
    """Return the stand-in for a layer in a graph, which has it in the layer's place."""
    kept = state.of_graph(graph)
    if any(layer is lost for lost in kept.lost):
        return layer
    if id(layer) not in kept.stand_ins:
        made = stand_in(layer) if keeps else None
        if made is None:
            kept.lost.append(layer)
            return layer
        kept.stand_ins[id(layer)] = layer, made
        held = nengo_dl.compat.sub_layers(graph)
        held[:] = [made if one is layer else one for one in held]
        _save_layers(graph)
    return kept.stand_ins[id(layer)][1]
