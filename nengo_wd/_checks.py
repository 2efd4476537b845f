"""Arguments that several parts take: their types, checks, and values at a training step."""

from __future__ import annotations

import contextlib
import numbers
import sys
import threading
import types
from typing import TYPE_CHECKING, Any, Callable, Iterator, Mapping, NamedTuple, Sequence, Union

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import SimulatorClosed, ValidationError

if TYPE_CHECKING:
    from typing import Protocol

    class Assignable(Protocol):
        """A ``tf.Variable``, which TensorFlow has no type for."""

        def assign(self, value: Any) -> Any:
            """Give the variable another value."""

else:
    Assignable = Any


# The name of a Keras regularizer, its configuration, or a function from a tensor to a scalar.
Regularizer = Union[str, dict, Callable[[Any], Any]]

# A number, a schedule of the training step, or a variable.
Hyperparameter = Union[float, Callable[[Any], Any], "Assignable"]

# The name of a Keras loss, a Keras loss, or a function.
Loss = Union[str, Callable[..., Any], None]

# One loss for all probes, one for each probe, or a dictionary from probes to losses.
Objective = Union[Loss, Sequence[Loss], Mapping[Any, Loss]]

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

_here = threading.local()  # because a strategy traces each replica in a separate thread


def check_simulator(sim: Any, trains: bool = False) -> None:
    """Raise inside a ``tf.function``, or unless ``sim`` is open (with ``trains``, also trained)."""
    check_called_now()
    if not isinstance(sim, nengo_dl.Simulator):
        fault = f"expected a nengo_dl.Simulator, got {sim!r} of type {type(sim).__name__}"
        raise ValidationError(fault, attr="sim")
    if sim.closed:
        fault = f"the simulator of {sim.model.toplevel} is closed"
        raise SimulatorClosed(f"{fault}; use it inside its with block")
    if trains and sim.tensor_graph.inference_only:
        fault = f"{sim.model.toplevel} is for inference only, and its weights are not trained"
        raise ValidationError(fault, attr="inference_only")


def check_called_now() -> None:
    """Raise inside a ``tf.function``, where values are unknown and calls happen only once."""
    if tf.compat.v1.get_default_graph().building_function:
        fault = "nengo_wd is called inside a tf.function, while TensorFlow traces it"
        hint = "call it outside, and use the result inside"
        raise ValidationError(f"{fault}; {hint}", attr="tf.function")


def check_keras_2(value: Any, attr: str, owner: Any) -> None:
    """Raise if an object, class or function is from Keras 3, because NengoDL needs Keras 2."""
    kind = value if isinstance(value, (type, types.FunctionType)) else type(value)
    bases = getattr(kind, "__mro__", (kind,))
    of_keras = [one.__name__ for one in bases if one.__module__.partition(".")[0] == "keras"]
    version = getattr(sys.modules.get("keras"), "__version__", "")
    if of_keras and version.startswith("3."):
        fault = f"{owner}: {value!r} is of Keras 3, but NengoDL needs Keras 2"
        hint = f"take {of_keras[0]} from tf.keras, after you import nengo_wd"
        raise ValidationError(f"{fault}; {hint}", attr=attr)


def check_hyperparameter(value: Any, name: str, owner: Any) -> Any:
    """Return a finite number, zero or above, a schedule or a variable; raise for anything else."""
    if is_number(value):
        check_strength(float(value), name, name, owner)
    elif isinstance(value, tf.Variable):
        check_scalar(value, name, f"{owner}: the variable {value.name}")
    elif not isinstance(value, tf.keras.optimizers.schedules.LearningRateSchedule):
        check_keras_2(value, name, owner)
        known = "a number, a tf.keras.optimizers.schedules.LearningRateSchedule or a tf.Variable"
        raise ValidationError(f"{owner}: {value!r} is not a {name}; give {known}", attr=name)
    return value


def check_scalar(value: Any, name: str, owner: str) -> None:
    """Raise unless a tensor or variable is a single real number."""
    dtype = value.dtype.base_dtype
    if value.shape.rank not in (0, None) or not is_real(dtype):
        fault = f"{owner} has shape {tuple(value.shape.as_list())} and dtype {dtype.name}"
        raise ValidationError(f"{fault}, but a {name} is a single real number", attr=name)


def as_strength(value: Any, name: str, owner: str) -> Any:
    """Return a strength as a number or variable; raise if it is neither."""
    if is_live(value):
        return value
    check_keras_2(value, name, owner)
    try:
        if isinstance(value, (str, bytes, bool)):
            raise TypeError(f"it is a {type(value).__name__}")
        strength = float(value)
    except (TypeError, ValueError) as error:
        fault = f"{owner}: the strength {name}={value!r} is not a number ({error})"
        raise ValidationError(fault, attr=name) from error
    check_strength(strength, name, name, owner)
    return strength


def check_momentum(value: Any, name: str, owner: Any) -> Any:
    """Return a number below one, a schedule or a variable; raise for anything else."""
    check_hyperparameter(value, name, owner)
    if is_number(value) and float(value) >= 1:
        fault = f"with a {name} of {value}, weights grow without end; it must be below 1"
        raise ValidationError(f"{owner}: {fault}", attr=name)
    return value


def check_time_constant(value: Any, name: str, owner: Any) -> Any:
    """Return a number above zero, a schedule or a variable; raise for anything else."""
    check_hyperparameter(value, name, owner)
    if is_number(value) and float(value) == 0:
        hint = "give a time constant above 0 s, or None"
        raise ValidationError(f"{owner}: a {name} of 0 s has no meaning; {hint}", attr=name)
    return value


def check_switch(value: Any, name: str, owner: Any) -> bool:
    """Return True or False; raise for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValidationError(f"{owner}: {name}={value!r} must be True or False", attr=name)
    return bool(value)


def check_strength(value: Any, name: str, attr: str, owner: Any) -> None:
    """Raise if ``value`` is a number that is negative, or not finite in float32."""
    is_known = isinstance(value, (numbers.Real, np.ndarray))  # Keras makes 0-d arrays of numbers
    if is_known and not np.all((np.asarray(value) >= 0) & (np.asarray(value) <= LARGEST_FLOAT32)):
        must = "must be a finite number in float32, zero or above"
        raise ValidationError(f"{owner}: the strength {name}={value} {must}", attr=attr)


def check_finite(name: str, penalty: Any) -> None:
    """Raise if the value of a penalty is NaN or infinite."""
    if not np.isfinite(penalty):
        fault = f"the penalty {name} is {float(penalty)} for the current weights"
        hint = "the penalty and the weights must be finite"
        raise ValidationError(f"{fault}; {hint}", attr="regularizer")


def is_real(dtype: tf.DType) -> bool:
    """Tell whether a dtype has real numbers; bool does not count."""
    return dtype.is_floating or dtype.is_integer


def is_number(value: Any) -> bool:
    """Tell whether ``value`` is a real number, and not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: Any, least: float = 1) -> bool:
    """Tell whether ``value`` is a whole number, ``least`` or more, and not a bool."""
    return isinstance(value, numbers.Integral) and is_number(value) and int(value) >= least


def is_live(value: Any) -> bool:
    """Tell whether ``value`` is a variable or tensor that can have another value later."""
    is_symbolic = isinstance(value, tf.Tensor) and not hasattr(value, "numpy")
    return is_symbolic or isinstance(value, tf.Variable)


def frame(rows: Any, **kwargs: Any) -> Any:
    """Return rows as a ``pandas.DataFrame``; raise an ImportError without pandas."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("to_frame needs pandas: pip install pandas") from error

    return pandas.DataFrame(rows, **kwargs)


@contextlib.contextmanager
def use_step(step: Any) -> Iterator[None]:
    """Let `current_step` return this step in the body, unless an outer body has set a step."""
    before = getattr(_here, "step", None)
    _here.step = step if before is None else before
    try:
        yield
    finally:
        _here.step = before


def current_step() -> Any:
    """Return the training step of the simulator whose losses are computed; raise without one."""
    now = getattr(_here, "step", None)
    if now is None:
        fault = "there is no training step to look a schedule up at"
        why = "only the optimizer of a compiled simulator counts steps"
        hint = "in your own training loop, use a tf.Variable as the strength, and assign it"
        raise ValidationError(f"{fault}: {why}; {hint}", attr="schedule")
    return now


def value_at(value: Any, training_step: Any) -> Any:
    """Return the value, a single number, of a number, schedule or variable at a training step."""
    if not callable(value):
        return value
    name = type(value).__name__
    try:
        now = tf.convert_to_tensor(value(training_step))
    except (TypeError, ValueError) as error:
        fault = f"the schedule {name} has no value at a training step: {error}"
        raise ValidationError(fault, attr="schedule") from error
    check_scalar(now, "value of a schedule", f"the schedule {name}")
    return now


class Strength(NamedTuple):
    """A number times schedules and variables, whose values can differ at each step."""

    number: float
    factors: tuple = ()

    @classmethod
    def from_value(cls, value: Any) -> Strength:
        """Return a number, schedule or variable as a strength."""
        return cls(float(value)) if is_number(value) else cls(1.0, (value,))

    def times(self, other: Strength) -> Strength:
        """Return the product of two strengths, without factors if the number is zero."""
        number = self.number * other.number
        return Strength(number, (*self.factors, *other.factors) if number else ())

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the factors."""
        return tuple(map(id, self.factors))
