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
def building(layer: tf.keras.layers.Layer, check_use: Callable) -> Iterator[None]:
    """Do nothing: `build_layer` does it, and ``pre_build`` checks uses."""
    yield


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
    outputs = layer.call(inputs, *args, **{**_training(layer.call), **kwargs})
    _check_weights(layer)
    return outputs


def _training(call: Callable) -> dict[str, tf.Tensor]:
    """Return the simulator's switch between training and inference, if ``call`` takes it."""
    parameters = inspect.signature(call).parameters
    if "training" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        with contextlib.suppress(KeyError):  # inference only, or not in a simulator's graph
            return {"training": tf.compat.v1.get_default_graph().get_tensor_by_name("training:0")}
    return {}


def _check_weights(layer: tf.keras.layers.Layer) -> None:
    """Raise if layers in ``layer`` made variables in the time loop, with penalties or without."""
    known = state.graph_state(tf.compat.v1.get_default_graph()).layers
    late = [one.name for one in keras2.parts(layer) if one.weights and one not in known]
    if late:
        raise ValidationError(
            f"layer {layer.name!r} makes the variables of {late[0]!r} in call, inside the time "
            f"loop, where no loss can reach them; build {late[0]!r} in build",
            attr="tensor_func",
            obj=layer,
        )


def build_layer(layer: tf.keras.layers.Layer, input_shape: Any) -> None:
    """Make the variables and penalties of ``layer``, once in each graph.

    Inside the time loop this steps out of the loop first: `nengo_dl.tensor_layer` hides
    ``pre_build`` from NengoDL, so that the first call happens in there.
    """
    graph = tf.compat.v1.get_default_graph()
    if layer.built and all(weight.graph is graph for weight in layer.weights):
        return
    _keep(layer, graph)
    for part in keras2.parts(layer):  # which may have variables and penalties in another graph
        part.built = False
        part._losses, part._callable_losses = [], []
        part._trainable_weights, part._non_trainable_weights = [], []
    with tf.init_scope(), tf.name_scope(keras2.scope(layer.name) + "/"):
        layer.build(input_shape)
        for part in keras2.parts(layer):
            _collect_penalties(part)


def _keep(layer: tf.keras.layers.Layer, graph: tf.Graph) -> None:
    """Keep a stand-in for ``layer`` in another graph, if it was built there before."""
    others = {id(weight.graph): weight.graph for weight in layer.weights}
    others.pop(id(graph), None)
    for other in others.values():
        state.graph_state(other).stand_ins[id(layer)] = layer, keras2.stand_in(layer)


def _collect_penalties(layer: tf.keras.layers.Layer) -> None:
    """Add the penalties of ``layer`` to the graph's regularization losses, once."""
    kept = state.graph_state(tf.compat.v1.get_default_graph())
    if layer in kept.layers:
        return
    kept.layers.add(layer)
    counter = tf.compat.v1.train.get_global_step()  # None where nothing is trained
    with tf.name_scope(None), use_step(0 if counter is None else counter):
        for penalty in keras2.layer_penalties(layer):
            tensor = tf.identity(penalty.value, keras2.scope(penalty.name))
            tf.compat.v1.add_to_collection(COLLECTION, tensor)
            kept.penalties[tensor.op.name] = penalty
