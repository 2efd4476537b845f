"""Keras layers in NengoDL 2, which calls them inside its time loop."""

from __future__ import annotations

import contextlib
import inspect
import threading
from typing import Any, Callable, Iterator

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import use_step
from nengo_wd._seam import keras2, state
from nengo_wd._seam.nengo_dl2.training import COLLECTION

LOCAL = threading.local
# Parts of the names of attributes in which TensorFlow tracks objects; it makes them again.
TRACKED = ("dependenc", "_obj_reference_counts", "_update_uid", "_name_based_restores")


def simulation_dtype() -> str | None:
    """Return the dtype of the simulator that is being built, if one is.

    NengoDL makes the simulation's own variables before it calls a layer's ``pre_build``.
    """
    for variable in tf.compat.v1.trainable_variables() + tf.compat.v1.local_variables():
        of_simulator = variable.name.startswith(("trainable_vars/", "local_vars/"))
        if of_simulator and variable.dtype.is_floating:
            return variable.dtype.base_dtype.name
    return None


@contextlib.contextmanager
def scope() -> Iterator[None]:
    """Do nothing: `build_layer` opens the scope of a layer's variables."""
    yield


def begin_build(layer: tf.keras.layers.Layer) -> None:
    """Do nothing: `build_layer` removes what a layer has of an earlier build."""


def state_of(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    """Return the state of a copy of ``layer``: all but its variables, which are in a graph."""
    kept = {
        name: value
        for name, value in vars(layer).items()
        if not (isinstance(value, (tf.Variable, LOCAL)) or any(part in name for part in TRACKED))
    }
    unbuilt = ("_losses", "_callable_losses", "_trainable_weights", "_non_trainable_weights")
    kept["_layers"] = [one for one in layer._layers if isinstance(one, tf.keras.layers.Layer)]
    return {**kept, **{name: [] for name in unbuilt}, "penalized": [], "built": False}


def restore(layer: tf.keras.layers.Layer, kept: dict[str, Any]) -> None:
    """Give a new layer what `state_of` returned of another."""
    vars(layer).update(kept, _thread_local=LOCAL())


def apply_layer(
    layer: tf.keras.layers.Layer, keras_call: Callable, inputs: Any, *args: Any, **kwargs: Any
) -> tf.Tensor:
    """Call ``layer`` in the simulator's graph, or as Keras does in a Keras model.

    Keras' own call would search the whole simulator graph for Keras inputs, once per
    time step that is unrolled.
    """
    if tf.executing_eagerly() or hasattr(inputs, "_keras_history"):
        return keras_call(inputs, *args, **kwargs)
    inputs = tf.convert_to_tensor(inputs)
    build_layer(layer, inputs.shape)
    if _takes(layer.call, "training"):
        kwargs = {**_training(), **kwargs}
    outputs = layer.call(inputs, *args, **kwargs)
    _check_weights(layer)
    return outputs


def _check_weights(layer: tf.keras.layers.Layer) -> None:
    """Raise if layers in ``layer`` made variables in the time loop, with penalties or without."""
    known = state.graph_state(tf.compat.v1.get_default_graph()).layers
    late = [part.name for part in _parts(layer) if part.weights and part not in known]
    if late:
        raise ValidationError(
            f"layer {layer.name!r} makes the variables of {late[0]!r} in call, inside the time "
            f"loop, where no loss can reach them; build {late[0]!r} in build",
            attr="tensor_func",
            obj=layer,
        )


def _takes(function: Callable, argument: str) -> bool:
    parameters = inspect.signature(function).parameters
    return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def build_layer(layer: tf.keras.layers.Layer, input_shape: Any) -> None:
    """Make the variables and penalties of ``layer``, once in each graph.

    Inside the time loop this steps out of the loop first: `nengo_dl.tensor_layer` hides
    ``pre_build`` from NengoDL, so that the first call happens in there.
    """
    graph = tf.compat.v1.get_default_graph()
    if layer.built and all(weight.graph is graph for weight in layer.weights):
        return
    _keep(layer, graph)
    for part in _parts(layer):
        _unbuild(part)
    with tf.init_scope(), tf.name_scope(keras2.scope(layer.name) + "/"):
        layer.build(input_shape)
        for part in _parts(layer):
            _collect_penalties(part)


def _keep(layer: tf.keras.layers.Layer, graph: tf.Graph) -> None:
    """Keep a stand-in for ``layer`` in another graph, if it was built there before."""
    others = {id(weight.graph): weight.graph for weight in layer.weights}
    others.pop(id(graph), None)
    for other in others.values():
        state.graph_state(other).stand_ins[id(layer)] = layer, keras2.stand_in(layer)


def _parts(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    """Return ``layer`` and all layers in it, each of them once."""
    parts = {id(layer): layer}
    for inner in layer._layers:
        if isinstance(inner, tf.keras.layers.Layer):
            parts.update({id(part): part for part in _parts(inner)})
    return list(parts.values())


def _unbuild(layer: tf.keras.layers.Layer) -> None:
    """Forget the variables and penalties that ``layer`` has in another graph."""
    layer.built = False
    layer._losses, layer._callable_losses = [], []
    layer._trainable_weights, layer._non_trainable_weights = [], []


def _collect_penalties(layer: tf.keras.layers.Layer) -> None:
    """Add the penalties of ``layer`` to the graph's regularization losses, once."""
    kept = state.graph_state(tf.compat.v1.get_default_graph())
    if layer not in kept.layers:
        kept.layers.add(layer)
        with tf.name_scope(None), use_step(_training_step()):
            for penalty in keras2.layer_penalties(layer):
                tensor = tf.identity(penalty.value, keras2.scope(penalty.name))
                tf.compat.v1.add_to_collection(COLLECTION, tensor)
                kept.penalties[tensor.op.name] = penalty


def _training_step() -> Any:
    """Return the training step of the graph; 0 where nothing is trained."""
    counter = tf.compat.v1.train.get_global_step()
    return 0 if counter is None else counter


def check_built(layer: tf.keras.layers.Layer, check_use: Callable) -> None:
    """Do nothing: ``pre_build`` checks uses, and `build_layer` checks penalties."""


def _training() -> dict[str, tf.Tensor]:
    """Return the simulator's switch between training and inference, as an argument."""
    try:
        return {"training": tf.compat.v1.get_default_graph().get_tensor_by_name("training:0")}
    except KeyError:  # inference only, or not in a simulator's graph
        return {}
