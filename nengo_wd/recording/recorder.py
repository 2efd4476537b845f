"""Records, made by hand."""

from __future__ import annotations

import os
from typing import Any, Callable

import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import check_simulator
from nengo_wd._parameters import defaults
from nengo_wd.recording.event_files import EventFile
from nengo_wd.recording.record import Record
from nengo_wd.recording.records import Records, ShowsRecords
from nengo_wd.recording.step_count import StepCount


class Recorder(ShowsRecords):
    """Measures, and keeps the records in a history and an event file.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator, still open.
    history : Records
        Where the records are to be.
    measure : callable
        What returns the ``measured`` of a `Record`, as it is now.
    log_dir : str, path-like or None
        Where to write for TensorBoard, if anywhere.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        history: Records,
        measure: Callable[[], Any],
        log_dir: str | os.PathLike | None,
    ) -> None:
        super().__init__()
        self.sim, self.history, self._measure = sim, history, measure
        self._step_count = StepCount(sim)
        self._epoch: float = 0
        self._event_file = None
        if log_dir is not None and seam.distributed.writes(sim):
            self._event_file = EventFile.of(sim, log_dir)

    def record(
        self, step: int | None = None, epoch: float | None = None, loss: float = np.nan
    ) -> None:
        """Record what there is now.

        Parameters
        ----------
        step : int, optional
            How many batches have been trained on. By default, those that ``sim.fit`` or
            ``sim.train`` counted; a training loop of your own has to say it.
        epoch : float, optional
            How many epochs have ended. By default, those of ``sim.fit``.
        loss : float, optional
            The loss that training minimizes, of which the penalties are a share.

        Raises
        ------
        nengo.exceptions.SimulatorClosed
            If the simulator is closed.
        nengo.exceptions.ValidationError
            If one of these is no number, or the step no whole one, zero or above; and inside a
            ``tf.function``.
        """
        check_simulator(self.sim)
        defaults.check_layers(self.sim)
        if step is not None:
            step = _whole_number(step, self._argument("step"))
        if epoch is not None:
            epoch = _number(epoch, self._argument("epoch"))
        loss = _number(loss, self._argument("loss"))
        self._add(self._measure(), step, epoch, loss)

    def _argument(self, name: str) -> str:
        """Return what an argument is called in errors."""
        return f"{type(self).__name__}.record: {name}"

    def _add(
        self,
        measured: Any,
        step: int | None = None,
        epoch: float | None = None,
        loss: float = np.nan,
        activities: dict[str, float] | None = None,
    ) -> None:
        step = self._step_count.now() if step is None else step
        epoch = self._epoch if epoch is None else epoch
        self.history.add(Record(step, epoch, loss, measured, activities or {}))
        if self._event_file is not None:
            self._event_file.write_last(self.history)

    def _add_if_new(self) -> None:
        """Record, unless step and weights are those of the last record."""
        step, measured = self._step_count.now(), self._measure()
        if not len(self.history) or self.history.last.differs_from(step, measured):
            self._add(measured, step)

    def _begin(self, epoch: int) -> None:
        """Record what a training starts from, at an epoch above zero where it is resumed."""
        defaults.check_layers(self.sim)
        self._rewind()
        self._epoch = max(self._epoch, epoch)
        self._add_if_new()

    def _restart(self) -> None:
        """Forget all records, for a training that begins anew."""
        self.history.rewind(-1)
        self._step_count, self._epoch = StepCount(self.sim), 0
        if self._event_file is not None:
            self._event_file.rewind(0)

    def _rewind(self) -> None:
        """Forget what was recorded after the step that a training was restored to, if it was."""
        before, step = self._step_count.last, self._step_count.now()
        if step < before:
            self.history.rewind(step)
            self._epoch = self.history.last.epoch if len(self.history) else 0
            if self._event_file is not None:
                self._event_file.rewind(step + 1)


def _number(value: Any, argument: str) -> float:
    """Return what was given for a record as a number."""
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError("it is text")
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValidationError(
            f"{argument}={value!r} is no number ({error})", attr="record"
        ) from error


def _whole_number(value: Any, argument: str) -> int:
    """Return what was given for a record as a whole number that an event file can hold."""
    number = _number(value, argument)
    if isinstance(value, bool) or not (0 <= number < 2**63 and number.is_integer()):
        raise ValidationError(
            f"{argument}={value!r} must be a whole number, zero or above", attr="record"
        )
    return int(value)
