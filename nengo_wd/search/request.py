"""The arguments of a search, and their checks; without Optuna, which may not be installed."""

from __future__ import annotations

import dataclasses
import pickle
import re
import sys
from pathlib import Path
from typing import Any, Callable, Mapping, NoReturn

from nengo.exceptions import ValidationError

from nengo_wd._checks import LARGEST_FLOAT32, is_number, is_whole

PROCESS = "nengo_wd.search"  # how the names of processes begin


@dataclasses.dataclass
class Request:
    """The arguments of `nengo_wd.search.strengths`; raises an error if one of them is wrong."""

    train: Callable
    ranges: Mapping[str, tuple[float, float]]
    n_trials: int
    storage: Any
    name: Any
    seed: int | None
    n_jobs: int
    trials_per_process: Any
    sampler: Any
    pruner: Any

    def __post_init__(self) -> None:
        if not callable(self.train):
            remedy = "give a function of strengths and a trial"
            _refuse("train", f"{self.train!r} can't be called; {remedy}")
        if self.sampler is not None and self.seed is not None:
            fault = "is not for a sampler of your own; give it to the sampler"
            _refuse("seed", f"seed={self.seed} {fault}")
        if self.seed is not None:
            _whole_number(self.seed, "seed", 0)
        self.ranges = _ranges(self.ranges)
        self.n_trials = _whole_number(self.n_trials, "n_trials")
        self.name = _name(self.name, is_file=self.storage is None)
        self.file_name = f"{self.name}.db"  # the storage by default
        here = self.n_jobs == 1 and self.trials_per_process is None
        self.n_processes = 0 if here else _whole_number(self.n_jobs, "n_jobs")  # beside this one
        per_process = 1 if self.trials_per_process is None else self.trials_per_process
        self.trials_per_process = _whole_number(per_process, "trials_per_process")
        for attr in ("train", "pruner") if self.n_processes else ():
            try:
                pickle.dumps(getattr(self, attr))
            except Exception as error:
                fault = f"{attr}={getattr(self, attr)!r} can't be sent to other processes ({error})"
                remedy = "define it at the top level of a module or script, or run all trials here"
                raise ValidationError(f"{fault}; {remedy}: n_jobs=1", attr=attr) from error


def _ranges(ranges: Any) -> dict[str, tuple[float, float]]:
    """Return the range of each strength by name, or raise."""
    if not isinstance(ranges, Mapping) or not ranges:
        _refuse("ranges", f"{ranges!r} are not ranges; give a dictionary {{name: (low, high)}}")
    for name in ranges:
        if not isinstance(name, str) or not name:
            _refuse("ranges", f"{name!r} is not the name of a strength; give a string")
    return {name: _range(name, ends) for name, ends in ranges.items()}


def _range(name: str, ends: Any) -> tuple[float, float]:
    """Return the ends of a range; raise unless they are positive and go up."""
    given = f"the range of {name!r} is {ends!r}"
    try:
        low, high = ends
        if isinstance(ends, str) or not (is_number(low) and is_number(high)):
            raise TypeError("they are not numbers")
    except (TypeError, ValueError):
        _refuse("ranges", f"{given}; give two numbers, (low, high)")
    if not 0 < low < high <= LARGEST_FLOAT32:
        rule = "must go up from a positive number, because the scale is logarithmic"
        _refuse("ranges", f"{given}, but {rule}, and be finite in float32")
    return float(low), float(high)


def _whole_number(value: Any, attr: str, least: int = 1) -> int:
    """Return ``value`` as an integer; raise if it is not whole, or below ``least``."""
    if not is_whole(value, least) or value >= 2**32:
        _refuse(attr, f"{attr}={value!r} must be a whole number from {least} on")
    return int(value)


def _name(name: Any, is_file: bool) -> str:
    """Return the name of a search, by default that of the script, or raise."""
    if name is None:
        script = getattr(sys.modules["__main__"], "__file__", None)
        return Path(script).stem if script else "search"
    if not isinstance(name, str) or not name:
        _refuse("name", f"name={name!r} must be a string")
    if is_file and re.search(r'[<>:"/\\|?*\x00-\x1f]', name):
        _refuse("name", f"name={name!r} can't be the name of a file, but the search is kept in one")
    return name


def _refuse(attr: str, message: str) -> NoReturn:
    raise ValidationError(f"nengo_wd.search.strengths: {message}", attr=attr)
