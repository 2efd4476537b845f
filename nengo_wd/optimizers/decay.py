"""Weight decay as a step of the optimizer."""

from __future__ import annotations

from typing import Any

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import seam
from nengo_wd.checks import check_simulator, is_number
from nengo_wd.optimizers.steps import Step, steps_of
from nengo_wd.parameters import Parameter
from nengo_wd.strengths.rates import Rates
from nengo_wd.strengths.rows import RowValues


class DecayStep(Step):
    """Multiply each row of the weights by one minus its decay, before the gradient step."""

    name, setting, decays = "Decay", "weight_decay", True

    def __init__(self, sim: nengo_dl.Simulator, scale_by_learning_rate: bool) -> None:
        self.sim, self.needs_rate = sim, scale_by_learning_rate
        self.rates = Rates(sim, "weight_decay", check=self._check)

    def before(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Decay those of ``variables`` that have settings."""
        by_variable = self.rates.by_variable
        rows = [by_variable[id(v)] for v in variables if id(v) in by_variable]
        return [self._decay(values, learning_rate, iteration) for values in rows]

    def update(self) -> None:
        """Take on the settings as they are now; none of them, if one can't be used."""
        self.rates.take(self.rates.changed())

    def _decay(self, rows: RowValues, learning_rate: Any, iteration: tf.Tensor) -> Any:
        decay = rows.tensor(iteration)
        if self.needs_rate:
            decay *= tf.cast(learning_rate, decay.dtype)
        return seam.values.multiply(rows.variable, rows.over_rows(1 - decay))

    def _check(self, parameter: Parameter, value: Any) -> None:
        """Raise for a number that would take all of the weights at once, or more."""
        if not self.needs_rate and is_number(value) and float(value) >= 1:
            raise ValidationError(
                f"the weight_decay {value} of {parameter.obj} is not scaled by the learning rate, "
                "and so would take all of the weights, or more; it must be below 1",
                attr="weight_decay",
                obj=parameter.obj,
            )


def decoupled_weight_decay(
    sim: nengo_dl.Simulator, optimizer: Any, scale_by_learning_rate: bool = True
) -> Any:
    r"""Return an optimizer that also decays the weights that have a ``weight_decay``.

    At every step, before the update of the optimizer,

    .. math:: w \leftarrow w - \eta \lambda w

    with the learning rate :math:`\eta` and the decay :math:`\lambda` that was set for the
    object, as in PyTorch's and Keras' AdamW, and in the same compiled step. Weights of
    other objects, also in the same TensorFlow variable, are left as they are.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open. The setting ``weight_decay`` in the config
        of its network says what to decay; see `configure_settings`.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        What the simulator takes; in NengoDL 3 also an optimizer's name.
    scale_by_learning_rate : bool
        With False, weights are decayed by :math:`w \leftarrow w - \lambda w`,
        whatever the learning rate.

    Returns
    -------
    optimizer
        For ``sim.compile(optimizer)`` (NengoDL 3: the same object, extended) or
        ``sim.train(data, optimizer)`` (NengoDL 2). Its method ``update_weight_decay()``
        takes on settings that were changed after this call; a training that was compiled
        need not be compiled again.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``optimizer`` is a class, is no optimizer, or decays already, as `LayerwiseSGD` does;
        if it would undo a decay, as Ftrl does; if nothing in the
        network has a ``weight_decay``; if an object with one is not trained; and for a
        number of 1 or more without scaling by the learning rate. What a schedule or
        variable will be is not checked.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    References
    ----------
    Ilya Loshchilov and Frank Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(weight_decay=1e-2)
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, kernel_regularizer=None)
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     optimizer = tf.keras.optimizers.Adam(1e-3)
    ...     sim.compile(nengo_wd.decoupled_weight_decay(sim, optimizer), loss={probe: "mse"})
    """
    check_simulator(sim)
    optimizer = seam.optimizers.check_optimizer(optimizer)
    _check_can_decay(optimizer)
    _check_no_decay(optimizer)
    step = DecayStep(sim, scale_by_learning_rate)
    if not step.rates.by_variable:
        raise ValidationError(
            f"nothing in {sim.model.toplevel} has a weight_decay; set one with "
            "nengo_wd.configure_settings, or in the network's config",
            attr="weight_decay",
        )
    decaying = seam.optimizers.with_step(sim, optimizer, step)
    decaying.update_weight_decay = step.update
    return decaying


# They compute the weights from sums of gradients, and so undo every change of the weights.
WEIGHTS_IN_STATE = ("Ftrl", "FtrlOptimizer", "AdagradDAOptimizer")


def _check_can_decay(optimizer: Any) -> None:
    """Raise if an optimizer would undo a decay."""
    for one in seam.optimizers.chain(optimizer):
        kept = [c.__name__ for c in type(one).__mro__ if c.__name__ in WEIGHTS_IN_STATE]
        if kept:
            raise ValidationError(
                f"{kept[0]} computes the weights from sums of gradients at every step, and so "
                "would undo the decay; use another optimizer, such as Adagrad or SGD, or the L2 "
                "regularization that it has itself",
                attr="optimizer",
                obj=one,
            )


def _check_no_decay(optimizer: Any) -> None:
    """Raise if an optimizer, or one inside it, decays weights already."""
    for one in reversed(seam.optimizers.chain(optimizer)):
        decay = getattr(one, "weight_decay", None) or getattr(one, "_weight_decay", None)
        by_rule = isinstance(one, seam.optimizers.RuleOptimizer)
        if decay or by_rule or any(step.decays for step in steps_of(one)):
            name = one.get_name() if hasattr(one, "get_name") else type(one).__name__
            raise ValidationError(
                f"{name} decays weights already"
                f"{f', with weight_decay={decay}' if decay else ''}; decay by one of the two",
                attr="weight_decay",
                obj=one,
            )
