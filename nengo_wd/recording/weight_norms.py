"""The callback that records norms of weights during training."""

from __future__ import annotations

import os
from typing import Any

import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import check_simulator, check_switch
from nengo_wd._parameters import Parameter, selection
from nengo_wd._penalties import strength_faults
from nengo_wd._seam.state import own_parts
from nengo_wd._simulators import counting_penalties, warn_of_training
from nengo_wd.recording.history import History
from nengo_wd.recording.measurement import MeasuredWeights, Measurement
from nengo_wd.recording.recorder import Alarm, Recorder, loss_of


class WeightNorms(History, Recorder):
    r"""Record the norms of weights, their penalties, and the share of these in the loss.

    .. math::

        \|w_c\|_2 = \sqrt{\sum_{i \in c} w_i^2}, \qquad
        \|w\|_2 = \sqrt{\sum_c \|w_c\|_2^2}

    for every output channel :math:`c` of each parameter :math:`w`, and for the whole parameter. An
    output channel is a row of decoders or weights, of shape ``(size_out, size_in)``; a neuron, for
    encoders and biases; a unit of a dense layer; and a filter of a convolution.

    In NengoDL 3, give it to ``sim.fit(callbacks=[norms])``. Call `record` yourself between calls of
    ``sim.train`` (NengoDL 2) and in your own training loops.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    every : "epoch", "batch" or int
        When to record: before and after training, and after each epoch, batch or number of batches.
    objects : Nengo object, class, nengo.Network, tf.keras.layers.Layer, or a list of these
        What to record: the trainable parameters of objects (an ensemble means its encoders,
        ``ensemble.neurons`` means biases), of all objects of a class or in a network, or of layers.
        By default, all parameters that have a regularizer, a weight decay or a target norm.
    log_dir : str or path-like
        Where to write files for TensorBoard: columns, such as ``<name>/norm``, ``penalty`` and
        ``loss`` of the simulator, and histograms ``<name>/channel_norms`` and ``<name>/values``.
    channels : bool
        Whether to keep the norms of all output channels in each record, 16 bytes for each channel.
        With False, only the newest record has them: tables, columns and TensorBoard stay the same,
        but ``channel_norms`` and `plotting.histograms` raise an error.

    Attributes
    ----------
    parameters : dict of {str: Parameter}
        The parameters by name, such as ``"readout.weights"``, in the order of the records.
    history : History
        The records alone, to copy and pickle. The callback has the same attributes and methods.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is not one of those above, an object has nothing to train, there is nothing
        to record, or ``log_dir`` can't be written to; in ``sim.fit``, if this is given twice.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    RuntimeWarning
        When recorded weights are NaN or infinite; in ``sim.fit`` also after each batch with a loss
        that is not finite. When a scheduled or variable decay or strength became invalid, or a
        decay would flip the signs of weights.
    UserWarning
        In ``sim.fit``, when the loss or optimizer ignores settings, unless ``sim.compile`` warned.

    Notes
    -----
    Penalties are the ones that count at the time of the record: see `regularization_losses`. After
    you change settings, create a new callback. Weights of rank 0 (single numbers) are not recorded.

    In ``sim.fit``, Keras' progress bar and history show the sum of all penalties on weights as
    ``penalty``: as last recorded, or its mean within an epoch. Put this before callbacks that use
    it, such as ``EarlyStopping("penalty")``. Keras itself shows penalties on what probes record.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     norms = nengo_wd.WeightNorms(sim)
    ...     norms.record()
    >>> norms.names, norms.norms.shape, norms.channel_norms["readout.kernel"].shape
    (['readout.kernel'], (1, 1), (1, 10))
    >>> nengo_wd.plotting.norms(norms, "readout.kernel").axes[0].get_ylabel()
    '$L_2$ norm'
    """

    history: History
    _measure: Measurement

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        every: str | int = "epoch",
        objects: Any = None,
        log_dir: str | os.PathLike | None = None,
        channels: bool = True,
    ) -> None:
        check_simulator(sim)
        self.every, channels = every, check_switch(channels, "channels", "WeightNorms")
        recorded, known = _to_record(sim, objects), selection.names_by_key(sim)
        History.__init__(self, {known[p.key]: p for p in recorded}, channels)
        history = History(self.parameters, self.channels, self._records)
        Recorder.__init__(self, sim, history, Measurement(sim, recorded), log_dir)
        self._weights_alarm, self._settings_alarm = Alarm(), Alarm()

    def _add(self, measured: Any, logs: Any = None, step: Any = None, epoch: Any = None) -> None:
        """Record, with penalties that Keras reports; warn of weights and settings that are bad."""
        names = [name for name in self._measure.activities if name in (logs or {})]
        measured = measured._replace(activities={name: float(logs[name]) for name in names})
        super()._add(measured, logs, step, epoch)
        self._check_weights(measured, self.last.step)
        faults = _faults_of_settings(self.sim, self._measure.live_strengths)
        self._settings_alarm.check(f"at step {self.last.step}, ", faults, faults.__getitem__, "; ")

    def _check_weights(self, measured: MeasuredWeights, step: int) -> None:
        """Warn of parameters that are not finite."""

        def describe(name: str) -> str:
            value = self.parameters[name].value
            return f"{np.sum(~np.isfinite(value))} of the {np.size(value)} in {name}"

        squares = zip(self.names, measured.over_channels("squares"))
        bad = [name for name, square in squares if not np.isfinite(square)]
        self._weights_alarm.check(f"weights are not finite at step {step}: ", bad, describe, ", ")

    def on_train_begin(self, logs: Any = None) -> None:
        """Warn of settings that training ignores."""
        super().on_train_begin(logs)
        warn_of_training(self.sim)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record, if it is time; if not, and the loss is not finite, check the weights."""
        n_records = len(self.history)
        super().on_train_batch_end(batch, logs)
        if n_records == len(self.history) and not np.isfinite(loss_of(logs)):
            self._check_weights(self._measure(), self._now())
        if self.interval is not None:
            self._show_penalty(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record, if it is time."""
        super().on_epoch_end(epoch, logs)
        self._show_penalty(logs)

    def _show_penalty(self, logs: Any) -> None:
        """Have Keras show the total penalty beside the loss."""
        if logs is not None and self._measure.penalized:
            logs["penalty"] = self.last.measured.total_penalty


def _faults_of_settings(sim: nengo_dl.Simulator, regularized: list) -> dict[str, str]:
    """Return the faults of decays and strengths, schedules or variables, by name."""
    parts = (part for one in seam.simulators.optimizers_in_use(sim) for part in own_parts(one))
    found = {fault.parameter.name: fault.reason for part in parts for fault in part.faults()}
    for parameter, reason in strength_faults(sim, regularized):
        found[f"the regularizer of {parameter.name}"] = reason
    return found


def _to_record(sim: nengo_dl.Simulator, objects: Any) -> list[Parameter]:
    """Return the parameters to record, or raise if there are none."""
    parameters.check_layers(sim)
    if objects is not None:
        return selection.select_parameters(sim, objects)
    counted = (penalty.parameter for penalty in counting_penalties(sim).penalties)
    found = {p.key: p for p in (*selection.recorded_by_default(sim), *counted)}
    if not found:
        fault = "have a regularizer, a weight_decay or a target_norm; say which objects to record"
        example = "objects=[nengo.Connection, nengo_dl.TensorNode]"
        told = f"no weights in {sim.model.toplevel} {fault}, such as {example}"
        raise ValidationError(told, attr="objects")
    return list(found.values())
