"""Keras layers, also those of users, inside the time loop."""

import warnings

import by_hand
import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import assert_dense
from generations import GENERATION, assign, outputs, sgd, simulator, tensor_node, train, values
from nengo.exceptions import ValidationError
from networks import connected, dense, network_of

import nengo_wd
from nengo_wd import nengo_dl


def test_tensor_layer(rng):
    layer = dense()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4))
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    with simulator(net, minibatch_size=2, unroll_simulation=5) as sim:
        assert_dense(sim, layer, source, probe, rng)
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]


@pytest.mark.generation(3)
def test_layer_wrapper(rng):
    layer = dense()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4))
        probe = nengo.Probe(nengo_dl.Layer(layer)(source))
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe, rng)


@pytest.mark.parametrize("size_out", [3, None])
def test_tensor_nodes_share_one_set_of_weights(size_out, rng):
    layer = dense()
    with nengo.Network(seed=0) as net:
        ends = [connected(tensor_node(layer, 4, size_out), 4) for _ in range(3)]
    with simulator(net) as sim:
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]
        assert len(layer.weights) == 2
        for source, probe in ends:
            assert_dense(sim, layer, source, probe, rng)


def test_second_simulator_of_a_network(rng):
    layer = dense()
    net, source, probe = network_of(layer, 4)
    for _ in range(2):
        with simulator(net) as sim:
            assert_dense(sim, layer, source, probe, rng)
            assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]
            train(
                sim,
                {source: np.ones((1, 1, 4))},
                {probe: np.ones((1, 1, 3))},
                nengo_wd.regularized_objective(sim, {probe: "mse"}),
                sgd(0.1),
            )


class Around(tf.keras.layers.Wrapper):
    """A layer with the weights of another one."""

    def call(self, inputs):
        return self.layer(inputs)


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "make, n_warnings",
    [
        (lambda: [dense()], 0),
        (lambda: [tf.keras.layers.Dense(3)], 0),
        (lambda: [Around(tf.keras.layers.Dense(3))], 0),
        (
            lambda: [
                dense(kernel_initializer=init) for init in 2 * [tf.keras.initializers.HeNormal()]
            ],
            1,
        ),
    ],
)
def test_keras_warns_of_initializers_for_several_layers_alone(make, n_warnings):
    """A second simulator goes on with the weights, and what it draws does not count."""
    layers = make()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4))
        for layer in layers:
            nengo.Probe(nengo_dl.Layer(layer)(source))
    kept = []
    for _ in range(3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with simulator(net):
                kept.append([layer.get_weights()[0] for layer in layers])
        found = [one for one in caught if "being called multiple times" in str(one.message)]
        assert len(found) == n_warnings
    assert np.ptp(kept[0])
    np.testing.assert_array_equal(kept[1:], kept[:1] * 2)


def test_saved_parameters_can_be_loaded(tmp_path):
    net, source, probe = network_of(dense(), 4)
    with simulator(net, seed=1) as sim:
        expected = outputs(sim, {source: np.ones((1, 2, 4))}, [probe])
        penalties = nengo_wd.regularization_losses(sim)
        sim.save_params(str(tmp_path / "params"))
    layer = dense()
    net, source, probe = network_of(layer, 4)
    with simulator(net, seed=2) as sim:
        assert nengo_wd.regularization_losses(sim) != penalties
        sim.load_params(str(tmp_path / "params"))
        np.testing.assert_array_equal(outputs(sim, {source: np.ones((1, 2, 4))}, [probe]), expected)
        assert nengo_wd.regularization_losses(sim) == penalties


def test_weights_can_be_assigned_before_a_run():
    layer = dense(activation=None, use_bias=False)
    net, source, probe = network_of(layer, 4)
    with simulator(net) as sim:
        assign(sim, layer.kernel, np.full((4, 3), 2.0))
        (y,) = outputs(sim, {source: np.ones((1, 1, 4))}, [probe])
        np.testing.assert_allclose(y, np.full((1, 1, 3), 8.0))
        assert nengo_wd.regularization_loss(sim) == pytest.approx(0.01 * 48, rel=1e-6)


@pytest.mark.generation(2)
def test_pre_build_adds_the_penalty_to_the_graph_of_the_simulator_and_no_other():
    losses = tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES
    layer = dense(bias_regularizer="l1")
    net, _, _ = network_of(layer, 4)
    with simulator(net) as sim:
        names = [t.op.name for t in sim.tensor_graph.graph.get_collection(losses)]
        assert names == ["readout.kernel", "readout.bias"]
        for weight in layer.weights:
            assert "while" not in weight.name
    assert tf.compat.v1.get_collection(losses) == []


@pytest.mark.parametrize("name", ["hidden 1", "_größe $", "層%s"])
def test_any_name(name, rng):
    layer = dense(name=name, kernel_regularizer=tf.keras.regularizers.l2(0.5))
    net, source, probe = network_of(layer, 4)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe, rng)
        assert list(nengo_wd.regularization_losses(sim)) == [f"{name}.kernel"]
        kernel, _ = values(sim, layer.weights)
        inputs, targets = {source: np.zeros((1, 1, 4))}, {probe: np.zeros((1, 1, 3))}
        train(sim, inputs, targets, nengo_wd.regularized_objective(sim, {probe: "mse"}), sgd(0.125))
        np.testing.assert_allclose(values(sim, layer.weights)[0], 0.875 * kernel, rtol=1e-6)


@pytest.mark.generation(3)
@pytest.mark.parametrize("make", [dense, lambda: nengo_wd.RegularizedConv1D(3, 1)])
def test_global_policy_leaves_the_dtype_to_the_simulator(make):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layer = make()
        shape = (4,) if isinstance(layer, nengo_wd.RegularizedDense) else (2, 4)
        with nengo.Network(seed=0) as net:
            node = nengo_dl.TensorNode(layer, shape_in=shape, pass_time=False)
            probe = nengo.Probe(node)
        with simulator(net) as sim:
            sim.compile("sgd", loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
            target = np.zeros((1, 1, node.size_out))
            loss = sim.fit(n_steps=1, y={probe: target}, verbose=0).history["loss"]
            assert np.isfinite(loss).all()
            assert layer.compute_dtype == layer.kernel.dtype == "float32"
    finally:
        tf.keras.mixed_precision.set_global_policy(None)


@pytest.mark.generation(3)
def test_layer_called_by_a_function():
    layer = dense()
    with nengo.Network(seed=0) as net:
        nengo_dl.TensorNode(lambda t, x: layer(t, x), shape_in=(4,), shape_out=(3,))
    with pytest.raises(Exception, match="'readout' is called by the function of a TensorNode"):
        simulator(net)


# -- the mixin ---------------------------------------------------------------------------


def test_mixin_for_another_layer_class():
    class RegularizedDepthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
        pass

    layer = RegularizedDepthwise(
        2, depthwise_regularizer=tf.keras.regularizers.l1(0.5), input_shape=(4, 4, 2), name="edges"
    )
    net, source, probe = network_of(layer, 32)
    with simulator(net) as sim:
        (kernel, _) = values(sim, layer.weights)
        losses = nengo_wd.regularization_losses(sim)
        (y,) = outputs(sim, {source: np.ones((1, 1, 32))}, [probe])
    expected = np.tile(kernel.sum(axis=(0, 1)).ravel(), 9)
    np.testing.assert_allclose(y[0, 0], expected, atol=1e-5)
    assert losses["edges.depthwise_kernel"] == pytest.approx(0.5 * np.abs(kernel).sum(), rel=1e-6)


def test_mixin_knows_whether_the_simulator_trains():
    class TimeLoopNoise(nengo_wd.TimeLoopLayer, tf.keras.layers.Dropout):
        pass

    net, source, probe = network_of(TimeLoopNoise(0.5), 100)
    ones = {source: np.ones((1, 1, 100))}
    with simulator(net) as sim:
        np.testing.assert_array_equal(outputs(sim, ones, [probe]), np.ones((1, 1, 1, 100)))
        if GENERATION == 2:
            trained = sim.run_batch(ones, {probe: None}, training=True)[probe]
        else:
            inputs = [np.ones((1, 1, 100), np.float32), np.ones((1, 1), np.int32)]
            trained = sim.keras_model(inputs, training=True)[0].numpy()
        assert set(np.unique(trained)) == {0, 2}


class Scaled(tf.keras.layers.Layer):
    """A layer as users write them: without `compute_output_shape`."""

    def build(self, input_shape):
        regularizer = tf.keras.regularizers.l2(0.5)
        self.scale = self.add_weight(
            "scale", input_shape[-1:], initializer="ones", regularizer=regularizer
        )

    def call(self, inputs):
        return 3 * inputs * self.scale


class ScaledInLoop(nengo_wd.TimeLoopLayer, Scaled):
    """The same for the time loop."""


@pytest.mark.parametrize("how", ["tensor_layer", "tensor_node"])
def test_custom_layer(how):
    layer = ScaledInLoop(name="custom")
    with nengo.Network(seed=0) as net:
        source = nengo.Node([1.0, 2.0])
        if how == "tensor_layer":
            node = nengo_dl.tensor_layer(source, layer)
        else:
            node = tensor_node(layer, 2, 2)
            nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(node)
    with simulator(net) as sim:
        sim.run_steps(1)
        np.testing.assert_allclose(sim.data[probe].ravel(), [3, 6])
        assert nengo_wd.regularization_losses(sim) == {"custom.scale": pytest.approx(1)}


def test_variables_are_made_in_build():
    class Early(tf.keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.scale = self.add_weight("scale", (2,))

    class EarlyInLoop(nengo_wd.TimeLoopLayer, Early):
        pass

    with pytest.raises(ValidationError, match="makes a variable in __init__.*make it in build"):
        EarlyInLoop()


def test_the_mixin_comes_first():
    with pytest.raises(ValidationError, match="TimeLoopLayer as the first of its base classes"):

        class Second(tf.keras.layers.Dense, nengo_wd.TimeLoopLayer):
            pass


class Late(tf.keras.layers.Layer):
    """A layer whose weight is there only once it is called."""

    def call(self, x):
        if not hasattr(self, "late"):
            self.late = self.add_weight("late", (2, 3), regularizer="l2")
        return x @ self.late


class LateInLoop(nengo_wd.TimeLoopLayer, Late):
    pass


class WeightBesideOthersInCall(nengo_wd.RegularizedDense):
    def call(self, x):
        outputs = super().call(x)
        if not hasattr(self, "late"):
            self.late = self.add_weight("late", (3, 3), regularizer="l2")
        return outputs @ self.late


def simulate(layer, size_out):
    with nengo.Network(seed=0) as net:
        nengo.Connection(nengo.Node(np.ones(2)), tensor_node(layer, 2, size_out), synapse=None)
    with simulator(net):
        pass


LATE = {
    "the mixed layer": lambda: LateInLoop(name="slow"),
    "its subclass": lambda: WeightBesideOthersInCall(3, name="slow"),
}


@pytest.mark.parametrize("kind", LATE)
@pytest.mark.parametrize("size_out", [3, None])
def test_a_variable_that_is_made_in_call(kind, size_out):
    with pytest.raises(Exception) as caught:  # Keras and NengoDL put others around it
        simulate(LATE[kind](), size_out)
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert any("'slow' makes a variable in call" in str(error) for error in chain)


class LayerInCall(tf.keras.layers.Layer):
    def call(self, x):
        if not hasattr(self, "inner"):
            self.inner = tf.keras.layers.Dense(3, kernel_regularizer="l2", name="inner")
        return self.inner(x)


class LayerInCallInLoop(nengo_wd.TimeLoopLayer, LayerInCall):
    pass


@pytest.mark.generation(2)
def test_a_layer_that_is_built_in_call():
    with pytest.raises(ValidationError, match="'slow' makes the variables of 'inner' in call"):
        simulate(LayerInCallInLoop(name="slow"), 3)


@pytest.mark.generation(3)
def test_the_penalty_of_a_layer_that_is_built_in_call_counts():
    layer = LayerInCallInLoop()
    with nengo.Network(seed=0) as net:
        nengo.Connection(nengo.Node(np.ones(2)), tensor_node(layer, 2, 3), synapse=None)
    with simulator(net) as sim:
        kernel = values(sim, [layer.inner.kernel])[0]
        expected = by_hand.penalty(kernel, 0, 0.01)
        assert nengo_wd.regularization_loss(sim) == pytest.approx(expected)
