"""What users call: a search for strengths, and the start of each of its trainings."""

from __future__ import annotations

import copy
import multiprocessing
import numbers
from typing import TYPE_CHECKING, Any, Callable, Mapping, Sequence

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import check_simulator
from nengo_wd.recording.recorder import Recorder
from nengo_wd.search.request import PROCESS, Request

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

    Each trial calls ``train`` with strengths that Optuna suggests, based on the trials so far. A
    storage keeps all trials. If a search stops, for whatever reason, the same call continues it,
    and repeats an interrupted trial with the same strengths. :doc:`/searching` says more about
    that, and about processes and machines.

    Parameters
    ----------
    train : callable
        ``train(strengths, trial)`` with a dictionary of a strength for each name, and the
        ``optuna.Trial``, which can report errors to the pruner. It returns the error, a finite
        number to minimize. For ``n_jobs``, it must be at the top level of a module or script that
        calls this function below ``if __name__ == "__main__":``.
    ranges : dict of {str: (float, float)}
        The lowest and the highest strength, both positive, by name.
    n_trials : int
        The total number of trials, including those of earlier calls and other machines, and
        including pruned and failed ones. A repeated trial counts once.
    storage : str or optuna.storages.BaseStorage, optional
        The URL of a database that all machines can reach, such as
        ``"postgresql://user:password@host/name"``; the URL of Optuna's gRPC proxy,
        ``"grpc://host:13000"``; or one of Optuna's storages. By default, the SQLite file
        ``<name>.db`` in the working folder.
    name : str, optional
        The name of the search in its storage. By default, the name of the script.
    seed : int, optional
        The seed of the suggestions. A search in one process then has the same trials each time,
        even if it is stopped and continued.
    n_jobs : int
        The number of trials that run at a time, each in its own process; with 1, in this process.
    trials_per_process : int, optional
        The number of trials after which a new process replaces the old one. The default is 1, so no
        trial can affect the next. Use more if ``train`` reuses its simulator, with
        `nengo_wd.search.Start`. If you give it, trials run in processes even with ``n_jobs=1``.
    sampler : optuna.samplers.BaseSampler, optional
        The source of suggestions. By default, Optuna's ``TPESampler``.
    pruner : optuna.pruners.BasePruner, optional
        The rule that ends hopeless trials. By default, Optuna's ``MedianPruner``.
    progress_bar : bool
        Whether to show a progress bar, over the trials of all processes and machines.

    Returns
    -------
    study : optuna.Study
        The search. ``study.best_params`` are the strengths with the lowest error; without one, they
        raise an error that says why. ``study.trials_dataframe()`` is the table of all trials.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is not one of those above; if the storage can't be reached or written to, is
        lost while the search runs, has another search of this name, or is a file in use.
    nengo.exceptions.SimulationError
        If a process can't be started.
    ImportError
        If Optuna is not installed, or the driver of the database.
    KeyboardInterrupt
        After Ctrl-C, when all processes have ended and their trials are marked to be repeated.

    Warns
    -----
    UserWarning
        For each trial that failed, because ``train`` raised an error or did not return a finite
        number. The search goes on; ``study.trials[number].user_attrs["error"]`` has the traceback.
        If all trials failed, there is another warning.

    Notes
    -----
    If a process dies, or a machine that uses the same database, its trial is repeated, up to three
    times. Optuna's journals and gRPC proxy do not notice that a machine died.

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
        fault = "a process of a search imports the script, and would begin another search"
        remedy = 'put what the script does below: if __name__ == "__main__":'
        raise ValidationError(f"{fault}; {remedy}", attr="n_jobs")
    request = Request(
        train, ranges, n_trials, storage, name, seed, n_jobs, trials_per_process, sampler, pruner
    )
    try:
        from optuna.storages import RetryHeartbeatStaleTrialCallback  # noqa: F401
    except ImportError as error:
        needs = "nengo_wd.search needs Optuna 5, on Python 3.9 or later"
        raise ImportError(f"{needs}: pip install 'optuna>=5'") from error
    from nengo_wd.search import worker  # imports Optuna

    return worker.run(request, progress_bar)


class Start:
    """The beginning of a training, to which a simulator can be reset.

    One simulator can then run many trials. Trials after the first build, trace and compile nothing,
    if their strengths are variables in `nengo_wd.regularizers.Scheduled` or the setting
    ``weight_decay``.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator, open and compiled for training. Its current weights, its optimizer and the
        states of its neurons and filters are remembered.
    callbacks : sequence of tf.keras.callbacks.Callback
        The callbacks of each ``sim.fit``. Those of nengo_wd lose all records. In others, attributes
        that are numbers, strings, arrays, or lists and dictionaries of these are reset.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is not a NengoDL simulator, is not compiled or for inference only, or if
        ``callbacks`` has anything else; in ``restore``, if the simulator was compiled again.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.
    NotImplementedError
        In NengoDL 2, which has no search.

    Notes
    -----
    Your own variables, including strengths, are not reset. Neither are random numbers: after one
    call of ``tf.keras.utils.set_random_seed``, each ``sim.fit`` has the same order of examples, but
    layers such as ``Dropout`` continue from one training to the next. A call before each training
    costs up to a second, because TensorFlow prepares its compiled functions again.

    Examples
    --------
    >>> x, y = np.ones((8, 1, 1)), np.ones((8, 1, 10))  # examples, time steps, dimensions
    >>> strength = tf.Variable(0.0, trainable=False)
    >>> l2 = nengo_wd.regularizers.Scheduled(tf.keras.regularizers.l2(1.0), strength)
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, kernel_regularizer=l2)
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     loss = nengo_wd.regularized_objective(sim, {probe: "mse"})
    ...     sim.compile(tf.keras.optimizers.Adam(), loss=loss)
    ...     start, norms = nengo_wd.search.Start(sim), []
    ...     for value in (0.0, 1.0):
    ...         start.restore()
    ...         assigned = strength.assign(value)
    ...         history = sim.fit({source: x}, {probe: y}, epochs=20, verbose=0)
    ...         norms.append(np.linalg.norm(layer.kernel))
    >>> bool(norms[1] < norms[0])
    True
    """

    def __init__(
        self, sim: nengo_dl.Simulator, callbacks: Sequence[tf.keras.callbacks.Callback] = ()
    ) -> None:
        check_simulator(sim, trains=True)
        self.sim, self.callbacks = sim, list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, tf.keras.callbacks.Callback):
                fault = f"{callback!r} in callbacks is not a tf.keras.callbacks.Callback"
                raise ValidationError(fault, attr="callbacks")
        self._optimizers = seam.simulators.optimizers_in_use(sim)
        self._variables = seam.optimizers.variables_of_training(sim)
        self._values = seam.values.fetch(sim, self._variables)
        found = [vars(callback).items() for callback in self.callbacks]
        plain = [{name: value for name, value in items if _is_plain(value)} for items in found]
        self._attributes = copy.deepcopy(plain)

    def restore(self) -> None:
        """Reset weights, states, optimizer and callbacks to what they were."""
        check_simulator(self.sim)
        if seam.simulators.optimizers_in_use(self.sim) != self._optimizers:
            fault = "was compiled again after this Start was made; make another one"
            what = f"the simulator of {self.sim.model.toplevel}"
            raise ValidationError(f"{what} {fault}", attr="sim")
        self.sim.reset(include_trainable=False, include_probes=False)  # processes; the rest follows
        for variable, values in zip(self._variables, self._values):
            seam.values.assign(self.sim, variable, values)
        for callback, attributes in zip(self.callbacks, self._attributes):
            if isinstance(callback, Recorder):
                callback._restart()
            else:
                vars(callback).update(copy.deepcopy(attributes))


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a number, string or array, or a container of only these."""
    if isinstance(value, (dict, list, tuple, set)):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, (numbers.Number, str, np.ndarray, np.generic))
