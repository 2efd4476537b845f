"""Files that TensorBoard reads."""

from __future__ import annotations

import itertools
import os
import uuid
import warnings
import weakref
from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._seam import state

BINS = 30


class EventFile:
    """A file of scalars and histograms, in the format that both generations of TensorFlow write.

    It makes its folder, and makes it again if it was deleted. A simulator's first file in a folder
    continues others there, if it begins after step zero.
    """

    _numbers = itertools.count()

    def __init__(self, sim: nengo_dl.Simulator, log_dir: str | bytes | os.PathLike) -> None:
        self.log_dir = _path(log_dir)
        folders, folder = state.simulator_state(sim).log_dirs, os.path.abspath(self.log_dir)
        self._resumes = folder not in folders
        folders.add(folder)
        self._open()

    def rewind(self, step: int) -> None:
        """Have TensorBoard forget this step and later ones in the folder."""
        start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
        self._writer.add_session_log(start, step)

    def _open(self) -> None:
        # TensorBoard would take files of the same second for one, or read them in another order
        self._suffix = f".{next(self._numbers):08d}.{uuid.uuid4().hex}"
        try:
            tf.io.gfile.makedirs(self.log_dir)
            if not tf.io.gfile.isdir(self.log_dir):
                raise NotADirectoryError(f"{self.log_dir} is not a folder")
            with tf.Graph().as_default():  # eager mode refuses to make the writer
                make_writer = tf.compat.v1.summary.FileWriter
                self._writer = make_writer(self.log_dir, filename_suffix=self._suffix)
        except (tf.errors.OpError, OSError) as error:
            fault = f"log_dir={self.log_dir!r} can't be written to: {error}"
            raise ValidationError(fault, attr="log_dir") from error
        self._begun = False
        weakref.finalize(self, self._writer.close)

    def _file_exists(self) -> bool:
        """Tell whether the file is still in its folder."""
        try:
            return any(name.endswith(self._suffix) for name in tf.io.gfile.listdir(self.log_dir))
        except tf.errors.OpError:
            return False

    def write(
        self, step: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]
    ) -> None:
        """Write scalars and histograms of a step, by tag; leave out scalars that are NaN."""
        if self._begun and not self._file_exists():
            lost = f"TensorBoard's files in {self.log_dir} from before step {step} were deleted"
            warnings.warn(f"{lost}; a new file begins", RuntimeWarning, stacklevel=2)
            self._open()
        summary = tf.compat.v1.Summary()
        for tag, value in scalars.items():
            if not np.isnan(value):
                summary.value.add(tag=tag, simple_value=value)
        for tag, values in histograms.items():
            summary.value.add(tag=tag, histo=_histogram(values))
        if self._resumes and step > 0:
            self.rewind(step)
        self._resumes = False
        self._writer.add_summary(summary, step)
        self._writer.flush()
        self._begun = True


def _path(log_dir: Any) -> str:
    fault = f"log_dir={log_dir!r} is not a path"
    try:
        path = os.fsdecode(log_dir)
    except TypeError as error:
        raise ValidationError(f"{fault}: {error}", attr="log_dir") from error
    if not path or "\0" in path:
        raise ValidationError(fault, attr="log_dir")
    return path


def _histogram(values: np.ndarray) -> tf.compat.v1.HistogramProto:
    """Return the histogram of the finite values, with bins that floats can tell apart."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 0.0)
    margin = 1e-6 * max(abs(low), abs(high))
    limits = (low, high) if high - low > margin else (low - margin, high + margin)
    counts, edges = np.histogram(values, BINS, limits)
    sums = {"num": len(values), "sum": values.sum(), "sum_squares": np.square(values).sum()}
    ends = {"min": values.min(initial=np.inf), "max": values.max(initial=-np.inf)}
    return tf.compat.v1.HistogramProto(**ends, **sums, bucket_limit=edges[1:], bucket=counts)
