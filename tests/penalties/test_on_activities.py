"""Regularizers as settings on probes."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import outputs, simulator, total_loss, use_dtype
from nengo.exceptions import ValidationError
from networks import Ensembles

import nengo_wd


def test_setting_on_a_probe(rng):
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        ensemble = nengo.Ensemble(5, 2, neuron_type=nengo.RectifiedLinear())
        nengo.Connection(source, ensemble, synapse=None)
        probe = nengo.Probe(ensemble)
        rates = nengo.Probe(ensemble.neurons)
        net.config[rates].regularizer = tf.keras.regularizers.l2(1e-5)
    inputs = {source: rng.uniform(-1, 1, size=(6, 3, 2))}
    targets = {probe: rng.uniform(-1, 1, size=(6, 3, 2))}
    with simulator(net, minibatch_size=3) as sim:
        y, activity = outputs(sim, inputs, [probe, rates])
        objective = {probe: "mse"}
        for _ in range(2):
            objective = nengo_wd.regularized_objective(sim, objective)
        total = total_loss(sim, inputs, targets, objective)
    by_hand = np.float32(1e-5) * np.sum(activity**2) / (6 * 3)
    assert total == pytest.approx(np.mean((y - targets[probe]) ** 2) + by_hand, rel=1e-9)
    assert by_hand > 0.01


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 1), None])
def test_group_lasso_on_a_probe(axis, rng):
    """Groups of the activity, of shape (examples and steps, size), which is not known at first."""
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        probe = nengo.Probe(source)
        net.config[probe].regularizer = nengo_wd.regularizers.GroupLasso(0.5, axis)
    inputs, targets = {source: rng.uniform(-1, 1, size=(4, 3, 2))}, {probe: np.zeros((4, 3, 2))}
    with simulator(net, minibatch_size=4) as sim:
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        total = total_loss(sim, inputs, targets, objective)
    activity = inputs[source].reshape(12, 2)
    over = {0: 1, 1: 0, -1: 0, (0, 1): (), None: (0, 1)}[axis]
    norms = np.sqrt(np.sum(activity**2, axis=over, keepdims=True))
    penalty = 0.5 * np.sqrt(activity.size / norms.size) * norms.sum() / 12
    assert total == pytest.approx(np.mean(activity**2) + penalty, rel=1e-9)


def test_penalty_on_a_probe_that_is_not_a_scalar():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node([1.0, 2.0])
        probe = nengo.Probe(source, label="recorded")
        net.config[probe].regularizer = lambda activity: tf.reduce_sum(activity, axis=0)
    with simulator(net) as sim:
        with pytest.raises(ValidationError, match=r"recorded.*shape \(2,\)"):
            objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
            total_loss(sim, {source: np.ones((1, 1, 2))}, {probe: np.ones((1, 1, 2))}, objective)


def test_bad_activity_leaves_the_simulator_as_it_was():
    model = Ensembles()
    model.config[model.conn].regularizer = tf.keras.regularizers.l2(10.0)
    model.config[model.probe].regularizer = lambda activity: activity
    with simulator(model.net) as sim:
        before = total_loss(sim, model.inputs, model.targets, {model.probe: "mse"})
        with pytest.raises(ValidationError, match="must be a scalar"):
            objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
            total_loss(sim, model.inputs, model.targets, objective)
        assert total_loss(sim, model.inputs, model.targets, {model.probe: "mse"}) == before
