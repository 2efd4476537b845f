"""Keras layers in NengoDL 3, which builds them before its time loop, and their converter."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import use_step
from nengo_wd._seam import keras2
from nengo_wd._seam.nengo_dl3.values import _tensor_nodes

KerasConverter: Any = nengo_dl.Converter


def simulation_dtype() -> str | None:
    """Return the dtype of the simulator that is being built, if one is."""
    return None if _tensor_graph() is None else tf.keras.backend.floatx()


@contextlib.contextmanager
def building(layer: tf.keras.layers.Layer, check_use: Callable) -> Iterator[None]:
    """Build a layer in the body; check its penalties then, and its use in its TensorNodes.

    ``check_use`` is called with the shape of an input and the size of the output.
    """
    # copies have what Keras tracks, and penalties can't be pickled; NengoDL may track them anew
    penalties = [*layer._callable_losses]
    del layer._callable_losses
    keras2.set_penalties(layer, penalties)
    # Keras names the operations of a penalty by its variable, which may have any name
    around = tf.get_current_name_scope()
    valid = keras2.scope(around) if around else around
    with contextlib.nullcontext() if valid == around else tf.name_scope(f"{valid}/"):
        yield
    graph = _tensor_graph()
    if graph is not None:
        for op in _tensor_nodes(graph):
            if op.func is layer and op.shape_in is not None:
                check_use((graph.minibatch_size, *op.shape_in), op.output.size)
    with use_step(0):
        list(keras2.layer_penalties(layer))  # which raises for those that are no scalars


def state_of(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    """Return the state of a copy of ``layer``: all but its penalties, which can't be pickled."""
    return {**tf.keras.layers.Layer.__getstate__(layer), "_callable_losses": []}


def restore(layer: tf.keras.layers.Layer, kept: dict[str, Any]) -> None:
    """Give a new layer what `state_of` returned of another, and its penalties."""
    tf.keras.layers.Layer.__setstate__(layer, kept)
    for variable, regularizer in kept["penalized"]:
        keras2.add_penalty(layer, variable, regularizer)


def _tensor_graph() -> nengo_dl.tensor_graph.TensorGraph | None:
    """Return the TensorGraph that Keras is building, if any: NengoDL does not tell layers."""
    layer = keras2.layer_being_built()
    return layer if isinstance(layer, nengo_dl.tensor_graph.TensorGraph) else None


def apply_layer(
    layer: tf.keras.layers.Layer, keras_call: Callable, inputs: Any, *args: Any, **kwargs: Any
) -> tf.Tensor:
    """Call ``layer`` as Keras does; NengoDL itself uses ``build`` and ``call``.

    Raise an error if a TensorNode's function calls a layer that NengoDL does not know.
    """
    graph = _tensor_graph()
    nodes = [] if graph is None else _tensor_nodes(graph)
    known = (part for node in nodes for part in keras2.flat_layers(node.func))
    if graph is not None and all(layer is not part for part in known):
        raise ValidationError(
            f"layer {layer.name!r} is called by the function of a TensorNode, where neither its "
            "weights nor its penalties would be trained; give the layer itself to the TensorNode",
            attr="tensor_func",
            obj=layer,
        )
    return keras_call(inputs, *args, **kwargs)


def check_weights_can_leave() -> None:
    """Raise if layers can't be applied outside of a simulator; in NengoDL 3 they can."""


def build_layer(layer: tf.keras.layers.Layer, input_shape: Any) -> None:
    """Make the variables of ``layer``, once."""
    if not layer.built:
        with tf.name_scope(layer.name):
            layer.build(input_shape)


def _coerce(coerce: Callable, parameter: Any, *args: Any) -> Any:
    """Raise the layer's own error, which is the cause of NengoDL's."""
    try:
        return coerce(*args)
    except ValidationError as error:
        if isinstance(error.__cause__, ValidationError):
            raise error.__cause__ from None
        raise
