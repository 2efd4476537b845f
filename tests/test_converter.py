"""Converted Keras models against the Keras models themselves."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import one_step, outputs, sgd, simulator, total_loss, train
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import _parameters as parameters
from nengo_wd.regularizers import GroupLasso, Scheduled, TowardsGrid

l1 = tf.keras.regularizers.l1

L1_L2 = {
    "L1": tf.keras.regularizers.l1(0.02),
    "L2": tf.keras.regularizers.l2(0.05),
    "L1L2": tf.keras.regularizers.l1_l2(0.02, 0.05),
}


def dense_model(regularizer, **kwargs):
    inputs = tf.keras.Input((6,))
    layers = dict(kernel_regularizer=regularizer, bias_regularizer=regularizer, **kwargs)
    x = tf.keras.layers.Dense(5, "relu", bias_initializer="ones", name="hidden", **layers)(inputs)
    x = tf.keras.layers.Dense(3, bias_initializer="ones", name="readout", **layers)(x)
    return tf.keras.Model(inputs, x)


def conv_model(regularizer, **kwargs):
    inputs = tf.keras.Input((5, 4, 2))
    layers = dict(kernel_regularizer=regularizer, bias_regularizer=regularizer, **kwargs)
    x = tf.keras.layers.Conv2D(
        3, 2, activation="relu", bias_initializer="ones", name="filters", **layers
    )(inputs)
    x = tf.keras.layers.Flatten()(x)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(2, name="readout", **layers)(x))


def step_of_both(model, converter, rng, loss="mse"):
    """Train both for one step of SGD; return the totals and the weights."""
    x = rng.uniform(-1, 1, size=(4, *model.input_shape[1:])).astype(np.float32)
    y = rng.uniform(-1, 1, size=(4, *model.output_shape[1:])).astype(np.float32)
    source, probe = converter.inputs[model.input], converter.outputs[model.output]
    inputs, targets = {source: x.reshape((4, 1, -1))}, {probe: y[:, None]}
    with converter.net:
        one_step()
    with simulator(converter.net, minibatch_size=4) as sim:
        objective = nengo_wd.regularized_objective(sim, {probe: loss})
        total = total_loss(sim, inputs, targets, objective)
        train(sim, inputs, targets, objective, sgd(0.1))
        sim.freeze_params(converter.net)
        by_nengo = outputs(sim, inputs, [probe])[0][:, 0]
        trained = weights_of(sim, converter)
    model.compile(sgd(0.1), loss=loss)
    by_keras = model.evaluate(x, y, batch_size=4, verbose=0)
    model.fit(x, y, batch_size=4, verbose=0)
    return (total, by_keras), (by_nengo, model.predict(x, verbose=0)), trained


def weights_of(sim, converter):
    """Return the weights of the converted network, by the size of the array."""
    arrays = [sim.data[c].weights for c in converter.net.all_connections]
    arrays += [sim.data[e].bias for e in converter.net.all_ensembles]
    return [np.sort(np.ravel(array)) for array in arrays if array is not None]


def assert_among(array, arrays):
    """Check that the elements of ``array`` are those of one of ``arrays``."""
    flat = np.sort(np.ravel(array))
    same_size = [other for other in arrays if other.size == flat.size]
    assert any(np.allclose(flat, other, atol=1e-6) for other in same_size)


@pytest.mark.generation(3)
@pytest.mark.parametrize("make", [dense_model, conv_model])
@pytest.mark.parametrize("kind", L1_L2)
def test_step_of_sgd_equals_that_of_keras(make, kind, rng):
    model = make(L1_L2[kind])
    converter = nengo_wd.Converter(model, allow_fallback=False)
    with simulator(converter.net) as sim:
        losses = nengo_wd.regularization_losses(sim)
    assert sorted(losses.values()) == pytest.approx(sorted(map(float, model.losses)), abs=1e-6)
    totals, predictions, trained = step_of_both(model, converter, rng)
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    np.testing.assert_allclose(*predictions, atol=1e-5)
    for weight in model.get_weights():
        assert_among(weight, trained)


OF_ALL_WEIGHTS = {
    "outputs": GroupLasso(0.05, groups="outputs"),
    "axis": GroupLasso(0.05, axis=-1),
    "axes": GroupLasso(0.05, axis=(0, -1)),
    "one group": GroupLasso(0.05, axis=None),
    "scheduled": Scheduled(GroupLasso(1.0, axis=0), 0.05),
    "grid": TowardsGrid(0.05, bits=3),
}


@pytest.mark.generation(3)
@pytest.mark.parametrize("make", [dense_model, conv_model])
@pytest.mark.parametrize("kind", OF_ALL_WEIGHTS)
def test_regularizers_of_all_weights_are_those_of_keras(make, kind):
    model = make(OF_ALL_WEIGHTS[kind])
    converter = nengo_wd.Converter(model, allow_fallback=False)
    with simulator(converter.net) as sim:
        losses = nengo_wd.regularization_losses(sim)
    assert sorted(losses.values()) == pytest.approx(sorted(map(float, model.losses)), rel=1e-6)


def stepped(weights, axis, costs, by):
    """Return a kernel of Keras after a proximal step; ``axis`` is that of its groups."""
    moved = np.moveaxis(np.asarray(weights, np.float64), axis, 0)
    norms = np.sqrt(np.sum(moved**2, axis=tuple(range(1, moved.ndim)), keepdims=True))
    lengths = by * np.reshape(costs, norms.shape) * np.sqrt(moved[0].size)
    return np.moveaxis(moved * np.maximum(0, 1 - lengths / norms), 0, axis)


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "given, axis", [({"groups": "inputs"}, -2), ({"groups": "outputs"}, -1), ({"axis": -2}, -2)]
)
@pytest.mark.parametrize("make, name", [(dense_model, "hidden"), (conv_model, "filters")])
def test_proximal_steps_of_group_lassos(make, name, given, axis):
    """On kernels, which Nengo has transposed or not; the costs are in the order of Keras."""
    model = make(None)
    layer = model.get_layer(name)
    before, costs = layer.get_weights()[0], np.linspace(0, 30, layer.kernel.shape[axis])
    layer.kernel_regularizer = GroupLasso(0.5, costs=costs, **given)
    converter = nengo_wd.Converter(model, allow_fallback=False)
    source, probe = converter.inputs[model.input], converter.outputs[model.output]
    inputs = {source: np.zeros((1, 1, source.size_out))}
    targets = {probe: np.zeros((1, 1, probe.size_in))}
    with converter.net:
        one_step()
    with simulator(converter.net) as sim:
        optimizer = nengo_wd.proximal_regularization(sim, sgd(0.125))
        train(sim, inputs, targets, {probe: lambda y, x: 0 * tf.reduce_sum(y * x)}, optimizer)
        label = f"{name}.kernel"
        (kernel,) = (c for c in converter.net.all_connections if c.label == label)
        after = np.array(sim.data[kernel].weights)
    after = after.T if after.ndim == 2 else after
    wanted = stepped(before, axis, costs, 0.5 * 0.125)
    np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-7)
    assert np.array_equal(after == 0, wanted == 0) and np.any(wanted == 0)


@pytest.mark.generation(3)
def test_inputs_of_biases_are_refused_as_by_keras():
    model = dense_model(None)
    layer = model.get_layer("readout")
    layer.bias_regularizer = GroupLasso(groups="inputs")
    converter = nengo_wd.Converter(model, allow_fallback=False)
    with simulator(converter.net) as sim:
        with pytest.raises(ValidationError, match="of rank 1, can't be put into groups='inputs'"):
            nengo_wd.regularization_losses(sim)


def rows_squared(weights):
    return tf.reduce_sum(tf.square(tf.reduce_sum(weights, axis=0)))


@pytest.mark.generation(3)
def test_regularizer_that_depends_on_the_shape():
    model = dense_model(rows_squared)
    converter = nengo_wd.Converter(model, allow_fallback=False)
    with simulator(converter.net) as sim:
        losses = nengo_wd.regularization_losses(sim)
    assert sorted(losses.values()) == pytest.approx(sorted(map(float, model.losses)), rel=1e-6)


@pytest.mark.generation(3)
def test_scaled_firing_rates_leave_the_penalties_as_they_are():
    for regularizer in (L1_L2["L1L2"], rows_squared):
        model = dense_model(regularizer)
        scale = 50 if regularizer is rows_squared else {model.get_layer("hidden"): 50}
        converter = nengo_wd.Converter(model, scale_firing_rates=scale)
        with simulator(converter.net) as sim:
            loss = nengo_wd.regularization_loss(sim)
        assert loss == pytest.approx(float(sum(model.losses)), rel=1e-6)


@pytest.mark.generation(3)
@pytest.mark.parametrize("make", [dense_model, conv_model])
@pytest.mark.parametrize("activity", [L1_L2["L1L2"], rows_squared])
def test_activity_regularizer_becomes_a_penalty_on_a_probe(make, activity, rng):
    model = make(None, activity_regularizer=activity)
    converter = nengo_wd.Converter(model, allow_fallback=False)
    totals, predictions, trained = step_of_both(model, converter, rng)
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)
    np.testing.assert_allclose(*predictions, atol=1e-5)
    for weight in model.get_weights():
        assert_among(weight, trained)


@pytest.mark.generation(3)
def test_wrapped_layer_is_penalized_once():
    inputs = tf.keras.Input((1, 6))
    layer = tf.keras.layers.Dense(3, kernel_regularizer="l2", activity_regularizer="l2")
    outputs = tf.keras.layers.TimeDistributed(layer)(inputs)
    model = tf.keras.Model(inputs, outputs)
    converter = nengo_wd.Converter(model, temporal_model=True)
    probe = converter.outputs[model.output]
    x, y = np.ones((2, 1, 6), np.float32), np.zeros((2, 1, 3), np.float32)
    with simulator(converter.net, minibatch_size=2) as sim:
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        total = total_loss(sim, {converter.inputs[model.input]: x}, {probe: y}, objective)
    model.compile(loss="mse")
    assert total == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-6)


@pytest.mark.generation(3)
def test_layers_of_inner_models_and_ours():
    inner_input = tf.keras.Input((6,))
    layer = nengo_wd.RegularizedDense(4, name="inner", bias_regularizer="l1")
    inner = tf.keras.Model(inner_input, layer(inner_input))
    inputs = tf.keras.Input((6,))
    model = tf.keras.Model(inputs, inner(inputs))
    converter = nengo_wd.Converter(model, allow_fallback=False)
    with simulator(converter.net) as sim:
        assert len(nengo_wd.regularization_losses(sim)) == 2
        loss = nengo_wd.regularization_loss(sim)
    assert loss == pytest.approx(float(sum(model.losses)), abs=1e-6)


@pytest.mark.generation(3)
def test_what_can_not_be_carried_over_is_refused_or_falls_back():
    inputs = tf.keras.Input((6,))
    layer = tf.keras.layers.Dense(2, kernel_constraint="non_neg", name="bounded")
    model = tf.keras.Model(inputs, layer(inputs))
    with pytest.raises(TypeError, match="bounded.kernel_constraint"):
        nengo_wd.Converter(model, allow_fallback=False)
    layer = tf.keras.layers.DepthwiseConv1D(2, depthwise_regularizer="l2", name="depthwise")
    inputs = tf.keras.Input((6, 2))
    model = tf.keras.Model(inputs, layer(inputs))
    with pytest.warns(UserWarning, match="Falling back"):
        converter = nengo_wd.Converter(model)
    with simulator(converter.net) as sim:
        loss = nengo_wd.regularization_loss(sim)
    assert loss == pytest.approx(float(sum(model.losses)), rel=1e-6)


@pytest.mark.generation(3)
@pytest.mark.parametrize("arguments", [{}, {"activity_regularizer": L1_L2["L2"]}])
def test_verified_in_training(arguments):
    converter = nengo_wd.Converter(dense_model(L1_L2["L1L2"], **arguments))
    assert converter.verify(training=True, atol=1e-5)


def with_loss_of_model(model):
    model.add_loss(lambda: tf.reduce_sum(model.get_layer("hidden").kernel))


def with_loss_of_layer(model):
    layer = model.get_layer("hidden")
    layer.add_loss(lambda: tf.reduce_sum(layer.kernel))


def with_loss_of_output(model):
    model.add_loss(tf.reduce_mean(model.output))


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "add, name",
    [
        (with_loss_of_model, "model"),
        (with_loss_of_layer, "'hidden'"),
        (with_loss_of_output, "add_loss"),
    ],
)
def test_losses_that_were_added(add, name):
    model = dense_model("l2")
    add(model)
    with pytest.warns(UserWarning, match=f"losses of .*{name}.* not carried over.*a regularizer"):
        nengo_wd.Converter(model)
    with pytest.raises(TypeError, match="not carried over"):
        nengo_wd.Converter(model, allow_fallback=False)


class AddsALoss(tf.keras.layers.Layer):
    def build(self, input_shape):
        self.scale = self.add_weight("scale", input_shape[-1:], initializer="ones")
        self.add_loss(lambda: tf.reduce_sum(self.scale))
        super().build(input_shape)

    def call(self, inputs):
        return inputs * self.scale


@pytest.mark.generation(3)
def test_losses_that_a_layer_adds_itself():
    """They are in the copy of the layer that becomes a TensorNode."""
    inputs = tf.keras.Input((6,))
    layer = AddsALoss(name="scaling")
    model = tf.keras.Model(inputs, layer(inputs))
    with pytest.warns(UserWarning) as caught:  # NengoDL's, that it falls back
        converter = nengo_wd.Converter(model)
    assert not [w for w in caught if "not carried over" in str(w.message)]
    with simulator(converter.net) as sim:
        assert nengo_wd.regularization_losses(sim) == {"scaling.loss": pytest.approx(6)}
    layer.add_loss(lambda: tf.reduce_sum(layer.scale))
    with pytest.warns(UserWarning, match="'scaling' from add_loss are not carried over"):
        nengo_wd.Converter(model)


@pytest.mark.generation(2)
def test_nengo_dl_2_has_no_converter():
    with pytest.raises(NotImplementedError, match="needs NengoDL 3"):
        nengo_wd.Converter(None)


def penalized_and_decayed(converter, own=False):
    """Return the names of what settings of the class of connections are about."""
    config = converter.net.config
    for name in ("regularizer", "weight_decay", "target_norm"):
        setattr(config[nengo.Connection], name, l1(0.5) if name == "regularizer" else 0.5)
    for connection in converter.net.all_connections if own else ():
        if str(connection.label).endswith(".bias"):
            config[connection].regularizer = l1(0.5)
            config[connection].weight_decay = config[connection].target_norm = 0.5
    with simulator(converter.net) as sim:
        found = [nengo_wd.regularization_losses(sim)]
        for make in (nengo_wd.decoupled_weight_decay, nengo_wd.constrained_norms):
            make(sim, sgd(0.1))
        for name in ("weight_decay", "target_norm"):
            found.append({p.name for p, _ in parameters.with_setting(sim, name)})
    return [sorted(names) for names in found]


def biased_model():
    image = tf.keras.Input((5, 4, 2))
    x = tf.keras.layers.Conv2D(3, 2, bias_initializer="ones", name="filters")(image)
    x = tf.keras.layers.Dense(2, bias_initializer="ones", name="readout")(
        tf.keras.layers.Flatten()(x)
    )
    return tf.keras.Model(image, x)


@pytest.mark.generation(3)
def test_settings_of_classes_leave_out_biases():
    """Those that are connections, as those of neurons; their own settings bring them in."""
    kernels = ["filters.kernel.weights", "readout.kernel.weights"]
    converter = nengo_wd.Converter(biased_model(), inference_only=False)
    for names in penalized_and_decayed(converter):
        assert names == kernels
    converter = nengo_wd.Converter(biased_model(), inference_only=False)
    for names in penalized_and_decayed(converter, own=True):
        assert {"filters.bias.weights", "readout.bias.weights"} <= set(names)


@pytest.mark.generation(3)
def test_settings_of_classes_leave_the_regularizers_of_biases():
    model = dense_model(l1(0.5))
    converter = nengo_wd.Converter(model, allow_fallback=False)
    converter.net.config[nengo.Connection].regularizer = None
    with simulator(converter.net) as sim:
        losses = nengo_wd.regularization_losses(sim)
    assert sorted(losses.values()) == pytest.approx(sorted(map(float, model.losses)), rel=1e-6)
