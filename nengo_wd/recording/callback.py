"""Whether weight decay works: the norms of weights, recorded while they are trained."""

from __future__ import annotations

import numbers
import os
from typing import Any

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd.checks import check_simulator, is_number
from nengo_wd.parameters import Parameter, defaults, selection
from nengo_wd.recording.recorder import Recorder
from nengo_wd.simulators import warn_of_training


class WeightNorms(Recorder, tf.keras.callbacks.Callback):
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
    history : History
        The records. The attributes and methods of the history are those of the callback, too.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is no NengoDL simulator, ``every`` is none of the above, something in
        ``objects`` has nothing to train, there is nothing to record, or ``log_dir`` is no folder
        that could be written to; in ``sim.fit``, if it is given twice.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    RuntimeWarning
        When weights are recorded that are NaN or infinite, with the name of the parameter and
        the step. In ``sim.fit`` they are also looked at, whatever ``every`` says, after each
        batch for which Keras reports a loss that is not finite. So it is for a decay or strength,
        schedule or variable, that became bad, and for a decay that would turn signs of weights.
    UserWarning
        In ``sim.fit``, when there are settings that the training takes no notice of, because
        the loss was not made by `regularized_objective`, or the optimizer is not one that they
        are for; unless the simulator itself warned of them when it was compiled.

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
        self.every, self.interval = every, _interval(every)
        super().__init__(sim, _to_record(sim, objects), log_dir)
        self._begun = False

    def set_params(self, params: Any) -> None:
        """Take on what Keras says of a training, once for each time that it was given this."""
        if params is not None and params is getattr(self, "params", None):
            raise _twice(self.sim)
        super().set_params(params)

    def on_train_begin(self, logs: Any = None) -> None:
        """Check what is about to be trained."""
        if self.model is not self.sim.keras_model:
            raise ValidationError(
                f"the WeightNorms of a simulator of {self.sim.model.toplevel} is a callback of "
                "another model's training; make one for each simulator",
                attr="sim",
            )
        warn_of_training(self.sim)
        self._begun = False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Record what training starts from, once other callbacks have restored it."""
        if not self._begun:
            self._begun = True
            self._begin(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """Record what training ends with."""
        self._add_if_new()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Record, if it is time to; look for weights that are not finite if the loss is not."""
        if self.interval is None:
            if not np.isfinite(_loss(logs)):
                self._alarm.check(self._measure(), self._step_count.now())
            return
        step = self._step_count.now()
        if step - self.history.last.step >= self.interval:
            self._add(self._measure(), step, loss=_loss(logs))
        elif not np.isfinite(_loss(logs)):
            self._alarm.check(self._measure(), step)
        self._show_penalty(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Record, if it is time to."""
        self._epoch += 1
        if self.interval is None:
            self._add(self._measure(), loss=_loss(logs))
        self._show_penalty(logs)

    def _show_penalty(self, logs: Any) -> None:
        """Have Keras show the total penalty beside the loss."""
        if logs is not None and self._measure.penalized:
            logs["penalty"] = self.history.last.measured.total_penalty


def _twice(sim: nengo_dl.Simulator) -> ValidationError:
    return ValidationError(
        f"the same WeightNorms of {sim.model.toplevel} is given twice to a training, which would "
        "record all twice; give it once",
        attr="callbacks",
    )


def _loss(logs: Any) -> float:
    """Return the loss that Keras reports."""
    return float((logs or {}).get("loss", np.nan))


def _interval(every: Any) -> int | None:
    """Return the number of batches between records; None for an epoch."""
    if isinstance(every, str) and every in ("epoch", "batch"):
        return {"epoch": None, "batch": 1}[every]
    if isinstance(every, numbers.Integral) and is_number(every) and int(every) > 0:
        return int(every)
    raise ValidationError(
        f"{every!r} does not say when to record; give 'epoch', 'batch', or a number of batches",
        attr="every",
    )


def _to_record(sim: nengo_dl.Simulator, objects: Any) -> list[Parameter]:
    defaults.settle(sim)
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
