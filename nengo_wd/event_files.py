"""Files that TensorBoard reads."""

from __future__ import annotations

import os

import numpy as np
import tensorflow as tf

BINS = 30


class EventFile:
    """A file of scalars and histograms, in the format that both generations of TensorFlow write.

    Parameters
    ----------
    log_dir : str or path-like
        The folder, made where there is none.
    """

    def __init__(self, log_dir: str | os.PathLike) -> None:
        with tf.Graph().as_default():  # the writer refuses to be made in eager mode
            self._writer = tf.compat.v1.summary.FileWriter(os.fspath(log_dir))

    def write(
        self, step: int, scalars: dict[str, float], histograms: dict[str, np.ndarray]
    ) -> None:
        """Write the scalars and histograms of one step, by tag."""
        summary = tf.compat.v1.Summary()
        for tag, value in scalars.items():
            summary.value.add(tag=tag, simple_value=value)
        for tag, values in histograms.items():
            summary.value.add(tag=tag, histo=_histogram(values))
        self._writer.add_summary(summary, step)
        self._writer.flush()


def _histogram(values: np.ndarray) -> tf.compat.v1.HistogramProto:
    """Return the histogram of the finite values, which alone have a place in it."""
    values = np.asarray(values, np.float64).ravel()
    values = values[np.isfinite(values)]
    counts, edges = np.histogram(values, BINS)
    return tf.compat.v1.HistogramProto(
        min=values.min(initial=np.inf),
        max=values.max(initial=-np.inf),
        num=len(values),
        sum=values.sum(),
        sum_squares=np.square(values).sum(),
        bucket_limit=edges[1:],
        bucket=counts,
    )
