"""Keras' optimizers, with steps beside their own."""

from __future__ import annotations

import difflib
from functools import partial
from typing import Any, Callable

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import check_keras_2
from nengo_wd._seam.nengo_dl3 import distributed, simulators
from nengo_wd._seam.nengo_dl3.distributed import OPTIMIZERS
from nengo_wd._seam.state import DecayedBySettings, Rule, chain

Legacy = tf.keras.optimizers.legacy.Optimizer

# Private in Keras 2.12 to 2.15 and in tf-keras 2.16 to 2.21, and used by what follows:
# - of all optimizers: _learning_rate;
#   in OptimizerWithSteps _distributed_apply_gradients_fn, _update_model_variables_moving_average;
#   in RuleOptimizer _build_learning_rate, _serialize_hyperparameter, _index_dict, _var_key
# - of legacy optimizers: _hyper, _initial_decay, _decayed_lr, _distributed_apply


def _learning_rate(optimizer: Any) -> Any:
    """Return the learning rate of the step that an optimizer is about to take."""
    if isinstance(optimizer, Legacy):
        return optimizer._decayed_lr(tf.float32)
    # the public attribute lags a step behind
    rate = getattr(optimizer, "_learning_rate", None)
    rate = optimizer.learning_rate if rate is None else rate
    return rate(optimizer.iterations) if callable(rate) else tf.convert_to_tensor(rate)


def _with_steps_around(name: str) -> Callable:
    """Return a method that takes all steps beside Keras' method, called once for all replicas."""

    def apply(self: Any, distribution: Any, pairs: Any, *args: Any, **kwargs: Any) -> Any:
        update = getattr(super(OptimizerWithSteps, self), name)
        return self._with_steps(pairs, lambda found: update(distribution, found, *args, **kwargs))

    return apply


def check_optimizer(optimizer: Any) -> Any:
    """Return a Keras optimizer, made by its name where that was given."""
    if isinstance(optimizer, str):
        optimizer = _optimizer_by_name(optimizer)
    if not isinstance(optimizer, OPTIMIZERS):
        check_keras_2(optimizer, "optimizer", "sim.compile")
        hint = "an instance of it" if isinstance(optimizer, type) else "a Keras optimizer"
        message = f"{optimizer!r} is not an optimizer that sim.compile takes; give {hint}"
        raise ValidationError(message, attr="optimizer")
    return optimizer


def _optimizer_by_name(name: str) -> Any:
    try:
        return tf.keras.optimizers.get(name)
    except ValueError as error:
        public = (getattr(tf.keras.optimizers, each) for each in dir(tf.keras.optimizers))
        kinds = {one for one in public if isinstance(one, type) and issubclass(one, OPTIMIZERS)}
        known = sorted({one.__name__.lower() for one in kinds - set(OPTIMIZERS)})
        close = [repr(one) for one in difflib.get_close_matches(name.lower(), known)]
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        fault = f"{name!r} is not an optimizer that Keras knows"
        hint = f"{hint}There are {', '.join(map(repr, known))}"
        raise ValidationError(f"{fault}; {hint}", attr="optimizer") from error


def with_step(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> Any:
    """Have ``optimizer`` take ``step`` beside each of its own.

    The instance keeps its state, its schedules and all that a configuration would lose; only its
    class is replaced by a subclass. If it wraps another optimizer, that one gets the step, so that
    both take their steps or neither does.
    """
    inner = chain(optimizer)[-1]
    taken = [*getattr(inner, "nengo_wd_steps", []), step]
    base = getattr(inner, "nengo_wd_base", type(inner))
    # not on the class, which TensorFlow's caches would keep alive, and the simulator with it;
    # not by setattr, with which Keras would wrap what it is given
    vars(inner)["nengo_wd_steps"] = taken
    vars(inner).setdefault("nengo_wd_state", {})
    name = f"{base.__name__}With{'And'.join(one.name for one in taken)}"
    inner.__class__ = type(name, (OptimizerWithSteps, base), {"nengo_wd_base": base})
    simulators._keep_state(sim, inner, step)
    if inner is not optimizer:  # in whose configuration it must have a name that Keras knows
        for attr in ("__name__", "__qualname__", "__module__"):
            setattr(inner.__class__, attr, getattr(base, attr))
    return optimizer


class OptimizerWithSteps(DecayedBySettings):
    """A mixin for Keras optimizers: steps that are taken before and after the optimizer's own."""

    nengo_wd_base: type  # the class of the optimizer without steps
    nengo_wd_steps: list  # in the order in which they are taken
    nengo_wd_state: dict  # what is saved of the steps: variables by name
    nengo_wd_variables: list  # all that are updated, whether they have a gradient or not

    @property
    def decays_by_settings(self) -> bool:  # type: ignore[override]
        """Whether a step decays weights, or the optimizer itself does."""
        by_rule = issubclass(self.nengo_wd_base, RuleOptimizer)
        return by_rule or any("weight_decay" in step.settings for step in self.nengo_wd_steps)

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        """Have steps change all variables; Keras leaves out those without a gradient."""
        # which is zero in a compiled time loop, and None in one that is unrolled or run eagerly
        grads_and_vars = list(grads_and_vars)
        vars(self)["nengo_wd_variables"] = [variable for _, variable in grads_and_vars]
        return super().apply_gradients(grads_and_vars, *args, **kwargs)  # type: ignore[misc]

    _distributed_apply_gradients_fn = _with_steps_around("_distributed_apply_gradients_fn")
    _distributed_apply = _with_steps_around("_distributed_apply")

    def _with_steps(self, grads_and_vars: Any, apply: Callable) -> Any:
        """Take all steps where Keras changes the variables, with the gradients from before them.

        Gradients are clipped by then, and gradients of several batches are added up.
        """
        grads_and_vars, variables = list(grads_and_vars), self.nengo_wd_variables
        iteration = tf.convert_to_tensor(self.iterations)  # type: ignore[attr-defined]
        scaled = any(step.needs_learning_rate for step in self.nengo_wd_steps)
        moment = (variables, _learning_rate(self) if scaled else None, iteration)
        for step in self.nengo_wd_steps:
            step.begin(variables)
        for step in self.nengo_wd_steps:
            step.before(*moment)
        # not by setattr, with which Keras would track it
        vars(self)["nengo_wd_after"] = [partial(one.after, *moment) for one in self.nengo_wd_steps]
        applied = apply(grads_and_vars)
        self._take_steps_after()
        return applied

    def _take_steps_after(self) -> None:
        """Take the steps after the optimizer's own, unless they were taken."""
        for take in vars(self).pop("nengo_wd_after", ()):
            take()

    def _update_model_variables_moving_average(self, var_list: list) -> None:
        """Average the weights as all steps leave them, which Keras does within its own step."""
        self._take_steps_after()
        super()._update_model_variables_moving_average(var_list)  # type: ignore[misc]

    def save_own_variables(self, store: Any) -> None:
        """Save what Keras' file of weights holds of the optimizer, and the state of steps."""
        super().save_own_variables(store)  # type: ignore[misc]
        for name, kept in self.nengo_wd_state.items():
            store[name] = kept.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load what is saved for the steps that this optimizer has."""
        kept = self.nengo_wd_state
        own = {name: store[name] for name in store.keys() if not name.startswith(simulators.PREFIX)}
        super().load_own_variables(own)  # type: ignore[misc]
        for name in set(kept) & set(store.keys()):
            kept[name].assign(store[name])

    @classmethod
    def from_config(cls, config: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the optimizer without steps, which are bound to a simulator."""
        return cls.nengo_wd_base.from_config(config, *args, **kwargs)  # type: ignore[attr-defined]


def learning_rate(optimizer: Any) -> Any:
    """Return the learning rate: a number, a function of the step if scheduled, or None."""
    if isinstance(optimizer, Legacy):
        is_scheduled = callable(optimizer._hyper.get("learning_rate")) or optimizer._initial_decay
    else:
        is_scheduled = callable(getattr(optimizer, "_learning_rate", None))
    if is_scheduled:
        return lambda step: _learning_rate(optimizer)
    try:
        return float(tf.keras.backend.get_value(_learning_rate(optimizer)))
    except (AttributeError, KeyError):
        return None


def iteration(sim: nengo_dl.Simulator, optimizer: Any) -> Any:
    """Return how many steps an optimizer has taken."""
    return optimizer.iterations


class RuleOptimizer(Rule, DecayedBySettings, tf.keras.optimizers.Optimizer):
    """An optimizer that adds an increment to the weights and remembers it."""

    def __init__(self, sim: nengo_dl.Simulator, learning_rate: Any, name: str) -> None:
        super().__init__(name=name)
        self.sim = sim
        is_live = isinstance(learning_rate, tf.Variable)  # of which Keras would take a copy
        self._learning_rate = learning_rate if is_live else self._build_learning_rate(learning_rate)

    def build(self, var_list: list[tf.Variable]) -> None:
        """Make a variable for the last increment of each variable."""
        super().build(var_list)
        if not getattr(self, "_built", False):
            self._last = [self.add_variable_from_reference(v, "increment") for v in var_list]
            self._built = True

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Update one variable."""
        last = self._last[self._index_dict[self._var_key(variable)]]
        rate = tf.cast(_learning_rate(self), variable.dtype)
        gradient = tf.convert_to_tensor(gradient)
        whole = distributed.distributed_variable(variable)  # which settings are known by
        last.assign(self.increment(whole, gradient, last, rate, self.iterations))
        variable.assign_add(last)

    @classmethod
    def from_config(cls, config: Any, *args: Any, **kwargs: Any) -> Any:
        """Raise an error: a configuration holds no simulator."""
        fault = f"{cls.__name__} can't be made of a configuration, which holds no simulator"
        hint = f"make it with {cls.__name__}(sim, ...)"
        raise ValidationError(f"{fault}; {hint}", attr="optimizer")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the optimizer."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}


def variables_of_training(sim: nengo_dl.Simulator) -> list[tf.Variable]:
    """Return all variables that a training changes: weights, states and those of the optimizer."""
    model = sim.keras_model
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        message = f"the simulator of {sim.model.toplevel} is not compiled; call sim.compile first"
        raise ValidationError(message, attr="sim")
    for one in chain(optimizer):
        distributed._make_variables(one, model.trainable_variables)
    of_optimizer = optimizer.variables  # a method of Keras' legacy optimizers
    variables = of_optimizer() if callable(of_optimizer) else of_optimizer
    states = sim.tensor_graph.saved_state.values()
    tracked = tf.train.TrackableView(model).descendants()
    found = [*model.weights, *states, *variables, *tracked]
    return list({id(one): one for one in found if isinstance(one, tf.Variable)}.values())
