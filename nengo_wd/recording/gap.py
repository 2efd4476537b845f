"""The gap between a network with spikes and the same network on rates, over time."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Iterator, Mapping

import nengo
import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import Objective, check_simulator, frame, is_number
from nengo_wd.recording.readouts import Judge, Readout, accuracy_of

ROWS = 10  # of the table that is printed
ROUNDING = 1e-6  # of metrics in float32
MEASURED = ("losses", "accuracies", "losses_on_rates", "accuracies_on_rates")
FIELDS = ("time", "name", "loss", "loss_on_rates", "accuracy", "accuracy_on_rates")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SpikeGap:
    """What `nengo_wd.spike_gap` found, as arrays and as a table. You can copy and pickle it.

    Attributes
    ----------
    names : list of str
        Names of the probes: their labels, or those of their objects.
    times : np.ndarray
        For how many seconds the data were shown, of shape (n_steps,).
    losses, accuracies : np.ndarray
        With spikes, of shape (n_steps, n_probes). Accuracies are shares of the examples, or NaN if
        a probe's targets are not classes.
    losses_on_rates, accuracies_on_rates : np.ndarray
        On rates, of the same shape: at the last step if targets have one step, or step by step.
    tolerance : float
        The tolerance of `meets`.
    """

    names: list[str]
    times: np.ndarray
    losses: np.ndarray
    accuracies: np.ndarray
    losses_on_rates: np.ndarray
    accuracies_on_rates: np.ndarray
    tolerance: float

    @property
    def meets(self) -> np.ndarray:
        """Times in seconds from which on spikes are as good as rates; of shape (n_probes,).

        From then on, the accuracy is at most the tolerance below that on rates. For probes without
        an accuracy, the loss is above that on rates by at most this share of it. NaN if never.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            by_loss = (self.losses - self.losses_on_rates) / np.abs(self.losses_on_rates)
        by_loss = np.where(self.losses <= self.losses_on_rates, 0, by_loss)
        by_accuracy = self.accuracies_on_rates - self.accuracies
        gaps = np.where(np.isnan(self.accuracies), by_loss, by_accuracy)
        is_near = gaps <= self.tolerance + ROUNDING
        stays = np.logical_and.accumulate(is_near[::-1])[::-1]
        return np.where(stays[-1], self.times[stays.argmax(axis=0)], np.nan)

    def rows(self) -> Iterator[tuple]:
        """Yield a row for each time and name, with the columns of `to_frame`."""
        for i, time in enumerate(self.times):
            for j, name in enumerate(self.names):
                yield (float(time), name, *(float(one[i, j]) for one in self._arrays))

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return self.losses, self.losses_on_rates, self.accuracies, self.accuracies_on_rates

    def to_frame(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for each time and name.

        Its columns are time, name, loss, loss_on_rates, accuracy and accuracy_on_rates.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return frame(self.rows(), columns=FIELDS)

    def __repr__(self) -> str:
        """Return a table for each probe, at some of the times, and when spikes meet rates."""
        return "\n\n".join(map(self._table, range(len(self.names))))

    def _table(self, column: int) -> str:
        has_accuracy = not np.isnan(self.accuracies[:, column]).all()
        heads = ("loss", "on rates", "accuracy", "on rates")[: 4 if has_accuracy else 2]
        lines = [" time (s)" + "".join(f"{head:>10}" for head in heads)]
        every = math.ceil(len(self.times) / ROWS)
        for i in range((len(self.times) - 1) % every, len(self.times), every):
            values = (array[i, column] for array in self._arrays[: len(heads)])
            lines.append(f"{self.times[i]:9.3f}" + "".join(f"{value:10.4f}" for value in values))
        within = f"the loss is within {100 * self.tolerance:g} %"
        if has_accuracy:
            within = f"the accuracy is within {self.tolerance:g}"
        when = self.meets[column]
        since = "at no time" if np.isnan(when) else f"from {when:.3f} s on"
        end = f"with spikes, {within} of that on rates {since}"
        return "\n".join([f"{self.names[column]}: {end}", *lines])


def spike_gap(
    sim: nengo_dl.Simulator,
    data: Mapping[nengo.Node, np.ndarray],
    targets: Mapping[nengo.Probe, np.ndarray],
    n_steps: int | None = None,
    loss: Objective = None,
    window: float | None = None,
    tolerance: float = 0.01,
) -> SpikeGap:
    r"""Compare a trained network with spikes and on rates, over the time that data are shown.

    The network runs on the data twice: with spikes, as in ``sim.predict``, and on rates, as in
    training, but with layers such as dropout in prediction mode. The simulator does not change.

    Answers with spikes at a time step :math:`t` are means of what a probe records, :math:`y`:

    .. math:: \bar{y_t} = \frac{1}{\min(n, t)} \sum_{s > t - n}^t y_s

    over the last :math:`n` steps. By default, :math:`n` is 1, except for a probe without a synapse
    whose targets have one step: then it is the number of steps so far. On rates, the answer is what
    the probe records at the last step, when the filters of the network have settled. Its loss is
    the training loss, if the network has no filters or the data are shown for long enough. If
    targets have as many steps as the data, answers on rates are read like those with spikes.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The trained simulator, still open.
    data : dict of {nengo.Node: np.ndarray}
        Inputs of shape (n_examples, n_steps, ``node.size_out``), as for ``sim.predict``.
    targets : dict of {nengo.Probe: np.ndarray}
        What probes should answer, of shape (n_examples, 1 or n_steps, size). The probes may have
        synapses. Targets have an accuracy if they are classes: one-hot vectors, or one whole number
        for each example, from 0 on and below the size of the probe.
    n_steps : int, optional
        The number of time steps for which to show data of one step.
    loss : str, callable, tf.keras.losses.Loss, or dict of these by probe, optional
        The losses, by default those that the simulator was compiled with. A probe without a loss
        uses that of another probe of the same object. NengoDL 2 needs this argument.
    window : float, optional
        The seconds over which to average the answers with spikes of all probes.
    tolerance : float
        How much lower the accuracy with spikes may be when they meet: 0.01 for one point. For
        probes without accuracy, how much higher the loss may be, as a share of the loss on rates.

    Returns
    -------
    gap : SpikeGap
        Losses and accuracies over time, and when spikes meet rates. Print it for a table.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is not one of those above, data or targets do not fit the network or are not
        finite, a probe has no loss or keeps only its last step, or the network is for inference
        only, or is always in training mode.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    UserWarning
        If spiking neurons are shown only one time step of data.

    See Also
    --------
    SpikeValidation : the loss with spikes during training.
    NeuronRates : the gap of the neurons' rates, by probe.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([0.5])
    ...     ensemble = nengo.Ensemble(20, 1)
    ...     connection = nengo.Connection(source, ensemble, synapse=None)
    ...     probe = nengo.Probe(ensemble, synapse=0.02, label="decoded")
    >>> data, targets = {source: np.full((1, 1, 1), 0.5)}, {probe: np.full((1, 1, 1), 0.5)}
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     gap = nengo_wd.spike_gap(sim, data, targets, n_steps=200, loss="mse")
    >>> gap.names, gap.losses.shape, float(gap.times[-1])
    (['decoded'], (200, 1), 0.2)
    """
    check_simulator(sim, trains=True)
    if not is_number(tolerance) or not 0 <= tolerance < np.inf:
        fault = f"tolerance={tolerance!r} must be a finite number, zero or above"
        raise ValidationError(fault, attr="tolerance")
    readout = Readout(sim, data, targets, n_steps, window)
    losses, columns = readout.losses(loss), []
    for (probe, one), *answers in zip(losses.items(), readout.answers(), readout.answers(True)):
        columns.append(_over_time(sim, readout.targets[probe], one, answers))
    labels = (parameters.label(p.obj if p.label is None else p) for p in losses)
    names = list(parameters.unique_names(zip(labels, losses)))
    times = sim.dt * np.arange(1, readout.shape[1] + 1)
    arrays = dict(zip(MEASURED, np.stack(columns, axis=-1)))
    return SpikeGap(names, times, tolerance=float(tolerance), **arrays)


def _over_time(
    sim: nengo_dl.Simulator, targets: np.ndarray, loss: Any, answers: list[np.ndarray]
) -> np.ndarray:
    """Return losses and accuracies, with spikes and then on rates, of shape (4, n_steps)."""
    n_steps, size = answers[0].shape[1:]
    found = []
    with seam.training.judging(sim):
        judge = Judge({"answers": size}, [loss], [1.0], [accuracy_of(targets, size)])
        for one in answers:
            by_step = [
                judge([one[:, t : t + 1]], [targets[:, min(t, targets.shape[1] - 1)][:, None]])
                for t in range(one.shape[1])
            ]
            for name in ("loss", "accuracy"):
                values = [step.get(name, np.nan) for step in by_step]
                found.append(np.broadcast_to(values, n_steps))
    return np.array(found, float)
