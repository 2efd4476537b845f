"""What NengoDL's builders add to the time loop, in either generation."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from nengo_dl.builder import OpBuilder


class DecayOperators(OpBuilder):
    """Builds a group of operators of decaying weights as one."""

    exponents: tf.Tensor  # of each operator, in float64: an error would add up over time
    owners: tf.Tensor  # the operator of each row of weights
    initial: tf.Tensor | None

    def combine(self, ops: Any, signals: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Put the signals of the group together, and return exponents, owners, initial values."""
        self.change = ops[0].change
        for name in ("weights", "scale", "delta", "remainder"):
            setattr(self, name, signals.combine([getattr(op, name) for op in ops]))
        exponents = np.array([-op.rate * signals.dt_val for op in ops])
        rows = [op.weights.shape[0] for op in ops]
        is_free = ops[0].initial is None
        initial = None if is_free else np.concatenate([op.initial for op in ops])
        return exponents, np.repeat(np.arange(len(rows)), rows), initial

    def over_rows(self, factors: tf.Tensor) -> tf.Tensor:
        """Return the factors of operators for each weight."""
        raise NotImplementedError

    def build_step(self, signals: Any) -> None:
        """Compute the changes of a time step."""
        scale = tf.cast(tf.nn.relu(signals.gather(self.scale)), tf.float64)
        factors = tf.cast(tf.math.expm1(self.exponents * scale), signals.dtype)
        weights, remainder = signals.gather(self.weights), signals.gather(self.remainder)
        made, remainder = self.change(weights, self.over_rows(factors), self.initial, remainder)
        signals.scatter(self.delta, made)
        signals.scatter(self.remainder, remainder)

    @staticmethod
    def mergeable(x: Any, y: Any) -> bool:
        """Tell whether two operators decay towards the same kind of values."""
        return (x.initial is None) == (y.initial is None)
