"""A smaller network with the same outputs, without objects that can't change any probe."""

from __future__ import annotations

from typing import Any

import nengo
import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks
from nengo_wd import _seam as seam
from nengo_wd.energy.flow import Flow
from nengo_wd.energy.network_energy import Events, ShownData, check_network
from nengo_wd.networks.copies import Copy
from nengo_wd.networks.cuts import Cut
from nengo_wd.networks.layouts import Layouts
from nengo_wd.networks.made import MadeNetwork
from nengo_wd.networks.reach import Reach


def pruned(sim: nengo_dl.Simulator, data: Any = None, below: float = 0.0) -> MadeNetwork:
    """Return a smaller network with the trained weights and the same outputs.

    It leaves out everything that can't change any probe: neurons, units and channels without a path
    of nonzero weights to a probe; neurons that can't fire, because no nonzero weight brings them a
    nonzero input and their constant current is below the threshold; everything that feeds only
    those, or gets its input only from them; and connections between the rest that have only zeros.
    Neurons go one by one. Channels of layers and of ``nengo.Convolution`` go if all of their
    neurons do. The simulator and its network do not change.

    Elements stay if anything but weights uses them: a probe, the function of a Node or of a
    connection from a Node, a TensorNode of an unknown kind, or a connection with a learning rule. A
    probe with a regularizer, such as rate targets, keeps no neurons if they lead to something else
    that stays: it records the remaining ones. Neurons that draw random numbers stay or go together,
    and so do neuron types from other packages. ``to_frame()`` of the result says why neurons
    stayed.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        An open simulator of NengoDL 3. Its current weights count, without the changes of learning
        rules.
    data : dict of {nengo.Node or str: array_like}, or array_like, optional
        The data to show, as for ``sim.predict``: arrays of shape (examples, time steps, size).
    below : float
        A rate in Hz. Spiking neurons with a lower mean rate over all of ``data`` are left out too.
        That changes the outputs; ``changes`` of the result says by how much.

    Returns
    -------
    MadeNetwork
        The network, and the new object for each old one. You can train and prune it again.

    Raises
    ------
    nengo.exceptions.ValidationError
        If the network has no probes, or an object was added after the simulator was built. If
        ``below`` is negative or not finite, or has no data.
    nengo.exceptions.SimulatorClosed
        If the simulator is closed.
    NotImplementedError
        In NengoDL 2.

    Notes
    -----
    Outputs are equal up to rounding, and so are spikes unless a neuron is within rounding of its
    threshold. With ``lif_smoothing``, LIF neurons below the threshold have small rates in training.
    If such neurons go, their rates go with them.

    Examples
    --------
    >>> weights = np.ones((1, 10))
    >>> weights[:, 3:] = 0
    >>> with nengo.Network(seed=0) as net:
    ...     source, a = nengo.Node([0.5]), nengo.Ensemble(10, 1)
    ...     given = nengo.Connection(source, a)
    ...     readout = nengo.Node(size_in=1)
    ...     connection = nengo.Connection(a.neurons, readout, transform=weights)
    ...     probe = nengo.Probe(readout)
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     smaller = nengo_wd.pruned(sim)
    >>> smaller[a].n_neurons, smaller.kept[a].tolist()
    (3, [0, 1, 2])
    """
    checks.check_simulator(sim)
    seam.activities.check_any_signal()
    check_network(sim)
    _check_arguments(sim, data, below)
    flow = Flow(sim, lambda weights: np.asarray(weights, float))
    shown = None if data is None else ShownData(*seam.activities.input_values(sim, data, None))
    silent = {} if shown is None or not below else _silent(sim, flow, shown, below)
    layouts = Layouts(sim, flow, Reach(sim, flow, silent))
    copied = Copy(sim)
    made = MadeNetwork(copied, layouts, Cut(copied, layouts).removed)
    if shown is not None:
        made.changes = _changes(sim, made, shown)
    return made


def _check_arguments(sim: nengo_dl.Simulator, data: Any, below: Any) -> None:
    if not sim.model.toplevel.all_probes:
        raise ValidationError(
            f"{sim.model.toplevel} has no probes, so nothing of it would remain; probe its "
            "outputs, and make another simulator",
            attr="sim",
        )
    if not checks.is_number(below) or not 0 <= below < np.inf:
        raise ValidationError(
            f"below={below!r} must be a finite number of Hz, zero or above", attr="below"
        )
    if below and data is None:
        raise ValidationError(
            f"below={below!r} needs data to find neurons with lower rates; give data",
            attr="data",
        )


def _silent(
    sim: nengo_dl.Simulator, flow: Flow, shown: ShownData, below: float
) -> dict[Any, np.ndarray]:
    """Return which neurons of each ensemble fire at less than a rate on data."""
    spiking = [source for source in flow.sources if source.spikes]
    measures: list[tuple] = [(one.signal, Events.of_source(one, sim.dt)) for one in spiking]
    counts = seam.activities.measure_signals(sim, shown.values, shown.shape, measures)
    seconds = shown.shape[1] * sim.dt
    return {source.obj: count / seconds < below for source, count in zip(spiking, counts)}


def _changes(
    sim: nengo_dl.Simulator, made: MadeNetwork, shown: ShownData
) -> dict[nengo.Probe, float]:
    """Return how far the outputs of two networks are apart on data, with spikes."""
    before = _outputs(sim, shown.values)
    options = {"minibatch_size": sim.minibatch_size, "dt": sim.dt, "seed": sim.seed}
    with nengo_dl.Simulator(made.network, progress_bar=False, **options) as smaller:
        after = _outputs(smaller, {made[node]: one for node, one in shown.values.items()})
    changes = {}
    for probe, old in before.items():
        if probe not in made or made[probe].size_in < probe.size_in:
            continue  # some of its neurons have no counterpart
        size = np.sqrt(np.mean(np.square(old)))
        apart = np.sqrt(np.mean(np.square(after[made[probe]] - old)))
        changes[probe] = float(apart / size) if size else float(apart)
    return changes


def _outputs(sim: nengo_dl.Simulator, values: Any) -> dict[nengo.Probe, np.ndarray]:
    """Return what probes record with spikes; minibatches are filled up with the first examples."""
    n_examples = len(next(iter(values.values())))
    filled = np.arange(-(-n_examples // sim.minibatch_size) * sim.minibatch_size) % n_examples
    shown = {node: one[filled] for node, one in values.items()}
    found = sim.predict(shown, stateful=False, verbose=0)
    return {probe: np.asarray(one[:n_examples], float) for probe, one in found.items()}
