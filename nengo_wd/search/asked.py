"""What was asked of a search, and whether it can be done."""

from __future__ import annotations

import numbers
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable, NamedTuple

from nengo.exceptions import ValidationError

from nengo_wd._checks import LARGEST, is_number

PROCESS = "nengo_wd.search"  # how the names of processes begin


class Asked(NamedTuple):
    """The arguments of a search."""

    train: Callable
    ranges: dict[str, tuple[float, float]]
    n_trials: int
    storage: Any
    name: str
    seed: int | None
    n_processes: int  # 0 is for none beside this
    trials_per_process: int
    sampler: Any
    pruner: Any

    @property
    def embedded(self) -> bool:
        """Whether the storage is a file in the working folder."""
        return self.storage is None


def checked(
    train: Any,
    ranges: Any,
    n_trials: Any,
    storage: Any,
    name: Any,
    seed: Any,
    n_jobs: Any,
    trials_per_process: Any,
    sampler: Any,
    pruner: Any,
) -> Asked:
    """Return what was asked for, or raise if that can't be done."""
    if not callable(train):
        _refuse("train", f"{train!r} can't be called; give a function of strengths and a trial")
    if sampler is not None and seed is not None:
        _refuse("seed", f"seed={seed} is not for a sampler of your own; give it to the sampler")
    if seed is not None:
        _whole_number(seed, "seed", 0)
    here = n_jobs == 1 and trials_per_process is None
    per_process = 1 if trials_per_process is None else trials_per_process
    found = Asked(
        train,
        _ranges(ranges),
        _whole_number(n_trials, "n_trials"),
        storage,
        _name(name, is_file=storage is None),
        seed,
        0 if here else _whole_number(n_jobs, "n_jobs"),
        _whole_number(per_process, "trials_per_process"),
        sampler,
        pruner,
    )
    if found.n_processes:
        _check_can_be_sent("train", train)
        _check_can_be_sent("pruner", pruner)
    return found


def _ranges(ranges: Any) -> dict[str, tuple[float, float]]:
    if not isinstance(ranges, Mapping) or not ranges:
        _refuse("ranges", f"{ranges!r} are no ranges; give a dictionary {{name: (low, high)}}")
    return {_text(name): _range(name, ends) for name, ends in ranges.items()}


def _text(name: Any) -> str:
    if not isinstance(name, str) or not name:
        _refuse("ranges", f"{name!r} is no name of a strength; give a text")
    return name


def _range(name: str, ends: Any) -> tuple[float, float]:
    try:
        low, high = ends
        if isinstance(ends, str) or not (is_number(low) and is_number(high)):
            raise TypeError("they are no numbers")
    except (TypeError, ValueError):
        _refuse("ranges", f"the range of {name!r} is {ends!r}; give two numbers, (low, high)")
    if not 0 < low < high <= LARGEST:
        _refuse(
            "ranges",
            f"the range of {name!r} is {ends!r}, but must go up from a number above zero, since it "
            "is searched on a logarithmic scale, to one that is finite in float32",
        )
    return float(low), float(high)


def _whole_number(value: Any, attr: str, least: int = 1) -> int:
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value < 2**32:
        _refuse(attr, f"{attr}={value!r} must be a whole number from {least} on")
    return int(value)


def _name(name: Any, is_file: bool) -> str:
    """Return the name of a search, by default that of the script."""
    if name is None:
        script = getattr(sys.modules["__main__"], "__file__", None)
        return Path(script).stem if script else "search"
    if not isinstance(name, str) or not name:
        _refuse("name", f"name={name!r} must be a text")
    if is_file and re.search(r'[<>:"/\\|?*\x00-\x1f]', name):
        _refuse("name", f"name={name!r} can't be that of a file, which the search is kept in")
    return name


def _check_can_be_sent(attr: str, given: Any) -> None:
    try:
        pickle.dumps(given)
    except Exception as error:
        raise ValidationError(
            f"{attr}={given!r} can't be sent to other processes ({error}); define it at the top "
            "level of a module or script, or run all trials in this process, with n_jobs=1",
            attr=attr,
        ) from error


def _refuse(attr: str, message: str) -> None:
    raise ValidationError(f"nengo_wd.search.strengths: {message}", attr=attr)
