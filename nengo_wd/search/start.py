"""Where a training begins, for a simulator that is trained many times."""

from __future__ import annotations

import copy
import numbers
from typing import Any, Sequence

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import check_simulator, check_trains
from nengo_wd.recording.recorder import Recorder


class Start:
    """The beginning of a training, to which a simulator can be put back.

    One simulator then serves many trials of a search. Trials after the first construct, trace and
    compile nothing, if their strengths are variables: those of `nengo_wd.regularizers.Scheduled` or
    of the setting ``weight_decay``.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator, open and compiled for training. Its weights, its optimizer and the states of
        its neurons and filters are kept as they are now.
    callbacks : sequence of tf.keras.callbacks.Callback
        The callbacks of each ``sim.fit``. Those of nengo_wd lose all records. Others get the
        attributes back that are numbers, strings, arrays, or lists and dictionaries of these.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is not a NengoDL simulator, is not compiled or for inference only, or if
        ``callbacks`` has anything else; in ``restore``, if the simulator was compiled anew.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.
    NotImplementedError
        In NengoDL 2, for which there is no search.

    Notes
    -----
    Your own variables, strengths among them, stay as they are. So do random numbers: after one call
    of ``tf.keras.utils.set_random_seed``, each ``sim.fit`` has the same order of examples, but
    layers such as ``Dropout`` go on from one training to the next. A call before each training
    costs up to a second, in which TensorFlow prepares its compiled functions anew.

    Examples
    --------
    >>> x, y = np.ones((8, 1, 1)), np.ones((8, 1, 10))  # examples, time steps, dimensions
    >>> strength = tf.Variable(0.0, trainable=False)
    >>> l2 = nengo_wd.regularizers.Scheduled(tf.keras.regularizers.l2(1.0), strength)
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, kernel_regularizer=l2)
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     loss = nengo_wd.regularized_objective(sim, {probe: "mse"})
    ...     sim.compile(tf.keras.optimizers.Adam(), loss=loss)
    ...     start, norms = nengo_wd.search.Start(sim), []
    ...     for value in (0.0, 1.0):
    ...         start.restore()
    ...         assigned = strength.assign(value)
    ...         history = sim.fit({source: x}, {probe: y}, epochs=20, verbose=0)
    ...         norms.append(np.linalg.norm(layer.kernel))
    >>> bool(norms[1] < norms[0])
    True
    """

    def __init__(
        self, sim: nengo_dl.Simulator, callbacks: Sequence[tf.keras.callbacks.Callback] = ()
    ) -> None:
        check_simulator(sim)
        check_trains(sim)
        self.sim, self.callbacks = sim, list(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, tf.keras.callbacks.Callback):
                raise ValidationError(
                    f"{callback!r} in callbacks is no tf.keras.callbacks.Callback", attr="callbacks"
                )
        self._optimizers = seam.optimizers.in_use(sim)
        self._variables = seam.optimizers.variables_of_training(sim)
        self._values = seam.values.fetch(sim, self._variables)
        self._attributes = [_plain_attributes(callback) for callback in self.callbacks]

    def restore(self) -> None:
        """Put weights, states, optimizer and callbacks back to what they were."""
        check_simulator(self.sim)
        if seam.optimizers.in_use(self.sim) != self._optimizers:
            raise ValidationError(
                f"the simulator of {self.sim.model.toplevel} was compiled anew after this Start "
                "was made; make another one",
                attr="sim",
            )
        self.sim.reset(include_trainable=False, include_probes=False)  # processes, for the rest
        for variable, values in zip(self._variables, self._values):
            seam.values.assign(self.sim, variable, values)
        for callback, attributes in zip(self.callbacks, self._attributes):
            if isinstance(callback, Recorder):
                callback._restart()
            else:
                vars(callback).update(copy.deepcopy(attributes))


def _plain_attributes(callback: Any) -> dict[str, Any]:
    """Return copies of the attributes that refer to nothing else, such as a model."""
    return {
        name: copy.deepcopy(value) for name, value in vars(callback).items() if _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    """Tell whether a value is a number, string or array, or a container of these alone."""
    if isinstance(value, dict):
        return all(_is_plain(one) for one in value.values())
    if isinstance(value, (list, tuple, set)):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, (numbers.Number, str, np.ndarray, np.generic))
