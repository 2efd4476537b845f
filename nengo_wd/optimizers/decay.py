"""Weight decay as a step of the optimizer, and faults of decays."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Callable, Iterator

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import is_number
from nengo_wd._seam import state
from nengo_wd._seam.keras2 import own_decay
from nengo_wd._strengths import numbers_now
from nengo_wd.optimizers import steps
from nengo_wd.optimizers.steps import Fault, ObjectSetting, SetValues


class DecayStep(steps.Step):
    """Multiply each row of the weights by one minus its decay, before the gradient step."""

    name, settings = "Decay", ("weight_decay",)
    change, does = "decay", "decays weights"

    def __init__(self, sim: nengo_dl.Simulator, optimizer: Any, *args: Any) -> None:
        super().__init__(sim, optimizer, *args)
        self.decays = ObjectSetting(sim, "weight_decay", self.made_for)
        check_decays(self.faults())

    def check_fits(self, optimizer: Any) -> None:
        """Raise also if an optimizer, or one inside it, decays weights in another way."""
        super().check_fits(optimizer)
        for one in reversed(state.chain(optimizer)):
            decay, excludes = own_decay(one)
            if decay or isinstance(one, seam.optimizers.RuleOptimizer):
                how = f", with weight_decay={decay}" if decay else ""
                fault = f"decays weights already{how}; use only one of the two"
                raise ValidationError(f"{steps.name_of(one)} {fault}", attr="weight_decay", obj=one)
            if excludes:
                fault = f"{type(one).__name__} leaves out variables by exclude_from_weight_decay"
                hint = "leave out objects by net.config[...].weight_decay = None"
                fault = f"{fault}, which settings ignore; {hint}"
                raise ValidationError(fault, attr="weight_decay", obj=one)

    def before(self, variables: list, learning_rate: Any, iteration: tf.Tensor) -> list[Any]:
        """Decay those of ``variables`` that have settings."""
        by_variable, done = self.decays.by_variable, []
        for rows in (by_variable[id(v)] for v in variables if id(v) in by_variable):
            decay = rows.tensor(iteration)
            if self.needs_learning_rate:
                decay *= tf.cast(learning_rate, decay.dtype)
            done.append(seam.values.multiply(rows.variable, rows.over_rows(1 - decay)))
        return done

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies the current decays; raise if one can't be used."""
        found = self.decays.current_values()
        check_decays(self.faults(found))
        return partial(self.decays.update_values, found)

    def faults(self, decays: SetValues | None = None) -> Iterator[Fault]:
        """Yield what is wrong with decays now, by default with those that the step uses."""
        decays = self.decays.found if decays is None else decays
        rate = seam.optimizers.learning_rate(self.optimizer) if self.needs_learning_rate else None
        return faults_of_decays(self.sim, decays, [rate] * len(decays), self._step())


def decoupled_weight_decay(
    sim: nengo_dl.Simulator, optimizer: Any, scale_by_learning_rate: bool = True
) -> Any:
    r"""Return an optimizer that also decays the weights that have a ``weight_decay``.

    At every step, before the update of the optimizer,

    .. math:: w \leftarrow w - \eta \lambda w

    with the learning rate :math:`\eta` and the decay :math:`\lambda` that is set for the object, as
    in PyTorch's and Keras' AdamW, and in the same compiled step. Other objects do not change, even
    in the same TensorFlow variable. Weights that no loss reaches decay too. `regularized_optimizer`
    takes this step and all others that settings ask for.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open. The setting ``weight_decay`` in the config of its
        network says what to decay; see `configure_settings`.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        As for `regularized_optimizer`.
    scale_by_learning_rate : bool
        With False, weights decay by :math:`w \leftarrow w - \lambda w`, whatever the learning rate.

    Returns
    -------
    optimizer
        As from `regularized_optimizer`.

    Raises
    ------
    nengo.exceptions.ValidationError, nengo.exceptions.SimulatorClosed
        Where `regularized_optimizer` raises them, and if nothing has a ``weight_decay``, or
        ``optimizer`` already decays, like `LayerwiseSGD`.

    Warns
    -----
    UserWarning
        If a schedule or variable, or a number with a scheduled learning rate, would now remove all
        of the weights in a step, or more.

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
    optimizer = steps.check_optimizer(sim, optimizer)
    return steps.add_steps(optimizer, [DecayStep(sim, optimizer, scale_by_learning_rate)])


def faults_of_decays(
    sim: nengo_dl.Simulator, decays: SetValues, rates: list[Any], step: Any
) -> Iterator[Fault]:
    r"""Yield what is wrong with decays :math:`\lambda` at a step.

    They must be finite and not negative, with :math:`\eta \lambda < 1`, or else the step would turn
    the signs of the weights. ``rates`` has the learning rate of each, or None if it is not scaled.
    """
    values = [decay for _, decay in decays]
    factors = [1.0 if rate is None else rate for rate in rates]
    numbers = [number or 0.0 for number in numbers_now(sim, values + factors, step)]
    decay_now, rate_now = np.reshape(numbers, (2, -1))
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = ~np.isfinite(decay_now) | (decay_now < 0) | (decay_now * rate_now >= 1)
    for i in map(int, np.flatnonzero(wrong)):
        (parameter, _), decay, rate = decays[i], float(decay_now[i]), float(rate_now[i])
        is_for_sure = is_number(values[i]) and is_number(factors[i])
        if not (np.isfinite(decay) and decay >= 0):
            is_for_sure, what = True, "must be a finite number, zero or above"
        else:
            scaled = f"times the learning rate {rate} it is {decay * rate}"
            scaled = "it is not scaled by the learning rate" if rates[i] is None else scaled
            what = f"would remove all weights, or turn their signs: {scaled}, and must be below 1"
        yield Fault(parameter, f"the weight_decay {decay} of {parameter.obj} {what}", is_for_sure)


def check_decays(found: Iterator[Fault], stacklevel: int = 4) -> None:
    """Raise for faults that will stay, and warn of others."""
    for fault in found:
        if fault.for_sure:
            raise ValidationError(fault.reason, attr="weight_decay", obj=fault.parameter.obj)
        warnings.warn(fault.reason, UserWarning, stacklevel=stacklevel)
