"""Whether weight decay works: the norms of weights, recorded while they are trained."""

from __future__ import annotations

import numbers
import os
import warnings
from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import parameters, seam, selection
from nengo_wd.event_files import EventFile
from nengo_wd.history import History, Record
from nengo_wd.norms import Measured, Measurement
from nengo_wd.objectives import check_simulator
from nengo_wd.parameters import Parameter

MOST_NAMED = 10  # parameters in one warning


class WeightNorms(History, tf.keras.callbacks.Callback):
    r"""Record the norms of weights, their penalties and what part of the loss these are.

    .. math::

        \|w_c\|_2 = \sqrt{\sum_{i \in c} w_i^2}, \qquad
        \|w\|_2 = \sqrt{\sum_c \|w_c\|_2^2}

    for every output channel :math:`c` of each parameter :math:`w`, and for the whole of it.
    An output channel is a row of decoders or weights, of shape ``(size_out, size_in)``; a
    neuron, for encoders and biases; a unit of a dense layer; and a filter of a convolution.

    In NengoDL 3, give it to ``sim.fit(callbacks=[norms])``; it records before training and
    then as ``every`` says. Call `record` by hand between calls of ``sim.train`` (NengoDL 2) and
    in training loops of your own.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    every : "epoch", "batch" or int
        When to record: after each epoch, each batch, or each so many batches; besides, before
        training and after.
    objects : Nengo object, class, nengo.Network, tf.keras.layers.Layer, or a list of these
        What to record: the trainable parameters of objects (connections, ensembles for their
        encoders, ``ensemble.neurons`` for biases, TensorNodes), of all objects of a class or in a
        network, or of layers. By default all parameters that have a regularizer or a weight
        decay, by a setting or by their layer.
    log_dir : str or path-like
        Where to write scalars and histograms for TensorBoard, if anywhere: ``<name>/norm``,
        ``<name>/penalty``, ``<name>/share`` and the histograms ``<name>/channel_norms`` and
        ``<name>/values``; besides, ``penalty`` and ``loss`` of the whole simulator.

    Attributes
    ----------
    parameters : dict of {str: Parameter}
        The parameters by name, such as ``"readout.weights"``, in the order of all that is
        recorded. Of each, ``obj`` is the Nengo object, ``value`` the weights as they are
        now and ``shape`` their shape.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is no NengoDL simulator, ``every`` is none of the above, something in
        ``objects`` has nothing to train, or there is nothing to record.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    RuntimeWarning
        When weights are recorded that are NaN or infinite, with the name of the parameter and
        the step. In ``sim.fit`` they are also looked at, whatever ``every`` says, after each
        batch for which Keras reports a loss that is not finite.
    UserWarning
        In ``sim.fit``, when there are settings that the training takes no notice of, because
        the loss was not made by `regularized_objective`, or the optimizer not by
        `decoupled_weight_decay`.

    Notes
    -----
    Penalties are those of the layers and settings when this was made; after other settings, make
    it anew. Weights of rank 0, single numbers, are not recorded.

    While ``sim.fit`` runs, ``penalty`` stands beside ``loss`` in the progress bar: the sum of all
    penalties in the simulator as last recorded, or, as Keras shows everything within an epoch,
    its mean. The history that ``sim.fit`` returns has its value at the end of each epoch. Put
    this before callbacks that are to see it, such as ``EarlyStopping(monitor="penalty")``.

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
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        every: str | int = "epoch",
        objects: Any = None,
        log_dir: str | os.PathLike | None = None,
    ) -> None:
        check_simulator(sim)
        self.sim, self.every = sim, every
        self.interval = _interval(every)
        tf.keras.callbacks.Callback.__init__(self)
        found = _to_record(sim, objects)
        known = selection.names_by_key(sim)
        History.__init__(self, {known[parameter.key]: parameter for parameter in found})
        self._measure = Measurement(sim, found)
        self._step_count = StepCount(sim)
        self._epoch = 0
        self._not_finite: set[str] = set()
        self._event_file = None if log_dir is None else EventFile(log_dir)

    def record(
        self, step: int | None = None, epoch: float | None = None, loss: float = np.nan
    ) -> None:
        """Record the norms and penalties as they are now.

        Parameters
        ----------
        step : int, optional
            How many batches have been trained on. By default, those that ``sim.fit`` or
            ``sim.train`` counted; a training loop of your own has to say it.
        epoch : float, optional
            How many epochs have ended. By default, those of ``sim.fit``.
        loss : float, optional
            The loss that training minimizes, of which the penalties are a share.

        Raises
        ------
        nengo.exceptions.SimulatorClosed
            If the simulator is closed.
        """
        check_simulator(self.sim)
        self._add(self._measure(), step, epoch, loss)

    def _add(
        self,
        measured: Measured,
        step: int | None = None,
        epoch: float | None = None,
        loss: float = np.nan,
    ) -> None:
        step = self._step_count.now() if step is None else step
        epoch = self._epoch if epoch is None else epoch
        record = Record(step, epoch, float(loss), measured)
        self._records.append(record)
        if self._event_file is not None:
            self._event_file.write(record.step, *self._summaries(record))
        self._warn_of(measured, step)

    def on_train_begin(self, logs: Any = None) -> None:
        """Record what training starts from."""
        if self.model is not self.sim.keras_model:
            raise ValidationError(
                f"the WeightNorms of a simulator of {self.sim.model.toplevel} is a callback of "
                "another model's training; make one for each simulator",
                attr="sim",
            )
        self._warn_of_settings()
        self._add_if_new()

    def on_train_end(self, logs: Any = None) -> None:
        """Record what training ends with."""
        self._add_if_new()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record, if it is time to; look for weights that are not finite if the loss is not."""
        if self.interval is None:
            if not np.isfinite(_loss(logs)):
                self._warn_of(self._measure(), self._step_count.now())
            return
        step = self._step_count.now()
        if step - self._records[-1].step >= self.interval:
            self._add(self._measure(), step, loss=_loss(logs))
        elif not np.isfinite(_loss(logs)):
            self._warn_of(self._measure(), step)
        self._show_penalty(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record, if it is time to."""
        self._epoch += 1
        if self.interval is None:
            self._add(self._measure(), loss=_loss(logs))
        self._show_penalty(logs)

    def _add_if_new(self) -> None:
        """Record, unless step and weights are those of the last record."""
        measured, step = self._measure(), self._step_count.now()
        if not self._records or self._records[-1].differs_from(step, measured):
            self._add(measured, step)

    def _show_penalty(self, logs: Any) -> None:
        """Have Keras show the total penalty beside the loss."""
        if logs is not None and self._measure.penalized:
            logs["penalty"] = self._records[-1].measured.total_penalty

    def _warn_of_settings(self) -> None:
        """Warn of settings that training takes no notice of."""
        idle = []
        if self._measure.has_settings and not seam.holds_losses(self.sim):
            idle.append("regularizer: compile with loss=nengo_wd.regularized_objective(...)")
        decays = parameters.with_setting(self.sim, "weight_decay")
        if decays and not seam.decays_by_object(self.model.optimizer):
            idle.append("weight_decay: compile with nengo_wd.decoupled_weight_decay(...)")
        for what in idle:
            warnings.warn(
                f"{self.sim.model.toplevel} is trained without its settings for {what}",
                UserWarning,
                stacklevel=2,
            )

    def _warn_of(self, measured: Measured, step: int) -> None:
        """Warn of the parameters that are not finite, and were so far."""
        finite = np.isfinite(measured.norms)
        not_finite = {name for name, is_finite in zip(self.names, finite) if not is_finite}
        new = [name for name in self.names if name in not_finite - self._not_finite]
        self._not_finite = not_finite
        if new:
            found = [_how_many(name, self.parameters[name]) for name in new[:MOST_NAMED]]
            more = f", and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else ""
            warnings.warn(
                f"weights are not finite at step {step}: {', '.join(found)}{more}",
                RuntimeWarning,
                stacklevel=2,
            )

    def _summaries(self, record: Record) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return scalars and histograms for TensorBoard, what is not known left out."""
        measured = record.measured
        scalars = {"loss": record.loss, "penalty": measured.total_penalty}
        fields = {"norm": measured.norms, "penalty": measured.penalties, "share": record.shares}
        for field, values in fields.items():
            scalars.update({f"{name}/{field}": v for name, v in zip(self.names, values)})
        known = {tag: value for tag, value in scalars.items() if not np.isnan(value)}
        weights = parameters.values(self.parameters.values())
        histograms = {f"{name}/values": value for name, value in zip(self.names, weights)}
        channels = self._split_channels(measured.channel_norms)
        histograms.update({f"{name}/channel_norms": norms for name, norms in channels.items()})
        return known, histograms


class StepCount:
    """How many batches a simulator has been trained on, with whichever optimizers."""

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        self.sim = sim
        self._total = 0
        self._seen: dict[int, tuple[tf.Variable, int]] = {}  # by id, each counter and its count

    def now(self) -> int:
        """Return the count, which goes on where an optimizer's own begins at zero again."""
        counter = seam.step_counter(self.sim)
        if counter is not None:
            count = int(seam.fetch(self.sim, [counter])[0])
            _, before = self._seen.get(id(counter), (counter, 0))
            self._total += count - before if count >= before else count
            self._seen[id(counter)] = counter, count
        return self._total


def _loss(logs: Any) -> float:
    """Return the loss that Keras reports."""
    return float((logs or {}).get("loss", np.nan))


def _interval(every: Any) -> int | None:
    """Return the number of batches between records; None for an epoch."""
    if isinstance(every, str) and every in ("epoch", "batch"):
        return {"epoch": None, "batch": 1}[every]
    is_number = isinstance(every, numbers.Integral) and not isinstance(every, bool)
    if is_number and int(every) > 0:
        return int(every)
    raise ValidationError(
        f"{every!r} does not say when to record; give 'epoch', 'batch', or a number of batches",
        attr="every",
    )


def _to_record(sim: nengo_dl.Simulator, objects: Any) -> list[Parameter]:
    if objects is not None:
        return selection.asked_for(sim, objects)
    found = selection.regularized_or_decayed(sim)
    if not found:
        raise ValidationError(
            f"no weights in {sim.model.toplevel} have a regularizer or a weight_decay; say which "
            "objects to record, such as objects=[nengo.Connection, nengo_dl.TensorNode]",
            attr="objects",
        )
    return found


def _how_many(name: str, parameter: Parameter) -> str:
    return f"{np.sum(~np.isfinite(parameter.value))} of the {np.prod(parameter.shape)} in {name}"
