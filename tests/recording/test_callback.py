"""WeightNorms against NumPy on `sim.data` and on the layers' variables."""

import csv
import warnings

import nengo
import numpy as np
import pandas
import pytest
import scipy.sparse
import tensorflow as tf
from generations import (
    GENERATION,
    assign,
    sgd,
    simulator,
    train,
    use_dtype,
    values,
)
from nengo.exceptions import SimulatorClosed, ValidationError

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import GroupLasso, TowardsInitial

STEPS, MINIBATCH = 3, 4
LABEL = "same (1)" if GENERATION == 2 else "same"  # TensorFlow 2 takes no such names for layers
l1, l2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2


class Transposed(nengo_wd.TimeLoopLayer, tf.keras.layers.Conv2DTranspose):
    """A transposed convolution for the time loop."""


class Depthwise(nengo_wd.TimeLoopLayer, tf.keras.layers.DepthwiseConv2D):
    """A depthwise convolution for the time loop."""


def norm(weights, axis=None):
    """Return the norm over some axes, in float64."""
    return np.sqrt(np.sum(np.square(np.asarray(weights, np.float64)), axis=axis))


class Native:
    """A network with every kind of native parameter."""

    def __init__(self):
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            self.a = nengo.Ensemble(5, 2, label="a")
            self.b = nengo.Ensemble(6, 1, label="b")
            self.readout = nengo.Connection(
                self.a, nengo.Node(size_in=3), function=lambda x: [x[0], x[1], x[0] * x[1]]
            )
            self.full = nengo.Connection(self.a, self.b[0], function=lambda x: x[0])
            image = nengo.Node(np.zeros(12))
            nengo.Connection(image[:2], self.a)
            filters = nengo.Convolution(4, (3, 2, 2), kernel_size=(2, 2), strides=(1, 1))
            self.conv = nengo.Connection(
                image, nengo.Node(size_in=filters.size_out), transform=filters
            )
            self.matrix = scipy.sparse.random(6, 5, 0.5, random_state=np.random.RandomState(0))
            self.sparse = nengo.Connection(
                self.a.neurons, self.b.neurons, transform=nengo.Sparse((6, 5), init=self.matrix)
            )
            self.probe = nengo.Probe(self.b)
        self.image = image


def readout_network(strength=0.5, **kwargs):
    """Return network, source, layer and probe of a single layer."""
    regularizer = None if strength is None else l2(strength)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(**kwargs)
        source = nengo.Node(np.zeros(2))
        layer = nengo_wd.RegularizedDense(
            3, kernel_regularizer=regularizer, kernel_initializer="ones", name="readout"
        )
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    return net, source, layer, probe


# -- norms and penalties -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_of_native_parameters_equal_numpy(dtype):
    model = Native()
    with model.net:
        use_dtype(dtype)
    objects = [model.sparse, model.a, model.readout, model.conv, model.full, model.a.neurons]
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=objects)
        norms.record()
        data = sim.data
        expected = [  # by channel, in the order that was asked for
            norm(model.matrix.toarray(), axis=1),
            norm(data[model.a].scaled_encoders, axis=1),
            norm(data[model.readout].weights, axis=1),
            norm(data[model.conv].weights, axis=(0, 1, 2)),
            norm(data[model.full].weights, axis=1),
            np.abs(data[model.a].bias),
        ]
    rtol = {"float32": 1e-6, "float64": 1e-12}[dtype]
    for channels, of_channels in zip(expected, norms.channel_norms.values()):
        assert of_channels.shape == (1, len(channels))
        np.testing.assert_allclose(of_channels[0], channels, rtol=rtol)
    np.testing.assert_allclose(norms.norms, [[norm(c) for c in expected]], rtol=rtol)
    assert [p.obj for p in norms.parameters.values()] == objects


@pytest.mark.parametrize(
    "make, size_in, kernel_axes, channel_axes",
    [
        (lambda: nengo_wd.RegularizedDense(5), 3, 2, 0),
        (lambda: nengo_wd.RegularizedConv1D(5, 2, input_shape=(4, 3)), 12, 3, (0, 1)),
        (lambda: nengo_wd.RegularizedConv2D(5, 2, input_shape=(3, 3, 2)), 18, 4, (0, 1, 2)),
        (lambda: nengo_wd.RegularizedConv3D(5, 2, input_shape=(2, 2, 2, 3)), 24, 5, (0, 1, 2, 3)),
        # the kernel of a transposed convolution is of shape (height, width, output, input)
        (
            lambda: Transposed(5, 2, kernel_regularizer="l2", input_shape=(3, 3, 2)),
            18,
            4,
            (0, 1, 3),
        ),
        (
            lambda: Depthwise(
                2, depth_multiplier=3, depthwise_regularizer="l2", input_shape=(3, 3, 2)
            ),
            18,
            4,
            (0, 1),
        ),
    ],
)
def test_norms_of_layers_equal_numpy(make, size_in, kernel_axes, channel_axes):
    layer = make()
    with nengo.Network(seed=0) as net:
        nengo_dl.tensor_layer(nengo.Node(np.zeros(size_in)), layer)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        kernel = values(sim, layer.trainable_weights)[0]
    assert kernel.ndim == kernel_axes
    channels = norm(kernel, channel_axes).ravel()
    (recorded,) = norms.channel_norms.values()
    np.testing.assert_allclose(recorded, [channels], rtol=1e-6)
    np.testing.assert_allclose(norms.norms, [[norm(kernel)]], rtol=1e-6)


def test_sums_over_many_rows_are_precise():
    layer = nengo_wd.RegularizedDense(3, name="readout")
    with nengo.Network() as net:
        nengo_dl.tensor_layer(nengo.Node(np.zeros(100000)), layer)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        kernel = np.random.RandomState(0).uniform(size=(100000, 3)).astype(np.float32)
        assign(sim, layer.kernel, kernel)
        norms.record()
    np.testing.assert_allclose(norms.channel_norms["readout.kernel"][0], norm(kernel, 0), rtol=1e-7)


def test_penalties_equal_numpy():
    model = Native()
    config = model.net.config
    config[model.readout].regularizer = l2(0.5)
    config[model.full].regularizer = l1(0.25)
    config[model.conv].regularizer = GroupLasso(0.1, axis=3)
    config[model.a].regularizer = TowardsInitial(l2=0.75)
    config[model.b].weight_decay = 0.1  # a parameter without penalty
    with model.net:
        layer = nengo_wd.RegularizedDense(2, kernel_regularizer=None, bias_regularizer=l2(2.0))
        nengo_dl.tensor_layer(model.image, layer)
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        data = sim.data
        kernel = data[model.conv].weights
        assign(sim, layer.bias, np.array([1.0, 3.0], np.float32))
        norms.record()
        expected = {
            model.readout: 0.5 * norm(data[model.readout].weights) ** 2,
            model.full: 0.25 * np.abs(data[model.full].weights).sum(),
            model.conv: 0.1 * np.sqrt(kernel[..., 0].size) * norm(kernel, (0, 1, 2)).sum(),
            model.a: 0.0,
            model.b: 0.0,
        }
        recorded = {p.obj: x for p, x in zip(norms.parameters.values(), norms.penalties[0])}
        for obj, penalty in expected.items():
            assert recorded.pop(obj) == pytest.approx(penalty, rel=1e-6)
        assert list(recorded.values()) == [pytest.approx(20.0)]
        for parameter in norms.parameters.values():  # twice the rows of the encoders, not others
            if parameter.obj is model.a:
                value = values(sim, [parameter.variable])[0]
                value[parameter.rows] *= 2
                assign(sim, parameter.variable, value)
        norms.record()
        towards = 0.75 * norm(parameter_of(norms, model.a).initial) ** 2
        assert norms.penalties[1, place(norms, model.a)] == pytest.approx(towards, rel=1e-6)
        total = nengo_wd.regularization_loss(sim)
        assert norms.total_penalties[1] == pytest.approx(total, rel=1e-6)
        assert norms.total_penalties[1] == pytest.approx(norms.penalties[1].sum(), rel=1e-6)


def parameter_of(norms, obj):
    return next(p for p in norms.parameters.values() if p.obj is obj)


def place(norms, obj):
    return [p.obj for p in norms.parameters.values()].index(obj)


def test_total_penalty_counts_what_is_not_recorded():
    model = Native()
    with model.net:
        nengo_wd.configure_settings(regularizer=l2(1.0))
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=model.readout)
        norms.record()
        assert norms.total_penalties[0] > norms.penalties[0, 0] > 0
        assert norms.total_penalties[0] == pytest.approx(nengo_wd.regularization_loss(sim))


def operations(n_connections):
    """Return how many operations a measurement of so many connections has."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l2")
        a = nengo.Ensemble(10, 1)
        for _ in range(n_connections):
            nengo.Connection(a, a)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        assert len(norms.names) == n_connections
        function = norms._measure._compute
        if GENERATION == 3:
            return len(tf.function(function).get_concrete_function().graph.get_operations())
        graph = sim.tensor_graph.graph
        before = len(graph.get_operations())
        with graph.as_default():
            function()
        return len(graph.get_operations()) - before


def test_operations_grow_with_variables_not_objects():
    assert operations(2) == operations(20)


# -- what is recorded --------------------------------------------------------------------


def everything(sim):
    return set(nengo_wd.WeightNorms(sim, objects=sim.model.toplevel).names)


def test_objects_classes_networks_and_layers_choose():
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2), label="source")
        with nengo.Network() as inner:
            nengo_wd.configure_settings()
            a = nengo.Ensemble(5, 1, label="a")
            loop = nengo.Connection(a, a, label="loop")
        layer = nengo_wd.RegularizedDense(2, name="layer")
        node = nengo_dl.tensor_layer(source, layer)
        out = nengo.Connection(a, node[0], label="out")
    with simulator(net) as sim:

        def chosen(objects):
            return nengo_wd.WeightNorms(sim, objects=objects).names

        of_layer = ["layer.kernel", "layer.bias"]
        assert chosen(loop) == ["loop.weights"]
        assert chosen([a, a.neurons]) == ["a.encoders", "a.biases"]
        assert chosen(inner) == ["loop.weights", "a.encoders", "a.biases"]
        assert {"loop.weights", "out.weights"} <= set(chosen(nengo.Connection))
        assert chosen(layer) == chosen(node) == chosen(nengo_dl.TensorNode) == of_layer
        assert chosen([out, inner, loop])[:2] == ["out.weights", "loop.weights"]
        assert everything(sim) >= {"loop.weights", "a.encoders", "a.biases", *of_layer}
        assert nengo_wd.WeightNorms(sim).names == ["layer.kernel"]  # the one with a regularizer

        for empty in ([], (), set()):
            with pytest.raises(ValidationError, match="holds no objects"):
                chosen(empty)
        for nothing in (
            source,
            nengo.Probe,
            nengo.Network(add_to_container=False),
            "loop",
            np.ones(2),
        ):
            with pytest.raises(ValidationError, match="stands for no parameter"):
                chosen([loop, nothing])


def test_regularized_and_decayed_parameters_are_the_default():
    model = Native()
    model.net.config[model.readout].regularizer = "l2"
    model.net.config[model.b].weight_decay = 0.1
    with model.net:
        layer = nengo_wd.RegularizedDense(2, bias_regularizer="l1", name="layer")
        nengo_dl.tensor_layer(model.image, layer)
    with simulator(model.net) as sim:
        recorded = nengo_wd.WeightNorms(sim).parameters
        objects = {p.obj for name, p in recorded.items() if not name.startswith("layer")}
        assert objects == {model.readout, model.b}
        assert {"layer.kernel", "layer.bias"} <= set(recorded)
        assert len(recorded) == 4


def test_a_setting_reaches_a_layer_inside_tensor_layer():
    net, _, _, _ = readout_network(strength=None)
    net.config[nengo_dl.TensorNode].regularizer = l2(0.5)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        assert nengo_wd.regularization_losses(sim) == {"readout.kernel": pytest.approx(3.0)}
        assert norms.penalties.tolist() == [[pytest.approx(3.0)]]


@pytest.mark.generation(3)
def test_layers_inside_a_layer_have_their_own_names():
    with nengo.Network(seed=0) as net:
        inner = [tf.keras.layers.Dense(3, kernel_regularizer="l2", name=name) for name in "ab"]
        nengo_dl.tensor_layer(nengo.Node(np.zeros(2)), tf.keras.Sequential(inner), shape_in=(2,))
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        losses = nengo_wd.regularization_losses(sim)
        assert dict(zip(norms.names, norms.penalties[0])) == pytest.approx(losses)
        assert list(losses) == ["a.kernel", "b.kernel"]


def test_names_are_those_of_the_losses():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        a, b = (nengo.Ensemble(5, 2, label="same") for _ in range(2))
        first = nengo_wd.RegularizedDense(3, kernel_regularizer=None, name=LABEL)
        second = nengo_wd.RegularizedDense(4, kernel_regularizer=l2(0.25), name=LABEL)
        free, penalized = (nengo_dl.tensor_layer(source, layer) for layer in (first, second))
        for ensemble in (a, b):
            nengo.Connection(source, ensemble)
    net.config[b].regularizer = l2(0.5)
    net.config[free].regularizer = l2(1.0)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=[a, b, free, penalized])
        norms.record()
        losses = nengo_wd.regularization_losses(sim)
        assert set(losses) == {"same.encoders", f"{LABEL}.kernel", f"{LABEL}.kernel_1"}
        recorded = dict(zip(norms.names, norms.penalties[0]))
        assert {name: x for name, x in recorded.items() if x} == pytest.approx(losses)
        by_object = {p.obj: name for name, p in norms.parameters.items() if "bias" not in name}
        assert by_object[b] == "same.encoders"  # a, which has no penalty, is the one with a number
        assert by_object[a] == "same.encoders_1"
        weights = values(sim, [second.kernel])[0]
        assert recorded[by_object[penalized]] == pytest.approx(0.25 * norm(weights) ** 2)
        assert nengo_wd.WeightNorms(sim, objects=b).names == ["same.encoders"]


def test_frozen_weights_with_a_penalty_are_recorded():
    net, _, layer, _ = readout_network()
    layer.trainable = False
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        assert norms.names == list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]
        assert norms.penalties[0, 0] == norms.total_penalties[0] == pytest.approx(3)


def test_a_layer_stands_for_what_was_recorded_of_it_after_another_simulator():
    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
    with simulator(net):
        pass
    assert len(nengo_wd.plotting.norms(norms, layer).axes[0].lines) == 1


def test_each_node_of_a_shared_layer_stands_for_it():
    layer = nengo_wd.RegularizedDense(3, name="shared")
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        nodes = [nengo_dl.tensor_layer(source, layer) for _ in range(2)]
    with simulator(net) as sim:
        for node in nodes:
            names = nengo_wd.WeightNorms(sim, objects=node).names
            assert names == ["shared.kernel", "shared.bias"]
        assert nengo_wd.WeightNorms(sim).names == ["shared.kernel"]


def test_reason_for_nothing_to_record():
    with nengo.Network(seed=0) as net:
        a = nengo.Ensemble(5, 1)
        error = nengo.Node(size_in=1)
        learned = nengo.Connection(a, error, learning_rule_type=nengo.PES())
        nengo.Connection(error, learned.learning_rule)
    with nengo.Network():
        elsewhere = nengo.Ensemble(5, 1)
    reasons = {learned: "changed by a learning rule", elsewhere: "not in that network"}
    with simulator(net) as sim:
        for obj, reason in reasons.items():
            with pytest.raises(ValidationError, match=reason):
                nengo_wd.WeightNorms(sim, objects=obj)


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


# -- when --------------------------------------------------------------------------------


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
        sim.compile(sgd(0.1), loss={probe: "mse"})
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
        sim.compile(sgd(0.1), loss={probe: "mse"})
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


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_weights_whose_squares_are_no_float32(size):
    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        assign(sim, layer.kernel, np.full((2, 3), size, np.float32))
        norms.record()
    np.testing.assert_allclose(norms.norms, [[np.sqrt(6) * size]], rtol=1e-6)


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


# -- what is written ---------------------------------------------------------------------


def recorded_twice(sim):
    norms = nengo_wd.WeightNorms(sim, objects=sim.model.toplevel)
    norms.record()
    norms.record(step=5, epoch=1, loss=4.0)
    return norms


def test_table(tmp_path):
    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        norms = recorded_twice(sim)
    norms.to_csv(tmp_path / "norms.csv")
    with open(tmp_path / "norms.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["name"]) for row in rows] == [
        (step, name) for step in "05" for name in norms.names
    ]
    row = rows[-len(norms.names) + norms.names.index("readout.kernel")]
    assert {key: float(value) for key, value in row.items() if key != "name"} == pytest.approx(
        {
            "step": 5,
            "epoch": 1,
            "loss": 4,
            "norm": np.sqrt(6),
            "channel_mean": np.sqrt(2),
            "channel_max": np.sqrt(2),
            "penalty": 3,
            "share": 0.75,
        }
    )


def test_frame(tmp_path):
    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        norms = recorded_twice(sim)
    norms.to_csv(tmp_path / "norms.csv")
    read = pandas.read_csv(tmp_path / "norms.csv")
    pandas.testing.assert_frame_equal(norms.to_frame(), read, check_dtype=False)


def test_frame_without_pandas(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    net, _, _, _ = readout_network()
    with simulator(net) as sim, pytest.raises(ImportError, match="needs pandas"):
        recorded_twice(sim).to_frame()


def test_tensorboard_reads_scalars_and_histograms(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim, log_dir=tmp_path / "log")
        norms.record()
        assign(sim, layer.kernel, np.array([[3, np.nan, 0], [4, 1, 1]], np.float32))
        with pytest.warns(RuntimeWarning):
            norms.record(step=5, loss=4.0)
    read = EventAccumulator(str(tmp_path / "log"), {"histograms": 0}).Reload()  # 0: all of them
    scalars = {
        tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]
    }
    assert set(scalars) == {"loss", "penalty", "readout.kernel/norm", "readout.kernel/penalty"}
    assert scalars["loss"] == [(5, 4.0)]
    assert scalars["penalty"] == scalars["readout.kernel/penalty"] == [(0, 3.0)]
    assert scalars["readout.kernel/norm"] == [(0, pytest.approx(np.sqrt(6)))]

    assert read.Tags()["histograms"] == ["readout.kernel/values", "readout.kernel/channel_norms"]
    channels = read.Histograms("readout.kernel/channel_norms")
    assert [event.step for event in channels] == [0, 5]
    at_5 = channels[1].histogram_value  # of 5, and of 1: the one that is not finite is left out
    assert (at_5.min, at_5.max, at_5.num, at_5.sum, at_5.sum_squares) == (1, 5, 2, 6, 26)
    assert sum(at_5.bucket) == 2
    assert read.Histograms("readout.kernel/values")[1].histogram_value.num == 5


def test_two_records_in_one_folder(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        for i, objects in enumerate((layer, None)):
            nengo_wd.WeightNorms(sim, objects=objects, log_dir=tmp_path).record(step=i)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for path in files:
        assert EventAccumulator(str(path)).Reload().Tags()["scalars"]


@pytest.mark.parametrize(
    "kernel",
    [np.zeros((2, 3)), np.full((2, 3), np.nan), [[1, 1, 1], [1, 1, 1 + 1e-7]], np.full((2, 3), 7)],
)
@pytest.mark.filterwarnings("ignore:weights are not finite")
def test_histograms_of_hardly_different_values(kernel, tmp_path):
    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        assign(sim, layer.kernel, np.array(kernel, np.float32))
        nengo_wd.WeightNorms(sim, log_dir=tmp_path).record()
