"""The callback that validates with spikes, for as long as the user says."""

from __future__ import annotations

from typing import Any, Mapping

import nengo
import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._checks import Objective, check_simulator, is_whole
from nengo_wd.recording.readouts import Judge, Readout, accuracy_of, check_metrics
from nengo_wd.recording.recorder import SimulatorCallback

PREFIX = "val_spikes_"


class SpikeValidation(SimulatorCallback):
    """Validate with spikes, and put losses and metrics into the logs of ``sim.fit``.

    ``sim.fit`` compares its ``validation_data`` with targets at each time step. This callback shows
    data for as long as the network will see its inputs, and reads the answer at the end. It writes
    ``val_spikes_loss`` and ``val_spikes_accuracy`` into the logs and the history of an epoch. Later
    callbacks can use them: ``tf.keras.callbacks.EarlyStopping("val_spikes_loss")``,
    ``ModelCheckpoint``, or Optuna's.

    Like `NeuronRates`, it changes no weights, states or random numbers. It needs NengoDL 3.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    data : dict of {nengo.Node: np.ndarray}
        Inputs of shape (n_examples, n_steps, ``node.size_out``), as for ``sim.predict``.
    targets : dict of {nengo.Probe: np.ndarray}
        What probes should answer, of shape (n_examples, 1 or n_steps, size). With one time step
        they are compared with the answer at the end; otherwise, step by step.
    n_steps : int, optional
        The number of time steps for which to show data of one step.
    every : int
        Epochs from one validation to the next, like Keras' ``validation_freq``; others log nothing.
    window : float, optional
        The seconds over which to average the answers of all probes. By default, the answer at the
        end of a probe without a synapse is the mean over all steps, and any other answer is what
        the probe records at the step. `spike_gap` has the formula.
    loss : str, callable, tf.keras.losses.Loss, or dict of these by probe, optional
        The losses, by default those that the simulator was compiled with, with their weights. A
        probe without a loss uses that of another probe of the same object.
    metrics : str, callable, tf.keras.metrics.Metric, list of these, or dict by probe, optional
        The metrics. By default, the accuracy of targets that are classes: one whole number for each
        example, from 0 on and below the size of the probe, or one-hot vectors.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument is not one of those above, data or targets do not fit the network or are not
        finite, a probe keeps only its last step, or the network is always in training mode; in
        ``sim.fit``, if a probe has no loss, or the callback is given twice.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.
    NotImplementedError
        In NengoDL 2.

    Warns
    -----
    UserWarning
        If spiking neurons are shown only one time step of data.

    Notes
    -----
    Losses and metrics are Keras', and so are their names after ``val_spikes_``. With several
    probes, ``val_spikes_loss`` is the sum of their losses, and each has its own
    ``val_spikes_<probe>_loss`` and ``val_spikes_<probe>_accuracy``. Unlike ``val_loss``, these
    leave out penalties, so you can compare runs with different strengths.

    A validation takes about as long as ``sim.predict`` on the data.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source, ensemble = nengo.Node([0.5]), nengo.Ensemble(20, 1)
    ...     connection = nengo.Connection(source, ensemble, synapse=None)
    ...     probe = nengo.Probe(ensemble)
    >>> data, targets = {source: np.full((4, 1, 1), 0.5)}, {probe: np.full((4, 1, 1), 0.5)}
    >>> with nengo_dl.Simulator(net, minibatch_size=4, progress_bar=False) as sim:
    ...     sim.compile("sgd", loss={probe: "mse"})
    ...     with_spikes = nengo_wd.SpikeValidation(sim, data, targets, n_steps=100)
    ...     stop = tf.keras.callbacks.EarlyStopping("val_spikes_loss", patience=3)
    ...     fit = sim.fit(data, targets, epochs=2, callbacks=[with_spikes, stop], verbose=0)
    >>> len(fit.history["val_spikes_loss"])
    2
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        data: Mapping[nengo.Node, np.ndarray],
        targets: Mapping[nengo.Probe, np.ndarray],
        n_steps: int | None = None,
        every: int = 1,
        window: float | None = None,
        loss: Objective = None,
        metrics: Any = None,
    ) -> None:
        seam.training.check_callbacks()
        check_simulator(sim)
        super().__init__(sim)
        if not is_whole(every):
            fault = f"every={every!r} must be a whole number of epochs, 1 or more"
            raise ValidationError(fault, attr="every")
        self.every, self._loss = int(every), loss
        self._readout = Readout(sim, data, targets, n_steps, window)
        probes = self._readout.targets
        self._metrics = None if metrics is None else _metrics_by_probe(metrics, sim, probes)
        if loss is not None:
            self._readout.losses(loss)  # raises what training would raise later
        self._judge: tuple[Any, Judge] | None = None

    def evaluate(self) -> dict[str, float]:
        """Return current losses and metrics with spikes, by their names in the logs.

        It raises the same errors as ``sim.fit``.
        """
        check_simulator(self.sim)
        parameters.check_layers(self.sim)
        judge, targets = self._made_judge(), self._readout.targets
        answers = [
            answer[:, -1:] if self._readout.has_one_target(probe) else answer
            for probe, answer in zip(targets, self._readout.answers())
        ]
        with seam.training.judging(self.sim):
            found = judge(answers, targets.values())
        return {f"{PREFIX}{name}": value for name, value in found.items()}

    def on_train_begin(self, logs: Any = None) -> None:
        """Check that this simulator is trained, and that its probes have losses."""
        super().on_train_begin(logs)
        self._made_judge()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Validate, if it is time."""
        if (epoch + 1) % self.every == 0 and logs is not None:
            logs.update(self.evaluate())

    def _made_judge(self) -> Judge:
        """Return a judge with the current losses: the one made before, if they are the same."""
        losses = self._readout.losses(self._loss)
        weights = seam.training.compiled_losses(self.sim)[1] if self._loss is None else {}
        if self._judge is None or self._judge[0] != (losses, weights):
            targets = self._readout.targets
            sizes = {self.sim.get_name(probe): probe.size_in for probe in losses}
            with seam.training.judging(self.sim):
                found = self._metrics or {p: accuracy_of(targets[p], p.size_in) for p in losses}
                shares, metrics = [weights.get(p, 1.0) for p in losses], [found[p] for p in losses]
                self._judge = (losses, weights), Judge(sizes, losses.values(), shares, metrics)
        return self._judge[1]


def _metrics_by_probe(metrics: Any, sim: nengo_dl.Simulator, probes: Any) -> dict:
    """Return the metrics of each probe that has targets, as a list."""
    if not isinstance(metrics, Mapping):
        metrics = dict.fromkeys(probes, metrics)
    names = seam.training.probe_names(sim)
    by_probe = {names.get(key, key): one for key, one in metrics.items()}
    for key in by_probe:
        if key not in probes:
            raise ValidationError(f"{key!r} has metrics, but no targets", attr="metrics")
    return {probe: check_metrics(by_probe.get(probe, []), probe) for probe in probes}
