"""Numbers, schedules and variables as values for the rows of a variable, and as they are now."""

from __future__ import annotations

from typing import Any, Iterable, List, NamedTuple, Sequence, Tuple

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import Strength, current_step, is_number, value_at
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.parameter import sum_rows
from nengo_wd._seam.builders import where
from nengo_wd.regularizers.forms import RowForm
from nengo_wd.regularizers.weights import ELEMENTWISE

RowForms = List[Tuple[Parameter, RowForm]]  # parameters of one variable, and their regularizers


class LiveArray:
    """An array that can change in tensors that were built with it; a constant if not live."""

    def __init__(self, sim: nengo_dl.Simulator, values: np.ndarray, live: bool = True) -> None:
        self.sim, self.values = sim, values
        self.variable = seam.values.state_variable(sim, values) if live else None

    def assign(self, values: np.ndarray) -> None:
        """Replace the values by others of the same shape."""
        if values.tobytes() != self.values.tobytes():
            self.values = values
            seam.values.assign(self.sim, self.variable, values)

    def tensor(self) -> tf.Tensor:
        """Return the values as they are when the tensor is evaluated."""
        return tf.convert_to_tensor(self.values if self.variable is None else self.variable)


class RowValues:
    """A strength, decay or learning rate of all objects in a variable, as a value for each row.

    The values are given as arrays of rows, each with a number, schedule, variable or `Strength`.
    Other rows have the value ``unset``: NaN where `tensor` is to fill in a default. Numbers, if
    they are live, can change without building anything again. Schedules and the user's own
    variables multiply them at every step.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        variable: tf.Variable,
        values: Iterable[tuple[np.ndarray, Any]],
        unset: float = 0.0,
        live: bool = True,
    ) -> None:
        self.variable, self.unset = variable, unset
        self.dtype = variable.dtype.base_dtype
        self.numbers = LiveArray(sim, self._split(values), live)

    def update_values(self, values: Iterable[tuple[np.ndarray, Any]]) -> None:
        """Replace the values by others."""
        self.numbers.assign(self._split(values))

    def _split(self, values: Iterable[tuple[np.ndarray, Any]]) -> np.ndarray:
        """Return the numbers by row; keep the factors that move, with a mask of their rows."""
        n_rows = int(self.variable.shape[0])
        numbers = np.full(n_rows, self.unset, self.dtype.as_numpy_dtype)
        masks: dict[tuple, tuple[tuple, np.ndarray]] = {}
        for rows, value in values:
            strength = value if isinstance(value, Strength) else Strength.from_value(value)
            numbers[rows] = strength.number
            if strength.factors:  # one mask for all objects of a class
                no_rows = np.zeros(n_rows, bool)
                masks.setdefault(strength.ids, (strength.factors, no_rows))[1][rows] = True
        self.moving = list(masks.values())
        return numbers

    @property
    def has_schedules(self) -> bool:
        """Whether a value depends on the training step."""
        return any(callable(factor) for factors, _ in self.moving for factor in factors)

    def tensor(self, step: tf.Tensor | None = None, default: Any = None) -> tf.Tensor:
        """Return the values at a training step, of shape (n_rows,).

        Rows with the value NaN have the value ``default``, where that is given.
        """
        values = self.numbers.tensor()
        if default is not None:
            values = where(tf.math.is_nan(values), tf.cast(default, self.dtype), values)
        for factors, mask in self.moving:
            for factor in factors:
                now = tf.cast(value_at(factor, step), self.dtype)
                values *= where(mask, now, tf.ones((), self.dtype))
        return values

    def over_rows(self, values: tf.Tensor) -> tf.Tensor:
        """Return values by row in a shape that fits the variable's."""
        return tf.reshape(values, [-1] + [1] * (self.variable.shape.rank - 1))


class RowRegularizer:
    r"""The L1 and L2 regularizers on all rows of one variable, as one expression.

    .. math:: \sum_i a_i \|w_i - c_i\|_1 + b_i \|w_i - c_i\|_2^2

    with the rows :math:`w_i` of the variable, and strengths and centre by row. So the number of
    operations does not depend on the number of objects. Live strengths can change without building
    anything again. They are `RowValues`, by their names in `ELEMENTWISE`.
    """

    def __init__(self, sim: nengo_dl.Simulator, row_forms: RowForms, live: bool) -> None:
        self.variable = row_forms[0][0].variable
        self.parameters = [parameter for parameter, _ in row_forms]
        self._moving = _moving(row_forms)
        self._parts = {
            part: RowValues(sim, self.variable, values, live=live)
            for part, values in _by_part(row_forms).items()
        }
        pulled = "towards_initial" in self._parts
        self._initial = self.parameters[0].initial_variable if pulled else None
        self.strengths = {name: self._parts[name] for name in ELEMENTWISE if name in self._parts}

    def can_update_to(self, row_forms: RowForms) -> bool:
        """Tell whether the strengths, variables and initial values of these forms are built in."""
        new = _by_part(row_forms).keys() - self._parts.keys()
        return not new and _moving(row_forms) == self._moving

    def update_values(self, row_forms: RowForms) -> None:
        """Replace the strengths by others, of the same parameters or others."""
        self.parameters = [parameter for parameter, _ in row_forms]
        given = _by_part(row_forms)
        for part, values in self._parts.items():
            values.update_values(given.get(part, []))

    @property
    def centre(self) -> tuple[tf.Tensor, tf.Tensor] | None:
        """The initial values, and 1 for rows that are pulled there; None if all are pulled to 0."""
        if self._initial is None:
            return None
        pulled = self._parts["towards_initial"]
        return tf.convert_to_tensor(self._initial), pulled.over_rows(pulled.tensor())

    def __call__(self) -> tf.Tensor:
        """Return the penalty as a scalar tensor."""
        return tf.reduce_sum(self._by_row(self.variable.dtype.base_dtype))

    def by_parameter(self) -> tf.Tensor:
        """Return in float64 what each of ``parameters`` adds, of shape (n_parameters,)."""
        owners = np.full(int(self.variable.shape[0]), -1)  # rows of no parameter are left out
        for i, parameter in enumerate(self.parameters):
            owners[parameter.rows] = i
        by_row = self._by_row(tf.float64)
        return tf.math.unsorted_segment_sum(by_row, owners, len(self.parameters))

    def _by_row(self, dtype: Any) -> tf.Tensor:
        """Return what each row adds, of shape (n_rows,), in a precision."""
        weights, centre = tf.cast(tf.convert_to_tensor(self.variable), dtype), self.centre
        if centre is not None:
            initial, pulled = centre
            weights -= tf.cast(pulled * initial, dtype)
        terms = []
        for name, values in self.strengths.items():
            sums = sum_rows(ELEMENTWISE[name].of_tensor(weights))
            strengths = values.tensor(current_step() if values.has_schedules else None)
            # a sum that is infinite counts for nothing where the strength is zero
            terms.append(tf.math.multiply_no_nan(sums, tf.cast(strengths, dtype)))
        return tf.add_n(terms) if terms else tf.zeros(weights.shape[:1], dtype)


def _by_part(row_forms: RowForms) -> dict[str, list[tuple[np.ndarray, Strength]]]:
    """Return the parts of forms, each with the rows that have it, and their strengths."""
    found: dict[str, list[tuple[np.ndarray, Strength]]] = {}
    for parameter, form in row_forms:
        for part, strength in form.parts.items():
            found.setdefault(part, []).append((parameter.rows, strength))
    return found


def _moving(row_forms: RowForms) -> list[tuple]:
    """Return the strengths that are variables or schedules, which are built in, by parameter."""
    return [(parameter.key, form.moving) for parameter, form in row_forms if form.moving]


class ValueAtStep(NamedTuple):
    """Computes a schedule or a variable at a step."""

    value: Any
    step: Any

    def __call__(self) -> tf.Tensor:
        """Return a scalar tensor."""
        return tf.convert_to_tensor(value_at(self.value, self.step))


def numbers_now(
    sim: nengo_dl.Simulator, values: Sequence[Any], step: Any = None
) -> list[float | None]:
    """Return values at a step as numbers, by default at the step of the simulator.

    If a variable is not initialized, in TensorFlow 1, all but plain numbers are None.
    """
    live = {id(value): value for value in values if not is_number(value)}  # few, of classes
    for value in live.values():
        _check_graph(sim, value)
    step = seam.values.training_step(sim) if step is None else step
    tensors = [seam.values.build(sim, ValueAtStep(value, step)) for value in live.values()]
    try:
        fetched = seam.values.fetch(sim, tensors) if tensors else []
        known: dict[int, float | None] = dict(zip(live, map(float, fetched)))
    except tf.errors.FailedPreconditionError:
        known = dict.fromkeys(live)
    return [known[id(value)] if id(value) in live else float(value) for value in values]


def _check_graph(sim: nengo_dl.Simulator, value: Any) -> None:
    if isinstance(value, tf.Variable) and not seam.values.in_graph(sim, value):
        fault = f"{value.name} is not in the graph of the simulator of {sim.model.toplevel}"
        hint = "make the variable within sim.tensor_graph.graph.as_default()"
        raise ValidationError(f"{fault}; {hint}", attr="variable")
