"""What users call to search for strengths, and the checks of its arguments."""

from __future__ import annotations

import dataclasses
import multiprocessing
import numbers
import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Mapping, NoReturn

from nengo.exceptions import ValidationError

from nengo_wd._checks import LARGEST, is_number

if TYPE_CHECKING:
    import optuna

PROCESS = "nengo_wd.search"  # how the names of processes begin


def strengths(
    train: Callable[[dict[str, float], optuna.Trial], float],
    ranges: Mapping[str, tuple[float, float]],
    n_trials: int = 40,
    storage: str | optuna.storages.BaseStorage | None = None,
    name: str | None = None,
    seed: int | None = None,
    n_jobs: int = 1,
    trials_per_process: int | None = None,
    sampler: optuna.samplers.BaseSampler | None = None,
    pruner: optuna.pruners.BasePruner | None = None,
    progress_bar: bool = True,
) -> optuna.Study:
    r"""Search for the strengths with the least error, on a logarithmic scale.

    Each trial calls ``train`` with strengths that Optuna suggests in view of the trials so far, all
    of which are kept in a storage. The same call goes on where an earlier one stopped, whatever
    stopped it. A trial that was running is tried again with its strengths. :doc:`/searching` says
    more on that, on processes and on machines.

    Parameters
    ----------
    train : callable
        ``train(strengths, trial)`` with a dictionary of a strength for each name, and the
        ``optuna.Trial``, which may report errors to the pruner. It returns the error, a finite
        number to minimize. With ``n_jobs``, it is at the top level of a module or script.
    ranges : dict of {str: (float, float)}
        The lowest and the highest strength, both positive, by name.
    n_trials : int
        The number of trials in total: of earlier calls and other machines, and with those that
        were pruned or failed. One that is tried again counts once.
    storage : str or optuna.storages.BaseStorage, optional
        The URL of a database that all machines reach, ``"postgresql://user:password@host/name"``
        for example; that of Optuna's gRPC proxy, ``"grpc://host:13000"``; or one of Optuna's
        storages. By default the SQLite file ``<name>.db`` in the working folder.
    name : str, optional
        The name of the search in its storage. By default that of the script.
    seed : int, optional
        The seed of the suggestions. A search in one process then has the same trials each time,
        also if it is stopped and goes on.
    n_jobs : int
        The number of trials that run at a time, in processes of their own. With 1 they run one
        after another, in this process.
    trials_per_process : int, optional
        The number of trials after which a fresh process replaces another; by default 1, so that
        nothing of a trial can reach the next. Give many for a ``train`` that uses its simulator
        again, with `nengo_wd.search.Start`. If given, there are processes also with ``n_jobs=1``.
    sampler : optuna.samplers.BaseSampler, optional
        The source of suggestions. By default Optuna's ``TPESampler``.
    pruner : optuna.pruners.BasePruner, optional
        The rule that ends hopeless trials. By default Optuna's ``MedianPruner``.
    progress_bar : bool
        Whether to show a progress bar, over the trials of all processes and machines.

    Returns
    -------
    study : optuna.Study
        The search. ``study.best_params`` are the strengths with the least error; if no trial came
        to its end, reading them raises an error that says why. ``study.trials_dataframe()`` is the
        table of all trials.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is none of the above; if the storage can't be reached or written to, is lost
        while the search runs, or holds another search of this name; and if another process uses
        the same file.
    nengo.exceptions.SimulationError
        If a process can't be started.
    ImportError
        If Optuna is not installed, or the driver of the database.
    KeyboardInterrupt
        After Ctrl-C, when all processes have ended and their trials are set to be tried again.

    Warns
    -----
    UserWarning
        For each trial that failed, because ``train`` raised an error or did not return a finite
        number. The search goes on; ``study.trials[number].user_attrs["error"]`` has the traceback.
        If all trials failed, there is another warning.

    Notes
    -----
    If a process dies, or a machine that uses the same database, its trial is tried again, up to
    three times. Optuna's journals and gRPC proxy do not notice that a machine died.

    Examples
    --------
    >>> import optuna
    >>> def train(strengths, trial):
    ...     return (np.log10(strengths["kernels"]) + 3) ** 2
    >>> memory = optuna.storages.InMemoryStorage()
    >>> study = nengo_wd.search.strengths(
    ...     train, {"kernels": (1e-5, 1)}, storage=memory, seed=0, progress_bar=False
    ... )
    >>> len(study.trials), round(np.log10(study.best_params["kernels"]))
    (40, -3)
    """
    if multiprocessing.current_process().name.startswith(PROCESS):
        raise ValidationError(
            "a process of a search for strengths imports the script, which would begin another "
            'search there; put what the script does below: if __name__ == "__main__":',
            attr="n_jobs",
        )
    request = Request(
        train, ranges, n_trials, storage, name, seed, n_jobs, trials_per_process, sampler, pruner
    )
    try:
        from optuna.storages import RetryHeartbeatStaleTrialCallback  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "nengo_wd.search needs Optuna 5, on Python 3.9 or later: pip install 'optuna>=5'"
        ) from error
    from nengo_wd.search import worker  # which imports Optuna

    return worker.run(request, progress_bar)


@dataclasses.dataclass
class Request:
    """The arguments of `strengths`; making it raises an error if one of them is wrong."""

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
            told = f"{self.train!r} can't be called; give a function of strengths and a trial"
            _refuse("train", told)
        if self.sampler is not None and self.seed is not None:
            told = f"seed={self.seed} is not for a sampler of your own; give it to the sampler"
            _refuse("seed", told)
        if self.seed is not None:
            _whole_number(self.seed, "seed", 0)
        self.ranges = _ranges(self.ranges)
        self.n_trials = _whole_number(self.n_trials, "n_trials")
        self.name = _name(self.name, is_file=self.storage is None)
        here = self.n_jobs == 1 and self.trials_per_process is None
        self.n_processes = 0 if here else _whole_number(self.n_jobs, "n_jobs")  # beside this one
        per_process = 1 if self.trials_per_process is None else self.trials_per_process
        self.trials_per_process = _whole_number(per_process, "trials_per_process")
        if self.n_processes:
            _check_can_be_sent("train", self.train)
            _check_can_be_sent("pruner", self.pruner)

    @property
    def file_name(self) -> str:
        """The name of the file that is the storage by default."""
        return f"{self.name}.db"


def _ranges(ranges: Any) -> dict[str, tuple[float, float]]:
    """Return the ranges by name of a strength, or raise."""
    if not isinstance(ranges, Mapping) or not ranges:
        _refuse("ranges", f"{ranges!r} are no ranges; give a dictionary {{name: (low, high)}}")
    for name in ranges:
        if not isinstance(name, str) or not name:
            _refuse("ranges", f"{name!r} is no name of a strength; give a text")
    return {name: _range(name, ends) for name, ends in ranges.items()}


def _range(name: str, ends: Any) -> tuple[float, float]:
    """Return the ends of a range, or raise unless they are positive and go up."""
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
    """Return ``value`` as an integer, or raise unless it is one from ``least`` on."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_whole or not least <= value < 2**32:
        _refuse(attr, f"{attr}={value!r} must be a whole number from {least} on")
    return int(value)


def _name(name: Any, is_file: bool) -> str:
    """Return the name of a search, by default that of the script, or raise."""
    if name is None:
        script = getattr(sys.modules["__main__"], "__file__", None)
        return Path(script).stem if script else "search"
    if not isinstance(name, str) or not name:
        _refuse("name", f"name={name!r} must be a text")
    if is_file and re.search(r'[<>:"/\\|?*\x00-\x1f]', name):
        _refuse("name", f"name={name!r} can't be that of a file, which the search is kept in")
    return name


def _check_can_be_sent(attr: str, given: Any) -> None:
    """Raise if an argument can't be pickled."""
    try:
        pickle.dumps(given)
    except Exception as error:
        raise ValidationError(
            f"{attr}={given!r} can't be sent to other processes ({error}); define it at the top "
            "level of a module or script, or run all trials in this process, with n_jobs=1",
            attr=attr,
        ) from error


def _refuse(attr: str, message: str) -> NoReturn:
    raise ValidationError(f"nengo_wd.search.strengths: {message}", attr=attr)
