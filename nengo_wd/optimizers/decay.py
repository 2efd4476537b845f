"""Weight decay as a step of the optimizer."""

from __future__ import annotations

from typing import Any, Iterator

import nengo_dl
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._strengths.rows import RowValues
from nengo_wd.optimizers import fractions
from nengo_wd.optimizers.fractions import Fault
from nengo_wd.optimizers.rates import Rates, each
from nengo_wd.optimizers.steps import Step, checked, steps_of


class DecayStep(Step):
    """Multiply each row of the weights by one minus its decay, before the gradient step."""

    name, setting, decays = "Decay", "weight_decay", True

    def __init__(
        self, sim: nengo_dl.Simulator, optimizer: Any, scale_by_learning_rate: bool
    ) -> None:
        self.sim, self.optimizer = sim, seam.optimizers.chain(optimizer)[-1]
        self.needs_rate = scale_by_learning_rate
        self.rates = Rates(sim, "weight_decay")
        fractions.check(self.faults(self.rates.found))

    def before(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Decay those of ``variables`` that have settings."""
        by_variable = self.rates.by_variable
        rows = [by_variable[id(v)] for v in variables if id(v) in by_variable]
        return [self._decay(values, learning_rate, iteration) for values in rows]

    def update(self) -> None:
        """Take on the settings as they are now; none of them, if one can't be used."""
        found = self.rates.changed()
        fractions.check(self.faults(found))
        self.rates.take(found)

    def faults(self, found: dict[int, list] | None = None) -> Iterator[Fault]:
        """Yield what is wrong now with settings, by default with those that are in force."""
        decays = each(self.rates.found if found is None else found)
        rate = seam.optimizers.rate(self.optimizer) if self.needs_rate else None
        step = seam.optimizers.step(self.sim, self.optimizer)
        return fractions.faults(self.sim, decays, [rate] * len(decays), step)

    def _decay(self, rows: RowValues, learning_rate: Any, iteration: tf.Tensor) -> Any:
        decay = rows.tensor(iteration)
        if self.needs_rate:
            decay *= tf.cast(learning_rate, decay.dtype)
        return seam.values.multiply(rows.variable, rows.over_rows(1 - decay))


def decoupled_weight_decay(
    sim: nengo_dl.Simulator, optimizer: Any, scale_by_learning_rate: bool = True
) -> Any:
    r"""Return an optimizer that also decays the weights that have a ``weight_decay``.

    At every step, before the update of the optimizer,

    .. math:: w \leftarrow w - \eta \lambda w

    with the learning rate :math:`\eta` and the decay :math:`\lambda` that was set for the
    object, as in PyTorch's and Keras' AdamW, and in the same compiled step. Weights of
    other objects, also in the same TensorFlow variable, are left as they are. Weights that no loss
    reaches decay, too.

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
        network has a ``weight_decay``; if an object with one is not trained; for a number that
        would take all of the weights in a step, or more: of 1 or more, times the learning rate; and
        for a schedule, variable or learning rate that is negative or not finite now. `WeightNorms`
        warns of what decays become.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    UserWarning
        If a schedule or variable, or a number and a schedule of the learning rate, would take all
        of the weights now, or more.

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
    optimizer = checked(sim, optimizer, "decay")
    _check_no_decay(optimizer)
    step = DecayStep(sim, optimizer, scale_by_learning_rate)
    if not step.rates.by_variable:
        raise ValidationError(
            f"nothing in {sim.model.toplevel} has a weight_decay; set one with "
            "nengo_wd.configure_settings, or in the network's config",
            attr="weight_decay",
        )
    decaying = seam.optimizers.with_step(sim, optimizer, step)
    decaying.update_weight_decay = step.update
    return decaying


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
        excluded = ("_exclude_from_weight_decay", "_exclude_from_weight_decay_names")
        if any(getattr(one, attr, None) for attr in excluded):
            raise ValidationError(
                f"{type(one).__name__} leaves out variables by exclude_from_weight_decay, which "
                "settings take no notice of; leave out objects by "
                "net.config[...].weight_decay = None",
                attr="weight_decay",
                obj=one,
            )
