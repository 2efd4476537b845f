"""When records are made in a training."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import is_number
from nengo_wd._penalties import counting
from nengo_wd.recording.recorder import Recorder


class RecorderCallback(Recorder, tf.keras.callbacks.Callback):
    """A recorder that is a callback of ``sim.fit``: before training, and as ``every`` says.

    Attributes
    ----------
    every : "epoch", "batch" or int
        When to record: after each epoch, each batch, or each so many batches.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begun = False

    @property
    def every(self) -> str | int:
        """When to record."""
        return self._every

    @every.setter
    def every(self, every: str | int) -> None:
        self.interval = _interval(every)
        self._every = every

    def set_params(self, params: Any) -> None:
        """Take on what Keras says of a training, once for each time that it was given this."""
        if params is not None and params is getattr(self, "params", None):
            raise ValidationError(
                f"the same {type(self).__name__} of {self.sim.model.toplevel} is given twice to a "
                "training, which would record all twice; give it once",
                attr="callbacks",
            )
        super().set_params(params)

    def on_train_begin(self, logs: Any = None) -> None:
        """Check what is about to be trained."""
        if self.model is not self.sim.keras_model:
            raise ValidationError(
                f"the {type(self).__name__} of a simulator of {self.sim.model.toplevel} is a "
                "callback of another model's training; make one for each simulator",
                attr="sim",
            )
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Record what training starts from, once other callbacks have restored it."""
        if not self._begun:
            self._begun = True
            self._begin(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Record what training ends with."""
        self._add_if_new()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record, if it is time to."""
        step = None if self.interval is None else self._step_count.now()
        if step is not None and step - self.history.last.step >= self.interval:
            self._add(self._measure(), step, **self._reported(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record, if it is time to."""
        self._epoch += 1
        if self.interval is None:
            self._add(self._measure(), **self._reported(logs))

    def _reported(self, logs: Any) -> dict[str, Any]:
        """Return the loss that Keras reports, and the penalties on what probes record in it."""
        names = [name for name in counting.now(self.sim).activities if name in (logs or {})]
        return {"loss": loss_of(logs), "activities": {name: float(logs[name]) for name in names}}


def loss_of(logs: Any) -> float:
    """Return the loss that Keras reports."""
    return float((logs or {}).get("loss", np.nan))


def _interval(every: Any) -> int | None:
    """Return the number of batches between records; None for an epoch."""
    if isinstance(every, str) and every in ("epoch", "batch"):
        return {"epoch": None, "batch": 1}[every]
    if isinstance(every, numbers.Integral) and is_number(every) and int(every) > 0:
        return int(every)
    raise ValidationError(
        f"{every!r} does not say when to record; give 'epoch', 'batch', or a number of batches",
        attr="every",
    )
