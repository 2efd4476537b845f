"""How neurons are trained for the spikes that they will have, by settings: noise, or spikes."""

from __future__ import annotations

import functools
from typing import Any, Iterator, NamedTuple, Sequence

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._activity_penalties import why_no_rates
from nengo_wd._checks import current_step, is_number, use_step
from nengo_wd._neurons import has_spikes
from nengo_wd._seam import state
from nengo_wd._seam.builders import TrainedForSpikes, has_rates_and_spikes, neuron_builders
from nengo_wd._shown import number_of_steps, warn_of_one_step
from nengo_wd._strengths import RowValues, where

NOISE, SPIKING = settings.FOR_SPIKES
SATURATION = 1 / 6  # spikes within a time constant
SIZE = 2**18  # of a table
SERIES = 0.03  # up to here, the Langevin function is its series


class SpikeTraining(NamedTuple):
    """What settings ask for, of some neurons."""

    noise: Any = None  # a time constant in s: a number, schedule or variable
    with_spikes: bool = False

    def key(self, name: str) -> Any:
        """Return a key that is equal if a setting asks for the same; None if for nothing."""
        value = self.with_spikes or None if name == SPIKING else self.noise
        return value if value is None or is_number(value) else id(value)


def spike_training(network: nengo.Network | None) -> dict[Any, SpikeTraining]:
    """Return what settings ask for, by neurons.

    Settings of classes are about all neurons that spike. Raise if neurons without spikes have a
    setting of their own, or if a class has a setting and no neurons spike.
    """
    noise, with_spikes = (_by_neurons(network, name) for name in (NOISE, SPIKING))
    return {
        neurons: SpikeTraining(noise.get(neurons), neurons in with_spikes)
        for neurons in {**noise, **with_spikes}
    }


def _by_neurons(network: nengo.Network | None, name: str) -> dict[Any, Any]:
    """Return the values of a setting, other than None and False, by neurons."""
    found = settings.look_up(network, name, nengo.ensemble.Neurons)
    asked = [one for one in found if one.value is not None and one.value is not False]
    spiking = [one for one in asked if has_spikes(_type(one.obj))]
    for setting in asked:
        if not (has_spikes(_type(setting.obj)) or (spiking and not setting.own)):
            raise ValidationError(
                f"{setting.obj} has a {name}, but its neurons, {_type(setting.obj)}, have no "
                f"spikes; use neurons that spike, or set its {name} to None",
                attr=name,
                obj=setting.obj,
            )
    return {setting.obj: setting.value for setting in spiking}


def _type(neurons: nengo.ensemble.Neurons) -> nengo.neurons.NeuronType:
    return neurons.ensemble.neuron_type


class Expected(NamedTuple):
    """How neurons of a graph are trained."""

    asked: SpikeTraining
    built: TrainedForSpikes
    rows: np.ndarray  # of these neurons among those of their builder


def expect_spikes(graph: Any) -> None:
    """Have the builders of a graph train neurons as settings ask for now.

    Raise if NengoDL runs such neurons in Python, where they have no rates in training.
    """
    asked = _asked(graph)
    if not asked and not state.has_record(graph):
        return
    expected = state.graph_state(graph).for_spikes = {}
    neurons_of = {graph.model.sig[neurons]["out"]: neurons for neurons in asked}
    for place, (builder, operators) in enumerate(neuron_builders(graph)):
        group = [neurons_of.get(operator.output) for operator in operators]
        trained = None
        if any(group):
            _check_rates(builder, group)
            wanted = [asked.get(neurons, SpikeTraining()) for neurons in group]
            trained, rows = _trained(graph, operators, wanted, place)
            members = zip(group, wanted, rows)
            expected.update({one: Expected(how, trained, r) for one, how, r in members if one})
        state.train_for_spikes(builder, trained)


def _asked(graph: Any) -> dict[Any, SpikeTraining]:
    """Return what settings ask for, by the neurons that a graph has: others were made later."""
    asked = {} if graph.inference_only else spike_training(graph.model.toplevel)
    return {neurons: how for neurons, how in asked.items() if neurons in graph.model.sig}


def _check_rates(builder: Any, group: list) -> None:
    neurons = next(one for one in group if one)
    if not has_rates_and_spikes(builder):
        raise ValidationError(
            f"{neurons} can't be trained for spikes: NengoDL has no TensorFlow builder for "
            f"{_type(neurons)} with rates in training and spikes outside of it; leave out its "
            f"{NOISE} and {SPIKING}, or add such a builder to "
            "nengo_dl.neuron_builders.SimNeuronsBuilder.TF_NEURON_IMPL",
            attr="neuron_type",
            obj=neurons,
        )


def _trained(
    graph: Any, operators: Sequence[Any], wanted: Sequence[SpikeTraining], place: int
) -> tuple[TrainedForSpikes, list[np.ndarray]]:
    """Return how a group of neurons is trained, and the rows of each operator in the group."""
    sizes = [operator.output.shape[0] for operator in operators]
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    amplitudes = [getattr(operator.neurons, "amplitude", 1.0) for operator in operators]
    noise = [
        (own, how.noise)
        for own, how in zip(rows, wanted)
        if how.noise is not None and not how.with_spikes
    ]
    deviation = _Deviation(graph, np.repeat(amplitudes, sizes), noise) if noise else None
    with_spikes = np.repeat([how.with_spikes for how in wanted], sizes)
    return TrainedForSpikes(_beside(with_spikes), deviation, place), rows


def _beside(by_neuron: Any) -> Any:
    """Return an array or tensor of neurons in a shape that fits those of minibatches."""
    return by_neuron[None] if seam.simulators.AXIS else by_neuron[:, None]


class _Deviation:
    """Computes the standard deviation of the noise of neurons from their rates in training.

    Parameters
    ----------
    graph : nengo_dl.tensor_graph.TensorGraph
        The graph that the neurons are in.
    amplitudes : np.ndarray
        The amplitude of each neuron, of shape (n_neurons,).
    noise : list of (np.ndarray, float, tf.Variable or LearningRateSchedule)
        Rows of neurons, and their time constants in s. Other neurons have no noise.
    """

    def __init__(self, graph: Any, amplitudes: np.ndarray, noise: list) -> None:
        self.graph, neurons = graph, tf.TensorSpec(amplitudes.shape, graph.dtype)
        self.amplitudes = _beside(amplitudes.astype(neurons.dtype.as_numpy_dtype))
        self.taus = RowValues(None, neurons, noise, live=False)

    def __call__(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return the deviation of each output, which is a rate times the amplitude."""
        with use_step(seam.values.step_of(self.graph)):
            taus = self.taus.tensor(current_step() if self.taus.has_schedules else None)
        # rates times tau, and so the deviation divided by it: both times the amplitude
        return deviation_of_spikes(outputs, _beside(taus) / self.amplitudes)


def deviation_of_spikes(rates: tf.Tensor, taus: tf.Tensor) -> tf.Tensor:
    r"""Return the standard deviation of filtered spikes of neurons that fire regularly.

    .. math:: \sigma^2 = \frac{r}{2 \tau} \coth \frac{1}{2 r \tau} - r^2
        = \frac{r}{2 \tau} L\left(\frac{1}{2 r \tau}\right)

    is the variance over time of spikes of rate :math:`r` behind an exponential filter with the time
    constant :math:`\tau`, where :math:`L(x) = \coth x - 1 / x` is the Langevin function. It is for
    rates of both signs, and zero for a time constant of zero. Its relative error is below 1e-5 in
    float32, and 1e-6 in float64.

    Parameters
    ----------
    rates : tf.Tensor
        Firing rates in Hz.
    taus : tf.Tensor
        Time constants in s, in a shape that fits.

    Returns
    -------
    tf.Tensor
        Standard deviations in Hz, of the shape of the rates.

    References
    ----------
    Hunsberger and Eliasmith, "Training spiking deep networks for neuromorphic hardware", 2016, has
    noise of this kind in training, measured from spikes.
    """
    spikes = tf.abs(rates * taus)  # within a time constant
    saturation = spikes / (spikes + SATURATION)
    # A position of 2 ** 18, from many spikes, and that of what is not a number, are the first,
    # which has the value of the last.
    places = tf.bitwise.bitwise_and(tf.cast(saturation * SIZE, tf.int32), SIZE - 1)
    factors = tf.gather(tf.constant(_variances(), rates.dtype.base_dtype), places)
    return tf.sqrt(saturation * factors) * where(taus > 0, 1 / taus, 0 * taus)


@functools.lru_cache()
def _variances() -> np.ndarray:
    r"""Return :math:`\sigma^2 \tau^2 / s` at even distances of the saturation.

    The saturation :math:`s = n / (n + 1/6)` is of :math:`n = r \tau` spikes. The quotient is 1/12
    for few spikes and for many, and 0.1125 at most.
    """
    saturation = (np.arange(SIZE) + 0.5) / SIZE
    x = (1 - saturation) / (2 * SATURATION * saturation)
    small = np.minimum(x, SERIES)
    series = small / 3 - small**3 / 45 + 2 * small**5 / 945
    langevin = np.where(x < SERIES, series, 1 / np.tanh(x) - 1 / x)
    return langevin / (4 * x * saturation)


def recorded_in_training(graph: Any, recorded: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return what probes of a graph record at a time step, without the noise of neurons."""
    found = list(recorded)
    for place, probe in enumerate(graph.model.probes if _kept(graph) else ()):
        expected = _expected(graph, probe)
        if expected is not None and expected.built.deviation is not None:
            found[place] = _of_probe(probe, expected, expected.built.recorded)
    return found


def rates_in_training(graph: Any, probe: nengo.Probe) -> tf.Tensor | None:
    """Return the rates that probed neurons, which spike, would have at a time step of training."""
    expected = _expected(graph, probe)
    return None if expected is None else _of_probe(probe, expected, expected.built.rates)


def _expected(graph: Any, probe: nengo.Probe) -> Expected | None:
    """Return how the neurons of a probe are trained, if there is such a step, and a setting."""
    expected = _kept(graph).get(probe.obj) if why_no_rates(probe) is None else None
    return None if expected is None or expected.built.rates is None else expected


def _of_probe(probe: nengo.Probe, expected: Expected, values: tf.Tensor) -> tf.Tensor:
    """Return the part of the values of a group of neurons that a probe records."""
    axis, rows = seam.simulators.AXIS, expected.rows
    own = values[:, rows[0] : rows[-1] + 1] if axis else values[rows[0] : rows[-1] + 1]
    if probe.slice is None:
        return own
    return tf.gather(own, np.arange(len(rows))[probe.slice], axis=axis)


def _kept(graph: Any) -> dict[Any, Expected]:
    """Return how neurons of a graph are trained, by the neurons."""
    return state.graph_state(graph).for_spikes if state.has_record(graph) else {}


def ignored_for_spikes(sim: nengo_dl.Simulator) -> Iterator[tuple[str, str]]:
    """Yield each setting that training ignores, and what to do."""
    graph = sim.tensor_graph
    asked = _asked(graph)
    before = {neurons: expected.asked for neurons, expected in _kept(graph).items()}
    for name in (NOISE, SPIKING):
        old, new = ({(n, how.key(name)) for n, how in one.items()} for one in (before, asked))
        if any(key is not None for _, key in old ^ new):
            yield name, f"{seam.simulators.TAKES_NEURONS}, since they were changed"
    for neurons, how in asked.items():
        if how.with_spikes and how.noise is not None:
            yield NOISE, f"{neurons} have no noise, since their {SPIKING} has them spike"
            break


def check_shown(sim: nengo_dl.Simulator, data: Any, n_steps: int | None = None) -> None:
    """Warn if neurons are trained with spikes on a single time step, once for each compilation."""
    if any(expected.asked.with_spikes for expected in _kept(sim.tensor_graph).values()):
        warned = state.simulator_state(sim).warned
        if SPIKING not in warned and number_of_steps(data, n_steps) == 1:
            warned.add(SPIKING)
            warn_of_one_step(sim.model.toplevel, 1, stacklevel=4)
