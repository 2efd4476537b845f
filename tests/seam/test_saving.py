"""What is saved of a simulator, and what a training that goes on in another process has of it."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import assign, seed, sgd, simulator, train
from networks import Ensembles, parameters_of
from scripts import SUPPORT, run_in_fresh_python

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import TowardsInitial

KILLED = [
    ("backup_and_restore", "adam"),
    ("model_checkpoint", "layerwise"),
    ("checkpoint", "scaled_and_averaged"),
]


@pytest.mark.slow
@pytest.mark.generation(3)
def test_training_that_was_killed_ends_in_the_weights_of_one_that_was_not(tmp_path):
    script = SUPPORT / "killed_and_resumed.py"
    pairs = [name for pair in KILLED for name in pair]
    ran = run_in_fresh_python(script, str(tmp_path), *pairs, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [f"{way} {optimizer} 0.0" for way, optimizer in KILLED]


# -- every weight, in every format --------------------------------------------------------


@pytest.fixture
def model():
    """Return a model in which variables of native parameters have the same names."""
    model = Ensembles()
    model.config[model.conn].regularizer = TowardsInitial(l2=1.0)
    with model.net:
        nengo_dl.configure_settings(planner=nengo_dl.graph_optimizer.noop_planner)
        nengo.Connection(model.b, nengo.Ensemble(5, 2))
        keras = nengo_dl.Layer(tf.keras.layers.Dense(4, dtype="float64"))(model.a)
        nengo_dl.Layer(nengo_wd.RegularizedConv2D(2, 2, input_shape=(2, 2, 1)))(keras)
    return model


def compiled(model, number):
    """Return a simulator with weights and initial values that depend on a number."""
    seed(number)
    sim = simulator(model.net)
    sim.compile("adam", loss=nengo_wd.regularized_objective(sim, {model.probe: "mse"}))
    for i, weight in enumerate(sim.keras_model.weights):
        weight.assign(tf.fill(weight.shape, tf.cast(10 * number + i, weight.dtype)))
    return sim


def save_checkpoint(sim, path):
    return tf.train.Checkpoint(model=sim.keras_model).save(path)


def restore_checkpoint(sim, path):
    tf.train.Checkpoint(model=sim.keras_model).restore(path).assert_existing_objects_matched()


def save_weights(sim, path):
    sim.keras_model.save_weights(path)
    return path


def load_weights(sim, path):
    sim.keras_model.load_weights(path)


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "save, load, name",
    [
        (save_checkpoint, restore_checkpoint, "checkpoint"),
        (save_weights, load_weights, "weights"),
        (save_weights, load_weights, "saved.weights.h5"),
    ],
)
def test_every_weight_and_initial_value_is_saved(model, save, load, name, tmp_path):
    with compiled(model, 1) as sim:
        names = [weight.name for weight in sim.keras_model.weights]
        assert len(set(names)) < len(names)
        (decoders,) = parameters_of(sim, model.conn)
        saved, initial = sim.keras_model.get_weights(), decoders.initial
        path = save(sim, str(tmp_path / name))
    model.net.seed += 1
    with compiled(model, 2) as sim:
        (decoders,) = parameters_of(sim, model.conn)
        assert not np.allclose(decoders.initial, initial)
        load(sim, path)
        for one, other in zip(sim.keras_model.get_weights(), saved):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(decoders.initial, initial)
        penalty = np.square(decoders.value.astype(float) - initial).sum()
        assert nengo_wd.regularization_losses(sim)["ab.weights"] == pytest.approx(penalty)


@pytest.mark.generation(3)
def test_optimizer_that_is_built_has_its_state_from_the_h5_format(model, tmp_path):
    path = str(tmp_path / "saved.weights.h5")
    data = model.inputs, model.targets
    with compiled(model, 1) as sim:
        sim.fit(*data, verbose=0)
        sim.keras_model.save_weights(path)
        state = [v.numpy() for v in sim.keras_model.optimizer.variables]
    with compiled(model, 2) as sim:
        sim.keras_model.optimizer.build(sim.keras_model.trainable_variables)
        sim.keras_model.load_weights(path)
        for one, other in zip(sim.keras_model.optimizer.variables, state):
            np.testing.assert_array_equal(one.numpy(), other)


# -- save_params ---------------------------------------------------------------------------


def test_save_params_says_that_it_leaves_out_initial_values(tmp_path):
    model = Ensembles()
    with simulator(model.net) as sim:
        sim.save_params(str(tmp_path / "all"))  # and says nothing
        model.config[model.conn].regularizer = TowardsInitial(l2=1.0)
        nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        with pytest.warns(UserWarning, match="leaves out the initial values that TowardsInitial"):
            sim.save_params(str(tmp_path / "weights"))
        saved = [parameter.value for parameter in parameters_of(sim, model.node)]
    with simulator(model.net) as sim:
        for parameter in parameters_of(sim, model.node):
            assign(sim, parameter.variable, 0 * parameter.value)
        sim.load_params(str(tmp_path / "weights"))
        for parameter, value in zip(parameters_of(sim, model.node), saved):
            np.testing.assert_array_equal(parameter.value, value)


# -- a second simulator --------------------------------------------------------------------


def test_initial_weights_of_a_layer_stay_what_they_were_in_another_simulator():
    model = Ensembles()
    model.config[model.node].regularizer = TowardsInitial(l2=1.0)
    with simulator(model.net) as sim:
        (kernel, _) = parameters_of(sim, model.node)
        start = kernel.value
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        train(sim, model.inputs, model.targets, objective, sgd(0.1))
        trained = kernel.value
    assert not np.allclose(trained, start)
    with simulator(model.net) as sim:
        (kernel, _) = parameters_of(sim, model.node)
        assign(sim, kernel.variable, trained)
        loss = nengo_wd.regularization_losses(sim)["dense.kernel"]
        assert loss == pytest.approx(np.square(trained - start).sum())
