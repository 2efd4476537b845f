"""Norms that are kept at a bound by a step of the optimizer."""

from __future__ import annotations

import warnings
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

SMALLEST = 1e-3  # target norm, in root mean square, that a multiplier reaches in hundreds of steps


class ConstrainedStep(Step):
    """Shrink weights that are above their target norm, after the gradient step."""

    name, settings = "ConstrainedNorms", ("target_norm",)
    change, does = "constraint", "constrains norms"

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        optimizer: Any,
        scaled: bool = False,
        found: SetValues | None = None,
    ) -> None:
        super().__init__(sim, optimizer, found=found)
        self._targets = ObjectSetting(sim, "target_norm", self.made_for, key=lambda rule: rule)
        for parameter, target in self.made_for:
            _check_initial(parameter, target)
            _warn_of_small(parameter, target)
        objects: dict[int, list[Parameter]] = {key: [] for key in self._targets.variables}
        for one in parameters.all_parameters(sim, skip_later=True):
            objects.get(id(one.variable), []).append(one)
        self.bounds = {key: Bounds(sim, group, self.made_for) for key, group in objects.items()}
        self.state = [(bounds.variable, bounds.progress) for bounds in self.bounds.values()]

    def begin(self, variables: list) -> list[Any]:
        """Take the initial norms of ``variables``, before the first step."""
        return [done for bounds in self._bounds_of(variables) for done in bounds.begin()]

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Constrain those of ``variables`` that have target norms."""
        return [done for bounds in self._bounds_of(variables) for done in bounds.constrain()]

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies other numbers; raise for a rule that is new, or gone."""
        found = self._targets.current_values()

        def update() -> None:
            self._targets.update_values(found)
            for bounds in self.bounds.values():
                bounds.update_values(found)

        return update

    def added(self) -> None:
        """Have records show the bounds of this step."""
        state.simulator_state(self.sim).bounds.update(self.bounds)

    def _bounds_of(self, variables: list) -> list[Bounds]:
        return [self.bounds[id(v)] for v in variables if id(v) in self.bounds]


def _norm(parameter: Parameter) -> float:
    return float(np.linalg.norm(np.asarray(parameter.value, np.float64)))


def _warn_of_small(parameter: Parameter, target: Any) -> None:
    """Warn of a target norm that is so small that the multiplier hardly moves.

    Without gradients, a norm of twice the target falls below it after 0.57 steps over the root mean
    square of weights at the target.
    """
    factor = getattr(target, "factor", 1.0)  # rules that find a norm take the weights as they are
    norm = target if is_number(target) else factor * _norm(parameter)
    size = norm / np.sqrt(np.prod(parameter.shape))
    if 0 < size < SMALLEST:
        warnings.warn(
            f"{parameter.name} has the target norm {target}, which is {size:.1g} in root mean "
            f"square: weights of twice that norm take about {0.57 / size:.2g} steps to come back, "
            "because the multiplier moves by mean squares; use a weight_decay, which works at any "
            "scale",
            stacklevel=4,  # the call that makes the optimizer
        )


def _check_initial(parameter: Parameter, target: Any) -> None:
    """Raise if the initial norm of which a target is a factor can't be a bound."""
    if isinstance(target, OfInitial):
        norm = _norm(parameter)
        if not 0 < norm < np.inf:
            raise ValidationError(
                f"{parameter.name} has the target norm {target}, but the norm of its weights is "
                f"{norm} now, and a factor makes no bound of it; give a number or AtStep(...), or "
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
        The simulator to be trained, still open. The setting ``target_norm`` in the config of its
        network is a positive number, or one of ``nengo_wd.target_norms``.
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
