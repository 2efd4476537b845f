"""Values of the setting ``target_norm``: a number, or a rule that finds it during training.

A new rule is a frozen dataclass in `RULES` and `TargetNorm`. ``optimizers/bounds.py`` finds the
norms, so the rule needs a vector in ``Bounds.__init__``, and a place in its other methods.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Union

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._checks import LARGEST_FLOAT32, is_number, is_whole

__all__ = ["AtStep", "InflectionPoint", "OfInitial"]


@dataclasses.dataclass(frozen=True)
class OfInitial:
    r"""A factor of the norm before the first step: :math:`f \, \|w_0\|`.

    `nengo_wd.constrained_norms` measures it before its first step, so loaded weights count, and
    raises an error if all weights are zero.

    Parameters
    ----------
    factor : float
        The factor :math:`f`, positive.

    Raises
    ------
    nengo.exceptions.ValidationError
        If the factor is not a finite number above zero.

    Notes
    -----
    "Dependent" in the paper and in pytorch-cpr. They use :math:`f^2`, a factor of the *squared*
    norm.
    """

    factor: float

    def __post_init__(self) -> None:
        _check_positive("OfInitial", "factor", self.factor)


@dataclasses.dataclass(frozen=True)
class AtStep:
    """The norm after a number of steps; until then, weights are free.

    Parameters
    ----------
    step : int
        The number of steps of the optimizer, one or more, without those that loss scaling skips. If
        all weights are zero then, the bound is the norm at the first step when they aren't.

    Raises
    ------
    nengo.exceptions.ValidationError
        If the number is not a whole number above zero.

    Notes
    -----
    "Warm start" in the paper and in pytorch-cpr.
    """

    step: int

    def __post_init__(self) -> None:
        _check_steps("AtStep", "step", self.step, 1)


@dataclasses.dataclass(frozen=True)
class InflectionPoint:
    r"""The norm where its growth begins to slow down; until then, weights are free.

    Before step ``every``, :math:`a_t` is the norm. From there on, it is the moving average
    :math:`a_t = 0.99\, a_{t-1} + 0.01\, \|w_t\|`, whose relative growth in an interval is

    .. math:: g_k = (a_{k \cdot every} - a_{(k-1) \cdot every}) \,/\, a_{k \cdot every}

    The bound is the norm at the first :math:`k \ge 4` with :math:`g_{k-1} > g_k > 0.01`. There is
    no bound while the norm grows by less than 1 % in an interval.

    Parameters
    ----------
    every : int
        The number of steps of the optimizer in an interval, two or more.

    Raises
    ------
    nengo.exceptions.ValidationError
        If the number is not a whole number above one.

    Notes
    -----
    The paper only has the change of the growth. Average and threshold are those of pytorch-cpr
    0.3.1, with ``foreach=True``.
    """

    every: int = 200

    def __post_init__(self) -> None:
        _check_steps("InflectionPoint", "every", self.every, 2)  # one step has no average


TargetNorm = Union[float, OfInitial, AtStep, InflectionPoint]
RULES = (OfInitial, AtStep, InflectionPoint)


def check_target_norm(value: Any, name: str, owner: str) -> TargetNorm:
    """Return a target norm; raise if ``value`` is not one."""
    if isinstance(value, RULES):
        return value
    if not is_number(value):
        rules = ", ".join(f"nengo_wd.target_norms.{rule.__name__}(...)" for rule in RULES)
        fault = f"{owner}: {value!r} is not a {name}; give a number, or one of {rules}"
        raise ValidationError(fault, attr=name)
    _check_positive(owner, name, value)
    return float(value)


def _check_positive(owner: str, name: str, value: Any) -> None:
    if not (is_number(value) and 0 < np.float64(value) <= LARGEST_FLOAT32):
        fault = f"the {name} {value!r} must be a finite number above zero"
        raise ValidationError(f"{owner}: {fault}", attr=name)


def _check_steps(owner: str, name: str, value: Any, least: int) -> None:
    if not is_whole(value, least):
        fault = f"{name}={value!r} must be a whole number of steps, {least} or more"
        raise ValidationError(f"{owner}: {fault}", attr=name)
