"""What decay takes of the weights in a step, and what is wrong with that."""

from __future__ import annotations

import warnings
from typing import Any, Iterator, NamedTuple

import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._checks import is_number
from nengo_wd._parameters import Parameter
from nengo_wd._strengths.now import now


class Fault(NamedTuple):
    """What is wrong with the decay of a parameter.

    Attributes
    ----------
    parameter : Parameter
        The parameter.
    reason : str
        What is wrong.
    for_sure : bool
        Whether it will stay so: it is about numbers, and neither about a schedule nor a variable.
    """

    parameter: Parameter
    reason: str
    for_sure: bool


def faults(
    sim: nengo_dl.Simulator, decays: list[tuple[Parameter, Any]], rates: list[Any], step: Any
) -> Iterator[Fault]:
    r"""Yield what is wrong with decays :math:`\lambda` at a step.

    They are finite and not negative, and :math:`\eta \lambda < 1`, or else the step would turn the
    signs of the weights.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    decays : list of (Parameter, value)
        The decays, which are numbers, schedules or variables.
    rates : list
        The learning rate that each of them is multiplied by; None if it is not.
    step : tf.Tensor
        The step.
    """
    values = [decay for _, decay in decays]
    factors = [1.0 if rate is None else rate for rate in rates]
    numbers = [0.0 if number is None else number for number in now(sim, values + factors, step)]
    decay_now, rate_now = np.reshape(numbers, (2, -1))
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = ~np.isfinite(decay_now) | (decay_now < 0) | (decay_now * rate_now >= 1)
    for i in np.flatnonzero(wrong):
        known = is_number(values[i]) and is_number(factors[i])
        rate = None if rates[i] is None else float(rate_now[i])
        valid = np.isfinite(decay_now[i]) and decay_now[i] >= 0
        reason = _reason(decays[i][0], float(decay_now[i]), rate)
        yield Fault(decays[i][0], reason, bool(known or not valid))


def _reason(parameter: Parameter, decay: float, rate: float | None) -> str:
    decayed = f"the weight_decay {decay} of {parameter.obj}"
    if not (np.isfinite(decay) and decay >= 0):
        return f"{decayed} must be a finite number, zero or above"
    if rate is None:
        return (
            f"{decayed} is not scaled by the learning rate, and so would take all of the weights, "
            "or more; it must be below 1"
        )
    return (
        f"{decayed} would take all of the weights, or more, and turn their signs: times the "
        f"learning rate {rate} it is {decay * rate}, and must be below 1"
    )


def check(found: Iterator[Fault]) -> None:
    """Raise for what is wrong for sure, and warn of what is wrong now."""
    for fault in found:
        if fault.for_sure:
            raise ValidationError(fault.reason, attr="weight_decay", obj=fault.parameter.obj)
        warnings.warn(fault.reason, UserWarning, stacklevel=4)
