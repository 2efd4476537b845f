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
# Parts of the names of attributes in which TensorFlow tracks objects, and which it makes again.
TRACKED = ("dependenc", "_obj_reference_counts", "_update_uid", "_name_based_restores")
MADE = ("_losses", "_callable_losses", "_trainable_weights", "_non_trainable_weights")  # in a graph


def simulation_dtype() -> str | None:
    """Return the dtype of the simulator that is being built, if any."""
    variables = tf.compat.v1.trainable_variables() + tf.compat.v1.local_variables()
    # NengoDL makes the simulation's own variables before it builds layers
    own = [v for v in variables if v.name.startswith(("trainable_vars/", "local_vars/"))]
    return next((v.dtype.base_dtype.name for v in own if v.dtype.is_floating), None)


@contextlib.contextmanager
def building(layer: tf.keras.layers.Layer, check_use: Callable) -> Iterator[None]:
    """Do nothing, because `build_layer` builds, and ``pre_build`` checks uses."""
    yield


def state_of(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    """Return the state for a copy of ``layer``, without variables, which are in a graph."""
    kept = {
        name: value
        for name, value in vars(layer).items()
        if not (isinstance(value, (tf.Variable, LOCAL)) or any(part in name for part in TRACKED))
    }
    kept["_layers"] = [one for one in layer._layers if isinstance(one, tf.keras.layers.Layer)]
    return {**kept, **{name: [] for name in MADE}, "penalized": [], "built": False}


def restore(layer: tf.keras.layers.Layer, kept: dict[str, Any]) -> None:
    """Give a new layer the state that `state_of` returned for another."""
    vars(layer).update(kept, _thread_local=LOCAL())


def apply_layer(
    layer: tf.keras.layers.Layer, keras_call: Callable, inputs: Any, *args: Any, **kwargs: Any
) -> tf.Tensor:
    """Call ``layer`` in the simulator's graph, or as Keras does in a Keras model.

    Keras' own call would search the whole graph for Keras inputs at each unrolled time step.
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
    """Raise if layers in ``layer`` made variables in the time loop."""
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
    """Make the variables and penalties of ``layer``, once in each graph and outside of its loop.

    The first call may be in the loop, because `nengo_dl.tensor_layer` hides ``pre_build``.
    """
    graph = tf.compat.v1.get_default_graph()
    if layer.built and all(weight.graph is graph for weight in layer.weights):
        return
    for other in {weight.graph for weight in layer.weights} - {graph}:
        state.graph_state(other).stand_ins[id(layer)] = layer, keras2.stand_in(layer)
    for part in keras2.parts(layer):  # which may have variables and penalties in another graph
        part.built = False
        for name in MADE:
            setattr(part, name, [])
    with tf.init_scope(), tf.name_scope(keras2.scope(layer.name) + "/"):
        layer.build(input_shape)
        for part in keras2.parts(layer):
            _collect_penalties(part)


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
