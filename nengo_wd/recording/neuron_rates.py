"""The callback that records firing rates of neurons with spikes during training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Sequence

import nengo
import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._activity_penalties import amplitude, check_history, why_no_rates
from nengo_wd._checks import check_simulator, check_switch
from nengo_wd._neurons import has_spikes
from nengo_wd._shown import check_data, warn_of_one_step
from nengo_wd.recording.history import Records, column_of
from nengo_wd.recording.measurement import RATE_COLUMNS, MeasuredRates, Record
from nengo_wd.recording.recorder import Recorder


class RateHistory(Records):
    """What a `nengo_wd.NeuronRates` recorded, as arrays and as a table.

    You can copy and pickle it. A copy knows the names of the probes, but not the probes.

    Attributes
    ----------
    probes : dict of {str: nengo.Probe}
        The probes by name, in the order of the columns of the arrays.
    """

    columns = RATE_COLUMNS

    def __init__(self, probes: dict[str, nengo.Probe], records: list[Record] | None = None) -> None:
        super().__init__({name: probe.size_in for name, probe in probes.items()}, records)
        self.probes = probes

    def __getstate__(self) -> dict[str, Any]:
        """Return the records, without the probes, which belong to a network."""
        return {**vars(self), "probes": dict.fromkeys(self.probes)}

    @property
    def rates(self) -> dict[str, np.ndarray]:
        """Rates in Hz: of each probe, by name, an array of shape (n_records, n_neurons)."""
        return self._parts()

    mean_rates: np.ndarray = column_of("rate", "Mean rates over the neurons of each probe, in Hz.")
    silent: np.ndarray = column_of("silent", "Shares, from 0 to 1, of neurons below 0.1 Hz.")
    gaps: np.ndarray = column_of("gap", "Mean gaps from rates in training to spikes, in Hz.")

    def histograms(self) -> dict[str, np.ndarray]:
        """Return the last rates of neurons, by tag."""
        return {f"{name}/rates": rates for name, rates in self.last.measured.rates.items()}


class NeuronRates(RateHistory, Recorder):
    r"""Record the firing rates of neurons, in Hz, as they spike on given data.

    .. math:: r_n = \langle |y_{btn}| \rangle_{bt} / A

    for each neuron :math:`n` of a probe: the mean magnitude of what the probe records, over all
    examples :math:`b` and time steps :math:`t`, divided by the amplitude :math:`A` of the neuron
    type. Spikes of either sign count. The network runs as in ``sim.predict``: with spikes.
    Their rates can differ from the rates in training. The difference is the gap

    .. math:: g = \langle |r_{bn} - \tilde{r_{bn}}| \rangle_{bn}, \qquad
              r_{bn} = \langle |y_{btn}| \rangle_t / A

    in Hz, a mean over examples and neurons. Gaps of opposite signs do not cancel. The
    rates :math:`\tilde r` are those of the neurons' output in training, with the same data and
    weights. Layers in TensorNodes run in prediction mode both times, so the gap has no dropout.
    Part of the gap comes from spikes being whole: after 50 ms, a regular neuron has rates in steps
    of 20 Hz. The gap is zero if no neurons in the network spike.

    A record does not change the simulator: learned weights, states and random numbers drawn later
    all stay the same. Processes start afresh for each record, so each record sees the same input.
    But the function of a Node may change its own state.

    Use it like `WeightNorms`: in ``sim.fit(callbacks=[rates])``, or call ``record`` yourself.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    data : dict of {nengo.Node: np.ndarray}
        The data to show at each record: inputs of shape (n_examples, n_steps, ``node.size_out``),
        as for ``sim.predict``. Show as many time steps as you will when you use the network: in one
        step, few neurons spike at all.
    every : "epoch", "batch" or int
        When to record, as in `WeightNorms`. Each record runs the network on all of the data.
    probes : list of nengo.Probe, optional
        The probes of neurons, without a synapse. By default, all of them in the network.
    log_dir : str or path-like
        Where to write files for TensorBoard: ``<name>/rate``, ``<name>/silent``, ``loss`` and the
        histogram ``<name>/rates``; ``<name>/gap``, if it is known.
    gap : bool
        Whether to measure the gap too. This runs the network on the data again, if any of its
        neurons spike. Without it, and in an inference-only network, the gap is NaN.

    Attributes
    ----------
    probes : dict of {str: nengo.Probe}
        The probes by name, in their order. A name is the probe's label, or the ensemble's.
    history : RateHistory
        The records alone, to copy and pickle. The callback has the same attributes and methods.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is not one of those above, ``data`` are not finite real numbers, a probe
        records no rates or is not in the network, there is no such probe, or ``log_dir`` can't be
        written to; in ``sim.fit``, if the callback is given twice.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    UserWarning
        If spiking neurons are shown only one time step of data.

    See Also
    --------
    regularizers.FiringRates : a penalty that keeps the rates within a range.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([0.5])
    ...     ensemble = nengo.Ensemble(20, 1, label="ensemble")
    ...     connection = nengo.Connection(source, ensemble, synapse=None)
    ...     probe = nengo.Probe(ensemble.neurons)
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     rates = nengo_wd.NeuronRates(sim, {source: np.full((1, 100, 1), 0.5)})
    ...     rates.record()
    >>> rates.names, rates.rates["ensemble"].shape, rates.silent.shape
    (['ensemble'], (1, 20), (1, 1))
    """

    history: RateHistory

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        data: Mapping[nengo.Node, np.ndarray],
        every: str | int = "epoch",
        probes: Sequence[nengo.Probe] | None = None,
        log_dir: str | os.PathLike | None = None,
        gap: bool = True,
    ) -> None:
        check_simulator(sim)
        self.gap = check_switch(gap, "gap", "NeuronRates")
        self.every, self.data = every, check_data(data)
        shown = seam.activities.data_by_node(sim, self.data)
        found = _to_record(sim, probes)
        labels = (parameters.label(p.obj if p.label is None else p) for p in found)
        recorded = parameters.unique_names(zip(labels, found))
        RateHistory.__init__(self, recorded)
        history = RateHistory(recorded, self._records)
        Recorder.__init__(self, sim, history, self._run, log_dir)
        ensembles = sim.model.toplevel.all_ensembles
        self._any_spikes = any(has_spikes(one.neuron_type) for one in ensembles)
        if any(has_spikes(p.obj.ensemble.neuron_type) for p in found):
            n_steps = min(len(values[0]) for values in shown.values())
            warn_of_one_step(sim.model.toplevel, n_steps, stacklevel=2)

    def _run(self) -> MeasuredRates:
        """Run the network on the data, and return the rates."""
        values, _, shape = seam.activities.input_values(self.sim, self.data, None)
        with_spikes = self._rates(values, shape)
        gaps = dict.fromkeys(self.names, np.nan)
        if self.gap and not self.sim.tensor_graph.inference_only:
            trained = self._rates(values, shape, True) if self._any_spikes else with_spikes
            gaps = {name: np.mean(np.abs(with_spikes[name] - trained[name])) for name in gaps}
        return MeasuredRates({n: rates.mean(axis=0) for n, rates in with_spikes.items()}, gaps)

    def _rates(self, values: Any, shape: Any, training: bool = False) -> dict[str, np.ndarray]:
        """Return the rates that probes record, of shape (n_examples, n_neurons)."""
        probes = list(self.probes.values())
        totals = seam.activities.summed_magnitudes(self.sim, values, shape, probes, training)
        found = zip(self.names, probes, totals)
        return {name: total / shape[1] / amplitude(probe) for name, probe, total in found}

    def on_train_end(self, logs: Any = None) -> None:
        """Record the final state, unless the step is recorded already."""
        if not len(self) or self.last.step != self._now():
            super().on_train_end(logs)


def _to_record(sim: nengo_dl.Simulator, probes: Any) -> list[nengo.Probe]:
    """Return the probes to record, or raise if there are none or one records no rates."""
    if probes is None:
        found = [probe for probe in sim.model.probes if why_no_rates(probe) is None]
        asked = "probe ensemble.neurons, without a synapse"
    else:
        found = list(probes) if isinstance(probes, (list, tuple)) else [probes]
        asked = "give probes of neurons"
    for probe in found:
        why_not = why_no_rates(probe)
        if why_not is None and probe not in sim.model.probes:
            why_not = f"is not in {sim.model.toplevel}"
        if why_not is not None:
            raise ValidationError(f"{probe!r} {why_not}", attr="probes", obj=probe)
        check_history(sim.model, probe, "firing rates are means over all of them")
    if not found:
        fault = f"no probe of {sim.model.toplevel} records firing rates"
        raise ValidationError(f"{fault}; {asked}", attr="probes")
    return found
