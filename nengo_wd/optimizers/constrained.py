"""Norms that are kept at a bound by a step of the optimizer."""

from __future__ import annotations

from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import check_trains
from nengo_wd._parameters import Parameter
from nengo_wd._seam import state
from nengo_wd.optimizers.bounds import Bounds
from nengo_wd.optimizers.steps import Step, checked, settings_of
from nengo_wd.target_norms import OfInitial


class ConstrainedStep(Step):
    """Shrink what is above its target norm, after the gradient step."""

    name, setting = "ConstrainedNorms", "target_norm"

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        check_trains(sim)
        self.sim = sim
        found = parameters.with_setting(sim, "target_norm")
        if not found:
            raise ValidationError(
                f"nothing in {sim.model.toplevel} has a target_norm; set one in the network's "
                "config, after nengo_wd.configure_settings()",
                attr="target_norm",
            )
        for parameter, target in found:
            _check_initial(parameter, target)
        targets = {parameter.key: target for parameter, target in found}
        self.bounds = {
            id(group[0].variable): Bounds(sim, group, targets)
            for group in _by_variable(sim, [parameter for parameter, _ in found])
        }
        self.state = [(bounds.variable, bounds.progress) for bounds in self.bounds.values()]
        state.of(sim).bounds.update(self.bounds)

    def begin(self, variables: list) -> list[Any]:
        """Take the initial norms of ``variables``, before the first step."""
        return [done for bounds in self._of(variables) for done in bounds.begin()]

    def after(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Constrain those of ``variables`` that have target norms."""
        return [done for bounds in self._of(variables) for done in bounds.constrain()]

    def _of(self, variables: list) -> list[Bounds]:
        return [self.bounds[id(v)] for v in variables if id(v) in self.bounds]


def constrained_norms(sim: nengo_dl.Simulator, optimizer: Any) -> Any:
    r"""Return an optimizer that keeps the norms of weights at their ``target_norm``.

    A norm is a target that a user can know; the strength that leads there finds itself. After each
    update of the optimizer, for each parameter :math:`w` of :math:`n` elements with a target norm
    :math:`\tau`,

    .. math::

        \lambda \leftarrow \max\left(0, \lambda + \frac{\|w\|^2 - \tau^2}{n}\right), \qquad
        w \leftarrow w - 2 \lambda w

    with a multiplier :math:`\lambda` of its own, which is zero at first. It grows while the norm
    is above the target, and falls while it is below: weights that stay below are never changed.
    Where :math:`2 \lambda > 1`, which a small parameter far above its target reaches, the step
    would turn the signs of the weights. They are scaled to the target instead,
    :math:`w \leftarrow w \tau / \|w\|`, and the multiplier begins anew:
    :math:`\lambda \leftarrow 0`.

    The norm is the L2 norm of all elements: of a connection's weights or decoders, of encoders, of
    biases, and of each kernel of a TensorNode's layer. Other objects, also in the same TensorFlow
    variable, are left as they are.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open. The setting ``target_norm`` in the config of its
        network, for classes or objects, is a number above zero, or one of
        ``nengo_wd.target_norms``: ``OfInitial``, ``AtStep`` or ``InflectionPoint``.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        What the simulator takes; in NengoDL 3 also an optimizer's name. It may decay weights, or be
        a `LayerwiseSGD`; the decay then comes before its step, and the constraint after it.

    Returns
    -------
    optimizer
        For ``sim.compile(optimizer)`` (NengoDL 3: the same object, extended) or
        ``sim.train(data, optimizer)`` (NengoDL 2). Multipliers, step counts and bounds found are
        saved with it. Settings are those at the time of this call; after other ones, make it anew.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``optimizer`` is a class, is no optimizer, or constrains norms already; if it would undo
        the constraint, as Ftrl does; if nothing in the network has a ``target_norm``; if an
        object with one is not trained; if weights with an ``OfInitial`` are all zero; or for a
        learning rate that is negative or not finite now.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Notes
    -----
    `WeightNorms` records multipliers and target norms. Constraints take the place of a weight
    decay in the paper; an object may have both.

    The multiplier is in units of squared weights. The rule is for weights well below one in root
    mean square: a step may take most of larger ones, whose norm then falls far below the target.

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
    optimizer = checked(sim, optimizer, "constraint")
    if "target_norm" in settings_of(optimizer):
        name = getattr(optimizer, "get_name", lambda: type(optimizer).__name__)()
        raise ValidationError(
            f"{name} constrains norms already; give the optimizer "
            "without constraints, or a new one",
            attr="optimizer",
            obj=optimizer,
        )
    return seam.optimizers.with_step(sim, optimizer, ConstrainedStep(sim))


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


def _by_variable(sim: nengo_dl.Simulator, constrained: list[Parameter]) -> list[list[Parameter]]:
    """Return all that is in the variables of some parameters, a list for each variable."""
    groups: dict[int, list[Parameter]] = {id(one.variable): [] for one in constrained}
    for parameter in parameters.everything(sim, skip_later=True):
        groups.get(id(parameter.variable), []).append(parameter)
    return list(groups.values())
