"""TensorFlow 1's optimizers, with additional steps."""

from __future__ import annotations

from typing import Any

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._seam.state import NotCopyable, Rule


def check_optimizer(optimizer: Any) -> Any:
    """Return ``optimizer``, if it is one that NengoDL 2 takes."""
    if not isinstance(optimizer, tf.compat.v1.train.Optimizer):
        hint = "an instance of it" if isinstance(optimizer, type) else "one of tf.compat.v1.train"
        raise ValidationError(
            f"{optimizer!r} is not an optimizer that sim.train takes; give {hint}", attr="optimizer"
        )
    return optimizer


def with_step(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> Any:
    """Return an optimizer that also takes ``step``: ``optimizer`` itself, if it can."""
    if not isinstance(optimizer, OptimizerWithSteps):
        optimizer = OptimizerWithSteps(sim, optimizer)
    optimizer.nengo_wd_steps.append(step)
    added = "And".join(one.name for one in optimizer.nengo_wd_steps)
    optimizer._name = f"{optimizer.inner_optimizer.get_name()}With{added}"
    return optimizer


class OptimizerWithSteps(NotCopyable, tf.compat.v1.train.Optimizer):
    """An optimizer that takes steps before and after each step of another optimizer."""

    def __init__(self, sim: nengo_dl.Simulator, inner: Any) -> None:
        super().__init__(False, inner.get_name())
        self.sim, self.inner_optimizer = sim, inner
        self.nengo_wd_steps: list[Any] = []
        self.compute_gradients = inner.compute_gradients
        self.get_slot, self.get_slot_names = inner.get_slot, inner.get_slot_names

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> tf.Operation:
        """Take all steps, after all gradients have been computed."""
        grads_and_vars, iteration = list(grads_and_vars), self.sim.training_step
        variables = [variable for _, variable in grads_and_vars]
        done = [gradient for gradient, _ in grads_and_vars if gradient is not None]
        with tf.control_dependencies(done):
            scaled = any(step.needs_learning_rate for step in self.nengo_wd_steps)
            rate = learning_rate(self.inner_optimizer) if scaled else None
            rate = rate(iteration) if callable(rate) else rate
            # read before the inner optimizer counts its step
            moment = (variables, rate, tf.identity(iteration))
        done = done + [moment[-1]]
        with tf.control_dependencies(done):
            done = done + [op for step in self.nengo_wd_steps for op in step.begin(variables)]
        for step in self.nengo_wd_steps:
            with tf.control_dependencies(done):
                done = step.before(*moment) or done
        with tf.control_dependencies(done):
            applied = self.inner_optimizer.apply_gradients(grads_and_vars, *args, **kwargs)
        for step in self.nengo_wd_steps:
            with tf.control_dependencies([applied]):
                applied = tf.group(applied, *step.after(*moment))
        return applied

    def variables(self) -> list[tf.Variable]:
        """Return the variables of the inner optimizer, and those of the steps."""
        of_steps = [kept for step in self.nengo_wd_steps for _, kept in step.state]
        return [*self.inner_optimizer.variables(), *of_steps]


def learning_rate(optimizer: Any) -> Any:
    """Return the learning rate: a number, a tensor, a function of the step, or None."""
    if isinstance(optimizer, RuleOptimizer):
        return optimizer.learning_rate
    rates = (getattr(optimizer, attr, None) for attr in ("_learning_rate", "_lr"))  # private
    found = next((rate for rate in rates if rate is not None), None)
    return found() if callable(found) else found


def iteration(sim: nengo_dl.Simulator, optimizer: Any) -> Any:
    """Return the number of training steps of a simulator."""
    return sim.training_step


class RuleOptimizer(Rule, tf.compat.v1.train.Optimizer):
    """An optimizer that adds an increment to the weights and remembers it."""

    def __init__(self, sim: nengo_dl.Simulator, learning_rate: Any, name: str) -> None:
        super().__init__(False, name)
        self.sim, self.learning_rate = sim, learning_rate

    def _create_slots(self, var_list: list[tf.Variable]) -> None:
        for variable in var_list:
            self._zeros_slot(variable, "increment", self._name)

    def _apply_dense(self, gradient: tf.Tensor, variable: tf.Variable) -> tf.Operation:
        step = self.sim.training_step
        rate = self.learning_rate
        rate = tf.cast(rate(step) if callable(rate) else rate, variable.dtype.base_dtype)
        last = self.get_slot(variable, "increment")
        increment = last.assign(self.increment(variable, gradient, last, rate, step))
        return variable.assign_add(increment).op

    _resource_apply_dense = _apply_dense

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the optimizer."""
        return {"name": self._name, "learning_rate": self.learning_rate}
