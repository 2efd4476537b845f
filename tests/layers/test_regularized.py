"""Layers with a penalty, against NumPy and SciPy."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import assert_dense
from generations import (
    GENERATION,
    assign,
    outputs,
    simulator,
    tensor_node,
    total_loss,
    use_dtype,
    values,
    variable,
)
from nengo.exceptions import ValidationError
from networks import dense, network_of
from scipy.signal import correlate

import nengo_wd
from nengo_wd import nengo_dl


@pytest.mark.parametrize("size_out", [3, None])
@pytest.mark.parametrize("minibatch_size", [1, 8])
@pytest.mark.parametrize("unroll", [1, 5])
def test_dense_equals_numpy(size_out, minibatch_size, unroll, rng):
    layer = dense()
    net, source, probe = network_of(layer, 4, size_out)
    with simulator(net, minibatch_size=minibatch_size, unroll_simulation=unroll) as sim:
        assert_dense(sim, layer, source, probe, rng)


@pytest.mark.generation(3)
@pytest.mark.parametrize("pass_time", [True, False])
@pytest.mark.parametrize("size_out", [3, None])
def test_dense_with_and_without_time(pass_time, size_out, rng):
    layer = dense()
    net, source, probe = network_of(layer, 4, size_out, pass_time=pass_time)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe, rng)


@pytest.mark.generation(3)
def test_dense_without_a_symbolic_loop(rng):
    layer = dense()
    net, source, probe = network_of(layer, 4)
    with net:
        nengo_dl.configure_settings(use_loop=False)
    with simulator(net, unroll_simulation=3) as sim:
        assert_dense(sim, layer, source, probe, rng, n_steps=3)


def test_dense_takes_on_the_simulators_dtype(rng):
    layer = dense()
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):
        net, source, probe = network_of(layer, 4)
        with net:
            use_dtype(dtype)
        with simulator(net) as sim:
            assert layer.kernel.dtype.base_dtype == dtype
            assert_dense(sim, layer, source, probe, rng, tolerance=tolerance)


def test_dense_for_inference_only(rng):
    layer = dense()
    net, source, probe = network_of(layer, 4)
    with net:
        nengo_dl.configure_settings(inference_only=True)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe, rng)
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]


CONVOLUTIONS = {
    "1D": (nengo_wd.RegularizedConv1D, (5, 2)),
    "2D": (nengo_wd.RegularizedConv2D, (5, 4, 2)),
    "3D": (nengo_wd.RegularizedConv3D, (5, 4, 3, 2)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("wrapped", [True, False])
def test_convolution_equals_scipy(kind, wrapped, rng):
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
        x = rng.uniform(-1, 1, size=(2, 3, size))
        kernel, bias = (w.astype(np.float64) for w in values(sim, layer.weights))
        (y,) = outputs(sim, {source: x}, [probe])
        penalty = nengo_wd.regularization_loss(sim)
    assert penalty == pytest.approx(0.01 * np.sum(kernel**2), rel=1e-6)
    for example, expected in zip(x.reshape((-1, *shape)), y.reshape((6, -1))):
        maps = [correlate(example, kernel[..., k], mode="valid") + bias[k] for k in range(3)]
        np.testing.assert_allclose(np.concatenate(maps, axis=-1).ravel(), expected, atol=1e-5)


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


# -- bad input ---------------------------------------------------------------------------


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


def test_penalty_that_is_not_a_scalar_leaves_the_network_as_it_was(rng):
    layer = dense(kernel_regularizer=lambda w: tf.reduce_sum(w, axis=0))
    net, source, probe = network_of(layer, 4, 3)
    with pytest.raises(ValidationError, match=r"readout\.kernel has shape \(3,\)"):
        simulator(net)
    layer.kernel_regularizer = tf.keras.regularizers.l2(0.5)
    with simulator(net) as sim:
        assert_dense(sim, layer, source, probe, rng)
        assert list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]


def test_a_penalty_may_be_a_variable_of_the_users():
    """It counts with the value that it has, in a layer and in a setting."""
    kept = {}

    def penalty(weights):
        return kept["variable"]

    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source, end = nengo.Node(np.zeros(2)), nengo.Node(size_in=2)
        conn = nengo.Connection(source, end, transform=np.ones((2, 2)), synapse=None)
        net.config[conn].regularizer = penalty
        probe = nengo.Probe(end)
        if GENERATION == 3:  # in NengoDL 2 the layer is built before there is a simulator's graph
            kept["variable"] = tf.Variable(0.5, trainable=False)
            layer = nengo_wd.RegularizedDense(3, kernel_regularizer=penalty)
            nengo.Probe(nengo_dl.tensor_layer(source, layer))
    with simulator(net) as sim:
        kept.setdefault("variable", variable(sim, 0.5))
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        data = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 2))}
        for value in (0.5, 0.25):
            assign(sim, kept["variable"], value)
            losses = nengo_wd.regularization_losses(sim)
            assert list(losses.values()) == (GENERATION - 1) * [value]
            assert total_loss(sim, *data, objective) == pytest.approx(sum(losses.values()))
