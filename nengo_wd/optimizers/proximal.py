"""Regularizers as steps of the optimizer, which reach exact zeros."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import Any, Callable, DefaultDict, Iterator, List, Tuple

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._groups import use_sides
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.parameter import in_rows, is_block
from nengo_wd._penalties import check_live_strengths, strength_faults, with_live_strengths
from nengo_wd._seam.keras2 import regularizer_of
from nengo_wd._strengths import RowForms, RowRegularizer, RowValues, where
from nengo_wd.optimizers.layerwise import LayerwiseSGD
from nengo_wd.optimizers.steps import Fault, SetValues, Step, add_steps, check_optimizer, refuse_new
from nengo_wd.regularizers.forms import WholeForm, row_form, whole_form
from nengo_wd.regularizers.weights import proximal_steps

Wholes = List[Tuple[Parameter, WholeForm]]
Forms = DefaultDict[int, Tuple[RowForms, Wholes]]  # of each variable


class ProximalStep(Step):
    """Take a proximal step for each regularizer of parameters, after the gradient step."""

    name, settings = "Proximal", ("regularizer",)
    change, does = "proximal steps", "takes proximal steps"
    places = f"{Step.places}, or on a layer"

    def __init__(self, sim: nengo_dl.Simulator, optimizer: Any, *args: Any) -> None:
        super().__init__(sim, optimizer, *args)
        regularized = [pair for pair in self.made_for if pair[0].is_trained]
        self._moving = with_live_strengths(regularized)
        self.by_variable = {
            key: VariableStep(sim, *forms) for key, forms in _forms(regularized).items()
        }

    @classmethod
    def asked(cls, sim: nengo_dl.Simulator) -> SetValues:
        """Return all parameters with a regularizer of a setting or of their layer; check them."""
        found = [*super().asked(sim)]
        with parameters.defaults_as_set(sim):
            of_layers = parameters.all_parameters(sim, kind=nengo_dl.TensorNode)
            given = [(one, one.layer_penalty) for one in of_layers]
        found += [(one, regularizer_of(penalty)) for one, penalty in given if penalty is not None]
        _forms(found)  # raises for a regularizer without a step
        check_live_strengths(sim, found)
        return found

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Take the steps of those of ``variables`` that are regularized."""
        found = [self.by_variable[id(v)] for v in variables if id(v) in self.by_variable]
        return [one(self._scale(one, learning_rate, iteration), iteration) for one in found]

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong now with strengths that are variables or schedules."""
        for parameter, fault in strength_faults(self.sim, self._moving):
            yield Fault(parameter, fault, for_sure=False)

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies other strengths; raise if they need other steps."""
        regularized = [pair for pair in self.asked(self.sim) if pair[0].is_trained]
        forms, built = _forms(regularized), self.by_variable
        new = [one.name for one, _ in regularized if id(one.variable) not in built]
        new += [step.name for key, step in built.items() if not step.can_update_to(*forms[key])]
        refuse_new(new, "regularizer")
        return partial(self._update_values, regularized, forms)

    def added(self) -> None:
        """Leave the regularizers of parameters out of the loss."""
        seam.training.leave_out_parameters(self.sim)

    def _update_values(self, regularized: SetValues, forms: Forms) -> None:
        self._moving = with_live_strengths(regularized)
        for key, step in self.by_variable.items():
            step.update_values(*forms[key])

    def _scale(self, step: VariableStep, learning_rate: Any, iteration: tf.Tensor) -> tf.Tensor:
        """Return the factor of the strengths: a scalar, or one for each row."""
        scale = learning_rate if self.needs_learning_rate else tf.ones(())
        if self.needs_learning_rate and isinstance(self.optimizer, LayerwiseSGD):
            scale = self.optimizer.by_row("learning_rate", step.variable, scale, iteration)
        return tf.cast(scale, step.variable.dtype.base_dtype)


class VariableStep:
    """The proximal steps of all objects in one variable: of L1 and L2, and of ``wholes``."""

    def __init__(self, sim: nengo_dl.Simulator, row_forms: RowForms, wholes: Wholes) -> None:
        first, self.wholes = (row_forms or wholes)[0][0], wholes
        self.name, self.variable = first.name, first.variable
        self.rows = RowRegularizer(sim, row_forms, live=True) if row_forms else None
        self.lengths = RowValues(sim, self.variable, _lengths(wholes)) if wholes else None
        self._update = seam.values.updater(self.variable, self._all_steps)

    def __call__(self, scale: tf.Tensor, iteration: tf.Tensor) -> Any:
        """Take the steps with strengths times ``scale``; return the operations to wait for."""
        strengths = {} if self.rows is None else self.rows.strengths
        sizes = {n: one.over_rows(scale * one.tensor(iteration)) for n, one in strengths.items()}
        lengths = []
        if self.lengths is not None:
            by_row = scale * self.lengths.tensor(iteration)
            lengths = [by_row[int(parameter.rows[0])] for parameter, _ in self.wholes]
        return self._update(sizes, None if self.rows is None else self.rows.centre, lengths)

    def can_update_to(self, row_forms: RowForms, wholes: Wholes) -> bool:
        """Tell whether the built steps can apply other regularizers."""
        can_rows = not row_forms if self.rows is None else self.rows.can_update_to(row_forms)
        return can_rows and _built(wholes).items() <= _built(self.wholes).items()

    def update_values(self, row_forms: RowForms, wholes: Wholes) -> None:
        """Apply the strengths of other regularizers; weights without a regularizer stay."""
        if self.rows is not None:
            self.rows.update_values(row_forms)
        if self.lengths is not None:
            self.lengths.update_values(_lengths(wholes))

    def _all_steps(self, weights: tf.Tensor, sizes: dict, centre: Any, lengths: list) -> tf.Tensor:
        if sizes:
            weights = _row_steps(weights, sizes, centre)
        found = []  # rows with their weights after the steps of ``wholes``
        for (parameter, form), length in zip(self.wholes, lengths):
            rows = tf.reshape(in_rows(weights, parameter.rows), parameter.shape)
            shape = (len(parameter.rows), *weights.shape[1:])
            with use_sides(parameter.sides):
                shrunk = form.regularizer.shrunk(rows, length)
            found.append((parameter.rows, tf.reshape(shrunk, shape)))
        return _replaced(weights, found)


def _forms(regularized: SetValues) -> Forms:
    """Return the parameters in each variable, by id, with their forms; raise if one has none."""
    forms: Forms = defaultdict(lambda: ([], []))
    for one, regularizer in regularized:
        row_forms, wholes = forms[id(one.variable)]
        form, whole = row_form(regularizer), whole_form(regularizer)
        if form is not None:
            row_forms.append((one, form))
        elif whole is not None:
            _fixed(one, whole)  # raises if the weights have no such groups
            wholes.append((one, whole))
        else:
            fault = f"{one.name} has the regularizer {regularizer}, which has no proximal step"
            known = "L1, L2, both, GroupLasso, TowardsGrid, TowardsInitial and these Scheduled"
            hint = "Use the penalty: loss=nengo_wd.regularized_objective(...), without such steps"
            raise ValidationError(
                f"{fault}; {known} have one. {hint}", attr="regularizer", obj=one.obj
            )
    return forms


def _lengths(wholes: Wholes) -> list[tuple[np.ndarray, Any]]:
    """Return the strengths of regularizers, each with its rows."""
    return [(parameter.rows, form.strength) for parameter, form in wholes]


def _built(wholes: Wholes) -> dict[tuple, tuple]:
    """Return what can't change: groups, costs or bits, and strengths that are not numbers."""
    return {(p.key, *_fixed(p, form)): form.strength.ids for p, form in wholes}


def _fixed(parameter: Parameter, form: WholeForm) -> tuple:
    """Return all that defines a step but the strength; raise if the weights lack such groups."""
    with use_sides(parameter.sides):
        return form.fixed(parameter.shape)


def _replaced(weights: tf.Tensor, found: list[tuple[np.ndarray, tf.Tensor]]) -> tf.Tensor:
    """Replace some rows of weights, in one pass if they are blocks."""
    if not found:
        return weights
    if not all(is_block(rows) for rows, _ in found):
        places = np.concatenate([rows for rows, _ in found])[:, None]
        values = tf.concat([values for _, values in found], 0)
        return tf.tensor_scatter_nd_update(weights, places, values)
    pieces, end = [], 0
    for rows, values in sorted(found, key=lambda one: one[0][0]):
        pieces += [weights[end : rows[0]], values]
        end = rows[-1] + 1
    return tf.concat([*pieces, weights[end:]], 0)


def _row_steps(weights: tf.Tensor, sizes: dict, centre: Any) -> tf.Tensor:
    """Return weights after steps towards a centre, which is as in `RowRegularizer`."""
    if centre is None:
        return proximal_steps(weights, sizes)
    initial, pulled = centre
    stepped = proximal_steps(weights - pulled * initial, sizes) + pulled * initial
    return where(sum(sizes.values()) > 0, stepped, weights)  # no strength: not even rounded


def proximal_regularization(
    sim: nengo_dl.Simulator, optimizer: Any, scale_by_learning_rate: bool = True
) -> Any:
    r"""Return an optimizer that takes the regularizers of parameters as proximal steps.

    At every step, after the update of the optimizer, with the learning rate as :math:`s`,

    ================== ============================================================================
    regularizer        step
    ================== ============================================================================
    ``L1(a)``          :math:`w \leftarrow \mathrm{sign}(w) \max(|w| - s a, 0)`
    ``L2(a)``          :math:`w \leftarrow w / (1 + 2 s a)`
    L1 and L2          one after the other
    ``GroupLasso``     :math:`w_g \leftarrow w_g \max(0, 1 - s a c_g \sqrt{n_g} / \|w_g\|_2)`
    ``TowardsGrid(a)`` :math:`w \leftarrow q + \mathrm{sign}(w - q) \max(|w - q| - s a, 0)`
    ``TowardsInitial`` the same as L1 and L2, of :math:`w - w^0`
    ``Scheduled``      the step of its regularizer, with the current strength
    ================== ============================================================================

    L1 and group lasso reach exact zeros, and L2 never overshoots. `regularizers.TowardsInitial`
    with ``l1`` ends exactly at the initial value, and `regularizers.TowardsGrid` at a value
    :math:`q` of its grid. The step uses the current regularizers of settings and of layers. They
    are then no longer part of the loss, in any objective of the simulator; penalties on activities
    stay there. Other objects do not change, even in the same TensorFlow variable.
    `regularized_optimizer` with ``proximal=True`` takes these steps and all others that settings
    ask for.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        As for `regularized_optimizer`. With `LayerwiseSGD`, :math:`s` is the object's learning
        rate.
    scale_by_learning_rate : bool
        With False, :math:`s = 1`, whatever the learning rate.

    Returns
    -------
    optimizer
        As from `regularized_optimizer`.

    Raises
    ------
    nengo.exceptions.ValidationError, nengo.exceptions.SimulatorClosed
        Where `regularized_optimizer` raises them, and if nothing is regularized.

    Notes
    -----
    Momentum and adaptive rates change the gradient of the loss, but not these steps: with Adam, all
    weights of an object shrink at the same pace.

    References
    ----------
    Neal Parikh and Stephen Boyd, "Proximal algorithms", Foundations and Trends in Optimization 1,
    2014; for L1 also Ingrid Daubechies, Michel Defrise and Christine De Mol, "An iterative
    thresholding algorithm for linear inverse problems with a sparsity constraint", Communications
    on Pure and Applied Mathematics 57, 2004.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l1(1e-3))
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     optimizer = tf.keras.optimizers.Adam(1e-3)
    ...     sim.compile(nengo_wd.proximal_regularization(sim, optimizer), loss={probe: "mse"})
    """
    optimizer = check_optimizer(sim, optimizer)
    return add_steps(optimizer, [ProximalStep(sim, optimizer, scale_by_learning_rate)])
