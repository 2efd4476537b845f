"""What checkpoints hold of a simulator of NengoDL 3: by itself, no layers of TensorNodes.

Keras saves what a model's layers have in their attributes. NengoDL keeps its variables, and
the layers of TensorNodes, where Keras finds them for training, but not for saving.
"""

from __future__ import annotations

from typing import Any, Callable

import nengo_dl
import tensorflow as tf
from nengo_dl.compat import sub_layers, trackable

from nengo_wd._seam import patches
from nengo_wd._seam.left_out import warning_of_initial_values

PREFIX = "nengo_wd_"  # of the names by which the state of steps is saved


def mend() -> None:
    """Have checkpoints hold all weights, and ``save_params`` say what it leaves out."""
    graph, simulator = nengo_dl.tensor_graph.TensorGraph, nengo_dl.Simulator
    patches.wrap(graph, "build", "tracking", _tracking_all)
    patches.wrap(simulator, "save_params", "initial values", warning_of_initial_values)


def _tracking_all(build: Callable) -> Callable:
    """Return a ``TensorGraph.build`` that has Keras save all that it makes."""

    def build_tracked(graph: Any, input_shape: Any = None) -> None:
        build.__get__(graph, type(graph))(input_shape)
        # NengoDL gives variables of one shape one name, so that each would hide the one before
        graph._nengo_wd_params = list(graph.base_params.values())
        _save_layers(graph)
        with trackable.no_automatic_dependency_tracking_scope(graph):  # they are no weights
            graph._nengo_wd_initial = _InitialValues()
        graph._track_trackable(graph._nengo_wd_initial, "_nengo_wd_initial")

    return build_tracked


def _save_layers(graph: Any) -> None:
    """Have Keras save the layers that a TensorGraph has now."""
    layers = [one for one in sub_layers(graph) if isinstance(one, tf.keras.layers.Layer)]
    graph._nengo_wd_layers = layers


class _InitialValues(tf.keras.layers.Layer):
    """Initial values of weights, saved by the place of each among the weights of the model.

    It is a layer because Keras saves layers in all of its formats.
    """

    def keep(self, place: str, values: Any) -> tf.Variable:
        """Return the variable of a place; where there is none yet, ``values`` or one of them."""
        if not hasattr(self, place):
            setattr(self, place, _as_variable(values))
        return getattr(self, place)

    def save_own_variables(self, store: Any) -> None:
        """Save the values by their places."""
        for place, value in vars(self).items():
            if isinstance(value, tf.Variable):
                store[place] = value.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Take on saved values, also those that nobody has asked for yet."""
        for place in store.keys():
            values = store[place][()]
            self.keep(place, values).assign(values)


def keep_initial(
    sim: nengo_dl.Simulator, variable: tf.Variable, values: Any
) -> tuple[tf.Variable, Any]:
    """Return a variable with the initial values of another one, which checkpoints hold.

    Returned with it is what to give as ``values`` for the next simulator: the same variable,
    since a checkpoint may give it other values. Checkpoints hold no variables that are not among
    the model's weights, such as those of a plain function, nor their initial values.
    """
    weights = sim.keras_model.weights
    place = next((i for i, weight in enumerate(weights) if weight is variable), None)
    if place is None:
        kept = _as_variable(values)
    else:
        kept = sim.tensor_graph._nengo_wd_initial.keep(f"weight_{place}", values)
    return kept, kept


def keep_state(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> None:
    """Have checkpoints of an optimizer hold the state of a step beside its own.

    It is saved by the place of each trained variable among the weights of the model. Other settings
    may hold where it is loaded, so that some of it is not there, or not asked for.
    """
    weights = sim.keras_model.weights
    for variable, kept in step.state:
        place = next((i for i, weight in enumerate(weights) if weight is variable), None)
        if place is not None:
            name = f"{PREFIX}{step.name}_{place}"
            optimizer._track_trackable(kept, name)
            optimizer.nengo_wd_state[name] = kept
    vars(optimizer).pop("_coalesced_children", None)  # which Keras has looked up only once


def _as_variable(values: Any) -> tf.Variable:
    return values if isinstance(values, tf.Variable) else tf.Variable(values, trainable=False)
