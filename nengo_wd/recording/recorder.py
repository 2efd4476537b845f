"""The base of callbacks that record: when, after how many steps, and how they warn."""

from __future__ import annotations

import os
import warnings
from typing import Any, Callable, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import check_simulator, is_whole
from nengo_wd.recording.event_files import EventFile
from nengo_wd.recording.history import Records

MOST_NAMED = 10  # faults in one warning
INTERVALS = {"epoch": None, "batch": 1}  # in batches


class SimulatorCallback(tf.keras.callbacks.Callback):
    """A callback for ``sim.fit`` of one simulator, which refuses to be given twice."""

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        super().__init__()
        self.sim = sim

    def set_params(self, params: Any) -> None:
        """Keep Keras' parameters of a training; raise if the callback is given to it twice."""
        if params is not None and params is getattr(self, "params", None):
            what = f"the same {type(self).__name__} of {self.sim.model.toplevel}"
            fault = "is given twice to a training, so it would do everything twice; give it once"
            raise ValidationError(f"{what} {fault}", attr="callbacks")
        super().set_params(params)

    def on_train_begin(self, logs: Any = None) -> None:
        """Raise if another model is about to be trained."""
        if self.model is not self.sim.keras_model:
            what = f"the {type(self).__name__} of a simulator of {self.sim.model.toplevel}"
            fault = "is a callback of another model's training; make one for each simulator"
            raise ValidationError(f"{what} {fault}", attr="sim")


class Recorder(SimulatorCallback):
    """A callback of ``sim.fit`` that records before training, and then as ``every`` says.

    It adds what ``measure`` returns to a history, and writes it to ``log_dir`` for TensorBoard.
    """

    history: Any

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        history: Records,
        measure: Callable[[], Any],
        log_dir: str | os.PathLike | None,
    ) -> None:
        super().__init__(sim)
        self.history, self._measure = history, measure
        self._step = 0
        self._epoch: float = 0
        self._counters: dict[int, tuple[tf.Variable, int]] = {}  # of optimizers, with their counts
        self._begun = False
        self._event_file = None
        if log_dir is not None and seam.simulators.writes(sim):
            self._event_file = EventFile(sim, log_dir)

    def __bool__(self) -> bool:
        """Return True, even before the first record: Keras ignores a callback that is false."""
        return True

    @property
    def every(self) -> str | int:
        """When to record."""
        return self._every

    @every.setter
    def every(self, every: Any) -> None:
        if not is_whole(every) and not (isinstance(every, str) and every in INTERVALS):
            remedy = "give 'epoch', 'batch', or a number of batches"
            raise ValidationError(f"{every!r} does not say when to record; {remedy}", attr="every")
        self._every, self.interval = every, INTERVALS.get(every, every)

    def record(
        self, step: int | None = None, epoch: float | None = None, loss: float = np.nan
    ) -> None:
        """Record the current weights or rates.

        Parameters
        ----------
        step : int, optional
            The number of batches so far. By default, those that ``sim.fit`` or ``sim.train``
            counted; your own training loop has to give it.
        epoch : float, optional
            The number of finished epochs. By default, those of ``sim.fit``.
        loss : float, optional
            The loss that training minimizes, for the penalties' shares.

        Raises
        ------
        nengo.exceptions.SimulatorClosed
            If the simulator is closed.
        nengo.exceptions.ValidationError
            If ``step`` is not a whole number, zero or above, or another argument is not a number;
            inside a ``tf.function``.
        """
        check_simulator(self.sim)
        parameters.check_layers(self.sim)
        what = f"{type(self).__name__}.record: "
        step = None if step is None else _whole_number(step, f"{what}step")
        epoch = None if epoch is None else _number(epoch, f"{what}epoch")
        self._add(self._measure(), {"loss": _number(loss, f"{what}loss")}, step, epoch)

    def on_train_begin(self, logs: Any = None) -> None:
        """Prepare to record the initial state."""
        super().on_train_begin(logs)
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Record the initial state, after other callbacks have restored it."""
        if not self._begun:
            self._begun = True
            parameters.check_layers(self.sim)
            before, step = self._step, self._now()
            if step < before:  # the simulator was restored to an earlier step
                self._forget_after(step)
                self._epoch = self.history.last.epoch if len(self.history) else 0
            self._epoch = max(self._epoch, epoch)
            self._add_if_new()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record, if it is time."""
        if self.interval is not None:
            step = self._now()
            if step - self.history.last.step >= self.interval:
                self._add(self._measure(), logs, step)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record, if it is time."""
        self._epoch += 1
        if self.interval is None:
            self._add(self._measure(), logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Record the final state."""
        self._add_if_new()

    def _add(self, measured: Any, logs: Any = None, step: Any = None, epoch: Any = None) -> None:
        """Add a record with the loss in ``logs``, and write it for TensorBoard."""
        step = self._now() if step is None else step
        self.history.add(step, self._epoch if epoch is None else epoch, loss_of(logs), measured)
        if self._event_file is not None:
            self._event_file.write(step, self.history.scalars(), self.history.histograms())

    def _add_if_new(self) -> None:
        """Record, unless the step and the measured values are those of the last record."""
        step, measured = self._now(), self._measure()
        if not len(self.history) or self.history.last.differs_from(step, measured):
            self._add(measured, step=step)

    def _restart(self) -> None:
        """Forget all records, for a new training."""
        self._forget_after(-1)
        self._step, self._epoch, self._counters = 0, 0, {}

    def _now(self) -> int:
        """Return the number of batches so far; it goes back when an optimizer is restored."""
        counter = seam.values.step_counter(self.sim)
        if counter is not None:
            count = int(seam.values.fetch(self.sim, [counter])[0])
            _, before = self._counters.get(id(counter), (counter, 0))
            self._step += count - before if count else 0
            self._counters[id(counter)] = counter, count
        return self._step

    def _forget_after(self, step: int) -> None:
        """Forget the records of later steps, and have TensorBoard forget them."""
        self.history.rewind(step)
        if self._event_file is not None:
            self._event_file.rewind(step + 1)


class Alarm:
    """Warns of each fault once while it lasts."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def check(
        self, start: str, faults: Iterable[str], describe: Callable[[str], str], separator: str
    ) -> None:
        """Warn of the faults, by name, that the last check did not find."""
        new = [name for name in faults if name not in self._known]
        self._known = set(faults)
        if new:
            described = [describe(name) for name in new[:MOST_NAMED]]
            if len(new) > MOST_NAMED:
                described.append(f"and {len(new) - MOST_NAMED} more")
            warnings.warn(start + separator.join(described), RuntimeWarning, stacklevel=2)


def loss_of(logs: Any) -> float:
    """Return the loss that Keras reports; NaN if it reports none."""
    return float((logs or {}).get("loss", np.nan))


def _number(value: Any, argument: str) -> float:
    """Return an argument of ``record`` as a number, or raise."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError("it is text")
        return float(value)
    except (TypeError, ValueError) as error:
        fault = f"{argument}={value!r} is not a number ({error})"
        raise ValidationError(fault, attr="record") from error


def _whole_number(value: Any, argument: str) -> int:
    """Return an argument of ``record`` as a whole number that an event file can hold, or raise."""
    number = _number(value, argument)
    if isinstance(value, bool) or not (0 <= number < 2**63 and number.is_integer()):
        fault = f"{argument}={value!r} must be a whole number, zero or above"
        raise ValidationError(fault, attr="record")
    return int(value)
