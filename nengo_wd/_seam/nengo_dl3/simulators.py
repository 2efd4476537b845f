"""Wrappers of methods of NengoDL 3's simulator and TensorGraph, saving, and builders.

Keras saves what a model's layers have in their attributes. NengoDL keeps its variables, and the
layers of TensorNodes, where Keras finds them for training, but not for saving.
"""

from __future__ import annotations

import functools
import weakref
from typing import Any, Callable

import nengo.builder.learning_rules
import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError
from nengo_dl.builder import Builder
from nengo_dl.compat import sub_layers, trackable

from nengo_wd._checks import use_step
from nengo_wd._groups import Sides, use_sides
from nengo_wd._seam import keras2, state
from nengo_wd._seam.builders import DecayOperators
from nengo_wd._seam.nengo_dl3 import compiled
from nengo_wd._seam.nengo_dl3.builders import neurons, random_numbers
from nengo_wd._seam.nengo_dl3.builders.operators import RLSBuilder
from nengo_wd._seam.nengo_dl3.distributed import ReplicatedSimulator
from nengo_wd._seam.nengo_dl3.values import _tensor_nodes, step_counter

AXIS = 1  # of neurons, in what is of shape (minibatch_size, size)
GATHERING: dict = {}  # options with which NengoDL gathers signals
TAKES_NEURONS = "call sim.compile once more"  # for settings of neurons to count
PREFIX = "nengo_wd_"  # of the names by which the state of steps is saved

# -- wrappers, see `hooks` -----------------------------------------------------------------


def _make(init: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> None:
    init(*args, **kwargs)
    _give_training_step(sim)
    _expect_spikes(watcher, sim)
    watcher.prepare(sim)


def _compile(compile_: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> None:
    given = kwargs.get("loss"), args[0] if args else kwargs.get("optimizer")
    if not sim.closed:  # NengoDL raises for that
        watcher.check(sim, *given)
        _expect_spikes(watcher, sim)
    if kwargs.get("jit_compile") or state.is_jit_compiled(sim):
        kwargs = compiled.compile_options(sim, kwargs)
    compile_(*args, **kwargs)
    loss, optimizer = given
    watcher.compiled(sim, loss, None if optimizer is None else sim.keras_model.optimizer)


def _fit(fit: Callable, watcher: Any, sim: Any, *args: Any, **kwargs: Any) -> Any:
    if not sim.closed:
        watcher.before_training(sim, kwargs.get("callbacks"))
        watcher.check_shown(sim, args[0] if args else kwargs.get("x"), kwargs.get("n_steps"))
    return fit(*args, **_by_name(sim, kwargs))


def _evaluate(evaluate: Callable, sim: Any, *args: Any, **kwargs: Any) -> Any:
    return evaluate(*args, **_by_name(sim, kwargs))


def _build(build: Callable, watcher: Any, graph: Any, *args: Any, **kwargs: Any) -> None:
    for other in state.with_layers - {graph}:
        _keep_layers(other, graph, watcher)
    for op in _tensor_nodes(graph):
        if op.func.built:  # NengoDL puts its weights in the place of new initial ones
            keras2.forget_initializers(op.func)
    build(*args, **kwargs)
    _save_all(graph)
    state.with_layers.add(graph)


def _build_loop(
    build: Callable, watcher: Any, graph: Any, loop_i: Any, update_probes: Any, progress: Any
) -> Any:
    def update(recorded: list, loop_i: Any) -> None:
        update_probes(watcher.woken(graph, recorded), loop_i)

    return build(loop_i, update, progress)


def _expect_spikes(watcher: Any, sim: Any) -> None:
    watcher.expect_spikes(sim.tensor_graph)
    if state.draws(sim.tensor_graph):
        random_numbers.follow(sim)


def _build_neurons(build: Callable, builder: Any, signals: Any) -> None:
    built = builder.built_neurons
    state.for_spikes(builder).build(neurons.Step(built, signals), built.config.training)


def _by_name(sim: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with names instead of probes in sample weights, as Keras needs them."""
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


# -- training ------------------------------------------------------------------------------


def is_compiled(sim: nengo_dl.Simulator) -> bool:
    """Tell whether sim.compile fixed the penalties, so that later objectives don't change them."""
    return state.simulator_state(sim).compiled


def optimizers_in_use(sim: nengo_dl.Simulator) -> list[Any]:
    """Return the optimizers that a simulator is trained with."""
    optimizer = getattr(sim.keras_model, "optimizer", None)
    return [] if optimizer is None else [optimizer]


def _give_training_step(sim: nengo_dl.Simulator) -> None:
    """Give the penalties of layers the training step of their simulator, and their sides."""
    reference = weakref.ref(sim)  # or the user's layers would keep the simulator alive
    for layer in keras2.flat_layers(sim.keras_model):
        found = layer._callable_losses
        # a layer that is built only once has the step of an earlier simulator
        bare = [f.args[0] if getattr(f, "func", None) is _penalty_at_step else f for f in found]
        sides = [keras2.penalized_sides(layer, one) for one in bare]
        at_step = [
            functools.partial(_penalty_at_step, one, reference, its)
            for one, its in zip(bare, sides)
        ]
        keras2.set_penalties(layer, at_step)


def _penalty_at_step(function: Callable, reference: weakref.ref, sides: Sides) -> tf.Tensor | None:
    """Return the penalty that ``function`` returns, or None if it is a step of an optimizer."""
    sim = reference()
    if sim is not None and state.is_proximal(sim) and keras2.is_on_variable(function):
        return None
    with use_step(None if sim is None else step_counter(sim)), use_sides(sides):
        return function()


# -- layers that are built again -----------------------------------------------------------


def _keep_layers(graph: Any, later: Any, watcher: Any) -> None:
    """Give ``graph`` stand-ins for the layers that a later graph is about to build again.

    It gets them if its network concerns this package or its layers were asked for. Otherwise its
    record says that they are lost.
    """
    rebuilt = {id(part) for op in _tensor_nodes(later) for part in keras2.flat_layers(op.func)}
    taken = [
        op
        for op in _tensor_nodes(graph)
        if op.func.built and any(id(part) in rebuilt for part in keras2.flat_layers(op.func))
    ]
    keeps = taken and (state.has_record(graph) or watcher.concerns(graph.model.toplevel))
    for op in taken:
        op.func = _stand_in(graph, op.func, bool(keeps))


def _stand_in(graph: Any, layer: tf.keras.layers.Layer, keeps: bool) -> tf.keras.layers.Layer:
    """Replace a layer in a graph by a stand-in, and return that; a lost layer stays."""
    kept = state.graph_state(graph).stand_ins
    if id(layer) not in kept:
        made = keras2.stand_in(layer) if keeps else None
        made = layer if made is None else made
        kept[id(layer)], held = (layer, made), sub_layers(graph)
        held[:] = [made if one is layer else one for one in held]
        _save_layers(graph)
    return kept[id(layer)][1]


# -- saving --------------------------------------------------------------------------------


def writes(sim: nengo_dl.Simulator) -> bool:
    """Tell whether a simulator writes files: of several workers, only the first does."""
    resolver = sim.strategy.cluster_resolver if isinstance(sim, ReplicatedSimulator) else None
    if resolver is None or not resolver.cluster_spec().jobs:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def _save_all(graph: Any) -> None:
    """Have Keras save all that a TensorGraph has built."""
    # NengoDL gives variables of one shape one name, so that each would hide the one before
    graph._nengo_wd_params = list(graph.base_params.values())
    _save_layers(graph)
    with trackable.no_automatic_dependency_tracking_scope(graph):  # they are no weights
        graph._nengo_wd_initial = _InitialValues()
    keras2.save_with(graph, "_nengo_wd_initial", graph._nengo_wd_initial)


def _save_layers(graph: Any) -> None:
    """Have Keras save the layers that a TensorGraph has now."""
    layers = [one for one in sub_layers(graph) if isinstance(one, tf.keras.layers.Layer)]
    graph._nengo_wd_layers = layers


class _InitialValues(tf.keras.layers.Layer):
    """Initial values of weights, saved by the place of each among the weights of the model.

    It is a layer because Keras saves layers in all of its formats.
    """

    def keep(self, place: str, values: Any) -> tf.Variable:
        """Return the variable of a place; if there is none, make one of ``values``."""
        if not hasattr(self, place):
            setattr(self, place, _as_variable(values))
        return getattr(self, place)

    def save_own_variables(self, store: Any) -> None:
        """Save the values by their places."""
        for place, value in vars(self).items():
            if isinstance(value, tf.Variable):
                store[place] = value.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load saved values, also those of places that have no variable yet."""
        for place in store.keys():
            values = store[place][()]
            self.keep(place, values).assign(values)


def keep_initial(
    sim: nengo_dl.Simulator, variable: tf.Variable, values: Any
) -> tuple[tf.Variable, Any]:
    """Return a variable with the initial values of another one, which checkpoints hold.

    Return it twice: it is also ``values`` for the next simulator, since a checkpoint may change it.
    Variables that are not among the model's weights, such as a plain function's, are not saved.
    """
    places = {id(weight): place for place, weight in enumerate(sim.keras_model.weights)}
    if id(variable) in places:
        initial = sim.tensor_graph._nengo_wd_initial
        values = initial.keep(f"weight_{places[id(variable)]}", values)
    kept = _as_variable(values)
    return kept, kept


def _keep_state(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> None:
    """Have checkpoints of an optimizer hold the state of a step, by places of the model's weights.

    With other settings, a later simulator may lack some of it, or not ask for it.
    """
    places = {id(weight): place for place, weight in enumerate(sim.keras_model.weights)}
    for variable, kept in step.state:
        if id(variable) in places:
            name = f"{PREFIX}{step.name}_{places[id(variable)]}"
            optimizer.nengo_wd_state[name] = kept
            keras2.save_with(optimizer, name, kept)


def _as_variable(values: Any) -> tf.Variable:
    return values if isinstance(values, tf.Variable) else tf.Variable(values, trainable=False)


# -- the time loop -------------------------------------------------------------------------


class DecayBuilder(DecayOperators):
    """Builds a group of operators of decaying weights as one; the minibatch is the first axis."""

    axis = AXIS

    def build_pre(self, signals: Any, config: Any) -> None:
        """Put together the signals and constants of the group."""
        super().build_pre(signals, config)
        self.combine(self.ops, signals, tf.constant)


if hasattr(nengo.builder.learning_rules, "SimRLS"):  # from Nengo 4 on
    # `Builder.register` would warn where this module is reloaded
    Builder.builders[nengo.builder.learning_rules.SimRLS] = RLSBuilder
