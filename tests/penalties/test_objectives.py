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
    total_loss,
    train,
    use_dtype,
    values,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from nengo.exceptions import SimulatorClosed, ValidationError

import nengo_wd
from nengo_wd import nengo_dl

STRENGTHS = (0.0, 0.25, 0.5)  # exact in float32, in which Keras keeps them


def l1_l2(l1, l2):
    return tf.keras.regularizers.l1_l2(l1=l1, l2=l2)


def by_hand(weights, l1, l2):
    weights = np.asarray(weights, dtype=np.float64)
    return l1 * np.sum(np.abs(weights)) + l2 * np.sum(weights**2)


class Model:
    """A network in float64 of dense layers on one input, some of them shared."""

    def __init__(self, nodes=(1,), n_probes=1, kernel=(0.0, 0.5), bias=(0.25, 0.0)):
        self.kernel, self.bias = kernel, bias
        with nengo.Network(seed=0) as self.net:
            use_dtype("float64")
            self.source = nengo.Node(np.zeros(2))
            self.layers = [self.add_layer(number) for number in nodes]
            ends = self.net.nodes[1:]
            self.probes = [nengo.Probe(ends[i % len(ends)]) for i in range(n_probes)]
        rng = np.random.RandomState(1)
        self.inputs = {self.source: rng.uniform(-1, 1, size=(2, 3, 2))}
        self.targets = {p: rng.uniform(-1, 1, size=(2, 3, 3)) for p in self.probes}

    def add_layer(self, number):
        layer = nengo_wd.RegularizedDense(
            3,
            bias_initializer="ones",
            kernel_regularizer=l1_l2(*self.kernel),
            bias_regularizer=l1_l2(*self.bias) if self.bias else None,
        )
        for _ in range(number):
            nengo.Connection(self.source, tensor_node(layer, 2, 3), synapse=None)
        return layer

    def simulator(self):
        return simulator(self.net, minibatch_size=2)

    def penalty(self, sim):
        """Work the penalties out in NumPy."""
        total = 0
        for layer in self.layers:
            kernel, bias = values(sim, layer.weights)
            total += by_hand(kernel, *self.kernel)
            total += by_hand(bias, *self.bias) if self.bias else 0
        return total

    def data_loss(self, sim):
        """Work the mean squared errors out in NumPy."""
        recorded = outputs(sim, self.inputs, self.probes)
        return sum(np.mean((y - self.targets[p]) ** 2) for p, y in zip(self.probes, recorded))

    def total(self, sim, objective):
        return total_loss(sim, self.inputs, self.targets, objective)


pairs = st.tuples(st.sampled_from(STRENGTHS), st.sampled_from(STRENGTHS))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    nodes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    n_probes=st.integers(1, 4),
    n_calls=st.integers(1, 3),
    kernel=pairs,
    bias=st.none() | pairs,
)
def test_every_penalty_counts_exactly_once(nodes, n_probes, n_calls, kernel, bias):
    tf.keras.backend.clear_session()
    model = Model(nodes, n_probes, kernel, bias)
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
    model = Model(n_probes=2)
    with model.simulator() as sim:
        objective = nengo_wd.regularized_objective(sim, FORMS[form](model))
        expected = model.data_loss(sim) + model.penalty(sim)
        # TensorFlow 1.15 computes Keras losses in float32
        assert model.total(sim, objective) == pytest.approx(expected, rel=1e-7)


@pytest.mark.generation(3)
def test_no_objective_leaves_the_penalties():
    model = Model()
    with model.simulator() as sim:
        penalty = model.penalty(sim)
        sim.compile("sgd", loss=nengo_wd.regularized_objective(sim, None))
        history = sim.fit(model.inputs, verbose=0).history
        assert history["loss"] == [pytest.approx(penalty, rel=1e-9)]


@pytest.mark.generation(2)
def test_function_of_the_outputs_alone():
    model = Model(n_probes=2)
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
    model = Model(kernel=(0.0, 0.5), bias=None)
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
    model = Model()
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
    model = Model()
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
        model = Model()
        with simulator(model.net, minibatch_size=2, seed=0) as sim:
            optimizer = tf.compat.v1.train.AdamOptimizer(0.1)
            for _ in range(n_calls):
                objective = nengo_wd.regularized_objective(sim, {p: "mse" for p in model.probes})
                train(sim, model.inputs, model.targets, objective, optimizer, epochs=3 // n_calls)
            weights.append(values(sim, model.layers[0].weights))
    for anew, at_once in zip(*weights):
        np.testing.assert_allclose(anew, at_once, rtol=1e-12)


def test_gradient_is_that_of_the_reported_total():
    """One step of plain gradient descent, against central differences of the loss."""
    rate, step = 0.125, 1e-6
    model = Model(nodes=(2, 1), n_probes=2, kernel=(0.25, 0.5))
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


# -- bad input ---------------------------------------------------------------------------


@pytest.fixture
def model():
    return Model()


def test_probe_of_another_network(model):
    with nengo.Network():
        stranger = nengo.Probe(nengo.Node(0, label="elsewhere"))
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="elsewhere.*not among the probes"):
            nengo_wd.regularized_objective(sim, {stranger: "mse"})


def test_key_that_is_no_probe(model):
    with model.simulator() as sim:
        with pytest.raises(ValidationError, match="Node.*is no probe"):
            nengo_wd.regularized_objective(sim, {model.source: "mse"})
        with pytest.raises(ValidationError, match="'prob' is not among the probes"):
            nengo_wd.regularized_objective(sim, {"prob": "mse"})


def test_tuple_of_probes_where_none_is_taken(model):
    keys = [()] if GENERATION == 2 else [(), (model.probes[0],)]
    with model.simulator() as sim:
        for key in keys:
            with pytest.raises(ValidationError, match="no key of an objective"):
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
