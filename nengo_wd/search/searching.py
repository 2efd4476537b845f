"""What users call to search for strengths."""

from __future__ import annotations

import multiprocessing
from typing import TYPE_CHECKING, Callable, Mapping

from nengo.exceptions import ValidationError

from nengo_wd.search import asked

if TYPE_CHECKING:
    import optuna


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

    Each trial calls ``train`` with strengths that Optuna suggests in view of the trials so far.
    All of them are kept in a storage. The same call goes on where an earlier one stopped, whatever
    stopped it: finished trials are kept, and a trial that was running is tried again with its
    strengths.

    Parameters
    ----------
    train : callable
        ``train(strengths, trial)`` with a dictionary of a strength for each name, and the
        ``optuna.Trial``, for ``trial.report`` and ``trial.should_prune`` or for Optuna's callback
        of Keras. It returns the error, a finite number to be minimized. What it reports has to be
        an error or loss as well: reported accuracies would have the best trials pruned.
    ranges : dict of {str: (float, float)}
        The lowest and the highest strength, both above zero, by name.
    n_trials : int
        How many trials there are in total: of earlier calls, processes and machines, and of trials
        that were pruned or that failed. One that is tried again counts once.
    storage : str or optuna.storages.BaseStorage, optional
        The URL of a database that all machines reach, such as
        ``"postgresql://user:password@host/database"``; that of Optuna's gRPC proxy,
        ``"grpc://host:13000"``; or a storage of Optuna's. By default the SQLite file
        ``<name>.db`` in the working folder, for one call at a time.
    name : str, optional
        The name of the search in its storage. By default that of the script.
    seed : int, optional
        What suggestions follow from. A search in one process then has the same trials each time,
        also if it is stopped and goes on.
    n_jobs : int
        How many trials run at a time, in processes of their own. With 1 they run one after
        another, in this process.
    trials_per_process : int, optional
        After how many trials a process is replaced by a fresh one; by default 1, so that nothing of
        a trial can reach the next. A ``train`` that uses its simulator again, with
        `nengo_wd.search.Start`, wants
        many. Where it is given, there are processes also with ``n_jobs=1``.
    sampler : optuna.samplers.BaseSampler, optional
        What suggests strengths. By default Optuna's ``TPESampler``.
    pruner : optuna.pruners.BasePruner, optional
        What says that a trial is hopeless. By default Optuna's ``MedianPruner``.
    progress_bar : bool
        Whether to show a progress bar, over the trials of all processes and machines.

    Returns
    -------
    study : optuna.Study
        The search. ``study.best_params`` are the strengths with the least error; where no trial
        came to its end, reading them raises an error that says why.
        ``study.trials_dataframe()`` is the table of all trials.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is none of the above; if the storage can't be reached or written to, or is
        lost while the search runs; if it
        holds a search of this name over other strengths, or one that maximizes; and if another
        process is busy with the same file.
    nengo.exceptions.SimulationError
        If a process can't be started.
    ImportError
        If Optuna is not installed, or the driver of the database.
    KeyboardInterrupt
        After Ctrl-C, when all processes have ended and their trials are set to be tried again.

    Warns
    -----
    UserWarning
        For each trial that failed, because ``train`` raised an error, or returned no finite number.
        The search goes on. The traceback is in ``study.trials[number].user_attrs["error"]``.

    Notes
    -----
    With several processes, ``train`` has to be at the top level of a module or script, and the
    script calls this within ``if __name__ == "__main__":``. A process that dies, for want of memory
    for example, is replaced, and its trial tried again up to three times.

    Machines that share a database know of each other by Optuna's heartbeats: what ran on one
    that is silent for a minute is tried again on another, up to three times. A storage object
    has the heartbeats that it was made with; Optuna's journals and gRPC proxy have none, and a
    trial of a machine that died stays there as running.

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
    _check_not_in_a_process_of_a_search()
    options = asked.checked(
        train, ranges, n_trials, storage, name, seed, n_jobs, trials_per_process, sampler, pruner
    )
    try:
        from optuna.storages import RetryHeartbeatStaleTrialCallback  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "nengo_wd.search needs Optuna 5, on Python 3.9 or later: pip install 'optuna>=5'"
        ) from error
    from nengo_wd.search import running  # which imports Optuna

    return running.run(options, progress_bar)


def _check_not_in_a_process_of_a_search() -> None:
    if multiprocessing.current_process().name.startswith(asked.PROCESS):
        raise ValidationError(
            "a process of a search for strengths imports the script, which would begin another "
            'search there; put what the script does below: if __name__ == "__main__":',
            attr="n_jobs",
        )
