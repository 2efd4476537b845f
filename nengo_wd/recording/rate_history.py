"""The records of firing rates, as arrays and as tables."""

from __future__ import annotations

from typing import Any

import nengo
import numpy as np

from nengo_wd.recording.rate_columns import RATE_COLUMNS
from nengo_wd.recording.record import Record
from nengo_wd.recording.records import Records, ShowsRecords, of_history


class RateHistory(Records):
    """What a `nengo_wd.NeuronRates` recorded, as arrays and as a table.

    A history can be copied and pickled. A copy knows the names of the probes, and not the probes.

    Attributes
    ----------
    probes : dict of {str: nengo.Probe}
        The probes by name; the order is that of the columns of the arrays.
    """

    columns = RATE_COLUMNS

    def __init__(self, probes: dict[str, nengo.Probe]) -> None:
        super().__init__()
        self.probes = probes
        self._n_neurons = {name: probe.size_in for name, probe in probes.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return the records, without the probes, which belong to a network."""
        return {**vars(self), "probes": dict.fromkeys(self.probes)}

    @property
    def names(self) -> list[str]:
        """Names of the probes: their labels, or those of their ensembles."""
        return list(self.probes)

    @property
    def rates(self) -> dict[str, np.ndarray]:
        """Rates in Hz: of each probe, by name, an array of shape (n_records, n_neurons)."""
        measured = [record.measured.rates for record in self._records]
        return {
            name: np.reshape([rates[name] for rates in measured], (len(self), n_neurons))
            for name, n_neurons in self._n_neurons.items()
        }

    @property
    def mean_rates(self) -> np.ndarray:
        """Mean rates over the neurons of each probe, in Hz; of shape (n_records, n_probes)."""
        return self.column("rate")

    @property
    def silent(self) -> np.ndarray:
        """Shares of silent neurons, from 0 to 1; of shape (n_records, n_probes)."""
        return self.column("silent")

    def histograms(self, record: Record) -> dict[str, np.ndarray]:
        """Return the rates of neurons, by tag."""
        return {f"{name}/rates": rates for name, rates in record.measured.rates.items()}


class ShowsRates(ShowsRecords):
    """A mixin that shows the attributes and methods of its history as its own."""

    history: RateHistory

    probes: dict[str, nengo.Probe] = of_history(RateHistory, "probes")
    rates: dict[str, np.ndarray] = of_history(RateHistory, "rates")
    mean_rates: np.ndarray = of_history(RateHistory, "mean_rates")
    silent: np.ndarray = of_history(RateHistory, "silent")
