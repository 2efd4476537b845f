import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import assign, simulator, tensor_node, total_loss, values
from nengo.exceptions import ValidationError
from networks import Ensembles, parameters_of

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import TowardsInitial


@pytest.fixture
def model():
    return Ensembles()


def test_towards_initial_pulls_back(model):
    model.config[nengo.Connection].regularizer = TowardsInitial(l1=0.25, l2=0.5)
    model.config[model.a].regularizer = tf.keras.regularizers.l2(0.5)
    model.config[model.node].regularizer = TowardsInitial(l2=1.0)
    with model.net:  # in the same variable, pulled towards zero
        other = nengo.Connection(model.a, model.b, label="other")
    model.config[other].regularizer = tf.keras.regularizers.l2(0.25)
    with simulator(model.net) as sim:
        (encoders,) = parameters_of(sim, model.a)
        initial = encoders.value
        to_zero = 0.5 * (initial**2).sum() + 0.25 * (sim.data[other].weights ** 2).sum()
        assert nengo_wd.regularization_loss(sim) == pytest.approx(to_zero)
        kernel, _ = parameters_of(sim, model.node)
        assign(sim, kernel.variable, kernel.value + 2)
        assert nengo_wd.regularization_losses(sim)["dense.kernel"] == pytest.approx(4 * 6)
        (decoders,) = parameters_of(sim, model.conn)
        (shifted,) = values(sim, [decoders.variable])
        assign(sim, decoders.variable, shifted + 1)
        losses = nengo_wd.regularization_losses(sim)
        assert losses["ab.weights"] == pytest.approx(10 * (0.25 + 0.5), rel=1e-12)
        data_loss = total_loss(sim, model.inputs, model.targets, {model.probe: "mse"})
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        total = total_loss(sim, model.inputs, model.targets, objective)
        assert total == pytest.approx(data_loss + sum(losses.values()), rel=1e-9)


def test_towards_initial_is_no_argument_of_a_layer():
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=TowardsInitial(l2=1.0))
    with nengo.Network() as net:
        tensor_node(layer, 2, 3)
    with pytest.raises(ValidationError, match="setting for Nengo objects"):
        simulator(net)


@pytest.mark.generation(3)
def test_towards_initial_on_weights_that_are_not_of_the_keras_model():
    class Weights(tf.Module):
        def __init__(self):
            super().__init__(name="plain")
            self.weights = tf.Variable(np.ones((2, 3), np.float32), name="weights")

        def __call__(self, x):
            return x @ self.weights

    with nengo.Network(seed=0) as net:
        node = nengo_dl.TensorNode(Weights(), shape_in=(2,), shape_out=(3,), pass_time=False)
        nengo_wd.configure_settings()
        net.config[node].regularizer = TowardsInitial(l2=0.5)
    with simulator(net) as sim:
        assert nengo_wd.regularization_losses(sim) == {"plain.weights": 0.0}
        node.tensor_func.weights.assign_add(tf.ones((2, 3)))
        assert nengo_wd.regularization_losses(sim) == {"plain.weights": pytest.approx(3.0)}
