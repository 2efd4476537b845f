"""What an optimizer does beside its own step."""

from __future__ import annotations

from typing import Any, Iterator, Sequence

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import check_rate, check_simulator
from nengo_wd._strengths.now import now
from nengo_wd.optimizers.fractions import Fault

# They compute the weights from sums of gradients, and so undo every change of the weights.
WEIGHTS_IN_STATE = ("Ftrl", "FtrlOptimizer", "AdagradDAOptimizer")


class Step:
    """A step that is taken before or after each of an optimizer's own, or both.

    An optimizer holds a list of such steps, and takes them in their order.

    Attributes
    ----------
    sim : nengo_dl.Simulator or None
        The simulator whose weights are changed, if the step is for one alone.
    name : str
        What stands for the step in the name of the optimizer: "Decay" makes SGD "SGDWithDecay".
    setting : str or None
        The setting on objects that the step is for, if it is for one.
    needs_rate : bool
        Whether the step needs the learning rate.
    decays : bool
        Whether the step decays weights, which an optimizer does only once.
    state : list of (tf.Variable, tf.Variable)
        What is saved with the optimizer: variables of the step's own, each after the trained
        variable that it is for.
    """

    name: str
    setting: str | None = None
    needs_rate: bool = False
    sim: nengo_dl.Simulator | None = None
    decays: bool = False
    state: Sequence[tuple[Any, tf.Variable]] = ()

    def begin(self, variables: list) -> list[Any]:
        """Look at variables before any step changes them.

        Parameter and what is returned are those of `before`.
        """
        return []

    def before(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Change variables before the optimizer does; the gradients are there already.

        Parameters
        ----------
        variables : list of tf.Variable
            The variables that are trained, with a gradient or without.
        learning_rate : tf.Tensor, float or None
            The learning rate of this step; None if no step needs it.
        iteration : tf.Tensor of int
            How many steps were taken before this one.

        Returns
        -------
        list of tf.Operation
            What the optimizer's own step has to wait for, in a graph of TensorFlow 1.
        """
        return []

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Change variables after the optimizer did.

        Parameters and what is returned are those of `before`.
        """
        return []

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong now with the settings that the step is for."""
        return iter(())


def steps_of(optimizer: Any) -> list[Step]:
    """Return the steps that an optimizer, or one inside it, takes beside its own."""
    with_steps = seam.optimizers.OptimizerWithSteps
    extended = [one for one in seam.optimizers.chain(optimizer) if isinstance(one, with_steps)]
    return [step for one in extended for step in one.nengo_wd_steps]


def checked(sim: nengo_dl.Simulator, optimizer: Any, change: str) -> Any:
    """Return an optimizer that can be extended, made by its name where that was given.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator that it is to train.
    optimizer : optimizer or str
        What the user gave.
    change : str
        What is done to the weights beside its own step, for errors.
    """
    check_simulator(sim)
    optimizer = seam.optimizers.check_optimizer(optimizer)
    _check_keeps_changes(optimizer, change)
    _check_learning_rate(sim, seam.optimizers.chain(optimizer)[-1])
    return optimizer


def _check_learning_rate(sim: nengo_dl.Simulator, optimizer: Any) -> None:
    """Raise if the learning rate is negative now, or not finite; some optimizers have none."""
    try:
        rate = seam.optimizers.rate(optimizer)
    except ValidationError:
        return
    (number,) = now(sim, [rate], seam.optimizers.step(sim, optimizer))
    if number is not None:
        check_rate(number, "learning_rate", type(optimizer).__name__)


def _check_keeps_changes(optimizer: Any, change: str) -> None:
    """Raise if an optimizer would undo what is done to the weights beside its own step."""
    for one in seam.optimizers.chain(optimizer):
        kept = [c.__name__ for c in type(one).__mro__ if c.__name__ in WEIGHTS_IN_STATE]
        if kept:
            raise ValidationError(
                f"{kept[0]} computes the weights from sums of gradients at every step, and so "
                f"would undo the {change}; use another optimizer, such as Adagrad or SGD, or the "
                "regularization that it has itself",
                attr="optimizer",
                obj=one,
            )


def simulators_of(optimizer: Any) -> list[Any]:
    """Return the simulators that the steps and rules of an optimizer were made for."""
    rules = [one for one in seam.optimizers.chain(optimizer) if _is_rule(one)]
    return [one.sim for one in [*rules, *steps_of(optimizer)] if one.sim is not None]


def _is_rule(optimizer: Any) -> bool:
    return isinstance(optimizer, seam.optimizers.RuleOptimizer)


def settings_of(optimizer: Any) -> set[str]:
    """Return the names of the settings that an optimizer takes notice of."""
    inner = seam.optimizers.chain(optimizer)[-1]
    of_rule = inner.SETTINGS if _is_rule(inner) else ()
    return {*of_rule, *(step.setting for step in steps_of(optimizer) if step.setting)}


def faults_of(optimizer: Any) -> Iterator[Fault]:
    """Yield what is wrong now with the settings that an optimizer takes notice of."""
    inner = seam.optimizers.chain(optimizer)[-1]
    by_rule: list[Any] = [inner] if isinstance(inner, seam.optimizers.RuleOptimizer) else []
    for one in [*by_rule, *steps_of(optimizer)]:
        yield from one.faults()
