"""When WeightNorms records, and what it says during training."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from by_hand import norm
from generations import assign, sgd, simulator, train, values
from nengo.exceptions import SimulatorClosed, ValidationError
from networks import ThreeConnections, readout_network

import nengo_wd

STEPS, MINIBATCH = 3, 4
l2 = tf.keras.regularizers.l2


def data_of(source, probe, n_batches):
    """Return inputs and targets, other ones in each batch."""
    shape = (n_batches * MINIBATCH, STEPS)
    rng = np.random.RandomState(1)
    return {source: rng.uniform(size=(*shape, 2))}, {probe: rng.uniform(size=(*shape, 3))}


def test_records_by_hand():
    net, source, layer, probe = readout_network()
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        assert norms.norms.shape == (0, 1)
        assert norms.channel_norms["readout.kernel"].shape == (0, 3)
        norms.record()
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        train(sim, *data_of(source, probe, 2), objective, sgd(0.1), epochs=3)
        norms.record(epoch=3, loss=8.0)
        norms.record(step=100)
        kernel = values(sim, [layer.kernel])[0]
    assert norms.steps.tolist() == [0, 6, 100]
    assert norms.epochs.tolist() == [0, 3, 0]
    np.testing.assert_array_equal(norms.losses, [np.nan, 8, np.nan])
    np.testing.assert_allclose(norms.norms[1:, 0], norm(kernel), rtol=1e-6)
    np.testing.assert_allclose(norms.shares[1], 0.5 * norm(kernel) ** 2 / 8, rtol=1e-6)


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "every, steps, epochs",
    [
        ("epoch", [0, 3, 6], [0, 1, 2]),
        ("batch", [0, 1, 2, 3, 4, 5, 6], [0, 0, 0, 0, 1, 1, 1]),
        (2, [0, 2, 4, 6], [0, 0, 1, 1]),
        (4, [0, 4, 6], [0, 1, 2]),
    ],
)
def test_records_during_fit(every, steps, epochs):
    net, source, layer, probe = readout_network()
    inputs, targets = data_of(source, probe, 3)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim, every)
        sim.compile(sgd(0.0), loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
        fit = sim.fit(inputs, targets, epochs=2, shuffle=False, verbose=0, callbacks=[norms])
    outputs = inputs[source].sum(axis=-1, keepdims=True)  # all weights are one
    errors = np.mean(np.reshape((outputs - targets[probe]) ** 2, (3, -1)), axis=1)
    so_far = np.cumsum(errors) / np.arange(1, 4) + 0.5 * 6  # in an epoch, as Keras reports it
    losses = [np.nan] + [so_far[(step - 1) % 3] for step in steps[1:]]
    if every == 4:  # the last record is made after the epoch
        losses[-1] = np.nan
    assert norms.steps.tolist() == steps
    assert norms.epochs.tolist() == epochs
    np.testing.assert_allclose(norms.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(norms.shares[:, 0], 3.0 / np.array(losses), rtol=1e-5)
    assert fit.history["penalty"] == pytest.approx([3.0, 3.0])


@pytest.mark.generation(3)
def test_steps_go_on_with_another_optimizer():
    net, source, _, probe = readout_network()
    inputs, targets = data_of(source, probe, 3)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        for _ in range(2):
            sim.compile(sgd(0.1), loss={probe: "mse"})
            sim.fit(inputs, targets, epochs=2, verbose=0, callbacks=[norms])
    assert norms.steps.tolist() == [0, 3, 6, 9, 12]
    assert norms.epochs.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.generation(3)
def test_penalty_is_in_the_progress_bar(capsys):
    net, source, _, probe = readout_network()
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        sim.compile(sgd(0.0), loss={probe: "mse"})
        callbacks = [nengo_wd.WeightNorms(sim)]
        sim.fit(*data_of(source, probe, 3), verbose=1, callbacks=callbacks)
    assert "penalty: 3.0000" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.generation(3)
def test_decay_that_the_optimizer_takes_no_notice_of():
    net, source, _, probe = readout_network(strength=None, weight_decay=0.1)
    data = data_of(source, probe, 1)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        callbacks = [nengo_wd.WeightNorms(sim)]
        # not by NengoDL's own method, which warns itself
        sim.keras_model.compile(sgd(0.1), loss="mse")
        with pytest.warns(UserWarning, match="without its settings for weight_decay: compile"):
            sim.fit(*data, verbose=0, callbacks=callbacks)
        for optimizer in (
            nengo_wd.decoupled_weight_decay(sim, sgd(0.1)),
            nengo_wd.LayerwiseSGD(sim, 0.1),
        ):
            sim.compile(optimizer, loss={probe: "mse"})
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)
                sim.fit(*data, verbose=0, callbacks=callbacks)


@pytest.mark.generation(3)
@pytest.mark.filterwarnings("ignore:.*is trained without its settings")
def test_no_penalty_in_the_progress_bar_where_there_is_none():
    net, source, _, probe = readout_network(strength=None, weight_decay=0.1)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        sim.compile(sgd(0.1), loss={probe: "mse"})
        callbacks = [nengo_wd.WeightNorms(sim)]
        fit = sim.fit(*data_of(source, probe, 1), verbose=0, callbacks=callbacks)
    assert "penalty" not in fit.history


@pytest.mark.generation(3)
def test_callback_of_another_simulator():
    net, source, _, probe = readout_network()
    other, _, _, _ = readout_network()
    with simulator(net, minibatch_size=MINIBATCH) as sim, simulator(other) as other_sim:
        sim.compile(sgd(0.1), loss={probe: "mse"})
        callbacks = [nengo_wd.WeightNorms(other_sim)]
        with pytest.raises(ValidationError, match="one for each simulator"):
            sim.fit(*data_of(source, probe, 1), verbose=0, callbacks=callbacks)


@pytest.mark.generation(3)
def test_steps_of_alternating_optimizers():
    net, source, _, probe = readout_network()
    data = data_of(source, probe, 2)
    optimizers = [sgd(0.1), sgd(0.2)]
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        for optimizer in 2 * optimizers:
            sim.compile(optimizer, loss={probe: "mse"})
            sim.fit(*data, verbose=0, callbacks=[norms])
    assert norms.steps.tolist() == [0, 2, 4, 6, 8]


@pytest.mark.generation(3)
def test_weights_that_change_between_trainings_are_recorded():
    net, source, layer, probe = readout_network()
    data = data_of(source, probe, 2)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        sim.compile(sgd(0.0), loss={probe: "mse"})
        sim.fit(*data, verbose=0, callbacks=[norms])
        assign(sim, layer.kernel, np.full((2, 3), 2, np.float32))
        sim.fit(*data, verbose=0, callbacks=[norms])
    assert norms.steps.tolist() == [0, 2, 2, 4]
    np.testing.assert_allclose(norms.norms[:, 0], np.sqrt([6, 6, 24, 24]), rtol=1e-6)


@pytest.mark.generation(3)
def test_settings_that_are_no_part_of_the_loss():
    net, source, _, probe = readout_network(strength=None, regularizer=l2(0.5))
    data = data_of(source, probe, 1)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        callbacks = [nengo_wd.WeightNorms(sim)]
        # not by NengoDL's own method, which warns itself
        sim.keras_model.compile(sgd(0.1), loss="mse")
        with pytest.warns(UserWarning, match="without its settings for regularizer: compile"):
            sim.fit(*data, verbose=0, callbacks=callbacks)
        sim.compile(sgd(0.1), loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            sim.fit(*data, verbose=0, callbacks=callbacks)


# -- weights that are not finite ---------------------------------------------------------


def test_weights_that_are_not_finite_are_reported_once():
    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        kernel = np.ones((2, 3), np.float32)
        kernel[0, 1:] = np.nan, np.inf
        assign(sim, layer.kernel, kernel)
        with pytest.warns(RuntimeWarning, match=r"at step 7: 2 of the 6 in readout\.kernel"):
            norms.record(step=7)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            norms.record(step=8)
            assign(sim, layer.kernel, np.ones((2, 3), np.float32))
            norms.record(step=9)
    np.testing.assert_allclose(norms.channel_norms["readout.kernel"][0, 0], np.sqrt(2))


@pytest.mark.generation(3)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_fit_reports_before_the_epoch_ends():
    net, source, _, probe = readout_network()
    inputs, targets = data_of(source, probe, 6)
    targets[probe][2 * MINIBATCH] = np.inf  # in the third batch
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        sim.compile(sgd(0.1), loss={probe: "mse"})
        callbacks = [nengo_wd.WeightNorms(sim, every="epoch")]
        with pytest.raises(RuntimeWarning, match=r"at step 3: 6 of the 6 in readout\.kernel"):
            sim.fit(inputs, targets, shuffle=False, verbose=0, callbacks=callbacks)


@pytest.mark.generation(3)
def test_fit_reports_each_parameter_at_the_batch_where_it_breaks():
    net, source, layer, probe = readout_network()
    inputs, targets = data_of(source, probe, 6)
    targets[probe][0] = np.inf  # so that Keras reports no finite loss from the first batch on

    def break_bias(batch, logs):
        if batch == 3:
            assign(sim, layer.kernel, np.ones((2, 3), np.float32))
            assign(sim, layer.bias, np.full(3, np.nan, np.float32))

    breaking = tf.keras.callbacks.LambdaCallback(on_batch_end=break_bias)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        sim.compile(sgd(0.0), loss={probe: "mse"})
        norms = nengo_wd.WeightNorms(sim, objects=layer)
        assign(sim, layer.kernel, np.full((2, 3), np.nan, np.float32))
        with pytest.warns(RuntimeWarning) as caught:
            sim.fit(inputs, targets, shuffle=False, verbose=0, callbacks=[breaking, norms])
    found = [str(w.message) for w in caught if "weights are not finite" in str(w.message)]
    assert "at step 0: 6 of the 6 in readout.kernel" in found[0]
    assert "in readout.bias" in found[1]


# -- bad input ---------------------------------------------------------------------------


def test_bad_arguments():
    net, _, _, _ = readout_network(strength=None)
    with simulator(net) as sim:
        with pytest.raises(ValidationError, match="no weights in .* have a regularizer"):
            nengo_wd.WeightNorms(sim)
        for every in ("step", 0, -1, 1.5, True, None):
            with pytest.raises(ValidationError, match="does not say when to record"):
                nengo_wd.WeightNorms(sim, every, objects=net)
        norms = nengo_wd.WeightNorms(sim, objects=net)
    with pytest.raises(SimulatorClosed):
        norms.record()
    with pytest.raises(SimulatorClosed):
        nengo_wd.WeightNorms(sim, objects=net)
    with pytest.raises(ValidationError, match=r"expected a nengo_dl\.Simulator"):
        nengo_wd.WeightNorms(net)


# -- trainings that are resumed --------------------------------------------------------------


@pytest.mark.generation(3)
def test_epochs_of_a_training_that_begins_later(rng):
    net, source, _, probe = readout_network()
    data = data_of(source, probe, 3)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        sim.compile(sgd(0.1), loss={probe: "mse"})
        sim.fit(*data, initial_epoch=5, epochs=7, verbose=0, callbacks=[norms])
        sim.fit(*data, initial_epoch=7, epochs=8, verbose=0, callbacks=[norms])
        sim.fit(*data, verbose=0, callbacks=[norms])
    assert norms.epochs.tolist() == [5, 6, 7, 8, 9]
    assert norms.steps.tolist() == [0, 3, 6, 9, 12]


@pytest.mark.generation(3)
def test_the_first_record_is_of_what_was_restored(tmp_path):
    net, source, _, probe = readout_network()
    data = data_of(source, probe, 3)
    for epochs in (2, 4):
        with simulator(net, minibatch_size=MINIBATCH) as sim:
            norms = nengo_wd.WeightNorms(sim)
            backup = tf.keras.callbacks.BackupAndRestore(str(tmp_path), delete_checkpoint=False)
            sim.compile(sgd(0.1), loss={probe: "mse"})
            sim.fit(*data, epochs=epochs, verbose=0, callbacks=[norms, backup])
    assert norms.epochs.tolist() == [2, 3, 4]
    assert norms.steps.tolist() == [6, 9, 12]


@pytest.mark.generation(3)
def test_epochs_of_a_training_that_goes_back(tmp_path):
    net, source, _, probe = readout_network()
    data = data_of(source, probe, 3)
    saving = tf.keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}"), save_weights_only=True)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        sim.compile(sgd(0.1), loss={probe: "mse"})
        sim.fit(*data, epochs=3, verbose=0, callbacks=[norms, saving])
        sim.keras_model.load_weights(str(tmp_path / "1"))
        sim.fit(*data, initial_epoch=1, epochs=3, verbose=0, callbacks=[norms])
    assert norms.epochs.tolist() == [0, 1, 2, 3]
    assert norms.steps.tolist() == [0, 3, 6, 9]


@pytest.mark.generation(3)
def test_the_same_callback_given_twice():
    net, source, _, probe = readout_network()
    data = data_of(source, probe, 3)
    with simulator(net, minibatch_size=MINIBATCH) as sim:
        norms = nengo_wd.WeightNorms(sim)
        sim.compile(sgd(0.1), loss={probe: "mse"})
        with pytest.raises(ValidationError, match="same WeightNorms .* twice .* give it once"):
            sim.fit(*data, verbose=0, callbacks=[norms, norms])
        for _ in range(2):
            sim.fit(*data, verbose=0, callbacks=[norms, nengo_wd.WeightNorms(sim)])
    assert norms.steps.tolist() == [0, 3, 6]


class Interrupting(tf.keras.callbacks.Callback):
    """Stop in the middle of the third epoch, once."""

    def __init__(self):
        super().__init__()
        self.done = False

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == 8 and not self.done:
            self.done = True
            raise KeyboardInterrupt


@pytest.mark.generation(3)
@pytest.mark.parametrize("anew", [False, True])
def test_steps_that_are_taken_again_are_recorded_once(anew, tmp_path):
    """In the history and in TensorBoard, with the same callback or with one of a new simulator."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = ThreeConnections()
    model.set("regularizer", "l2")
    inputs, targets = (
        {key: np.repeat(value, 3, axis=0) for key, value in data.items()}
        for data in (model.inputs, model.targets)
    )
    interrupting = Interrupting()

    def train(sim, norms):
        backup = tf.keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        callbacks = [norms, backup, interrupting]
        sim.fit(inputs, targets, epochs=4, verbose=0, callbacks=callbacks)

    def prepare(sim):
        sim.compile(sgd(0.1), loss=nengo_wd.regularized_objective(sim, model.objective))
        return nengo_wd.WeightNorms(sim, every="batch", log_dir=tmp_path / "log")

    with simulator(model.net) as sim:
        norms = prepare(sim)
        with pytest.raises(KeyboardInterrupt):
            train(sim, norms)
        assert norms.steps.tolist()[-2:] == [7, 8]
        if not anew:
            train(sim, norms)
            assert norms.steps.tolist() == list(range(13))
    if anew:
        with simulator(model.net) as sim:
            norms = prepare(sim)
            train(sim, norms)
            assert norms.steps.tolist() == list(range(6, 13))
    assert norms.epochs[-4:].tolist() == [2, 3, 3, 3]
    read = EventAccumulator(str(tmp_path / "log"), {"scalars": 0}).Reload()
    events = read.Scalars(f"{norms.names[0]}/norm")
    assert [event.step for event in events] == list(range(13))
    assert [event.value for event in events[-7:]] == pytest.approx(norms.norms[-7:, 0].tolist())
