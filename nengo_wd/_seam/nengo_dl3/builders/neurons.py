"""Neurons that NengoDL 3 runs in Python, or whose random numbers XLA can't seed, in TensorFlow."""

from __future__ import annotations

import functools
from typing import Any, Sequence

import nengo
import numpy as np
import tensorflow as tf
from nengo.neurons import settled_firingrate
from nengo_dl.neuron_builders import (
    LIFBuilder,
    LIFRateBuilder,
    SimNeuronsBuilder,
    StochasticSpikingBuilder,
    TFNeuronBuilder,
)
from tensorflow.python.framework import smart_cond

from nengo_wd._seam.nengo_dl3.builders import random_numbers

# The currents at which firing rates of Izhikevich neurons are measured, and for how long, in s.
LOWEST, HIGHEST, SPACING = -30.0, 610.0, 1.0
SETTLES, LASTS = 0.5, 5.0
IZHIKEVICH = ("tau_recovery", "coupling", "reset_voltage", "reset_recovery")


class Step:
    """A time step of neurons that NengoDL, or a builder of a user, runs in TensorFlow."""

    def __init__(self, built: TFNeuronBuilder, signals: Any) -> None:
        self.built, self.signals = built, signals
        self.current = signals.gather(built.J_data)
        self.state = {name: signals.gather(data) for name, data in built.state_data.items()}

    def predicted(self) -> list[tf.Tensor]:
        """Return spikes and states, without gradients."""
        stepped = tf.nest.flatten(self.built.step(self.current, self.signals.dt, **self.state))
        return [tf.stop_gradient(one) for one in stepped]

    def trained(self) -> list[tf.Tensor]:
        """Return rates, and states, which stay as they are unless the builder returns others."""
        stepped = self.built.training_step(self.current, self.signals.dt, **self.state)
        return [*stepped] if isinstance(stepped, tuple) else [stepped, *self.state.values()]

    def assign(self, values: Sequence[tf.Tensor]) -> None:
        """Give outputs and states their values."""
        for data, value in zip((self.built.output_data, *self.built.state_data.values()), values):
            self.signals.scatter(data, value)

    def noise(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return normal random numbers for outputs."""
        seed = random_numbers.seed_of_step(self.built)
        return random_numbers.noise(outputs.shape, seed, outputs.dtype)


class SpikingBuilder(TFNeuronBuilder):
    """Builds neurons that spike, but have rates in training, where states may change as well.

    Unlike NengoDL's builder, it computes only spikes or rates, if it is known which are needed.
    """

    spiking = True

    def build_step(self, signals: Any) -> None:
        """Compute the output and the states of a time step."""
        step = Step(self, signals)
        if self.config.inference_only:
            step.assign(step.predicted())
        else:
            training = self.config.training
            step.assign(smart_cond.smart_cond(training, step.trained, step.predicted))


# -- adaptive neurons ----------------------------------------------------------------------


class _Adaptive(TFNeuronBuilder):
    """Builds neurons with an adaptation n: ``tau_n dn/dt = inc_n * output - n``."""

    def build_pre(self, signals: Any, config: Any) -> None:
        """Make constants of the parameters."""
        super().build_pre(signals, config)
        neurons, sizes = [op.neurons for op in self.ops], [op.J.shape[0] for op in self.ops]
        for name in ("tau_n", "inc_n"):
            setattr(self, name, signals.op_constant(neurons, sizes, name, signals.dtype))

    def adapted(self, output: tf.Tensor, dt: tf.Tensor, adaptation: tf.Tensor) -> tf.Tensor:
        """Return the adaptation after a time step with this output."""
        return adaptation + dt / self.tau_n * (self.inc_n * output - adaptation)


class AdaptiveLIFRateBuilder(_Adaptive, LIFRateBuilder):
    """Builds a group of `nengo.AdaptiveLIFRate` operators."""

    def step(self, current: tf.Tensor, dt: tf.Tensor, adaptation: tf.Tensor) -> tuple:
        """Return the rates at the current minus the adaptation, and the next adaptation."""
        rates = super().step(current - adaptation, dt)
        return rates, self.adapted(rates, dt, adaptation)


class AdaptiveLIFBuilder(SpikingBuilder, _Adaptive, LIFBuilder):
    """Builds a group of `nengo.AdaptiveLIF` operators.

    In training they are `nengo.AdaptiveLIFRate`: rates step the adaptation, through which gradients
    flow back in time. NengoDL's ``lif_smoothing`` smooths these rates as it does those of LIF.
    """

    def step(
        self,
        current: tf.Tensor,
        dt: tf.Tensor,
        voltage: tf.Tensor,
        refractory_time: tf.Tensor,
        adaptation: tf.Tensor,
    ) -> tuple:
        """Return the spikes and states of a time step, with states as Nengo has them.

        NengoDL's refractory times are shorter by a time step.
        """
        current -= adaptation
        refractory_time -= dt
        delta_t = tf.clip_by_value(dt - refractory_time, self.zero, dt)
        voltage -= (current - voltage) * tf.math.expm1(-delta_t / self.tau_rc)
        spiked = voltage > self.one
        above = tf.where(spiked, (voltage - self.one) / (current - self.one), self.zeros)
        t_spike = dt + self.tau_rc * tf.math.log1p(-above)
        refractory_time = tf.where(spiked, self.tau_ref + t_spike, refractory_time)
        voltage = tf.where(spiked, self.zeros, tf.maximum(voltage, self.min_voltage))
        spikes = tf.cast(spiked, current.dtype) * self.alpha
        return spikes, voltage, refractory_time, self.adapted(spikes, dt, adaptation)

    def training_step(self, current: tf.Tensor, dt: tf.Tensor, **state: tf.Tensor) -> tuple:
        """Return the rates of a time step, and the states; only the adaptation changes."""
        rates = super().training_step(current - state["adaptation"], dt)
        state["adaptation"] = self.adapted(rates, dt, state["adaptation"])
        return (rates, *state.values())


# -- Izhikevich ----------------------------------------------------------------------------


class IzhikevichBuilder(SpikingBuilder):
    """Builds a group of `nengo.Izhikevich` operators.

    Their rates have no formula. In training the output is the rate of Nengo's own model at a
    constant current, as in ``nengo.Izhikevich.rates``, but measured for 5 s with the simulator's
    time step. Rates are measured at currents from -30, Nengo's lowest, to 610, and lie on straight
    lines in between. The gradient is the slope of these lines: it is zero outside, and where
    neurons fire in each time step. States do not change in training.
    """

    def build_pre(self, signals: Any, config: Any) -> None:
        """Make constants of the parameters, and look up rates."""
        super().build_pre(signals, config)
        neurons, sizes = [op.neurons for op in self.ops], [op.J.shape[0] for op in self.ops]
        for name in IZHIKEVICH:
            setattr(self, name, signals.op_constant(neurons, sizes, name, signals.dtype))
        if not config.inference_only:
            values = ([getattr(one, name) for name in IZHIKEVICH] for one in neurons)
            tables = [_rates(signals.dt_val, *parameters) for parameters in values]
            self.rates = tf.constant(np.concatenate(tables), signals.dtype)
            starts = np.repeat(np.arange(len(tables)) * len(tables[0]), sizes)
            self.starts = tf.constant(starts[None], tf.int32)

    def step(
        self, current: tf.Tensor, dt: tf.Tensor, voltage: tf.Tensor, recovery: tf.Tensor
    ) -> tuple:
        """Return the spikes and states of a time step."""
        current = tf.maximum(current, tf.cast(LOWEST, current.dtype))
        voltage += (0.04 * tf.square(voltage) + 5 * voltage + 140 - recovery + current) * 1000 * dt
        spiked = voltage >= 30
        voltage = tf.where(spiked, self.reset_voltage, voltage)
        recovery += self.tau_recovery * (self.coupling * voltage - recovery) * 1000 * dt
        recovery = tf.where(spiked, recovery + self.reset_recovery, recovery)
        return tf.cast(spiked, current.dtype) / dt, voltage, recovery

    def training_step(self, current: tf.Tensor, dt: tf.Tensor, **state: tf.Tensor) -> tf.Tensor:
        """Return the rates at the current, on straight lines between those that were measured."""
        highest = int((HIGHEST - LOWEST) / SPACING)
        place = tf.clip_by_value((current - LOWEST) / SPACING, 0, highest)
        below = tf.minimum(tf.cast(place, tf.int32), highest - 1)
        left = tf.gather(self.rates, self.starts + below)
        right = tf.gather(self.rates, self.starts + below + 1)
        return left + (right - left) * (place - tf.cast(below, current.dtype))


@functools.lru_cache(maxsize=128)
def _rates(dt: float, *parameters: float) -> np.ndarray:
    """Return rates that Nengo's model has at currents from LOWEST to HIGHEST."""
    neurons = nengo.Izhikevich(*parameters)
    current = np.arange(LOWEST, HIGHEST + SPACING / 2, SPACING)
    state = {name: np.zeros_like(current) for name in ("output", "voltage", "recovery")}
    return settled_firingrate(neurons.step, current, state, dt, SETTLES, LASTS)


# -- random spikes -------------------------------------------------------------------------


class StochasticBuilder(random_numbers.Drawing, SpikingBuilder, StochasticSpikingBuilder):
    """Builds a group of `nengo.StochasticSpiking` operators, with numbers of stateless seeds."""

    def step(self, current: tf.Tensor, dt: tf.Tensor) -> tf.Tensor:
        """Return the spikes of a time step."""
        return self.alpha * self.drawn(tf.abs(current) * dt) * tf.sign(current)

    def drawn(self, means: tf.Tensor) -> tf.Tensor:
        """Return integers with these means: each mean is rounded up or down."""
        whole, seed = tf.floor(means), random_numbers.seed_of_step(self)
        numbers = random_numbers.uniform(means.shape, seed, means.dtype)
        return whole + tf.cast(numbers < means - whole, means.dtype)


class PoissonBuilder(StochasticBuilder):
    """Builds a group of `nengo.PoissonSpiking` operators, with numbers of stateless seeds."""

    def drawn(self, means: tf.Tensor) -> tf.Tensor:
        """Return Poisson random numbers with these means."""
        return random_numbers.poisson(means, random_numbers.seed_of_step(self))


IMPLEMENTATIONS = {  # exact classes: subclasses may step in another way
    **SimNeuronsBuilder.TF_NEURON_IMPL,
    nengo.AdaptiveLIF: AdaptiveLIFBuilder,
    nengo.AdaptiveLIFRate: AdaptiveLIFRateBuilder,
    nengo.Izhikevich: IzhikevichBuilder,
    nengo.PoissonSpiking: PoissonBuilder,
    nengo.StochasticSpiking: StochasticBuilder,
}
