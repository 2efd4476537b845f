"""NengoDL 2 on TensorFlow 1.15: ``sim.train`` and the graph's regularization losses."""

from __future__ import annotations

import inspect
import re
import types
import weakref
from typing import Any, Callable, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import SimulatorClosed, ValidationError

from nengo_wd.layer_penalties import LayerPenalty, layer_penalties
from nengo_wd.regularizers import check_penalty

OBJECTIVE_ARGUMENTS = "(outputs, targets) or (outputs)"

TUPLES_OF_PROBES = True

TENSOR_LAYER = nengo_dl.tensor_layer.__module__

PENALTIES = tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES


# -- layers ------------------------------------------------------------------------------


def simulation_dtype() -> str:
    """Return the dtype of the simulator that is being built (Keras' default elsewhere).

    NengoDL makes the simulation's own variables before it calls a layer's ``pre_build``.
    """
    for variable in tf.compat.v1.trainable_variables() + tf.compat.v1.local_variables():
        of_simulator = variable.name.startswith(("trainable_vars/", "local_vars/"))
        if of_simulator and variable.dtype.is_floating:
            return variable.dtype.base_dtype.name
    return tf.keras.backend.floatx()


def layer_uses(layer: tf.keras.layers.Layer) -> list[tuple[tuple, int]]:
    """Return nothing: NengoDL 2 tells ``pre_build`` of each TensorNode."""
    return []


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
    return layer.call(inputs, *args, **kwargs)


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
    for part in _parts(layer):
        _unbuild(part)
    with tf.init_scope(), tf.name_scope(_scope(layer.name) + "/"):
        layer.build(input_shape)
        for part in _parts(layer):
            _collect_penalties(part)


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
    graph = tf.compat.v1.get_default_graph()
    collected = vars(graph).setdefault("_nengo_wd_collected", weakref.WeakSet())
    if layer not in collected:
        collected.add(layer)
        with tf.name_scope(None):
            for penalty in layer_penalties(layer):
                tensor = tf.identity(penalty.value, _scope(penalty.name))
                tf.compat.v1.add_to_collection(PENALTIES, tensor)
                _known(graph)[tensor.op.name] = penalty


def _known(graph: tf.Graph) -> dict[str, LayerPenalty]:
    """Return the penalties of layers among the graph's regularization losses."""
    return vars(graph).setdefault("_nengo_wd_penalties", {})


def _scope(name: str) -> str:
    """Return ``name`` with what TensorFlow does not take in a name replaced."""
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)


def check_penalties(layer: tf.keras.layers.Layer) -> None:
    """Do nothing: `build_layer` checks the penalties that it collects."""


def _training() -> dict[str, tf.Tensor]:
    """Return the simulator's switch between training and inference, as an argument."""
    try:
        return {"training": tf.compat.v1.get_default_graph().get_tensor_by_name("training:0")}
    except KeyError:  # inference only, or not in a simulator's graph
        return {}


# -- penalties ---------------------------------------------------------------------------


def penalties(sim: nengo_dl.Simulator) -> list[LayerPenalty]:
    """Return every regularization loss that layers put in the graph."""
    graph = sim.tensor_graph.graph
    with graph.as_default():
        held = _held(sim)
        losses = [loss for loss in tf.compat.v1.get_collection(PENALTIES) if loss not in held]
        return [_known(graph).get(loss.op.name) or _of_user(loss) for loss in losses]


def _of_user(loss: tf.Tensor) -> LayerPenalty:
    return LayerPenalty(loss.op.name, check_penalty(loss.op.name, loss))


def hold_losses(sim: nengo_dl.Simulator, losses: list[Any]) -> None:
    """Make these the graph's regularization losses besides those of layers."""
    tensors = [build_once(sim, loss.key, loss) for loss in losses]
    collection = sim.tensor_graph.graph.get_collection_ref(PENALTIES)
    held = _held(sim)
    collection[:] = [loss for loss in collection if loss not in held] + tensors
    held[:] = tensors


def _held(sim: nengo_dl.Simulator) -> list[tf.Tensor]:
    return vars(sim).setdefault("_nengo_wd_losses", [])


def holds_losses(sim: nengo_dl.Simulator) -> bool:
    """Tell whether losses besides those of layers are the graph's regularization losses."""
    return bool(_held(sim))


def in_graph(sim: nengo_dl.Simulator, variable: tf.Variable) -> bool:
    """Tell whether ``variable`` is in the simulator's graph, not in a later one."""
    return variable.graph is sim.tensor_graph.graph


def build_once(sim: nengo_dl.Simulator, key: Any, function: Any) -> tf.Tensor:
    """Return the tensor that ``function`` makes, made in the simulator's graph only once."""
    built = vars(sim).setdefault("_nengo_wd_tensors", {})
    if key not in built:
        with sim.tensor_graph.graph.as_default(), tf.name_scope(None):
            built[key] = function()
    return built[key]


def fetch(sim: nengo_dl.Simulator, tensors: list[tf.Tensor]) -> list[np.ndarray]:
    """Return the current values of tensors or variables."""
    if sim.closed:
        raise SimulatorClosed(f"the simulator of {sim.model.toplevel} is closed, values and all")
    return sim.sess.run(list(tensors))


def compiled(sim: nengo_dl.Simulator, function: Callable) -> Callable[[], np.ndarray]:
    """Return a function that fetches the current value of what ``function`` makes."""
    tensor = build_once(sim, function, function)
    return lambda: sim.sess.run(tensor)


def step_counter(sim: nengo_dl.Simulator) -> tf.Variable | None:
    """Return the variable that counts the batches a simulator was trained on, if any."""
    return sim.tensor_graph.training_step


# -- parameters --------------------------------------------------------------------------


def function_of(node: nengo_dl.TensorNode) -> Any:
    """Return the function of a TensorNode: a layer, or what stands in for one.

    It is taken out of the functions that ``nengo_dl.tensor_layer`` puts around it.
    """
    function = node.tensor_func
    while isinstance(function, types.FunctionType) and function.__module__ == TENSOR_LAYER:
        contents = [cell.cell_contents for cell in function.__closure__ or ()]
        function = next(content for content in contents if callable(content))
    return function


def base_rows(
    sim: nengo_dl.Simulator, signal: Any
) -> tuple[tf.Variable, np.ndarray, tuple[int, ...]]:
    """Return the variable in which a signal is, its rows in there, and its shape."""
    tensor_signal = sim.tensor_graph.signals[signal]
    variable = sim.tensor_graph.base_vars[tensor_signal.key][0]
    return variable, tensor_signal.indices, tensor_signal.shape


class KerasConverter:
    """Stands for NengoDL 3's converter."""

    converters: dict = {}

    def __init__(self, model: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "nengo_wd.Converter needs NengoDL 3; NengoDL 2 has no converter of Keras models"
        )


# -- objectives --------------------------------------------------------------------------


def probe_names(sim: nengo_dl.Simulator) -> dict[str, nengo.Probe]:
    """Return nothing: NengoDL 2 takes probes, not their names."""
    return {}


def is_loss(loss: Any) -> bool:
    """Tell whether ``loss`` is a Keras loss, None, or a function of one or two arguments."""
    if loss is None or isinstance(loss, (_Objective, tf.keras.losses.Loss)):
        return True
    if isinstance(loss, str):
        return _is_keras_name(loss)
    return callable(loss) and not isinstance(loss, type) and _arguments(loss) in (1, 2)


def _is_keras_name(name: str) -> bool:
    try:
        return callable(tf.keras.losses.get(name))
    except ValueError:
        return False


def _arguments(function: Callable) -> int:
    """Count the arguments that NengoDL will pass: those without a default."""
    parameters = inspect.signature(function).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)


def check_objective(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> None:
    """Raise if there is no loss to which penalties could be added."""
    if not by_probe and not activities:
        raise ValidationError(
            "NengoDL 2 adds penalties to the loss of a probe, and there is none; give a loss "
            f"for a probe of {sim.model.toplevel}",
            attr="objective",
        )


def penalized_objective(
    sim: nengo_dl.Simulator, objective: Any, by_probe: dict, activities: Sequence[Any]
) -> dict:
    """Return the objective in which one probe's loss carries every penalty of the graph."""
    if objective is None:
        by_probe = {probe: nengo_dl.objectives.mse for probe in sim.model.probes}
    losses: dict[Any, Any] = {probe: _as_function(loss) for probe, loss in by_probe.items()}
    for activity in activities:
        losses[activity.probe] = _penalized(losses.get(activity.probe, no_loss), [], activity)
    carrier, loss = next(iter(losses.items()))
    losses[carrier] = _penalized(loss, sim.tensor_graph.graph.get_collection(PENALTIES))
    return losses


def _penalized(loss: Any, penalties: Sequence[tf.Tensor], activity: Any = None) -> Any:
    return (PenalizedOutput if _arguments(loss) == 1 else PenalizedError)(loss, penalties, activity)


def _as_function(loss: Any) -> Callable:
    """Return ``loss`` as a function that NengoDL 2 takes, without penalties."""
    if isinstance(loss, (PenalizedOutput, PenalizedError)):
        return _as_function(loss.inner)
    if loss is None:
        return direct_gradient
    if loss == "mse":
        return nengo_dl.objectives.mse  # as NengoDL itself reads that name
    if isinstance(loss, (str, tf.keras.losses.Loss)) or loss in vars(tf.keras.losses).values():
        return KerasObjective(loss)
    return loss


def direct_gradient(outputs: Any, targets: Any) -> tf.Tensor:
    """Return zero, with ``targets`` as the gradient of ``outputs``.

    This is what NengoDL does for an objective of None, as a loss to which penalties can
    be added.
    """
    pairs = zip(tf.nest.flatten(outputs), tf.nest.flatten(targets))
    total = tf.add_n([tf.reduce_sum(output * target) for output, target in pairs])
    return total - tf.stop_gradient(total)


def no_loss(outputs: Any) -> tf.Tensor:
    """Return zero, for a probe that has penalties only."""
    return tf.zeros((), tf.nest.flatten(outputs)[0].dtype)


class _Objective:
    """An objective made from another one, and equal where that and the penalties are equal.

    NengoDL keeps an optimizer's state with the objective that it was used for, so an
    objective that is built anew for every call of ``sim.train`` must be equal each time.
    """

    def __init__(
        self, inner: Any, penalties: Sequence[tf.Tensor] = (), activity: Any = None
    ) -> None:
        self.inner, self.penalties, self.activity = inner, tuple(penalties), activity

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, _Objective) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple:
        return type(self), self.inner, self.penalties, self.activity

    def _total(self, loss: Any, outputs: Any) -> tf.Tensor:
        """Add every penalty once to ``loss``, summed as `sim.train` sums it."""
        loss = tf.add_n([tf.reduce_sum(part) for part in tf.nest.flatten(loss)])
        penalties = list(self.penalties)
        if self.activity is not None:
            penalties.append(self.activity(outputs))
        return tf.add_n([loss] + [tf.cast(penalty, loss.dtype) for penalty in penalties])


class KerasObjective(_Objective):
    """A Keras loss in NengoDL 2's order of arguments, averaged over what it leaves."""

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Return the mean of the Keras loss."""
        return tf.reduce_mean(tf.keras.losses.get(self.inner)(targets, outputs))


class PenalizedOutput(_Objective):
    """A loss of one argument plus penalties."""

    def __call__(self, outputs: Any) -> tf.Tensor:
        """Return the sum of loss and penalties."""
        return self._total(self.inner(outputs), outputs)


class PenalizedError(_Objective):
    """A loss of two arguments plus penalties."""

    def __call__(self, outputs: Any, targets: Any) -> tf.Tensor:
        """Return the sum of loss and penalties."""
        return self._total(self.inner(outputs, targets), outputs)


# -- optimizers --------------------------------------------------------------------------


def state_variable(sim: nengo_dl.Simulator, values: np.ndarray) -> tf.Variable:
    """Return a variable in the simulator's graph that training does not change."""
    with sim.tensor_graph.graph.as_default(), tf.name_scope(None):
        variable = tf.compat.v1.Variable(values, trainable=False, collections=[])
        sim.sess.run(variable.initializer)
    return variable


def assign(sim: nengo_dl.Simulator, variable: tf.Variable, values: np.ndarray) -> None:
    """Give a variable new values."""
    variable.load(values, sim.sess)


def multiply(variable: tf.Variable, factors: tf.Tensor) -> tf.Operation:
    """Return the operation that multiplies ``variable`` by ``factors``."""
    return tf.compat.v1.assign(variable, variable * factors).op


def check_optimizer(optimizer: Any) -> Any:
    """Return ``optimizer``, if it is one that NengoDL 2 takes."""
    if not isinstance(optimizer, tf.compat.v1.train.Optimizer):
        is_class = isinstance(optimizer, type)
        hint = "an instance of it" if is_class else "one of tf.compat.v1.train"
        raise ValidationError(
            f"{optimizer!r} is no optimizer that sim.train takes; give {hint}", attr="optimizer"
        )
    return optimizer


def with_step_before(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> Any:
    """Return an optimizer like ``optimizer`` that takes ``step`` before each of its own."""
    return _StepBefore(sim, optimizer, step)


def has_step_before(optimizer: Any) -> bool:
    """Tell whether ``optimizer`` was made by `with_step_before`."""
    return isinstance(optimizer, _StepBefore)


def decays_by_object(optimizer: Any) -> bool:
    """Tell whether an optimizer takes notice of ``weight_decay``."""
    return isinstance(optimizer, (_StepBefore, RuleOptimizer))


class _StepBefore(tf.compat.v1.train.Optimizer):
    """An optimizer that takes a step before each of another optimizer's."""

    def __init__(self, sim: nengo_dl.Simulator, inner: Any, step: Any) -> None:
        super().__init__(False, f"{inner.get_name()}WithDecay")
        self.sim, self.inner, self.step = sim, inner, step

    def compute_gradients(self, *args: Any, **kwargs: Any) -> list:
        """Return gradients and variables, as the inner optimizer computes them."""
        return self.inner.compute_gradients(*args, **kwargs)

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> tf.Operation:
        """Take both steps, after all gradients have been computed."""
        grads_and_vars = list(grads_and_vars)
        gradients = [gradient for gradient, _ in grads_and_vars if gradient is not None]
        with tf.control_dependencies(gradients):
            variables = [variable for _, variable in grads_and_vars]
            training_step = self.sim.tensor_graph.training_step
            steps = self.step(variables, self._learning_rate, training_step)
        with tf.control_dependencies(steps):
            return self.inner.apply_gradients(grads_and_vars, *args, **kwargs)

    def update_weight_decay(self) -> None:
        """Take on the settings for ``weight_decay`` as they are now."""
        self.step.update()

    def get_slot(self, *args: Any) -> Any:
        """Return a slot of the inner optimizer."""
        return self.inner.get_slot(*args)

    def get_slot_names(self) -> list[str]:
        """Return the names of the inner optimizer's slots."""
        return self.inner.get_slot_names()

    def variables(self) -> list[tf.Variable]:
        """Return the variables of the inner optimizer."""
        return self.inner.variables()

    def _learning_rate(self) -> Any:
        """Return the inner optimizer's learning rate, which TensorFlow 1 keeps private."""
        for attr in ("_learning_rate", "_lr"):
            rate = getattr(self.inner, attr, None)
            if rate is not None:
                return rate() if callable(rate) else rate
        raise ValidationError(
            f"{type(self.inner).__name__} has no learning rate to scale the decay by; give "
            "scale_by_learning_rate=False",
            attr="optimizer",
            obj=self.inner,
        )


class RuleOptimizer(tf.compat.v1.train.Optimizer):
    """An optimizer that adds an increment to the weights and remembers it."""

    def __init__(self, sim: nengo_dl.Simulator, learning_rate: Any, name: str) -> None:
        super().__init__(False, name)
        self.sim, self.learning_rate = sim, learning_rate

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "increment", self._name)

    def _apply_dense(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Operation:
        step = self.sim.tensor_graph.training_step
        rate = self.learning_rate
        rate = tf.cast(rate(step) if callable(rate) else rate, variable.dtype.base_dtype)
        last = self.get_slot(variable, "increment")
        increment = last.assign(self.increment(variable, gradient, last, rate, step))
        return variable.assign_add(increment).op

    _resource_apply_dense = _apply_dense

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the optimizer."""
        return {"name": self._name, "learning_rate": self.learning_rate}
