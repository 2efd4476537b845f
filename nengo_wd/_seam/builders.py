"""What our builders add to the time loop, in all generations of NengoDL."""

from __future__ import annotations

from typing import Any, Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from nengo_dl.builder import OpBuilder
from nengo_dl.neuron_builders import GenericNeuronBuilder
from tensorflow.python.framework import smart_cond

where = tf.compat.v2.where  # which broadcasts, also in TensorFlow 1.15


class DecayOperators(OpBuilder):
    """Builds a group of operators that decay weights as one."""

    axis: int  # of operators and of rows of weights; the minibatch is the first or the last axis

    def combine(self, ops: Any, signals: Any, constant: Callable) -> None:
        """Combine the signals and constants of the group."""
        self.change, beside = ops[0].change, 0 if self.axis else -1  # where the minibatch is
        for name in ("weights", "scale", "delta", "remainder"):
            setattr(self, name, signals.combine([getattr(op, name) for op in ops]))
        rates = np.array([-op.rate * signals.dt_val for op in ops])
        # in float64, because errors would add up over time
        self.exponents = constant(np.expand_dims(rates, beside), tf.float64)
        rows = [op.weights.shape[0] for op in ops]
        self.owners = constant(np.repeat(np.arange(len(ops)), rows))  # the operator of each row
        self.initial = None
        if ops[0].initial is not None:
            initial = np.concatenate([op.initial for op in ops])
            self.initial = constant(np.expand_dims(initial, beside), signals.dtype)

    def build_step(self, signals: Any) -> None:
        """Compute the changes of a time step."""
        scale = tf.cast(tf.nn.relu(signals.gather(self.scale)), tf.float64)
        factors = tf.cast(tf.math.expm1(self.exponents * scale), signals.dtype)
        by_row = tf.expand_dims(tf.gather(factors, self.owners, axis=self.axis), self.axis + 1)
        weights, remainder = signals.gather(self.weights), signals.gather(self.remainder)
        made, remainder = self.change(weights, by_row, self.initial, remainder)
        signals.scatter(self.delta, made)
        signals.scatter(self.remainder, remainder)

    @staticmethod
    def mergeable(x: Any, y: Any) -> bool:
        """Tell whether two operators decay towards the same kind of values."""
        return (x.initial is None) == (y.initial is None)


def neuron_builders(graph: Any) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Yield the builder of each group of neurons in a graph, and their operators."""
    for operators, builder in graph.op_builder.op_builds.items():
        if hasattr(builder, "built_neurons"):
            yield builder, operators


def has_rates_and_spikes(builder: Any) -> bool:
    """Tell whether neurons have rates in training, which they lack if NengoDL runs Python."""
    built = builder.built_neurons
    return not isinstance(built, GenericNeuronBuilder) and getattr(built, "spiking", True)


class TrainedForSpikes:
    """How the neurons of one builder are trained for the spikes that they will have."""

    def __init__(self, with_spikes: np.ndarray, deviation: Callable | None, place: int) -> None:
        self.with_spikes = with_spikes  # which neurons spike in training; it fits their outputs
        self.deviation = deviation  # from rates in training to the standard deviation of noise
        self.place = place  # the number of the builder among those of the graph
        # What probes record in the newest step (rates without noise, or spikes), and the rates
        # without noise, which have the gradient; None outside of training.
        self.recorded = self.rates = None

    def build(self, step: Any, training: Any) -> None:
        """Build a time step of the neurons.

        NengoDL's outputs and states come from ``step.predicted()`` and ``step.trained()``, and
        ``step.assign(values)`` sets them. ``step.noise(outputs)`` returns normal random numbers.
        """
        is_training = smart_cond.smart_constant_value(training)
        self.recorded = self.rates = predicted = None
        if is_training is False:
            step.assign(step.predicted())
            return
        if is_training is None or self.with_spikes.any():
            predicted = step.predicted()
        new = trained = self._trained(step, predicted)
        if is_training is None:
            outside = [*predicted[:1] * 2, *predicted]  # type: ignore[index, misc]
            new = tf.cond(training, lambda: trained, lambda: outside)
        self.recorded, self.rates, *new = new
        step.assign(new)

    def _trained(self, step: Any, predicted: list | None) -> list[tf.Tensor]:
        """Return what is recorded, rates, outputs and states of a step in training."""
        rates, *states = step.trained()
        outputs = recorded = rates
        if self.deviation is not None:
            outputs += tf.stop_gradient(self.deviation(rates) * step.noise(rates))
        if predicted is not None and self.with_spikes.any():
            # exactly the spikes, with the gradient of the rates
            spikes = predicted[0] + (rates - tf.stop_gradient(rates))
            outputs, recorded = (where(self.with_spikes, spikes, one) for one in (outputs, rates))
            pairs = zip(predicted[1:], states)
            states = [where(self.with_spikes, after, kept) for after, kept in pairs]
        return [recorded, rates, outputs, *states]
