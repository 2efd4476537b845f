"""The energy that one example takes, by object."""

from __future__ import annotations

import collections
import warnings
from typing import Any, Mapping, NamedTuple

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks
from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._shown import warn_of_one_step
from nengo_wd.energy.devices import Costs, Count
from nengo_wd.energy.flow import Flow, Source, fan_out, kept_neurons, not_zero


class ShownData(NamedTuple):
    """The data shown to a network: the values of its input Nodes."""

    values: Mapping[nengo.Node, np.ndarray]  # of all of them: (examples, time steps, size)
    given: set[nengo.Node]  # those in the user's data
    shape: tuple[int, int]  # examples, time steps

    def is_bias(self, source: Source) -> bool:
        """Tell whether a source is a Node with a constant output, to which no data was given."""
        is_input = source.obj in self.values and source.obj not in self.given
        return is_input and isinstance(source.obj.output, np.ndarray)


class Events(NamedTuple):
    """Counts the events in values at a time step: spikes of a size, or values that are not zero."""

    spike: float | None  # ``amplitude / dt``; spikes may be negative

    @classmethod
    def of_source(cls, source: Source, dt: float) -> Events:
        """Return what counts the events of a source, with time steps of ``dt`` seconds."""
        amplitude = getattr(source.neurons, "amplitude", 1.0)
        return cls(amplitude / dt if source.spikes else None)

    def __call__(self, values: tf.Tensor) -> tf.Tensor:
        """Return the number of events for each value."""
        if self.spike is None:
            return tf.cast(tf.not_equal(values, 0), values.dtype)
        # rounded, because floating-point numbers are not exact
        return tf.round(tf.abs(values) / tf.cast(self.spike, values.dtype))


class Energy(Costs):
    r"""What a network with spikes costs on a device: events and joules for one example, by object.

    The network is simulated with spikes, from the simulator's current state and with its current
    weights. This changes neither state nor weights, nor random numbers drawn later. Processes start
    afresh.

    .. math::
        joules = events \cdot E_{synop} + updates \cdot E_{neuron}

    Events are the spikes of each neuron, of either sign, times the synapses that leave it. Updates
    are neurons times time steps. A device without spikes has :math:`events = synapses \cdot passes`
    and :math:`updates = neurons \cdot passes` whatever the data, as KerasSpiking's ``ModelEnergy``
    assumes. A synaptic event and an update of a neuron take

    ========== ================= ================== =======
    device     :math:`E_{synop}` :math:`E_{neuron}` spiking
    ========== ================= ================== =======
    cpu        8.6 nJ            8.6 nJ             no
    gpu        0.3 nJ            0.3 nJ             no
    arm        0.9 nJ            0.9 nJ             no
    loihi      27.1 pJ           81 pJ              yes
    spinnaker  13.3 nJ           26 nJ              yes
    spinnaker2 450 pJ            2.19 nJ            yes
    ========== ================= ================== =======

    An event or update is a multiply-accumulate on a cpu (Intel i7-4960X), a gpu (Nvidia GTX Titan
    Black) or an arm (Cortex-A) [1]_. On Loihi, an event is a synaptic operation and a spike's path
    within a tile [2]_. For SpiNNaker see [3]_, and for what counts as a synapse :doc:`/energy`.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        An open simulator, of NengoDL 3, of a network with spiking neurons.
    data : dict of {nengo.Node or str: array_like}, or array_like
        The data to show, as for ``sim.predict``: arrays of shape (examples, time steps, size). With
        None, all Nodes have their own output, and ``n_steps`` is needed.
    n_steps : int, optional
        How many time steps an example has, if the data don't say it.
    skip_zeros : bool
        Whether devices with spikes leave out synapses whose weight is exactly zero now, and neurons
        that do not spike on the data and that nothing reaches without these synapses. Use False for
        a device that stores the whole network. Devices without spikes compute all of it.
    passes : int
        How often a device without spikes computes the network for one example: the number of time
        steps for a recurrent network, or for inputs that change over time.

    Attributes
    ----------
    n_examples, n_steps : int
        How many examples were shown, and their time steps.

    Raises
    ------
    nengo.exceptions.ValidationError
        If no neurons spike, the data are missing or don't fit, or an object was added to the
        network after the simulator was built.
    nengo.exceptions.SimulatorClosed
        If the simulator is closed.
    NotImplementedError
        In NengoDL 2.

    Warns
    -----
    UserWarning
        If something can't be counted, some neurons don't spike, or an example has one time step.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0], label="source")
    ...     a = nengo.Ensemble(20, 1, label="a")
    ...     b = nengo.Ensemble(10, 1, label="b")
    ...     connections = nengo.Connection(source, a), nengo.Connection(a, b)
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     energy = nengo_wd.Energy(sim, {source: np.ones((4, 100, 1))})
    >>> energy.to_frame().set_index("name").synapses.to_dict()
    {'source->a': 20, 'a': 0, 'a->b': 200, 'b': 0}
    >>> energy.total("loihi") < energy.total("spinnaker2")
    True

    References
    ----------
    .. [1] B. Degnan, B. Marr, J. Hasler, "Assessing trends in performance per watt for signal
       processing applications", IEEE Transactions on VLSI Systems 24.1, 2016.
    .. [2] M. Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE
       Micro 38.1, 2018.
    .. [3] S. Hoeppner et al., "Dynamic power management for neuromorphic many-core systems", IEEE
       Transactions on Circuits and Systems I 66.8, 2019.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        data: Any = None,
        n_steps: int | None = None,
        skip_zeros: bool = False,
        passes: int = 1,
    ) -> None:
        checks.check_simulator(sim)
        seam.activities.check_any_signal()
        for name, value in (("passes", passes), ("n_steps", 1 if n_steps is None else n_steps)):
            if not checks.is_whole(value):
                raise ValidationError(f"{name}={value!r} must be a whole number above 0", attr=name)
        check_network(sim)
        shown = ShownData(*seam.activities.input_values(sim, data, n_steps))
        self.n_examples, n_steps = shown.shape
        flow = Flow(sim)
        _check_spiking(sim, flow)
        warn_of_one_step(sim.model.toplevel, n_steps, stacklevel=2)
        without_zeros = Flow(sim, not_zero) if skip_zeros else flow
        counts = _counted(sim, flow, without_zeros, shown).items()
        super().__init__(
            parameters.unique_names((name_of(obj), one) for obj, one in counts), n_steps, passes
        )
        for obj, why in flow.uncounted.items():
            warnings.warn(
                f"{obj} is not counted, because {why}; its row has no numbers, and totals leave "
                "it out",
                UserWarning,
                stacklevel=2,
            )


def check_network(sim: nengo_dl.Simulator) -> None:
    """Raise unless a simulator has all objects of a network."""
    if sim.model.toplevel is None:
        fault = "the simulator was made of a model without a network, which has no objects to count"
        hint = "make it of the network"
        raise ValidationError(f"{fault}; {hint}", attr="sim")
    network = sim.model.toplevel
    for obj in (*network.all_nodes, *network.all_ensembles, *network.all_connections):
        if obj not in sim.model.sig:
            late = f"{obj} was added to {network} after the simulator was built"
            raise ValidationError(f"{late}; make a simulator anew", attr="network", obj=obj)


def _check_spiking(sim: nengo_dl.Simulator, flow: Flow) -> None:
    """Raise if no neurons spike, and warn of those that don't."""
    if nengo_dl.config.get_setting(sim.model, "learning_phase"):
        fault = f"{sim.model.toplevel} has learning_phase=True, and so runs on rates without spikes"
        hint = "leave the setting out"
        raise ValidationError(f"{fault}; {hint}", attr="learning_phase")
    silent = {
        source.obj: getattr(source.neurons, "__name__", type(source.neurons).__name__)
        for source in flow.sources
        if source.neurons is not None and not source.spikes
    }
    if not any(source.spikes for source in flow.sources):
        kinds = ", ".join(sorted({*silent.values()}))
        what = f"only neurons that do not spike ({kinds})" if silent else "no neurons"
        fault = f"{sim.model.toplevel} has {what}, and so no spikes to count"
        hint = "use neurons such as nengo.LIF or nengo.SpikingRectifiedLinear"
        raise ValidationError(f"{fault}; {hint}", attr="neuron_type")
    for obj, kind in silent.items():
        warnings.warn(
            f"the neurons of {obj} do not spike ({kind}); each counts with an event at each time "
            "step at which its output is not zero",
            UserWarning,
            stacklevel=3,
        )


def _counted(
    sim: nengo_dl.Simulator, flow: Flow, without_zeros: Flow, shown: ShownData
) -> dict[Any, Count]:
    """Count neurons, and the synapses that leave each source, by object."""
    counts: dict[Any, Count] = collections.defaultdict(Count)
    events, biases = _count_events(sim, flow, shown), {*filter(shown.is_bias, flow.sources)}
    kept = {} if without_zeros is flow else kept_neurons(without_zeros, events, biases)
    for source in flow.sources:
        is_kept = kept.get(source, np.ones(source.size, bool))
        if source.neurons is not None:
            counts[source.obj].neurons += len(is_kept), is_kept.sum()
            if not source.spikes:
                note = "without spikes: an event for each value that is not zero"
                counts[source.obj].notes.append(note)
        if source in biases:
            counts[source.obj].notes.append("a constant, as a bias: not counted")
            continue
        leaving = fan_out(flow, source)
        not_zero = leaving if without_zeros is flow else fan_out(without_zeros, source)
        there = {obj: np.where(is_kept, not_zero.get(obj, 0), 0) for obj in leaving}
        for obj, every in leaving.items():
            count = counts[obj].from_nodes if source.neurons is None else counts[obj].from_neurons
            count += every.sum(), there[obj].sum(), there[obj] @ events[source]
        if source.neurons is not None:
            sent = sum(there.values()) * events[source]
            every_neuron = np.ones(source.size), sum(leaving.values())
            counts[source.obj].by_neuron = _stacked(every_neuron, (is_kept, sent))
    for obj, why in flow.uncounted.items():
        counts[obj].notes.append(f"not counted: {why}")
        counts[obj].is_known = False
    return counts


def _stacked(every: tuple, kept: tuple) -> np.ndarray:
    """Return neurons and synapses, and those that are kept with events: (2, 2, neurons)."""
    return np.array([np.broadcast_arrays(*every), np.broadcast_arrays(*kept)], float)


def _count_events(
    sim: nengo_dl.Simulator, flow: Flow, shown: ShownData
) -> dict[Source, np.ndarray]:
    """Return how many events each element of each source has, on the mean of the examples.

    A neuron with spikes has an event for each of them. Anything else has one at each time step at
    which its value is not zero.
    """
    measures: list[tuple] = []
    signals = sim.tensor_graph.signals
    inner = [s for s in flow.sources if s.obj not in shown.values and s.signal in signals]
    for source in inner:
        measures.append((source.signal, Events.of_source(source, sim.dt)))
    measured = seam.activities.measure_signals(sim, shown.values, shown.shape, measures)
    found = dict(zip(inner, measured))
    for source, events in found.items():
        if not np.isfinite(events).all():
            fault = f"the output of {source.obj} is not finite while the data is shown"
            hint = "look for NaN or infinite numbers in the data and the weights"
            raise ValidationError(f"{fault}; {hint}", attr="data", obj=source.obj)
    for source in flow.sources:
        if source.obj in shown.values:
            found[source] = np.count_nonzero(shown.values[source.obj], axis=1).mean(axis=0)
        elif source not in found:
            found[source] = np.full(source.size, float(shown.shape[1]))
    return found


def name_of(obj: Any) -> str:
    """Return the name of an object, or of the layer of a TensorNode."""
    if isinstance(obj, nengo_dl.TensorNode):
        return getattr(parameters.layers(obj)[0], "name", None) or parameters.label(obj)
    return parameters.label(obj)
