"""Norms that are kept at a bound by a step of the optimizer."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, NamedTuple

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import is_number
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.parameter import norms_of_groups
from nengo_wd._seam import state
from nengo_wd._strengths import LiveArray
from nengo_wd.optimizers.steps import ObjectSetting, SetValues, Step, add_steps, check_optimizer
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

MEMORY = 0.99  # of the average of the norm
LEAST_GROWTH = 0.01  # of the average in an interval, at an inflection point
LEAST_FACTOR = float(np.finfo(np.float32).tiny)


class Progress(NamedTuple):
    """The state of the constraint, which is saved: tensors of shape (n_objects,).

    ``found`` is the norm that a rule has found, NaN before that. ``average`` is a moving average of
    the norm, ``last_average`` its value at the end of the last interval, and ``last_growth`` its
    growth in that interval, relative to this value.
    """

    steps: Any
    multiplier: Any
    found: Any
    average: Any
    last_average: Any
    last_growth: Any


class Bounds:
    """The bounds of all objects in a variable, as vectors in float64 with a value for each object.

    Objects without a target norm are among them, because what is saved must not depend on settings.
    ``found`` has the settings of these and others. ``progress`` is a variable that has what
    `Progress` has, of shape (n_fields, n_objects).
    """

    def __init__(self, sim: nengo_dl.Simulator, objects: list[Parameter], found: SetValues) -> None:
        self.objects, self.variable = objects, objects[0].variable
        rules = self._rules(found)
        self._numbers = LiveArray(sim, _as_numbers(rules))
        self._factors = _each(rules, OfInitial, "factor", 1.0)
        self._initial = np.array([isinstance(rule, OfInitial) for rule in rules])
        self._at_step = _each(rules, AtStep, "step", np.inf)
        self._every = _each(rules, InflectionPoint, "every", np.inf)
        self._sizes = np.array([np.prod(one.shape) for one in objects], float)
        self._object_of_row = np.full(int(self.variable.shape[0]), len(objects))  # of no object
        for i, one in enumerate(objects):
            self._object_of_row[one.rows] = i
        start = np.zeros((len(Progress._fields), len(objects)))
        start[Progress._fields.index("found")] = np.nan
        self.progress = seam.values.state_variable(sim, start)

    def update_values(self, found: SetValues) -> None:
        """Replace target norms that are numbers by others."""
        self._numbers.assign(_as_numbers(self._rules(found)))

    def _rules(self, found: SetValues) -> list[Any]:
        """Return the target norm of each object; None where it has none."""
        targets = {parameter.key: target for parameter, target in found}
        return [targets.get(one.key) for one in self.objects]

    def begin(self) -> list[Any]:
        """Note the initial norms before the first step; return the operations to wait for."""
        if not self._initial.any():
            return []
        now = self._now()
        missing = self._initial & tf.math.is_nan(now.found)
        norms = tf.cond(tf.reduce_any(missing), self._norms, lambda: tf.zeros_like(now.found))
        missing &= norms > 0
        return [self._keep(now._replace(found=_where(missing, norms, now.found)))]

    def constrain(self) -> list[Any]:
        """Take a step; return the operations to wait for."""
        before, norms = self._now(), self._norms()
        now = before._replace(steps=before.steps + 1)
        multiplier, factors = self._constrained(now, norms)
        now = self._found(now._replace(multiplier=multiplier), norms)
        # for TensorFlow 1, in which a value that was read may change with its variable
        with tf.control_dependencies([factors]):
            kept = self._keep(now)
        is_above = tf.reduce_any(tf.not_equal(factors, 1.0))
        return [kept, seam.values.multiply_if(is_above, self.variable, self._over_rows(factors))]

    def _over_rows(self, factors: tf.Tensor) -> tf.Tensor:
        """Return the factors of objects in a shape that fits the variable's."""
        # rows of no object get the last factor, 1
        by_row = tf.gather(tf.concat([factors, tf.ones(1, factors.dtype)], 0), self._object_of_row)
        by_row = tf.reshape(by_row, [-1] + [1] * (self.variable.shape.rank - 1))
        return tf.cast(by_row, self.variable.dtype.base_dtype)

    def recorded(self, progress: np.ndarray) -> dict[tuple[int, int], list]:
        """Return multipliers and target norms at some progress, by parameter; NaN for none."""
        now, numbers = Progress(*progress), self._numbers.values
        target = np.where(np.isnan(numbers), self._factors * now.found, numbers)
        has_rule = self._initial | np.isfinite(self._at_step) | np.isfinite(self._every)
        multiplier = np.where(has_rule | np.isfinite(numbers), now.multiplier, np.nan)
        return {one.key: values for one, *values in zip(self.objects, multiplier, target)}

    def _constrained(self, now: Progress, norms: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the new multipliers, and the factors of the weights."""
        numbers = self._numbers.tensor()
        target = _where(tf.math.is_nan(numbers), self._factors * now.found, numbers)
        excess = (tf.square(norms) - tf.square(target)) / self._sizes
        is_bound = tf.math.is_finite(target)
        multiplier = tf.maximum(_where(is_bound, now.multiplier + excess, 0.0), 0.0)
        turns = 2 * multiplier > 1
        scaled = tf.maximum(target / norms, LEAST_FACTOR)
        factors = _where(turns, scaled, 1 - 2 * multiplier)
        multiplier = _where(turns, tf.zeros_like(multiplier), multiplier)
        return multiplier, _where(is_bound & (norms > 0), factors, 1.0)

    def _found(self, now: Progress, norms: tf.Tensor) -> Progress:
        """Return the progress with the bounds that are found at this step."""
        due = (now.steps >= self._at_step) & (norms > 0)  # a bound of zero would be no bound
        if np.isfinite(self._every).any():
            slower, now = self._looked_at_growth(now, norms)
            due |= slower & (norms > 0)
        return now._replace(found=_where(tf.math.is_nan(now.found) & due, norms, now.found))

    def _looked_at_growth(self, now: Progress, norms: tf.Tensor) -> tuple[tf.Tensor, Progress]:
        """Return which norms are at an inflection point, and the progress of their averages."""
        averages = MEMORY * now.average + (1 - MEMORY) * norms
        averages = _where(now.steps >= self._every, averages, norms)
        intervals = now.steps / self._every
        ends = tf.equal(tf.math.floormod(now.steps, self._every), 0.0) & (intervals > 1)
        growth = (averages - now.last_average) / averages
        slower = (now.last_growth > growth) & (growth > LEAST_GROWTH) & (intervals > 3)
        return ends & slower, now._replace(
            average=averages,
            last_average=_where(ends, averages, now.last_average),
            last_growth=_where(ends & (intervals > 2), growth, now.last_growth),
        )

    def _norms(self) -> tf.Tensor:
        """Return the norm of each object."""
        weights = self.variable.read_value()
        return norms_of_groups(weights, self._object_of_row, len(self.objects))

    def _now(self) -> Progress:
        return Progress(*tf.unstack(self.progress.read_value()))

    def _keep(self, progress: Progress) -> Any:
        return self.progress.assign(tf.stack(progress), read_value=False)


def _as_numbers(rules: list) -> np.ndarray:
    """Return the target norms that are numbers, and NaN for others."""
    return np.array([rule if is_number(rule) else np.nan for rule in rules], float)


def _each(rules: list, kind: type, attr: str, otherwise: float) -> np.ndarray:
    return np.array([getattr(r, attr) if isinstance(r, kind) else otherwise for r in rules], float)


_where = tf.compat.v2.where  # which broadcasts, also in TensorFlow 1.15


class ConstrainedStep(Step):
    """Shrink weights that are above their target norm, after the gradient step."""

    name, settings = "ConstrainedNorms", ("target_norm",)
    change, does = "constraint", "constrains norms"

    def __init__(self, sim: nengo_dl.Simulator, optimizer: Any, scaled: bool = False) -> None:
        super().__init__(sim, optimizer)
        self._targets = ObjectSetting(sim, "target_norm", key=lambda rule: rule)
        for parameter, target in self._targets.found:
            _check_initial(parameter, target)
        objects: dict[int, list[Parameter]] = {key: [] for key in self._targets.variables}
        for one in parameters.all_parameters(sim, skip_later=True):
            objects.get(id(one.variable), []).append(one)
        found = self._targets.found
        self.bounds = {key: Bounds(sim, group, found) for key, group in objects.items()}
        self.state = [(bounds.variable, bounds.progress) for bounds in self.bounds.values()]

    def begin(self, variables: list) -> list[Any]:
        """Take the initial norms of ``variables``, before the first step."""
        return [done for bounds in self._bounds_of(variables) for done in bounds.begin()]

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Constrain those of ``variables`` that have target norms."""
        return [done for bounds in self._bounds_of(variables) for done in bounds.constrain()]

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies other numbers; raise for a rule that is new, or gone."""
        return partial(self._update_values, self._targets.current_values())

    def added(self) -> None:
        """Have records show the bounds of this step."""
        state.simulator_state(self.sim).bounds.update(self.bounds)

    def _update_values(self, found: SetValues) -> None:
        self._targets.update_values(found)
        for bounds in self.bounds.values():
            bounds.update_values(found)

    def _bounds_of(self, variables: list) -> list[Bounds]:
        return [self.bounds[id(v)] for v in variables if id(v) in self.bounds]


def _check_initial(parameter: Parameter, target: Any) -> None:
    """Raise if the initial norm of which a target is a factor can't be a bound."""
    if isinstance(target, OfInitial):
        norm = np.linalg.norm(np.asarray(parameter.value, np.float64))
        if not 0 < norm < np.inf:
            raise ValidationError(
                f"{parameter.name} has the target norm {target}, but the norm of its weights is "
                f"{norm} now, of which there is no such part; give it a number or AtStep(...), or "
                "load the weights before the optimizer is made",
                attr="target_norm",
                obj=parameter.obj,
            )


def constrained_norms(sim: nengo_dl.Simulator, optimizer: Any) -> Any:
    r"""Return an optimizer that keeps the norms of weights at their ``target_norm``.

    After each update of the optimizer, for each parameter :math:`w` of :math:`n` elements with a
    target norm :math:`\tau`,

    .. math::

        \lambda \leftarrow \max\left(0, \lambda + \frac{\|w\|^2 - \tau^2}{n}\right), \qquad
        w \leftarrow w - 2 \lambda w

    with a multiplier :math:`\lambda` of its own, which is zero at first. Weights that stay below
    the target are never changed. Where :math:`2 \lambda > 1`, the step would turn the signs of the
    weights: then :math:`w \leftarrow w \tau / \|w\|` and :math:`\lambda \leftarrow 0`.

    The norm is the L2 norm of all elements: of a connection's weights or decoders, of encoders, of
    biases, and of each kernel of a TensorNode's layer. Other objects, also in the same TensorFlow
    variable, stay as they are. `regularized_optimizer` takes this step, and all others of settings.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open. The setting ``target_norm`` in the config of its
        network is a positive number, or one of ``nengo_wd.target_norms``.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        As for `regularized_optimizer`. It may decay weights, before its step and the constraint.

    Returns
    -------
    optimizer
        As from `regularized_optimizer`. Multipliers, step counts and bounds are saved with it.

    Raises
    ------
    nengo.exceptions.ValidationError, nengo.exceptions.SimulatorClosed
        Where `regularized_optimizer` raises them, and if nothing has a ``target_norm``.

    Notes
    -----
    `WeightNorms` records multipliers, which are in units of squared weights, and target norms. The
    rule is for weights well below one in root mean square: a step may take most of larger ones.

    References
    ----------
    Joerg K. H. Franke, Michael Hefenbrock, Gregor Koehler and Frank Hutter, "Improving deep
    learning optimization through constrained parameter regularization", NeurIPS 2024.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings()
    ...     net.config[nengo_dl.TensorNode].target_norm = nengo_wd.target_norms.OfInitial(0.8)
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     optimizer = tf.keras.optimizers.Adam(1e-3)
    ...     sim.compile(nengo_wd.constrained_norms(sim, optimizer), loss={probe: "mse"})
    """
    optimizer = check_optimizer(sim, optimizer)
    return add_steps(optimizer, [ConstrainedStep(sim, optimizer)])


def recorded(sim: nengo_dl.Simulator, parameters: list[Parameter]) -> np.ndarray:
    """Return multipliers and target norms now, of shape (2, n_parameters); NaN for none (yet)."""
    kept = list(state.simulator_state(sim).bounds.values())
    found: dict[tuple[int, int], Any] = {}
    for bounds, progress in zip(kept, seam.values.fetch(sim, [one.progress for one in kept])):
        found.update(bounds.recorded(progress))
    return np.array([found.get(p.key, (np.nan, np.nan)) for p in parameters], float).T
