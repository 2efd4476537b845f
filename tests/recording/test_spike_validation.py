"""Validation with spikes during training, against NumPy, and without a trace of it."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import seed, simulator
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.* is trained without its settings"),
]

EXAMPLES, VALIDATION, SHOWN, CLASSES = 12, 8, 30, 3


class Model:
    """A classifier of spiking neurons between layers, with penalties, decay, and dropout."""

    def __init__(self, dropout=0.2, **settings):
        rng = np.random.RandomState(0)
        l2 = tf.keras.regularizers.L2(0.01)
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings(**settings)
            nengo_dl.configure_settings(trainable=None)
            self.source = nengo.Node(np.zeros(4), label="source")
            x = nengo_dl.Layer(nengo_wd.RegularizedDense(8, kernel_regularizer=l2))(self.source)
            x = nengo_dl.Layer(tf.keras.layers.Dropout(dropout, seed=0))(x)
            x = nengo_dl.Layer(nengo.SpikingRectifiedLinear(amplitude=0.01))(x)
            rates = nengo.Probe(x, label="rates")
            self.x = nengo_dl.Layer(nengo_wd.RegularizedDense(CLASSES, name="readout"))(x)
            self.output = nengo.Probe(self.x, label="output")
            self.filtered = nengo.Probe(self.x, synapse=0.01, label="filtered")
            self.net.config[rates].regularizer = nengo_wd.regularizers.FiringRates(5, 20, l2=1e-6)
            self.net.config[self.x].weight_decay = 0.01
        self.inputs = {self.source: rng.uniform(-1, 1, size=(EXAMPLES, 1, 4))}
        self.targets = {self.output: rng.randint(CLASSES, size=(EXAMPLES, 1, 1))}
        self.images = rng.uniform(-1, 1, size=(VALIDATION, 1, 4))
        self.labels = rng.randint(CLASSES, size=(VALIDATION, 1, 1))

    @property
    def shown(self):
        return {self.source: np.repeat(self.images, SHOWN, axis=1)}

    def validation(self, sim, **kwargs):
        kwargs = {"n_steps": SHOWN, "targets": {self.output: self.labels}, **kwargs}
        return nengo_wd.SpikeValidation(sim, {self.source: self.images}, **kwargs)

    def compile(self, sim, **kwargs):
        optimizer = nengo_wd.regularized_optimizer(sim, tf.keras.optimizers.Adam(0.05))
        loss = nengo_wd.regularized_objective(sim, {self.output: crossentropy()})
        sim.compile(optimizer, loss=loss, **kwargs)

    def fit(self, sim, callbacks, epochs=3, **kwargs):
        return sim.fit(
            self.inputs, self.targets, epochs=epochs, callbacks=callbacks, verbose=0, **kwargs
        )


def crossentropy():
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def judged(answers, labels):
    """Return the crossentropy and the accuracy of answers, of shape (examples, classes)."""
    answers, labels = np.asarray(answers, np.float64), labels[:, 0, 0]
    losses = np.log(np.exp(answers).sum(axis=1)) - answers[np.arange(len(labels)), labels]
    return losses.mean(), np.mean(answers.argmax(axis=1) == labels)


@pytest.fixture(scope="module")
def trained():
    """Return what was validated during a training, and what is recorded at its end."""
    model = Model()
    with simulator(model.net, minibatch_size=4) as sim:
        model.compile(sim)
        both = {model.output: model.labels, model.filtered: model.labels}
        at_end = {
            "window": model.validation(sim, window=0.01),
            "both": model.validation(sim, targets=both),
            "metrics": model.validation(sim, metrics=["mae", error]),
            "loss": model.validation(sim, loss={"output": error}, metrics=[]),
        }
        seldom = model.validation(sim, every=2, metrics=tf.keras.metrics.MeanSquaredError("often"))
        callbacks = [model.validation(sim), Watching(), seldom]
        fit = model.fit(sim, callbacks, epochs=4)
        recorded = sim.predict(model.shown, verbose=0)
        at_end = {name: one.evaluate() for name, one in at_end.items()}
    return model, fit, callbacks[1].seen, recorded, at_end


class Watching(tf.keras.callbacks.Callback):
    """Keeps the logs that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(dict(logs))


def error(y_true, y_pred):
    return tf.reduce_mean(tf.abs(tf.cast(y_true, y_pred.dtype) - y_pred), axis=-1)


def test_history_of_training(trained):
    """The last entry is that of the mean of the outputs over all steps, by hand."""
    model, fit, seen, recorded, _ = trained
    loss, accuracy = judged(recorded[model.output].mean(axis=1, dtype=float), model.labels)
    assert fit.history["val_spikes_loss"][-1] == pytest.approx(loss, rel=1e-5)
    assert fit.history["val_spikes_accuracy"][-1] == pytest.approx(accuracy, rel=1e-6)
    assert len(set(fit.history["val_spikes_loss"])) == 4
    assert [logs["val_spikes_loss"] for logs in seen] == fit.history["val_spikes_loss"]
    assert len(fit.history["val_spikes_often"]) == 2
    assert "val_spikes_often" not in seen[1]


def test_windows_and_filters(trained):
    """The end of a window is averaged; what goes through a filter is taken as it is."""
    model, _, _, recorded, at_end = trained
    plain, filtered = recorded[model.output], recorded[model.filtered]
    loss, accuracy = judged(plain[:, -10:].mean(axis=1, dtype=float), model.labels)
    expected = {"val_spikes_loss": loss, "val_spikes_accuracy": accuracy}
    assert at_end["window"] == pytest.approx(expected, rel=1e-5)
    loss, accuracy = judged(plain.mean(axis=1, dtype=float), model.labels)
    other_loss, other_accuracy = judged(filtered[:, -1], model.labels)
    expected = {
        "val_spikes_loss": loss + other_loss,
        "val_spikes_output_loss": loss,
        "val_spikes_filtered_loss": other_loss,
        "val_spikes_output_accuracy": accuracy,
        "val_spikes_filtered_accuracy": other_accuracy,
    }
    assert at_end["both"] == pytest.approx(expected, rel=1e-5)


def test_losses_and_metrics_that_are_given(trained):
    model, _, _, recorded, at_end = trained
    answers = recorded[model.output].mean(axis=1, dtype=float)
    mean = np.abs(answers - model.labels[:, 0]).mean()
    assert at_end["loss"] == pytest.approx({"val_spikes_loss": mean}, rel=1e-5)
    loss, _ = judged(answers, model.labels)
    expected = {"val_spikes_loss": loss, "val_spikes_mae": mean, "val_spikes_error": mean}
    assert at_end["metrics"] == pytest.approx(expected, rel=1e-5)


def test_every_step_of_targets():
    """As sim.evaluate compares them, with the weights of the losses."""
    model = Model()
    targets = {model.output: np.random.RandomState(0).normal(size=(VALIDATION, SHOWN, CLASSES))}
    with simulator(model.net, minibatch_size=4) as sim:
        sim.compile("sgd", loss={model.output: "mse"}, loss_weights={model.output: 3.0})
        validation = model.validation(sim, targets=targets)
        found = validation.evaluate()
        expected = sim.evaluate(model.shown, targets, verbose=0)["output_loss"]
        assert found == pytest.approx({"val_spikes_loss": 3 * expected}, rel=1e-5)
        sim.compile("sgd", loss={model.output: "mae"})
        expected = sim.evaluate(model.shown, targets, verbose=0)["output_loss"]
        assert validation.evaluate() == pytest.approx({"val_spikes_loss": expected}, rel=1e-5)


WAYS = {
    "as it comes": ({}, {}),
    "decay, stateful": ({}, {"stateful": True, "shuffle": False}),
    "XLA": ({"jit_compile": True, "dropout": 0}, {}),  # which has no seeds for Keras' dropout
}


@pytest.mark.slow
@pytest.mark.traced
@pytest.mark.parametrize("way", WAYS)
def test_training_is_as_it_is_without(way):
    """Weights, the other logs, and random numbers are the same to the last bit."""
    settings, arguments = WAYS[way]
    found = []
    for validates in (False, True):
        tf.keras.backend.clear_session()
        seed(1)
        model = Model(**settings)
        with simulator(model.net, minibatch_size=4) as sim:
            model.compile(sim)
            callbacks = [model.validation(sim)] if validates else []
            fit = model.fit(sim, callbacks, epochs=3, **arguments)
            logs = {k: v for k, v in fit.history.items() if not k.startswith("val_spikes")}
            assert sim.keras_model.history is fit
            assert len(fit.history.get("val_spikes_loss", [])) == 3 * validates
            after = sim.predict(model.shown, verbose=0)[model.output]
            found.append((logs, sim.keras_model.get_weights(), after, tf.random.uniform((3,))))
    (logs, weights, after, drawn), other = found
    assert logs == other[0]
    for one, two in zip([*weights, after, drawn], [*other[1], *other[2:]]):
        np.testing.assert_array_equal(one, two)


class Worse(tf.keras.callbacks.Callback):
    """Makes the weights worse after some epochs."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= 2:
            self.model.set_weights([10 * one for one in self.model.get_weights()])


def test_early_stopping_and_checkpoints(tmp_path):
    """They take it, if they come after it in the list."""
    model = Model()
    with simulator(model.net, minibatch_size=4) as sim:
        sim.compile(tf.keras.optimizers.SGD(0.0), loss={model.output: crossentropy()})
        stops = tf.keras.callbacks.EarlyStopping("val_spikes_loss", patience=2, mode="min")
        saves = tf.keras.callbacks.ModelCheckpoint(
            str(tmp_path / "{epoch}.weights.h5"),
            "val_spikes_loss",
            save_best_only=True,
            save_weights_only=True,
        )
        fit = model.fit(sim, [Worse(), model.validation(sim), stops, saves], epochs=20)
    losses = fit.history["val_spikes_loss"]
    assert losses[0] == losses[1] < losses[2]
    assert len(losses) == 3 and stops.stopped_epoch == 2
    assert [path.name for path in tmp_path.glob("*.h5")] == ["1.weights.h5"]


def test_trials_are_pruned_by_it():
    """Optuna's callback of Keras reports it to the study."""
    optuna = pytest.importorskip("optuna")
    pytest.importorskip("optuna_integration")
    from optuna_integration import TFKerasPruningCallback

    model, study = Model(), optuna.create_study()
    trial = study.ask()
    with simulator(model.net, minibatch_size=4) as sim:
        model.compile(sim)
        prunes = TFKerasPruningCallback(trial, "val_spikes_loss")
        fit = model.fit(sim, [model.validation(sim), prunes], epochs=2)
    reported = study.trials[0].intermediate_values
    assert list(reported.values()) == fit.history["val_spikes_loss"]


def test_what_a_training_refuses():
    """Before its first batch: a probe without a loss, the callback twice or of another model."""
    model = Model()
    with simulator(model.net, minibatch_size=4) as sim, simulator(model.net) as other:
        sim.compile("sgd", loss={model.filtered: None})
        validation = model.validation(sim)
        with pytest.raises(ValidationError, match="loss: .*output.* has targets, but no loss"):
            model.fit(sim, [validation])
        sim.compile("sgd", loss={model.output: crossentropy()})
        with pytest.raises(ValidationError, match="same SpikeValidation of .* given twice"):
            model.fit(sim, [validation] * 2)
        validation.set_model(other.keras_model)
        with pytest.raises(ValidationError, match="SpikeValidation of .* another model"):
            validation.on_train_begin()
