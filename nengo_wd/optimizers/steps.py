"""Steps before and after an optimizer's own, and the settings that they use."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Iterator, NamedTuple, Sequence, Tuple

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import check_called_now, check_hyperparameter, check_simulator, is_number
from nengo_wd._parameters import Parameter
from nengo_wd._seam import state
from nengo_wd._strengths import RowValues, numbers_now
from nengo_wd.target_norms import RULES

SetValues = Sequence[Tuple[Parameter, Any]]  # parameters, each with the value of a setting

# These compute the weights from sums of gradients, so they undo other changes of the weights.
WEIGHTS_IN_STATE = ("Ftrl", "FtrlOptimizer", "AdagradDAOptimizer")


class Fault(NamedTuple):
    """What is wrong with the setting of a parameter."""

    parameter: Parameter
    reason: str
    for_sure: bool  # it will stay, because it is about numbers, not about a schedule or variable


class Step:
    """A step before or after each of an optimizer's own, or both, for the objects with a setting.

    A subclass sets ``name``, ``change``, ``does`` and ``settings``; the first setting asks for it.
    """

    name: str  # in the name of the optimizer: "Decay" makes SGD "SGDWithDecay"
    change: str  # what the step is, for errors: "decay"
    does: str  # what an optimizer with it does, for errors: "decays weights"
    settings: tuple[str, ...] = ()  # the settings of objects that it uses
    places: str = "in the network's config"  # where users make these settings, for errors
    sim: nengo_dl.Simulator | None = None  # the one simulator that the step is for, if any
    used: dict = {}  # the settings as they were when the step was made or updated
    needs_learning_rate: bool = False
    # what is saved with the optimizer: each trained variable, and the step's variable for it
    state: Sequence[tuple[Any, tf.Variable]] = ()

    def __init__(
        self, sim: nengo_dl.Simulator, optimizer: Any, scaled: bool = False, found: SetValues = ()
    ) -> None:
        self.sim, self.needs_learning_rate = sim, scaled
        self.optimizer = state.chain(optimizer)[-1]
        self.check_fits(optimizer)
        self._check_learning_rate()
        self.made_for = found or self.asked(sim)
        if not self.made_for:
            fault = f"nothing in {sim.model.toplevel} has a {self.settings[0]}"
            hint = f"set one {self.places}, after nengo_wd.configure_settings()"
            raise ValidationError(f"{fault}; {hint}", attr=self.settings[0])
        note_used(self)

    @classmethod
    def asked(cls, sim: nengo_dl.Simulator) -> SetValues:
        """Return the parameters whose settings ask for such a step, with the settings."""
        return parameters.with_setting(sim, cls.settings[0])

    @classmethod
    def check_unasked(cls, sim: nengo_dl.Simulator) -> None:
        """Raise if settings ask for such a step now, because the optimizer has none."""
        refuse_new([one.name for one, _ in cls.asked(sim)], cls.settings[0])

    def check_fits(self, optimizer: Any) -> None:
        """Raise if an optimizer, or one inside it, has such a step already, or would undo it."""
        for one in reversed(state.chain(optimizer)):
            kept = [c.__name__ for c in type(one).__mro__ if c.__name__ in WEIGHTS_IN_STATE]
            if kept:
                fault = f"{kept[0]} computes the weights from sums of gradients at every step"
                hint = "use another optimizer, such as Adagrad or SGD, or its own regularization"
                undone = f"and would undo the {self.change}"
                raise ValidationError(f"{fault}, {undone}; {hint}", attr="optimizer", obj=one)
            if any(isinstance(step, type(self)) for step in state.steps_of(one)):
                fault = f"{name_of(one)} {self.does} already"
                hint = "give an optimizer without such a step"
                raise ValidationError(f"{fault}; {hint}", attr="optimizer", obj=one)

    def _check_learning_rate(self) -> None:
        """Raise if the learning rate is negative or not finite now, or needed and missing."""
        rate = seam.optimizers.learning_rate(self.optimizer)
        if rate is None and self.needs_learning_rate:
            fault = f"{type(self.optimizer).__name__} has no learning rate to scale a step by"
            hint = "give scale_by_learning_rate=False"
            raise ValidationError(f"{fault}; {hint}", attr="optimizer", obj=self.optimizer)
        number = None if rate is None else numbers_now(self.sim, [rate], self._step())[0]
        if number is not None:
            check_hyperparameter(number, "learning_rate", type(self.optimizer).__name__)

    def _step(self) -> Any:
        return seam.optimizers.iteration(self.sim, self.optimizer)

    def begin(self, variables: list) -> list[Any]:
        """Look at the trained variables before any step changes them; return as `before`."""
        return []

    def before(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Change the trained variables before the optimizer does, but after their gradients.

        The learning rate is that of this step, or None if no step needs it. ``iteration`` counts
        the steps before this one. Return the operations that the optimizer's own step has to wait
        for, in a graph of TensorFlow 1.
        """
        return []

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Change the trained variables after the optimizer did; otherwise as `before`."""
        return []

    def added(self) -> None:
        """Note that an optimizer with this step was made or compiled."""

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the settings of the step now."""
        return iter(())

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies the current settings; raise if they can't be applied."""
        return lambda: None


class ObjectSetting:
    """One setting of all objects in a simulator: the values that an optimizer uses.

    For each variable, ``make(sim, variable, values)`` returns an object that applies the values:
    pairs of an array of rows and a value. Its ``update_values(values)`` applies other numbers.
    Values that are not numbers have to stay: schedules and variables, and rules for norms.
    """

    def __init__(
        self, sim: nengo_dl.Simulator, name: str, found: SetValues, make: Callable = RowValues
    ) -> None:
        self.sim, self.name, self.found = sim, name, found
        variables = {id(one.variable): one.variable for one, _ in found}
        self.by_variable = {
            id(one): make(sim, one, _rows_in(one, found)) for one in variables.values()
        }

    def current_values(self) -> SetValues:
        """Return the current values; raise if one of them needs another optimizer."""
        found = parameters.with_setting(self.sim, self.name)
        new = {id(one.variable): one.name for one, _ in found}  # one name for each variable
        names = [name for key, name in new.items() if key not in self.by_variable]
        if not names and self._built(found) != self._built(self.found):
            names = ["a value that is not a number"]
        refuse_new(names, self.name)
        return found

    def update_values(self, found: SetValues) -> None:
        """Use the values that `current_values` returned; compile nothing again."""
        self.found = found
        for values in self.by_variable.values():
            values.update_values(_rows_in(values.variable, found))

    def _built(self, found: SetValues) -> list:
        others = [(one.key, value) for one, value in found if not is_number(value)]
        return [(key, value if isinstance(value, RULES) else id(value)) for key, value in others]


def _rows_in(variable: tf.Variable, found: SetValues) -> list[tuple[np.ndarray, Any]]:
    """Return the values that are in a variable, each with its rows."""
    return [(one.rows, value) for one, value in found if one.variable is variable]


def refuse_new(new: list[str], name: str) -> None:
    """Raise if settings ask for something that was not built into the step."""
    if new:
        fault = f"was not among the settings for {name} when the optimizer was made"
        raise ValidationError(f"{', '.join(new)} {fault}; make the optimizer anew", attr=name)


def check_optimizer(sim: nengo_dl.Simulator, optimizer: Any) -> Any:
    """Return the optimizer that an object or a name stands for; raise if ``sim`` can't use it."""
    check_simulator(sim, trains=True)
    return seam.optimizers.check_optimizer(optimizer)


def add_steps(optimizer: Any, steps: Sequence[Step], checks: Sequence[Callable] = ()) -> Any:
    """Return an optimizer with these steps: ``optimizer`` itself, if it can take them.

    Its `update_settings` calls ``checks``, and then applies the settings of all steps.
    """
    for step in steps:
        optimizer = seam.optimizers.with_step(step.sim, optimizer, step)
        step.added()
        optimizer.update_settings = partial(update_settings, optimizer, checks)
    return optimizer


def update_settings(optimizer: Any, checks: Sequence[Callable] = ()) -> None:
    """Apply all current settings, or none of them if one raises an error."""
    check_called_now()
    for check in checks:
        check()
    parts, takes = state.own_parts(optimizer), []
    for part in parts:  # a comprehension would shift `stacklevel`
        takes.append(part.prepare_update())
    for take in takes:
        take()
    for part in parts:
        note_used(part)


def note_used(part: Any) -> None:
    """Note the settings that an optimizer or a step uses, to warn when they change."""
    used = parameters.set_values(part.sim, part.settings)
    object.__setattr__(part, "used", used)  # hidden from Keras, which would wrap it


def name_of(optimizer: Any) -> str:
    """Return the name of an optimizer, for errors."""
    return optimizer.get_name() if hasattr(optimizer, "get_name") else type(optimizer).__name__
