"""The energy that one example takes, by object."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks
from nengo_wd import _neurons as neurons
from nengo_wd import _seam as seam
from nengo_wd._parameters import defaults
from nengo_wd.energy import fan_out, flow, spikes
from nengo_wd.energy import kept as keeping
from nengo_wd.energy.costs import Costs
from nengo_wd.energy.table import Table


class Energy(Costs):
    r"""What a network with spikes costs on a device: events and joules for one example, by object.

    The network is simulated with spikes, from the simulator's present state and with its present
    weights. Neither of them changes, nor do the random numbers that are drawn later. Processes
    begin anew.

    .. math::
        joules = events \cdot E_{synop} + updates \cdot E_{neuron}

    Events are the spikes of each neuron, of either sign, times the synapses that leave it, and
    updates are neurons times time steps. A device without spikes computes every synapse and every
    neuron once instead, as KerasSpiking's ``ModelEnergy`` assumes, whatever the data: its
    :math:`events = synapses \cdot passes` and :math:`updates = neurons \cdot passes`.

    These devices are known. A synaptic event and an update of a neuron take

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

    A cpu is an Intel i7-4960X, a gpu an Nvidia GTX Titan Black, and an arm a Cortex-A [1]_. Each
    event and each update is one multiply-accumulate on them. On Loihi, an event is a synaptic
    operation and a spike's way within a tile [2]_. For SpiNNaker see [3]_.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        An open simulator, of NengoDL 3, of a network with spiking neurons.
    data : dict of {nengo.Node or str: array_like}, or array_like
        What is shown, as for ``sim.predict``: arrays of shape (examples, time steps, size). None
        leaves all Nodes to their own output, and needs ``n_steps``.
    n_steps : int, optional
        How many time steps an example has, where the data don't say it.
    skip_zeros : bool
        Whether devices with spikes leave out synapses whose weight is exactly zero now, and then
        neurons that do not spike on the data and that nothing reaches: no synapse leads to them
        from an input, or from a neuron that is there. Devices without spikes compute all of them.
    passes : int
        How often a device without spikes computes the network for one example. Give the number of
        time steps for a recurrent network, or for inputs that change over time.

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

    Notes
    -----
    What is linear between neurons acts as one: decoders and encoders, Nodes that only pass values
    on, and layers without an activation. :doc:`/energy` says what that means, and what is left out.

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
        check_count(passes, "passes")
        check_count(1 if n_steps is None else n_steps, "n_steps")
        _check(sim)
        shown = spikes.Shown(sim, data, n_steps)
        self.n_examples, self.n_steps = shown.shape
        found = flow.of_network(sim, skip_zeros=False)
        _check_spiking(sim, found)
        neurons.warn_of_one_step(sim.model.toplevel, self.n_steps, stacklevel=2)
        super().__init__(Table(passes, self.n_steps))
        without_zeros = flow.of_network(sim, skip_zeros=True) if skip_zeros else None
        _fill(self._table, found, without_zeros, shown, spikes.events(sim, found, shown))
        for obj, why in found.uncounted.items():
            warnings.warn(
                f"{obj} is not counted, because {why}; its row has no numbers, and totals leave "
                "it out",
                UserWarning,
                stacklevel=2,
            )


def check_count(value: Any, name: str) -> None:
    """Raise unless ``value`` is a whole number above zero."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValidationError(f"{name}={value!r} must be a whole number above 0", attr=name)


def _check(sim: nengo_dl.Simulator) -> None:
    """Raise unless a simulator has a network, and the weights of its layers."""
    if sim.model.toplevel is None:
        raise ValidationError(
            "the simulator was made of a model without a network, which has no objects to count; "
            "make it of the network",
            attr="sim",
        )
    defaults.check_layers(sim)


def _check_spiking(sim: nengo_dl.Simulator, found: flow.Flow) -> None:
    """Raise if no neurons spike, and warn of those that don't."""
    if nengo_dl.config.get_setting(sim.model, "learning_phase"):
        raise ValidationError(
            f"{sim.model.toplevel} has learning_phase=True, and so runs on rates without spikes; "
            "leave the setting out",
            attr="learning_phase",
        )
    all_neurons = [source for source in found.sources if source.neurons is not None]
    silent = {source.obj: _kind(source.neurons) for source in all_neurons if not source.spikes}
    if len(silent) == len(all_neurons):
        kinds = ", ".join(sorted({*silent.values()}))
        what = f"only neurons that do not spike ({kinds})" if silent else "no neurons"
        raise ValidationError(
            f"{sim.model.toplevel} has {what}, and so no spikes to count; use neurons such as "
            "nengo.LIF or nengo.SpikingRectifiedLinear",
            attr="neuron_type",
        )
    for obj, kind in silent.items():
        warnings.warn(
            f"the neurons of {obj} do not spike ({kind}); each counts with an event at each time "
            "step at which its output is not zero",
            UserWarning,
            stacklevel=3,
        )


def _kind(neurons: Any) -> str:
    """Return what neurons are called: the name of their type, or of an activation."""
    return getattr(neurons, "__name__", type(neurons).__name__)


def _fill(
    table: Table,
    found: flow.Flow,
    without_zeros: flow.Flow | None,
    shown: spikes.Shown,
    events: dict,
) -> None:
    """Fill the table: neurons, and the synapses that leave each source."""
    sources, biases = found.sources, {one for one in found.sources if shown.is_bias(one)}
    fan_outs = fan_out.of_sources(found, sources)
    kept_fan_outs, kept = fan_outs, {source: np.ones(source.size, bool) for source in sources}
    if without_zeros is None:
        fan_outs, kept_fan_outs = itertools.tee(fan_outs)
    else:
        kept = keeping.neurons(without_zeros, events, biases)
        kept_fan_outs = fan_out.of_sources(without_zeros, sources)
    for source, leaving, kept_leaving in zip(sources, fan_outs, kept_fan_outs):
        if source.neurons is not None:
            table.add_neurons(source.obj, kept[source], source.spikes)
        if source in biases:
            table.note(source.obj, "a constant, as a bias: not counted")
            continue
        is_input = source.neurons is None
        for obj, synapses in leaving.items():
            there = np.where(kept[source], kept_leaving.get(obj, 0), 0)
            by_spikes = there @ events[source]
            table.add_synapses(obj, synapses.sum(), there.sum(), by_spikes, is_input)
    for obj, why in found.uncounted.items():
        table.note(obj, f"not counted: {why}", counted=False)
