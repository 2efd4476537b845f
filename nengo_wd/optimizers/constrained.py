"""Norms that are kept at a bound by a step of the optimizer."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Callable

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import is_number
from nengo_wd._parameters import Parameter
from nengo_wd._seam import state
from nengo_wd.optimizers.bounds import Bounds
from nengo_wd.optimizers.steps import ObjectSetting, SetValues, Step, add_steps, check_optimizer
from nengo_wd.target_norms import OfInitial

SMALLEST = 1e-3  # the target norm, in root mean square, that takes hundreds of steps to reach


class ConstrainedStep(Step):
    """Shrink weights that are above their target norm, after the gradient step."""

    name, settings = "ConstrainedNorms", ("target_norm",)
    change, does = "constraint", "constrains norms"

    def __init__(
        self, sim: nengo_dl.Simulator, optimizer: Any, scaled: bool = False, found: SetValues = ()
    ) -> None:
        super().__init__(sim, optimizer, False, found)  # bounds need no learning rate
        _check_targets(self.made_for)
        make = partial(Bounds, parameters.all_parameters(sim, skip_later=True))
        self._targets = ObjectSetting(sim, "target_norm", self.made_for, make)
        self.bounds = self._targets.by_variable
        self.state = [(bounds.variable, bounds.progress) for bounds in self.bounds.values()]

    def begin(self, variables: list) -> list[Any]:
        """Note the initial norms of ``variables`` before the first step."""
        return [done for bounds in self._bounds_of(variables) for done in bounds.begin()]

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Constrain those of ``variables`` that have target norms."""
        return [done for bounds in self._bounds_of(variables) for done in bounds.constrain()]

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies other numbers; raise if a rule is new or missing."""
        found = self._targets.current_values()
        _check_targets([pair for pair in found if is_number(pair[1])])  # rules stay as they were
        return partial(self._targets.update_values, found)

    def added(self) -> None:
        """Let records show the bounds of this step."""
        state.simulator_state(self.sim).bounds.update(self.bounds)

    def _bounds_of(self, variables: list) -> list[Bounds]:
        return [self.bounds[id(v)] for v in variables if id(v) in self.bounds]


def _check_targets(found: SetValues) -> None:
    """Raise for an initial norm that can't be a bound; warn of a bound that takes long to reach.

    Without gradients, a norm of twice the target falls below it after 0.57 steps over the root mean
    square of weights at the target.
    """
    for one, target in found:
        norm = target if is_number(target) else float(np.linalg.norm(one.value.astype(float)))
        what = f"{one.name} has the target norm {target}"
        if isinstance(target, OfInitial):
            if not 0 < norm < np.inf:
                fault = f"the norm of its weights is {norm} now, which makes no bound"
                hint = "give a number or AtStep(...), or load the weights before this call"
                fault = f"{what}, but {fault}; {hint}"
                raise ValidationError(fault, attr="target_norm", obj=one.obj)
            norm *= target.factor
        size = norm / np.sqrt(np.prod(one.shape))
        if 0 < size < SMALLEST:
            slow = f"weights of twice that norm take about {0.57 / size:.2g} steps to come back"
            why = "because the multiplier moves by mean squares"
            fault = f"{what}, which is {size:.1g} in root mean square: {slow}, {why}"
            hint = "use a weight_decay, which works at any scale"
            # the call that makes the optimizer, or updates its settings
            warnings.warn(f"{fault}; {hint}", stacklevel=4)


def constrained_norms(sim: nengo_dl.Simulator, optimizer: Any) -> Any:
    r"""Return an optimizer that keeps the norms of weights at their ``target_norm``.

    After each update of the optimizer, for each parameter :math:`w` of :math:`n` elements with a
    target norm :math:`\tau`,

    .. math::

        \lambda \leftarrow \max\left(0, \lambda + \frac{\|w\|^2 - \tau^2}{n}\right), \qquad
        w \leftarrow w - 2 \lambda w

    where each parameter has its own multiplier :math:`\lambda`, which starts at zero. Weights that
    stay below the target never change. If :math:`2 \lambda > 1`, the step would flip the signs of
    the weights. Then :math:`w \leftarrow w \tau / \|w\|` and :math:`\lambda \leftarrow 0` instead.

    The norm is the L2 norm of all elements: of a connection's weights or decoders, of encoders, of
    biases, and of each kernel of a TensorNode's layer. Other objects do not change, even in the
    same TensorFlow variable. `regularized_optimizer` takes this step and all others that settings
    ask for.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open. In the config of its network, ``target_norm`` is a
        positive number or one of ``nengo_wd.target_norms``.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        As for `regularized_optimizer`. It may decay weights; this happens before its step and the
        constraint.

    Returns
    -------
    optimizer
        As from `regularized_optimizer`. Multipliers, step counts and bounds are saved with it.

    Raises
    ------
    nengo.exceptions.ValidationError, nengo.exceptions.SimulatorClosed
        Where `regularized_optimizer` raises them, and if nothing has a ``target_norm``.

    Warns
    -----
    UserWarning
        If a target norm is below 0.001 in root mean square, which takes hundreds of steps to hold.
        ``update_settings()`` warns of such a number, too.

    Notes
    -----
    `WeightNorms` records multipliers, which are in units of squared weights, and target norms. The
    rule is for weights well below one in root mean square: a step may shrink larger weights too
    far.

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
