import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import (
    GENERATION,
    assign,
    outputs,
    sgd,
    simulator,
    tensor_node,
    train,
    use_dtype,
    values,
)
from nengo.exceptions import ValidationError
from scipy.signal import correlate

import nengo_wd
from nengo_wd import nengo_dl

RNG = np.random.RandomState(0)


def connected(node, size_in):
    """Feed ``node`` from an input node, and probe it."""
    source = nengo.Node(np.zeros(size_in))
    nengo.Connection(source, node, synapse=None)
    return source, nengo.Probe(node)


def network_of(layer, size_in, size_out=None, **kwargs):
    with nengo.Network(seed=0) as net:
        node = tensor_node(layer, size_in, size_out, **kwargs)
        source, probe = connected(node, size_in)
    return net, source, probe


def assert_dense(sim, layer, source, probe, n_steps=5, tolerance=1e-5):
    """Compare the layer's output with NumPy's."""
    x = RNG.uniform(-1, 1, size=(sim.minibatch_size, n_steps, source.size_out))
    weights = values(sim, layer.weights)
    expected = np.tanh(x @ weights[0].astype(np.float64) + (weights[1] if layer.use_bias else 0))
    (y,) = outputs(sim, {source: x}, [probe])
    assert y.shape == (sim.minibatch_size, n_steps, layer.units)
    np.testing.assert_allclose(y, expected, atol=tolerance)


def dense(**kwargs):
    arguments = dict(units=3, activation="tanh", bias_initializer="ones", name="readout")
    return nengo_wd.RegularizedDense(**{**arguments, **kwargs})


@pytest.mark.parametrize("size_out", [3, None])
@pytest.mark.parametrize("minibatch_size", [1, 8])
@pytest.mark.parametrize("unroll", [1, 5])
def test_dense_equals_numpy(size_out, minibatch_size, unroll):
    layer = dense()
    net, source, probe = network_of(layer, 4, size_out)
    with simulator(net, minibatch_size=minibatch_size, unroll_simulation=unroll) as sim:
        assert_dense(sim, layer, source, probe)


@pytest.mark.generation(3)
@pytest.mark.parametrize("pass_time", [True, False])
@pytest.mark.parametrize("size_out", [3, None])
def test_dense_with_and_without_time(pass_time, size_out):
    layer = dense()
    net, source, probe = network_of(layer, 4, size_out, pass_time=pass_time)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe)


@pytest.mark.generation(3)
def test_dense_without_a_symbolic_loop():
    layer = dense()
    net, source, probe = network_of(layer, 4)
    with net:
        nengo_dl.configure_settings(use_loop=False)
    with simulator(net, unroll_simulation=3) as sim:
        assert_dense(sim, layer, source, probe, n_steps=3)


def test_dense_takes_on_the_simulators_dtype():
    layer = dense()
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):
        net, source, probe = network_of(layer, 4)
        with net:
            use_dtype(dtype)
        with simulator(net) as sim:
            assert layer.kernel.dtype.base_dtype == dtype
            assert_dense(sim, layer, source, probe, tolerance=tolerance)


def test_dense_for_inference_only():
    layer = dense()
    net, source, probe = network_of(layer, 4)
    with net:
        nengo_dl.configure_settings(inference_only=True)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe)
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]


def test_tensor_layer():
    layer = dense()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4))
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    with simulator(net, minibatch_size=2, unroll_simulation=5) as sim:
        assert_dense(sim, layer, source, probe)
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]


@pytest.mark.generation(3)
def test_layer_wrapper():
    layer = dense()
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(4))
        probe = nengo.Probe(nengo_dl.Layer(layer)(source))
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe)


@pytest.mark.parametrize("size_out", [3, None])
def test_tensor_nodes_share_one_set_of_weights(size_out):
    layer = dense()
    with nengo.Network(seed=0) as net:
        ends = [connected(tensor_node(layer, 4, size_out), 4) for _ in range(3)]
    with simulator(net) as sim:
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]
        assert len(layer.weights) == 2
        for source, probe in ends:
            assert_dense(sim, layer, source, probe)


def test_second_simulator_of_a_network():
    layer = dense()
    net, source, probe = network_of(layer, 4)
    for _ in range(2):
        with simulator(net) as sim:
            assert_dense(sim, layer, source, probe)
            assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]
            train(
                sim,
                {source: np.ones((1, 1, 4))},
                {probe: np.ones((1, 1, 3))},
                nengo_wd.regularized_objective(sim, {probe: "mse"}),
                sgd(0.1),
            )


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


@pytest.mark.parametrize("given", ["x", "(t, x)", "[t, x]"])
def test_call_takes_the_time_and_leaves_it_out(given):
    layer = dense()
    t, x = tf.constant(0.001), tf.ones((2, 4))
    y = {"x": lambda: layer(x), "(t, x)": lambda: layer(t, x), "[t, x]": lambda: layer([t, x])}
    assert tuple(y[given]().shape) == (2, 3)


CONVOLUTIONS = {
    "1D": (nengo_wd.RegularizedConv1D, (5, 2)),
    "2D": (nengo_wd.RegularizedConv2D, (5, 4, 2)),
    "3D": (nengo_wd.RegularizedConv3D, (5, 4, 3, 2)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("wrapped", [True, False])
def test_convolution_equals_scipy(kind, wrapped):
    layer_class, shape = CONVOLUTIONS[kind]
    size = int(np.prod(shape))
    declared = {} if wrapped else {"input_shape": shape}
    layer = layer_class(3, 2, bias_initializer="ones", name="conv", **declared)
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(size))
        if wrapped:
            node = nengo_dl.tensor_layer(source, layer, shape_in=shape)
        else:
            node = tensor_node(layer, size)
            nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(node)
    with simulator(net, minibatch_size=2) as sim:
        x = RNG.uniform(-1, 1, size=(2, 3, size))
        kernel, bias = (w.astype(np.float64) for w in values(sim, layer.weights))
        (y,) = outputs(sim, {source: x}, [probe])
        penalty = nengo_wd.regularization_loss(sim)
    assert penalty == pytest.approx(0.01 * np.sum(kernel**2), rel=1e-6)
    for example, expected in zip(x.reshape((-1, *shape)), y.reshape((6, -1))):
        maps = [correlate(example, kernel[..., k], mode="valid") + bias[k] for k in range(3)]
        np.testing.assert_allclose(np.concatenate(maps, axis=-1).ravel(), expected, atol=1e-5)


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


def test_config_round_trip():
    layer = nengo_wd.RegularizedConv2D(
        3, (2, 3), kernel_regularizer=tf.keras.regularizers.l1_l2(0.25, 0.5), name="conv"
    )
    config = type(layer).from_config(layer.get_config()).get_config()
    assert config == layer.get_config()
    assert config["kernel_regularizer"]["config"] == {"l1": 0.25, "l2": 0.5}
    assert config["dtype"] is None  # it takes on the next simulator's
    assert dense(dtype="float64").get_config()["dtype"] == "float64"


def test_arguments_of_the_keras_layer_are_taken():
    ours = nengo_wd.RegularizedDense(3, kernel_initializer="ones", trainable=False, name="a")
    theirs = tf.keras.layers.Dense(
        3, kernel_initializer="ones", trainable=False, kernel_regularizer="l2", name="a"
    )
    assert {**ours.get_config(), "dtype": None} == {**theirs.get_config(), "dtype": None}


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (dict(kernel_regularizer="l3"), "readout.*'l3'.*Keras"),
        (dict(bias_regularizer=tf.keras.regularizers.l2(-1.0)), "readout.*l2=-1.*zero or above"),
        (dict(kernel_regularizer=tf.keras.regularizers.l1(-0.5)), "readout.*l1=-0.5"),
        (dict(activity_regularizer="l2"), "readout.*probe"),
        (dict(kernel_regularizer=tf.keras.regularizers.Regularizer), "readout.*class"),
    ],
)
def test_bad_regularizers_are_named(arguments, complaint):
    with pytest.raises(ValidationError, match=complaint):
        dense(**arguments)


@pytest.mark.parametrize("strength", [np.nan, np.inf])
def test_strength_that_is_not_finite(strength):
    regularizer = tf.keras.regularizers.l2(1.0)
    regularizer.l2 = strength  # Keras 2.12 refuses these in its constructor, 1.15 does not
    with pytest.raises(ValidationError, match=f"readout.*l2={strength}"):
        dense(kernel_regularizer=regularizer)


def test_strength_changed_after_the_layer_was_made():
    layer = dense(kernel_regularizer=tf.keras.regularizers.l2(1.0))
    layer.kernel_regularizer.l2 = -5.0
    net, _, _ = network_of(layer, 4, 3)
    with pytest.raises(ValidationError, match="readout.*l2=-5"):
        simulator(net)


def test_penalty_that_is_no_number():
    net, _, _ = network_of(dense(kernel_regularizer=lambda w: None), 4, 3)
    with pytest.raises(ValidationError, match=r"readout\.kernel is .* must be a scalar"):
        simulator(net)


def test_name_with_a_space():
    layer = dense(name="hidden 1")
    net, source, probe = network_of(layer, 4)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe)
        assert len(nengo_wd.regularization_losses(sim)) == 1


@pytest.mark.generation(3)
def test_layer_called_by_a_function():
    layer = dense()
    with nengo.Network(seed=0) as net:
        nengo_dl.TensorNode(lambda t, x: layer(t, x), shape_in=(4,), shape_out=(3,))
    with pytest.raises(Exception, match="'readout' is called by the function of a TensorNode"):
        simulator(net)


def test_penalty_that_is_not_a_scalar_leaves_the_network_as_it_was():
    layer = dense(kernel_regularizer=lambda w: tf.reduce_sum(w, axis=0))
    net, source, probe = network_of(layer, 4, 3)
    with pytest.raises(ValidationError, match=r"readout\.kernel has shape \(3,\)"):
        simulator(net)
    layer.kernel_regularizer = tf.keras.regularizers.l2(0.5)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe)
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]


@pytest.mark.parametrize("size_in, size_out", [(4, 5), (4, 1)])
def test_output_that_does_not_fit_is_named(size_in, size_out):
    net, _, _ = network_of(dense(), size_in, size_out)
    with pytest.raises(ValidationError, match=rf"readout.*\(3,\).*{size_out}"):
        simulator(net)


def test_layer_without_input_is_named():
    with nengo.Network() as net:
        if GENERATION == 2:
            nengo.Probe(nengo_dl.TensorNode(dense(), size_out=3))
        else:
            nengo.Probe(nengo_dl.TensorNode(dense(), shape_out=(3,)))
    with pytest.raises(ValidationError, match="readout.*no input"):
        simulator(net)


def test_inputs_of_different_size_cannot_share_a_layer():
    layer = dense()
    with nengo.Network(seed=0) as net:
        connected(tensor_node(layer, 4, 3), 4)
        connected(tensor_node(layer, 2, 3), 2)
    with pytest.raises(ValidationError, match="readout.*built for inputs with . elements"):
        simulator(net)


def test_declared_input_shape_must_fit():
    layer = nengo_wd.RegularizedConv1D(3, 2, input_shape=(5, 2), name="conv")
    net, _, _ = network_of(layer, 9, 12)
    with pytest.raises(ValidationError, match=r"conv.*\(5, 2\).*10 elements.*has 9"):
        simulator(net)


def test_weights_can_be_assigned_before_a_run():
    layer = dense(activation=None, use_bias=False)
    net, source, probe = network_of(layer, 4)
    with simulator(net) as sim:
        assign(sim, layer.kernel, np.full((4, 3), 2.0))
        (y,) = outputs(sim, {source: np.ones((1, 1, 4))}, [probe])
        np.testing.assert_allclose(y, np.full((1, 1, 3), 8.0))
        assert nengo_wd.regularization_loss(sim) == pytest.approx(0.01 * 48, rel=1e-6)


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
