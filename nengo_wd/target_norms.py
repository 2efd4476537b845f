"""Ways to set the bound of a norm: as a number, or as a norm that training comes by.

They are values of the setting ``target_norm``, for `nengo_wd.constrained_norms`.
"""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, Union

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd._checks import LARGEST, is_number

__all__ = ["AtStep", "InflectionPoint", "OfInitial"]


@dataclasses.dataclass(frozen=True)
class OfInitial:
    r"""A factor of the norm before the first step: :math:`f \, \|w_0\|`.

    The initial norm is that of the weights when `nengo_wd.constrained_norms` takes its first step,
    so that loaded weights count. Weights that are all zero when it is called are refused.

    Parameters
    ----------
    factor : float
        The factor :math:`f`, above zero.

    Raises
    ------
    nengo.exceptions.ValidationError
        If the factor is no finite number above zero.

    Notes
    -----
    "Dependent" in the paper and in pytorch-cpr, whose factor is that of the *squared* norm:
    :math:`f^2`.
    """

    factor: float

    def __post_init__(self) -> None:
        if not _is_positive(self.factor):
            raise ValidationError(
                f"OfInitial: the factor {self.factor!r} must be a finite number above zero",
                attr="factor",
            )


@dataclasses.dataclass(frozen=True)
class AtStep:
    """The norm after so many steps; until then, weights are free.

    Parameters
    ----------
    step : int
        How many steps of the optimizer, one or more. Steps that loss scaling leaves out don't
        count. Where weights are all zero then, the bound is found when they are not.

    Raises
    ------
    nengo.exceptions.ValidationError
        If that is no whole number above zero.

    Notes
    -----
    "Warm start" in the paper and in pytorch-cpr.
    """

    step: int

    def __post_init__(self) -> None:
        _check_count("AtStep", "step", self.step, 1)


@dataclasses.dataclass(frozen=True)
class InflectionPoint:
    r"""The norm where its growth begins to slow down; until then, weights are free.

    At each step :math:`t`, an average :math:`a_t = 0.99\, a_{t-1} + 0.01\, \|w_t\|` is taken of the
    norm, from step ``every`` on, where it is the norm itself before. It is looked at in intervals:

    .. math:: g_k = (a_{k \cdot every} - a_{(k-1) \cdot every}) \,/\, a_{k \cdot every}

    The bound is the norm at the first :math:`k \ge 4` with :math:`g_{k-1} > g_k > 0.01`. While
    the norm grows by less than 1 % in an interval, no bound is found.

    Parameters
    ----------
    every : int
        Steps of the optimizer in an interval, two or more.

    Raises
    ------
    nengo.exceptions.ValidationError
        If that is no whole number above one.

    Notes
    -----
    The paper looks at the change of the growth alone. Average and threshold are those of
    pytorch-cpr 0.3.1, with ``foreach=True``.
    """

    every: int = 200

    def __post_init__(self) -> None:
        _check_count("InflectionPoint", "every", self.every, 2)  # in one, no average


TargetNorm = Union[float, OfInitial, AtStep, InflectionPoint]
WAYS = (OfInitial, AtStep, InflectionPoint)


def checked(value: Any, name: str, owner: str) -> TargetNorm:
    """Return a target norm, or raise if ``value`` is none."""
    if isinstance(value, WAYS):
        return value
    if not is_number(value):
        ways = ", ".join(f"nengo_wd.target_norms.{way.__name__}(...)" for way in WAYS)
        raise ValidationError(
            f"{owner}: {value!r} is no {name}; give a number, or one of {ways}", attr=name
        )
    if not _is_positive(value):
        raise ValidationError(
            f"{owner}: the {name} {value} must be a finite number above zero", attr=name
        )
    return float(value)


def _is_positive(value: Any) -> bool:
    return is_number(value) and bool(0 < np.float64(value) <= LARGEST)


def _check_count(owner: str, name: str, value: Any, least: int) -> None:
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not (is_whole and value >= least):
        raise ValidationError(
            f"{owner}: {name}={value!r} must be a whole number of steps, {least} or more", attr=name
        )
