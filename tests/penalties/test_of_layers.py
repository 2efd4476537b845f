"""The penalties that Keras layers bring along, however they are put together."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, outputs, simulator, tensor_node, total_loss, values
from networks import l1_l2

import nengo_wd
from nengo_wd import nengo_dl


def test_names_of_layers_that_are_called_the_same():
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        for _ in range(2):
            layer = nengo_wd.RegularizedDense(3, bias_regularizer="l2", name="same")
            nengo.Probe(nengo_dl.tensor_layer(source, layer))
    with simulator(net) as sim:
        names = {"same.kernel", "same.bias", "same.kernel_1", "same.bias_1"}
        assert set(nengo_wd.regularization_losses(sim)) == names


@pytest.mark.generation(3)
def test_penalties_of_plain_keras_layers_are_reported_too():
    layer = tf.keras.layers.Dense(3, kernel_regularizer="l2", name="plain")
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        nengo.Probe(nengo_dl.Layer(layer)(source))
    with simulator(net) as sim:
        losses = nengo_wd.regularization_losses(sim)
        assert list(losses) == ["plain.kernel"]
        assert losses["plain.kernel"] == pytest.approx(
            0.01 * np.sum(layer.kernel.numpy().astype(np.float64) ** 2), rel=1e-6
        )
        assert sum(losses.values()) == pytest.approx(float(sum(sim.keras_model.losses)))


@pytest.mark.generation(2)
def test_penalties_made_without_us_are_counted_too():
    class Plain:
        def pre_build(self, shape_in, shape_out):
            self.weights = tf.compat.v1.get_variable(
                "plain", (2, 3), regularizer=lambda w: tf.reduce_sum(w**2)
            )

        def __call__(self, t, x):
            return x @ self.weights

    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.ones(2))
        node = nengo_dl.TensorNode(Plain(), size_in=2, size_out=3)
        nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(node)
    with simulator(net) as sim:
        (weights,) = values(sim, [node.tensor_func.weights])
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        total = sim.loss({probe: np.zeros((1, 2, 3))}, objective, progress_bar=False)
        expected = np.mean(weights.sum(axis=0) ** 2) + np.sum(weights**2)
        assert total == pytest.approx(expected, rel=1e-5)


class WeightsInAList(tf.keras.layers.Layer):
    """A layer as users write them: weights in a list, and no `compute_output_shape`."""

    def build(self, input_shape):
        self.scales = [
            self.add_weight(str(i), (), initializer="ones", regularizer=l1_l2(0.25, 0))
            for i in range(2)
        ]
        super().build(input_shape)

    def call(self, x):
        return x * self.scales[0] * self.scales[1]


class TimeLoopWeightsInAList(nengo_wd.TimeLoopLayer, WeightsInAList):
    pass


class AddsAWeight(nengo_wd.RegularizedDense):
    """A layer with a weight that is made after those of the layer it extends."""

    def build(self, input_shape):
        super().build(input_shape)
        self.scale = self.add_weight("s", (), initializer="ones", regularizer=l1_l2(0.25, 0))

    def call(self, x):
        return self.scale * super().call(x)


class LayersInAList(tf.keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.parts = [inner_dense(), inner_dense()]

    def build(self, input_shape):
        for part in self.parts:
            if not part.built:
                part.build(input_shape)
        super().build(input_shape)

    def call(self, x):
        return self.parts[1].call(self.parts[0].call(x))


class TimeLoopLayersInAList(nengo_wd.TimeLoopLayer, LayersInAList):
    pass


class Distributed(nengo_wd.TimeLoopLayer, tf.keras.layers.TimeDistributed):
    pass


class Stack(nengo_wd.TimeLoopLayer, tf.keras.Sequential):
    pass


def inner_dense(layer_class=tf.keras.layers.Dense):
    return layer_class(
        2, kernel_initializer="ones", bias_initializer="ones", kernel_regularizer=l1_l2(0, 0.5)
    )


COMPOSED = {  # a layer for two inputs and two outputs, and its penalty
    "weights in a list": (lambda: TimeLoopWeightsInAList(name="list"), 0.25 * 2),
    "layers in a list": (TimeLoopLayersInAList, 2 * 0.5 * 4),
    "weight added later": (
        lambda: AddsAWeight(2, kernel_initializer="ones", kernel_regularizer=l1_l2(0, 0.5)),
        0.5 * 4 + 0.25,
    ),
    "layer in a layer": (lambda: Distributed(inner_dense(), input_shape=(1, 2)), 0.5 * 4),
    "our layer in a layer": (
        lambda: Distributed(inner_dense(nengo_wd.RegularizedDense), input_shape=(1, 2)),
        0.5 * 4,
    ),
}

if GENERATION == 3:
    COMPOSED["stack"] = (lambda: Stack([inner_dense(), inner_dense()]), 2 * 0.5 * 4)


@pytest.mark.parametrize("kind", COMPOSED)
@pytest.mark.parametrize("size_out", [2, None])
def test_penalties_of_composed_layers(kind, size_out):
    make, penalty = COMPOSED[kind]
    layer = make()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.ones(2))
        nodes = [tensor_node(layer, 2, size_out) for _ in range(2)]
        for node in nodes:
            nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(nodes[0])
    inputs, targets = {source: np.ones((1, 2, 2))}, {probe: np.zeros((1, 2, 2))}
    for _ in range(2):
        with simulator(net, unroll_simulation=2) as sim:
            assert nengo_wd.regularization_loss(sim) == pytest.approx(penalty, rel=1e-6)
            (y,) = outputs(sim, inputs, [probe])
            objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
            total = total_loss(sim, inputs, targets, objective)
            assert total == pytest.approx(np.mean(y**2) + penalty, rel=1e-6)
