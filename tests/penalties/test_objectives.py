"""Objectives with all penalties, each of which counts once."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, assign, outputs, sgd, simulator, train, values
from hypothesis import given, settings
from hypothesis import strategies as st
from nengo.exceptions import SimulatorClosed, ValidationError
from networks import DenseLayers

import nengo_wd

STRENGTHS = (0.0, 0.25, 0.5)  # exact in float32, in which Keras keeps them

pairs = st.tuples(st.sampled_from(STRENGTHS), st.sampled_from(STRENGTHS))


@pytest.fixture
def model():
    return DenseLayers()


@settings(max_examples=5, deadline=None, derandomize=True)
@given(
    nodes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    n_probes=st.integers(1, 4),
    n_calls=st.integers(1, 3),
    kernel=pairs,
    bias=st.none() | pairs,
)
def test_every_penalty_counts_exactly_once(nodes, n_probes, n_calls, kernel, bias):
    tf.keras.backend.clear_session()
    model = DenseLayers(nodes, n_probes, kernel, bias)
    with model.simulator() as sim:
        objective = {probe: "mse" for probe in model.probes}
        for _ in range(n_calls):
            objective = nengo_wd.regularized_objective(sim, objective)
        penalty = model.penalty(sim)
        assert nengo_wd.regularization_loss(sim) == pytest.approx(penalty, rel=1e-12)
        added = model.total(sim, objective) - model.data_loss(sim)
        assert added == pytest.approx(penalty, rel=1e-9, abs=1e-12)
        # again, built anew for the same simulator
        objective = nengo_wd.regularized_objective(sim, {p: "mse" for p in model.probes})
        added = model.total(sim, objective) - model.data_loss(sim)
        assert added == pytest.approx(penalty, rel=1e-9, abs=1e-12)


def mean_squared(a, b):
    return tf.reduce_mean(tf.square(a - b))


FORMS = {
    "name": lambda model: "mse",
    "function": lambda model: mean_squared,
    "Keras loss": lambda model: tf.keras.losses.MeanSquaredError(),
    "list": lambda model: ["mse", mean_squared],
    "dictionary": lambda model: dict(zip(model.probes, ("mse", mean_squared))),
}

if GENERATION == 3:
    FORMS["dictionary of names"] = lambda model: {"probe": "mse", "probe_1": mean_squared}
else:
    FORMS["None"] = lambda model: None
    FORMS["other name"] = lambda model: "mean_squared_error"
    FORMS["tuple of probes"] = lambda model: {
        tuple(model.probes): lambda y, t: mean_squared(y[0], t[0]) + mean_squared(y[1], t[1])
    }


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_objective(form):
    model = DenseLayers(n_probes=2)
    with model.simulator() as sim:
        objective = nengo_wd.regularized_objective(sim, FORMS[form](model))
        expected = model.data_loss(sim) + model.penalty(sim)
        # TensorFlow 1.15 computes Keras losses in float32
        assert model.total(sim, objective) == pytest.approx(expected, rel=1e-7)


@pytest.mark.generation(3)
def test_no_objective_leaves_the_penalties():
    model = DenseLayers()
    with model.simulator() as sim:
        penalty = model.penalty(sim)
        sim.compile("sgd", loss=nengo_wd.regularized_objective(sim, None))
        history = sim.fit(model.inputs, verbose=0).history
        assert history["loss"] == [pytest.approx(penalty, rel=1e-9)]


@pytest.mark.generation(3)
@pytest.mark.parametrize("form", [lambda probe: {probe: None}, lambda probe: [None]])
def test_no_loss_of_any_probe_leaves_the_penalties(form):
    model = DenseLayers()
    with model.simulator() as sim:
        penalty = model.penalty(sim)
        sim.compile("sgd", loss=nengo_wd.regularized_objective(sim, form(model.probes[0])))
        for targets in ((), (model.targets,)):
            history = sim.evaluate(model.inputs, *targets, verbose=0)
            assert history["loss"] == pytest.approx(penalty, rel=1e-9)


@pytest.mark.generation(3)
@pytest.mark.parametrize("weights", [(0.0, 0.0), (2.0, 0.5)])
def test_sample_weights_are_for_examples_and_not_for_penalties(weights):
    model = DenseLayers()
    (probe,) = model.probes
    with model.net:
        nengo_wd.configure_settings()
    model.net.config[probe].regularizer = tf.keras.regularizers.l2(0.5)
    with model.simulator() as sim:
        (y,) = outputs(sim, model.inputs, [probe])
        by_example = np.mean((y - model.targets[probe]) ** 2, axis=(1, 2))
        activity = 0.5 * np.sum(y**2) / (2 * 3)
        sim.compile("sgd", loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
        losses = sim.evaluate(
            model.inputs, model.targets, sample_weight=np.array(weights), verbose=0
        )
        expected = np.mean(np.array(weights) * by_example) + activity + model.penalty(sim)
        assert losses["loss"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.generation(3)
def test_class_weights_are_for_models_of_one_output():
    model = DenseLayers()
    with model.simulator() as sim:
        sim.compile("sgd", loss=nengo_wd.regularized_objective(sim, "mse"))
        with pytest.raises(ValueError, match="class_weight. is only supported"):
            sim.fit(model.inputs, model.targets, class_weight={0: 2.0}, verbose=0)


@pytest.mark.generation(2)
def test_function_of_the_outputs_alone():
    model = DenseLayers(n_probes=2)
    with model.simulator() as sim:
        total = nengo_wd.regularized_objective(
            sim, {model.probes[0]: lambda y: tf.reduce_sum(y), model.probes[1]: "mse"}
        )
        y0, y1 = outputs(sim, model.inputs, model.probes)
        model.targets = {model.probes[1]: model.targets[model.probes[1]]}
        expected = np.sum(y0) + np.mean((y1 - model.targets[model.probes[1]]) ** 2)
        assert model.total(sim, total) == pytest.approx(expected + model.penalty(sim), rel=1e-9)


@pytest.mark.generation(2)
def test_gradient_given_as_targets():
    """None means that the targets are the gradient of the outputs."""
    model = DenseLayers(kernel=(0.0, 0.5), bias=None)
    probe, layer = model.probes[0], model.layers[0]
    with model.simulator() as sim:
        kernel, bias = values(sim, layer.weights)
        objective = nengo_wd.regularized_objective(sim, {probe: None})
        assert model.total(sim, objective) == pytest.approx(model.penalty(sim), rel=1e-9)
        train(sim, model.inputs, model.targets, objective, sgd(0.125))
        trained = values(sim, layer.weights)
    x, gradient = model.inputs[model.source].reshape(-1, 2), model.targets[probe].reshape(-1, 3)
    np.testing.assert_allclose(trained[0], kernel - 0.125 * (x.T @ gradient + kernel), rtol=1e-9)
    np.testing.assert_allclose(trained[1], bias - 0.125 * gradient.sum(axis=0), rtol=1e-9)


@pytest.mark.generation(2)
@pytest.mark.parametrize(
    "loss",
    [
        "mean_absolute_percentage_error",
        tf.keras.losses.mean_absolute_percentage_error,
        tf.keras.losses.MeanAbsolutePercentageError(),
    ],
)
def test_keras_loss_gets_targets_first_and_is_averaged(loss):
    model = DenseLayers()
    probe = model.probes[0]
    model.targets[probe] = np.abs(model.targets[probe])
    with model.simulator() as sim:
        (y,) = outputs(sim, model.inputs, model.probes)
        t = model.targets[probe]
        expected = 100 * np.mean(np.abs((t - y) / t)) + model.penalty(sim)
        total = nengo_wd.regularized_objective(sim, {probe: loss})
        assert model.total(sim, total) == pytest.approx(expected, rel=1e-5)


@pytest.mark.generation(2)
def test_objective_that_is_no_scalar_is_summed():
    model = DenseLayers()
    with model.simulator() as sim:
        (y,) = outputs(sim, model.inputs, model.probes)
        objective = {model.probes[0]: lambda y, t: tf.square(y - t)}
        total = model.total(sim, nengo_wd.regularized_objective(sim, objective))
        expected = np.sum((y - model.targets[model.probes[0]]) ** 2) + model.penalty(sim)
        assert total == pytest.approx(expected, rel=1e-9)


@pytest.mark.generation(2)
def test_optimizer_keeps_its_state_when_the_objective_is_built_anew():
    weights = []
    for n_calls in (3, 1):
        model = DenseLayers()
        with simulator(model.net, minibatch_size=2, seed=0) as sim:
            optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
            for _ in range(n_calls):
                objective = nengo_wd.regularized_objective(sim, {p: "mse" for p in model.probes})
                train(sim, model.inputs, model.targets, objective, optimizer, epochs=3 // n_calls)
            weights.append(values(sim, model.layers[0].weights))
    for anew, at_once in zip(*weights):
        np.testing.assert_allclose(anew, at_once, rtol=1e-12)


@pytest.mark.slow
def test_gradient_is_that_of_the_reported_total():
    """One step of plain gradient descent, against central differences of the loss."""
    rate, step = 0.125, 1e-6
    model = DenseLayers(nodes=(2, 1), n_probes=2, kernel=(0.25, 0.5))
    with model.simulator() as sim:
        objective = nengo_wd.regularized_objective(sim, {p: "mse" for p in model.probes})
        weights = [weight for layer in model.layers for weight in layer.weights]
        before = values(sim, weights)
        differences = [np.zeros_like(value) for value in before]
        for variable, value, difference in zip(weights, before, differences):
            for index in np.ndindex(value.shape):
                for sign in (1, -1):
                    moved = value.copy()
                    moved[index] += sign * step
                    assign(sim, variable, moved)
                    difference[index] += sign * model.total(sim, objective) / (2 * step)
            assign(sim, variable, value)
        train(sim, model.inputs, model.targets, objective, sgd(rate))
        for value, after, difference in zip(before, values(sim, weights), differences):
            np.testing.assert_allclose((value - after) / rate, difference, atol=1e-7)


# -- bad input ---------------------------------------------------------------------------


def test_probe_of_another_network(model):
    with nengo.Network():
        stranger = nengo.Probe(nengo.Node(0, label="elsewhere"))
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="elsewhere.*not among the probes"):
            nengo_wd.regularized_objective(sim, {stranger: "mse"})


def test_key_that_is_no_probe(model):
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="Node.*is not a probe"):
            nengo_wd.regularized_objective(sim, {model.source: "mse"})
        with pytest.raises(ValidationError, match="'prob' is not among the probes"):
            nengo_wd.regularized_objective(sim, {"prob": "mse"})


def test_tuple_of_probes_where_none_is_taken(model):
    keys = [()] if GENERATION == 2 else [(), (model.probes[0],)]
    with model.simulator() as sim:
        for key in keys:
            with pytest.raises(ValidationError, match="not a key of an objective"):
                nengo_wd.regularized_objective(sim, {key: "mse"})


@pytest.mark.generation(2)
def test_objective_without_probes(model):
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="loss of a probe, and there is none"):
            nengo_wd.regularized_objective(sim, {})


def test_list_of_another_length(model):
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="2 losses for 1 probes"):
            nengo_wd.regularized_objective(sim, ["mse", "mse"])


@pytest.mark.parametrize("loss", ["mes", 0.5, lambda a, b, c: a, tf.keras.losses.MeanSquaredError])
def test_loss_that_is_none(model, loss):
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="loss.*Probe.*neither the name"):
            nengo_wd.regularized_objective(sim, {model.probes[0]: loss})


FUNCTIONS = {
    "regularized_objective": lambda sim: nengo_wd.regularized_objective(sim, "mse"),
    "regularization_losses": nengo_wd.regularization_losses,
    "regularization_loss": nengo_wd.regularization_loss,
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_closed_simulator(model, function):
    model.net.label = "my network"
    with model.simulator() as sim:
        pass
    with pytest.raises(SimulatorClosed, match="my network.*is closed"):
        FUNCTIONS[function](sim)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_nengo_dl_simulator(model, function):
    with nengo.Network() as net:
        nengo.Node(0)
    with nengo.Simulator(net, progress_bar=False) as sim:
        with pytest.raises(ValidationError, match="expected a nengo_dl.Simulator.*Simulator"):
            FUNCTIONS[function](sim)


def test_bad_input_leaves_the_simulator_as_it_was(model):
    with model.simulator() as sim:
        before = nengo_wd.regularization_losses(sim)
        with pytest.raises(ValidationError):
            nengo_wd.regularized_objective(sim, {model.source: "mse"})
        assert nengo_wd.regularization_losses(sim) == before
        total = model.total(sim, nengo_wd.regularized_objective(sim, "mse"))
        expected = model.data_loss(sim) + model.penalty(sim)
        assert total == pytest.approx(expected, rel=1e-9)
