"""NengoDL 3 on TensorFlow 2: ``sim.compile``, ``sim.fit`` and Keras' own losses."""

from __future__ import annotations

import inspect
import sys
from typing import Any, Callable, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd.layer_penalties import LayerPenalty, layer_penalties

OBJECTIVE_ARGUMENTS = "(y_true, y_pred)"

TUPLES_OF_PROBES = False


def simulation_dtype() -> str:
    """Return the dtype of the simulator that is being built (Keras' default elsewhere)."""
    return tf.keras.backend.floatx()


def layer_uses(layer: tf.keras.layers.Layer) -> list[tuple[tuple, int]]:
    """Return input shape and output size of the TensorNodes of a layer that is being built."""
    graph = _tensor_graph()
    if graph is None:
        return []
    return [
        ((graph.minibatch_size, *op.shape_in), op.output.size)
        for op in _tensor_nodes(graph)
        if op.func is layer and op.shape_in is not None
    ]


def _tensor_nodes(graph: nengo_dl.tensor_graph.TensorGraph) -> list[Any]:
    """Return the operators of TensorNodes whose function is a layer."""
    operators = (op for group in graph.plan for op in group)
    return [op for op in operators if isinstance(getattr(op, "func", None), tf.keras.layers.Layer)]


def _tensor_graph() -> nengo_dl.tensor_graph.TensorGraph | None:
    """Return the TensorGraph that Keras is building, if any.

    NengoDL tells a layer the shape of its input only. Keras' call context holds the
    layer that is being built, which is NengoDL's TensorGraph.
    """
    keras_base_layer = sys.modules[tf.keras.layers.Layer.__module__]
    layer = keras_base_layer.base_layer_utils.call_context().layer
    return layer if isinstance(layer, nengo_dl.tensor_graph.TensorGraph) else None


def apply_layer(
    layer: tf.keras.layers.Layer, keras_call: Callable, inputs: Any, *args: Any, **kwargs: Any
) -> tf.Tensor:
    """Call ``layer`` as Keras does; NengoDL itself uses ``build`` and ``call``.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a TensorNode's function calls a layer that NengoDL does not know.
    """
    graph = _tensor_graph()
    nodes = [] if graph is None else _tensor_nodes(graph)
    known = (part for node in nodes for part in node.func._flatten_layers())
    if graph is not None and all(layer is not part for part in known):
        raise ValidationError(
            f"layer {layer.name!r} is called by the function of a TensorNode, where neither its "
            "weights nor its penalties would be trained; give the layer itself to the TensorNode",
            attr="tensor_func",
            obj=layer,
        )
    return keras_call(inputs, *args, **kwargs)


def build_layer(layer: tf.keras.layers.Layer, input_shape: Any) -> None:
    """Make the variables of ``layer``, once."""
    if not layer.built:
        with tf.name_scope(layer.name):
            layer.build(input_shape)


def check_penalties(layer: tf.keras.layers.Layer) -> None:
    """Check the penalties of ``layer``; Keras collects them by itself."""
    list(layer_penalties(layer))


# -- penalties ---------------------------------------------------------------------------


def penalties(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every penalty of the layers in ``sim.keras_model``."""
    held = vars(sim).get("_nengo_wd_losses")
    return [
        penalty
        for layer in sim.keras_model._flatten_layers()
        for penalty in layer_penalties(layer, skip=held)
    ]


def hold_losses(sim: nengo_dl.Simulator, losses: list[Callable]) -> None:
    """Make these part of ``sim.keras_model.losses``, besides those of layers."""
    for loss in losses:
        loss()  # to be told now, not by Keras later, what is wrong with it
    held = vars(sim).get("_nengo_wd_losses")
    if held is None and losses:
        held = sim._nengo_wd_losses = HeldLosses()
        sim.tensor_graph.add_loss(held)
    if held is not None:
        held.losses = losses


def holds_losses(sim: nengo_dl.Simulator) -> bool:
    """Tell whether losses besides those of layers are part of ``sim.keras_model.losses``."""
    held = vars(sim).get("_nengo_wd_losses")
    return held is not None and bool(held.losses)


class HeldLosses:
    """The sum of losses, which may change before the model is compiled again."""

    losses: Sequence[Callable] = ()

    def __call__(self) -> tf.Tensor | None:
        """Return the sum, a scalar tensor; None where there are no losses."""
        return tf.add_n([loss() for loss in self.losses]) if self.losses else None


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell that ``variable`` can be used: simulators share what is in a layer."""
    return True


def build_once(sim: nengo_dl.Simulator, key: Any, function: Any) -> tf.Tensor:
    """Return the tensor that ``function`` makes."""
    return function()


def fetch(sim: nengo_dl.Simulator, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """Return the current values of tensors or variables."""
    return tf.keras.backend.batch_get_value(list(tensors))


def compiled(sim: nengo_dl.Simulator, function: Callable) -> Callable[[], np.ndarray]:
    """Return a function that fetches the current value of what ``function`` makes."""
    traced = tf.function(function, autograph=False).get_concrete_function()
    return lambda: traced().numpy()


def step_counter(sim: nengo_dl.Simulator) -> tf.Variable | None:
    """Return the variable that counts the batches an optimizer was trained on, if any."""
    return getattr(getattr(sim.keras_model, "optimizer", None), "iterations", None)


# -- parameters --------------------------------------------------------------------------


def function_of(node: nengo_dl.TensorNode) -> Any:
    """Return the function of a TensorNode: a layer, or what stands in for one."""
    return node.tensor_func


def base_rows(
    sim: nengo_dl.Simulator, signal: Any
) -> tuple[tf.Variable, np.ndarray, tuple[int, ...]]:
    """Return the variable in which a signal is, its rows in there, and its shape."""
    tensor_signal = sim.tensor_graph.signals[signal]
    variable = sim.tensor_graph.base_params[tensor_signal.key]
    rows = np.concatenate([np.arange(start, stop) for start, stop in tensor_signal.slices])
    return variable, rows, tensor_signal.shape


# -- objectives --------------------------------------------------------------------------


def probe_names(sim: nengo_dl.Simulator) -> dict[str, nengo.Probe]:
    """Return the names that NengoDL takes in the place of probes."""
    return {sim.get_name(probe): probe for probe in sim.model.probes}


def is_loss(loss: Any) -> bool:
    """Tell whether Keras can call ``loss`` with ``(y_true, y_pred)``."""
    if loss is None:
        return True
    try:
        inspect.signature(tf.keras.losses.get(loss)).bind("y_true", "y_pred")
    except (TypeError, ValueError):
        return False
    return not isinstance(loss, type)


def check_objective(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> None:
    """Raise now, and not while Keras trains, if an activity has no scalar penalty."""
    for activity in activities:
        shape = (sim.minibatch_size, 1, activity.probe.size_in)
        activity(tf.zeros(shape, sim.tensor_graph.dtype))


def penalized_objective(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> Any:
    """Return ``objective`` as it was given: Keras adds the model's losses by itself."""
    held = vars(sim).get("_nengo_wd_activities")
    if held is None and activities:
        held = sim._nengo_wd_activities = HeldActivities(sim)
        sim.tensor_graph.call = held
    if held is not None:
        held.activities = activities
    return objective


class HeldActivities:
    """The call of a simulator's TensorGraph, which adds losses on what probes record."""

    activities: Sequence[Any] = ()

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        self.probes, self.tensor_graph = sim.model.probes, sim.tensor_graph
        self.without = sim.tensor_graph.call

    def __call__(
        self, inputs: Any, training: Any = None, progress: Any = None, stateful: bool = False
    ) -> Any:
        """Simulate, and add the losses where Keras collects those of this call."""
        outputs = self.without(inputs, training=training, progress=progress, stateful=stateful)
        for activity in self.activities:
            recorded = outputs[self.probes.index(activity.probe)]
            self.tensor_graph.add_loss(activity(recorded))
        return outputs


KerasConverter = nengo_dl.Converter


# -- optimizers --------------------------------------------------------------------------


def state_variable(sim: nengo_dl.Simulator, values: np.ndarray) -> tf.Variable:
    """Return a variable that training does not change."""
    return tf.Variable(values, trainable=False)


def assign(sim: nengo_dl.Simulator, variable: tf.Variable, values: np.ndarray) -> None:
    """Give a variable new values."""
    variable.assign(values)


LARGE = 2**18  # elements, about the size of a cache


def multiply(variable: tf.Variable, factors: tf.Tensor) -> None:
    """Multiply ``variable`` by ``factors``, in one pass over its memory where it is large."""
    large = variable.shape.num_elements() >= LARGE
    (_multiply_fused if large else _multiply)(variable, factors)


def _multiply(variable: tf.Variable, factors: tf.Tensor) -> None:
    variable.assign(variable * factors, read_value=False)


_multiply_fused = tf.function(_multiply, jit_compile=True)


def check_optimizer(optimizer: Any) -> Any:
    """Return a Keras optimizer, made by its name where that was given."""
    if isinstance(optimizer, str):
        optimizer = tf.keras.optimizers.get(optimizer)
    if not isinstance(optimizer, KERAS_OPTIMIZERS):
        hint = "an instance of it" if isinstance(optimizer, type) else "a Keras optimizer"
        raise ValidationError(
            f"{optimizer!r} is no optimizer that sim.compile takes; give {hint}", attr="optimizer"
        )
    return optimizer


KERAS_OPTIMIZERS = (tf.keras.optimizers.Optimizer, tf.keras.optimizers.legacy.Optimizer)


def with_step_before(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> Any:
    """Have ``optimizer`` take ``step`` before each of its own.

    The instance stays what it is, with its state, its schedules and all that a
    configuration would lose; it only gets a class that extends its own.
    """
    base = type(optimizer)
    optimizer.__class__ = type(f"{base.__name__}WithDecay", (_StepBefore, base), {})
    optimizer._step_before = step
    return optimizer


def has_step_before(optimizer: Any) -> bool:
    """Tell whether ``optimizer`` was made by `with_step_before`."""
    return isinstance(optimizer, _StepBefore)


def decays_by_object(optimizer: Any) -> bool:
    """Tell whether an optimizer, or one that it wraps, takes notice of ``weight_decay``."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of Keras' loss scaling
    return isinstance(inner, (_StepBefore, RuleOptimizer))


class _StepBefore:
    """A mixin for Keras optimizers: a step that is taken before each of the optimizer's own."""

    _step_before: Any

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        """Take both steps; the gradients are those from before either of them."""
        grads_and_vars = list(grads_and_vars)
        variables = [variable for _, variable in grads_and_vars]
        self._step_before(variables, lambda: learning_rate(self), self.iterations)  # type: ignore
        return super().apply_gradients(grads_and_vars, *args, **kwargs)  # type: ignore[misc]

    def update_weight_decay(self) -> None:
        """Take on the settings for ``weight_decay`` as they are now."""
        self._step_before.update()

    @classmethod
    def from_config(cls, config: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the optimizer without decay, which is bound to a simulator."""
        return cls.__mro__[2].from_config(config, *args, **kwargs)  # type: ignore[attr-defined]


def learning_rate(optimizer: Any) -> tf.Tensor:
    """Return the learning rate of the step that an optimizer is about to take."""
    if isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        return optimizer._decayed_lr(tf.float32)
    rate = _rate(optimizer)
    return rate(optimizer.iterations) if callable(rate) else tf.convert_to_tensor(rate)


def _rate(optimizer: Any) -> Any:
    """Return the learning rate or schedule; the public attribute lags a step behind."""
    return getattr(optimizer, "_learning_rate", optimizer.learning_rate)


class RuleOptimizer(tf.keras.optimizers.Optimizer):
    """An optimizer that adds an increment to the weights and remembers it."""

    def __init__(self, sim: nengo_dl.Simulator, learning_rate: Any, name: str) -> None:
        super().__init__(name=name)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list: list[tf.Variable]) -> None:
        """Make a variable for the last increment of each variable."""
        super().build(var_list)
        if not getattr(self, "_built", False):
            self._last = [self.add_variable_from_reference(v, "increment") for v in var_list]
            self._built = True

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Update one variable."""
        last = self._last[self._index_dict[self._var_key(variable)]]
        rate = tf.cast(learning_rate(self), variable.dtype)
        gradient = tf.convert_to_tensor(gradient)
        last.assign(self.increment(variable, gradient, last, rate, self.iterations))
        variable.assign_add(last)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the optimizer."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}
