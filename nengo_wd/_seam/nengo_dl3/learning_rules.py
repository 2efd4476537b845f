"""Learning rules in the time loop of NengoDL 3, in which the first axis is the minibatch."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from nengo_dl.builder import OpBuilder


class DecayBuilder(OpBuilder):
    """Builds a group of operators of decaying weights as one."""

    def build_pre(self, signals: Any, config: Any) -> None:
        """Put together the signals and constants of the group."""
        super().build_pre(signals, config)
        self.weights = signals.combine([op.weights for op in self.ops])
        self.scale = signals.combine([op.scale for op in self.ops])
        self.delta = signals.combine([op.delta for op in self.ops])
        self.remainder = signals.combine([op.remainder for op in self.ops])
        exponents = [-op.rate * signals.dt_val for op in self.ops]
        self.exponents = tf.constant([exponents], tf.float64)  # an error would add up over time
        rows = [op.weights.shape[0] for op in self.ops]
        self.owners = tf.constant(np.repeat(np.arange(len(rows)), rows))
        self.initial = None
        if self.ops[0].initial is not None:
            initial = np.concatenate([op.initial for op in self.ops])
            self.initial = tf.constant(initial[None], signals.dtype)

    def build_step(self, signals: Any) -> None:
        """Compute the changes of a time step."""
        scale = tf.cast(tf.nn.relu(signals.gather(self.scale)), tf.float64)
        factors = tf.cast(tf.math.expm1(self.exponents * scale), signals.dtype)
        made, remainder = self.ops[0].change(
            signals.gather(self.weights),
            tf.gather(factors, self.owners, axis=1)[:, :, None],
            self.initial,
            signals.gather(self.remainder),
        )
        signals.scatter(self.delta, made)
        signals.scatter(self.remainder, remainder)

    @staticmethod
    def mergeable(x: Any, y: Any) -> bool:
        """Tell whether two operators decay towards the same kind of values."""
        return (x.initial is None) == (y.initial is None)
