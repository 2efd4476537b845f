"""What probes answer on data, read over time, and Keras' losses and metrics of the answers."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError
from nengo_dl.config import get_setting

from nengo_wd import _seam as seam
from nengo_wd._activity_penalties import check_history
from nengo_wd._checks import check_keras_2, is_number, is_whole
from nengo_wd._neurons import has_spikes
from nengo_wd._objectives import losses_by_probe
from nengo_wd._shown import check_data, repeated, shown_targets, warn_of_one_step


class Readout:
    """Data that a network is shown, and how the answers of its probes are read over time.

    If targets of a probe have one time step, answers of a probe without a synapse are means over
    all steps so far. Any other answer is what the probe records at the step. With a ``window`` in
    seconds, all answers with spikes are means over the time steps of the last window.
    """

    def __init__(
        self, sim: nengo_dl.Simulator, data: Any, targets: Any, n_steps: Any, window: Any
    ) -> None:
        self.sim, network = sim, sim.model.toplevel
        if get_setting(sim.model, "learning_phase", None):
            cause = "because of nengo_dl.configure_settings(learning_phase=True)"
            fault = f"neurons of {network} never spike in this simulator, {cause}"
            raise ValidationError(f"{fault}; make it without that setting", attr="learning_phase")
        if n_steps is not None and not is_whole(n_steps):
            fault = f"n_steps={n_steps!r} must be a whole number of time steps, 1 or more"
            raise ValidationError(fault, attr="n_steps")
        given = seam.activities.data_by_node(sim, check_data(data))
        self.data = repeated(given, n_steps)
        _, _, self.shape = seam.activities.input_values(sim, self.data, None)
        named = {**{probe: probe for probe in sim.model.probes}, **seam.training.probe_names(sim)}
        self.targets = shown_targets(network, targets, named, self.shape)
        self._windows = {probe: self._steps_in(window, probe) for probe in self.targets}
        for probe in self.targets:
            check_history(sim.model, probe, "answers with spikes are read over time")
        if any(has_spikes(one.neuron_type) for one in network.all_ensembles):
            warn_of_one_step(network, self.shape[1], stacklevel=3)

    def _steps_in(self, window: Any, probe: nengo.Probe) -> int:
        """Return over how many time steps answers of a probe are averaged."""
        if window is None:
            return self.shape[1] if self.has_one_target(probe) and probe.synapse is None else 1
        longest = self.shape[1] * self.sim.dt
        if not is_number(window) or not 0 < window <= longest * (1 + 1e-9):
            fault = f"window={window!r} must be a positive number of seconds"
            raise ValidationError(f"{fault}, at most the {longest:g} that are shown", attr="window")
        return max(1, int(round(window / self.sim.dt)))

    def has_one_target(self, probe: nengo.Probe) -> bool:
        """Tell whether the targets of a probe are for the end of what is shown."""
        return self.targets[probe].shape[1] == 1

    def answers(self, on_rates: bool = False) -> list[np.ndarray]:
        """Return answers of each probe, of shape (n_examples, n_steps, size).

        On rates, as in training, targets of one step get one answer: the one at the end, when the
        filters of the network have settled.
        """
        recorded = seam.activities.record_probes(self.sim, self.data, list(self.targets), on_rates)
        return [
            y[:, -1:] if on_rates and self.has_one_target(p) else _running_mean(y, self._windows[p])
            for p, y in zip(self.targets, recorded)
        ]

    def losses(self, loss: Any = None) -> dict[nengo.Probe, Any]:
        """Return the loss of each probe: the given one, or that of the compiled simulator.

        A probe without a loss uses that of another probe of the same object.
        """
        if loss is None:
            compiled, _ = seam.training.compiled_losses(self.sim)
        else:
            names = seam.training.probe_names(self.sim)
            found = losses_by_probe(self.sim, loss, "loss")
            compiled = {names.get(key, key): one for key, one in found.items() if one is not None}
        return {probe: _loss_of(probe, compiled) for probe in self.targets}


def _loss_of(probe: nengo.Probe, losses: Mapping[nengo.Probe, Any]) -> Any:
    related = (loss for other, loss in losses.items() if other.target == probe.target)
    found = losses.get(probe, next(related, None))
    if found is None:
        fault = f"{probe} has targets, but no loss; compile the simulator with one"
        raise ValidationError(f"{fault}, or give loss={{probe: ...}}", attr="loss", obj=probe)
    return found


def _running_mean(values: np.ndarray, n_steps: int) -> np.ndarray:
    """Return means over the last ``n_steps`` steps, axis 1; at first, over all steps so far."""
    if n_steps == 1:
        return values
    sums = np.cumsum(values, axis=1, dtype=np.float64)
    sums[:, n_steps:] = sums[:, n_steps:] - sums[:, :-n_steps]
    counts = np.minimum(np.arange(1, values.shape[1] + 1), n_steps)
    return (sums / counts[:, None]).astype(values.dtype)


class Judge:
    """A Keras model that returns the answers of probes unchanged, for Keras' losses and metrics.

    It is made and called in the context of ``seam.training.judging``. ``sizes`` are by the names of
    probes; losses, their weights, and lists of metrics are in the same order.
    """

    def __init__(self, sizes: dict[str, int], losses: Any, weights: list, metrics: list) -> None:
        layers, inputs, outputs = tf.keras.layers, [], []
        for i, size in enumerate(sizes.values()):  # named, so that others keep their names
            inputs.append(layers.Input((None, size), name=f"nengo_wd_answer_{i}"))
            dtype = tf.keras.backend.floatx()
            output = layers.Activation("linear", dtype=dtype, name=f"nengo_wd_output_{i}")
            outputs.append(output(inputs[-1]))
        self.model = tf.keras.Model(inputs, outputs, name="nengo_wd_judge")
        self.model.output_names = list(sizes)
        losses = list(map(seam.training.as_keras_loss, losses))
        self.model.compile(loss=losses, loss_weights=weights, metrics=metrics)

    def __call__(
        self, answers: Iterable[np.ndarray], targets: Iterable[np.ndarray]
    ) -> dict[str, float]:
        """Return losses and metrics of answers, of all examples, by Keras' names."""
        answers = list(answers)
        pairs = zip(targets, answers)
        typed = [t.astype(y.dtype) if t.dtype.kind == "f" else t for t, y in pairs]
        found = np.atleast_1d(self.model.test_on_batch(answers, typed))
        return dict(zip(self.model.metrics_names, map(float, found)))


def accuracy_of(targets: np.ndarray, size: int) -> list[Any]:
    """Return Keras' accuracy in a list if targets are classes, or an empty list if they are not.

    Classes are whole numbers, one for each answer of several numbers, or one-hot vectors.
    """
    if size > 1 and targets.shape[2] == 1:
        is_index = (targets == np.floor(targets)) & (targets >= 0) & (targets < size)
        return [tf.keras.metrics.SparseCategoricalAccuracy("accuracy")] if is_index.all() else []
    is_one_hot = np.isin(targets, (0, 1)).all() and (targets.sum(axis=2) == 1).all()
    if size > 1 and targets.shape[2] == size and is_one_hot:
        return [tf.keras.metrics.CategoricalAccuracy("accuracy")]
    return []


def check_metrics(metrics: Any, owner: Any) -> list[Any]:
    """Return metrics of a probe as a list, or raise if Keras does not know one."""
    found = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    for one in found:
        check_keras_2(one, "metrics", f"a metric of {owner}")
        try:
            known = callable(tf.keras.metrics.get(one)) and not isinstance(one, type)
        except ValueError:
            known = one in ("accuracy", "acc")  # Keras chooses one for the targets
        if not known:
            fault = f"{one!r}, a metric of {owner}, is neither the name of a Keras metric"
            others = "nor an instance of one, nor a function of (y_true, y_pred)"
            raise ValidationError(f"{fault}, {others}", attr="metrics")
    return found
