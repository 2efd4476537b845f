"""The records of weights, as arrays and as tables."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd._parameters import Parameter
from nengo_wd.recording.columns import COLUMNS
from nengo_wd.recording.record import Record, Summed
from nengo_wd.recording.records import Records, ShowsRecords, of_history


class Remembered(NamedTuple):
    """What a history that was copied or loaded knows of a parameter, without a simulator."""

    name: str
    shape: tuple[int, ...]
    n_channels: int
    obj: Any = None
    layer: Any = None


class History(Records):
    """What a `nengo_wd.WeightNorms` recorded, as arrays and as a table.

    A history can be copied and pickled. A copy knows names and shapes of the parameters, and
    neither their objects nor their values: these belong to the simulator.

    Attributes
    ----------
    parameters : dict of {str: Parameter}
        What is recorded, by name; the order is that of the columns of the arrays.
    channels : bool
        Whether all records keep the norms of output channels, and not only the last one.
    """

    columns = COLUMNS
    channels = True

    def __init__(self, parameters: dict[str, Parameter], channels: bool = True) -> None:
        super().__init__()
        self.parameters, self.channels = parameters, channels

    def add(self, record: Record) -> None:
        """Add a record to the end; leave out the channels of the one before, if asked to."""
        if not self.channels and self._records:
            self._records[-1] = self._summed(self._records[-1])
        super().add(record)

    def _summed(self, record: Record) -> Record:
        columns = {column.name: column.of(record) for column in self.columns}
        return record._replace(measured=Summed(columns, record.measured.total_penalty))

    def _check_channels(self, known: bool) -> None:
        """Raise if norms of channels are asked for that were left out."""
        if not known:
            raise ValidationError(
                "channels=False keeps the norms of channels of the newest record alone; make the "
                "WeightNorms with channels=True to have those of all records",
                attr="channels",
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the records, and what is known of the parameters without the simulator."""
        known = self.parameters.items()
        remembered = {name: Remembered(p.name, p.shape, p.n_channels) for name, p in known}
        return {**vars(self), "parameters": remembered}

    @property
    def names(self) -> list[str]:
        """Names of the parameters, such as ``"readout.weights"``."""
        return list(self.parameters)

    @property
    def norms(self) -> np.ndarray:
        """L2 norms of the parameters; of shape (n_records, n_parameters)."""
        return self.column("norm")

    @property
    def penalties(self) -> np.ndarray:
        """Penalties on the parameters, in the units of the loss, zero where there is none.

        Of shape (n_records, n_parameters).
        """
        return self.column("penalty")

    @property
    def shares(self) -> np.ndarray:
        """Penalties over losses, NaN where those are not known.

        Of shape (n_records, n_parameters).
        """
        return self.column("share")

    @property
    def total_penalties(self) -> np.ndarray:
        """Sums of all penalties on weights in the simulator; of shape (n_records,)."""
        return np.array([record.measured.total_penalty for record in self._records], float)

    @property
    def activity_penalties(self) -> dict[str, np.ndarray]:
        """Penalties on what probes record: of each probe, by name, of shape (n_records,).

        They are those beside the loss that Keras reports, and so means over the batches of the
        epoch so far. NaN where they are not known: before training, and in ``record``.
        """
        found = dict.fromkeys(name for record in self._records for name in record.activities)
        return {
            name: np.array([record.activities.get(name, np.nan) for record in self._records])
            for name in found
        }

    @property
    def channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel: of each parameter, by name, (n_records, n_channels)."""
        self._check_channels(self.channels)
        n_channels = sum(parameter.n_channels for parameter in self.parameters.values())
        channels = [record.measured.channel_norms for record in self._records]
        return self.split_channels(np.reshape(channels, (-1, n_channels)))

    @property
    def last_channel_norms(self) -> dict[str, np.ndarray]:
        """L2 norms by output channel in the last record, by name, of shape (n_channels,)."""
        self._check_channels(not isinstance(self.last.measured, Summed))
        return self.split_channels(self.last.measured.channel_norms)

    def split_channels(self, norms: np.ndarray) -> dict[str, np.ndarray]:
        """Split norms by channel, along the last axis, into those of each parameter."""
        sizes = [parameter.n_channels for parameter in self.parameters.values()]
        return dict(zip(self.names, np.split(norms, np.cumsum(sizes[:-1]), axis=-1)))

    def scalars(self, record: Record) -> dict[str, float]:
        """Return what TensorBoard shows of a record as numbers, by tag."""
        of_activities = {f"{name}/penalty": value for name, value in record.activities.items()}
        totals = {"penalty": record.measured.total_penalty, **of_activities}
        return {**totals, **super().scalars(record)}

    def histograms(self, record: Record) -> dict[str, np.ndarray]:
        """Return the weights as they are now, and the norms of their output channels, by tag."""
        weights = zip(self.names, parameters.values(self.parameters.values()))
        channels = self.split_channels(record.measured.channel_norms).items()
        return {
            **{f"{name}/values": values for name, values in weights},
            **{f"{name}/channel_norms": norms for name, norms in channels},
        }


class ShowsHistory(ShowsRecords):
    """A mixin that shows the attributes and methods of its history as its own."""

    history: History

    parameters: dict[str, Parameter] = of_history(History, "parameters")
    norms: np.ndarray = of_history(History, "norms")
    penalties: np.ndarray = of_history(History, "penalties")
    shares: np.ndarray = of_history(History, "shares")
    total_penalties: np.ndarray = of_history(History, "total_penalties")
    activity_penalties: dict[str, np.ndarray] = of_history(History, "activity_penalties")
    channel_norms: dict[str, np.ndarray] = of_history(History, "channel_norms")
    last_channel_norms: dict[str, np.ndarray] = of_history(History, "last_channel_norms")
