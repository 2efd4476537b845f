"""Groups of inputs and outputs, of every kind of weights, against loops over single weights.

For each kind, a function says which input and which output a weight has, by its place.
"""

import collections
import itertools

import nengo
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from generations import (
    GENERATION,
    one_step,
    sgd,
    simulator,
    tensor_node,
    train,
    use_dtype,
    values,
)
from nengo.exceptions import ValidationError
from networks import parameters_of, product

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd._groups import sides_in_layer, use_sides
from nengo_wd.regularizers import GroupLasso, Scheduled

keras = tf.keras.layers
STRENGTH, RATE = 0.25, 0.5
SIDES = ("inputs", "outputs")


# -- by hand ---------------------------------------------------------------------------------


def native(place, shape):
    return place[1], place[0]


def kernel(place, shape):
    return place[-2], place[-1]


def transposed(place, shape):
    return place[-1], place[-2]


def depthwise(place, shape):
    return place[-2], place[-2] * shape[-1] + place[-1]


def in_two_parts(place, shape):
    part = 0 if place[-1] < shape[-1] / 2 else 1
    return place[-2] + part * shape[-2], place[-1]


def each(place, shape):
    return place[0], place[0]


def groups_by_hand(weights, ends, side):
    """Return the places of each group, and its number."""
    found = collections.defaultdict(list)
    for place in np.ndindex(*weights.shape):
        found[ends(place, weights.shape)[SIDES.index(side)]].append(place)
    return found


def by_hand(weights, ends, side, costs=None, strength=STRENGTH, by=STRENGTH * RATE):
    """Return the penalty, its gradient, and the weights after a proximal step of a size."""
    weights = np.asarray(weights, np.float64)
    penalty, gradient, stepped = 0, np.zeros(weights.shape), weights.copy()
    for number, places in groups_by_hand(weights, ends, side).items():
        group = np.array([weights[place] for place in places])
        norm = np.sqrt(np.sum(group**2))
        factor = np.sqrt(len(places)) * (1 if costs is None else costs[number])
        penalty += strength * factor * norm
        for place in places:
            gradient[place] = strength * factor * weights[place] / norm
            stepped[place] = weights[place] * max(0, 1 - by * factor / norm)
    return penalty, gradient, stepped


def costs_for(weights, ends, side):
    n_groups = max(groups_by_hand(weights, ends, side)) + 1
    return np.linspace(0, 2, n_groups)  # one group has no costs, and so is no group


# -- bare weights ----------------------------------------------------------------------------


@pytest.mark.parametrize("with_costs", [False, True])
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (2, 3, 4, 5), (2, 2, 2, 3, 4)])
def test_bare_weights_are_kernels_of_keras(shape, side, with_costs, rng):
    weights = rng.uniform(-1, 1, size=shape)
    costs = costs_for(weights, kernel, side) if with_costs else None
    lasso = GroupLasso(STRENGTH, groups=side, costs=costs)
    with tf.Graph().as_default(), tf.compat.v1.Session() as sess:
        tensor = tf.constant(weights)
        penalty = lasso(tensor)
        gradient = tf.gradients(penalty, tensor)[0]
        found = sess.run([penalty, gradient, lasso.shrunk(tensor, 0.25)])
    for one, other in zip(found, by_hand(weights, kernel, side, costs, by=0.25)):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis, costs", [(0, [1, 2]), (1, [3, 0, 1]), ((1, 0), range(6))])
def test_costs_along_axes(axis, costs, rng):
    weights = rng.uniform(-1, 1, size=(2, 3))
    penalty = tf.keras.backend.get_value(GroupLasso(0.5, axis, costs=costs)(tf.constant(weights)))
    by_axis = {
        0: lambda: np.sqrt(3) * np.linalg.norm(weights, axis=1) @ costs,
        1: lambda: np.sqrt(2) * np.linalg.norm(weights, axis=0) @ costs,
        (1, 0): lambda: np.abs(weights).ravel() @ costs,
    }
    assert penalty == pytest.approx(0.5 * by_axis[axis](), rel=1e-12)


def test_outputs_of_a_vector_are_its_elements(rng):
    bias = rng.uniform(-1, 1, size=5)
    lasso = GroupLasso(0.5, groups="outputs")
    penalty, stepped = tf.keras.backend.batch_get_value(
        [lasso(tf.constant(bias)), lasso.shrunk(tf.constant(bias), 0.25)]
    )
    assert penalty == pytest.approx(0.5 * np.abs(bias).sum(), rel=1e-12)
    np.testing.assert_allclose(stepped, np.sign(bias) * np.maximum(np.abs(bias) - 0.25, 0))
    with pytest.raises(ValidationError, match="weights, of rank 1, can't be put into groups='inp"):
        GroupLasso(0.5, groups="inputs")(tf.constant(bias))


# -- settings --------------------------------------------------------------------------------


def in_loop(cls):
    return type(f"{cls.__name__}InLoop", (nengo_wd.TimeLoopLayer, cls), {})


class HasTransposed(tf.keras.layers.Layer):
    """A layer that has one of Keras in it, which knows nothing of ours."""

    def __init__(self, regularizer, **kwargs):
        super().__init__(**kwargs)
        kwargs = dict(kernel_regularizer=regularizer, dtype="float32", name="inner")
        self.inner = keras.Conv2DTranspose(3, 2, **kwargs)

    def build(self, input_shape):
        self.inner.build(input_shape)
        super().build(input_shape)

    def call(self, inputs):
        return self.inner.call(inputs)

    def compute_output_shape(self, input_shape):
        return self.inner.compute_output_shape(input_shape)


def layers(in_parts=False, **kwargs):
    """Yield layers on a flat input of 12 elements, each with the ends of the weights.

    Those with groups of channels are extra: TensorFlow does not train them on a CPU.
    """
    image, line = (2, 3, 2), (3, 4)
    yield nengo_wd.RegularizedDense(4, name="dense", **kwargs), kernel
    conv = nengo_wd.RegularizedConv2D(3, 2, input_shape=image, name="conv", **kwargs)
    yield conv, kernel
    up = in_loop(keras.Conv2DTranspose)(3, 2, input_shape=image, name="up", **kwargs)
    yield up, transposed
    renamed = {name.replace("kernel", "depthwise"): value for name, value in kwargs.items()}
    deep = in_loop(keras.DepthwiseConv2D)(
        2, depth_multiplier=3, input_shape=image, name="deep", **renamed
    )
    yield deep, depthwise
    if in_parts:
        parts = nengo_wd.RegularizedConv1D(6, 2, groups=2, input_shape=line, name="parts", **kwargs)
        yield parts, in_two_parts


class EveryKind:
    """Weights of every kind, in one network in float64; with functions from places to ends."""

    def __init__(self, in_parts=False):
        self.kinds = {}
        rng = np.random.RandomState(0)
        with nengo.Network(seed=0) as self.net:
            use_dtype("float64")
            one_step()
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(12))
            self.a = nengo.Ensemble(5, 2, label="a")
            nengo.Connection(self.source[:2], self.a)
            self.add_native(rng)
            if in_parts:
                parts = nengo.Convolution(6, (3, 4), kernel_size=(2,), strides=(1,), groups=2)
                self.kinds[self.add_transform(parts)] = in_two_parts
            for number, obj in enumerate(self.kinds):
                obj.label = f"native {number}"
            for layer, ends in layers(in_parts, kernel_regularizer=None):
                self.kinds[self.add_layer(layer)] = ends
            self.probe = nengo.Probe(self.source)
        self.inputs = {self.source: np.zeros((1, 1, 12))}
        self.targets = {self.probe: np.zeros((1, 1, 12))}

    def add_native(self, rng):
        self.kinds[self.a] = native  # encoders
        b = nengo.Node(size_in=3)
        function = lambda x: [x[0] + 0.5, x[1] ** 2, x[0] * x[1]]  # noqa: E731
        self.kinds[nengo.Connection(self.a, b, function=function)] = native
        weights = rng.uniform(-1, 1, size=(3, 12))
        self.kinds[nengo.Connection(self.source, b, transform=weights)] = native
        self.kinds[nengo.Connection(b, nengo.Node(size_in=3), transform=[1.0, -2.0, 0.1])] = each
        transform = nengo.Convolution(4, (2, 3, 2), kernel_size=(2, 2), strides=(1, 1))
        self.kinds[self.add_transform(transform)] = kernel
        if GENERATION == 3:
            up = nengo.ConvolutionTranspose(3, (2, 3, 2), kernel_size=(2, 2), strides=(1, 1))
            self.kinds[self.add_transform(up)] = kernel
        self.add_sparse(rng)

    def add_transform(self, transform):
        end = nengo.Node(size_in=transform.size_out)
        return nengo.Connection(self.source, end, transform=transform, synapse=None)

    def add_sparse(self, rng):
        """Add sparse weights, of SciPy and of Nengo; some groups have none."""
        self.matrices = {}
        mask = rng.uniform(size=(4, 12)) < 0.3
        mask[1], mask[:, 2] = False, False
        mask[3, 11] = True  # the last of the groups have weights, by which costs are counted
        matrix = scipy.sparse.coo_matrix(mask * rng.uniform(-1, 1, size=mask.shape))
        indices = np.stack([matrix.row, matrix.col], 1)[::-1]
        pairs = nengo.Sparse((4, 12), indices=indices, init=matrix.data[::-1])
        for transform in (nengo.Sparse((4, 12), init=matrix), pairs):
            connection = self.add_transform(transform)
            self.kinds[connection] = None
            self.matrices[connection] = matrix.toarray()

    def add_layer(self, layer, **kwargs):
        node = tensor_node(layer, 12, **kwargs)
        nengo.Connection(self.source, node, synapse=None)
        return node

    def ends(self, sim, obj):
        """Return the function from places to ends, for the weights as they are built."""
        if obj not in self.matrices:
            return self.kinds[obj]
        weights = np.array(parameters_of(sim, obj)[0].initial)
        matrix = self.matrices[obj].astype(np.float64)
        found = [np.argwhere(np.isclose(matrix, one, rtol=1e-12, atol=0)) for one in weights]
        assert [len(places) for places in found] == [1] * np.count_nonzero(matrix)
        return lambda place, shape: (found[place[0]][0, 1], found[place[0]][0, 0])


def set_lassos(model, sim, side, with_costs, wrapped=lambda lasso: lasso):
    """Set the regularizer of each object; return what is expected for its weights, by object."""
    expected = {}
    for obj in model.kinds:
        (parameter,) = (p for p in parameters_of(sim, obj) if not p.name.endswith("bias"))
        weights, ends = np.array(parameter.value, np.float64), model.ends(sim, obj)
        costs = costs_for(weights, ends, side) if with_costs else None
        expected[obj] = parameter, weights, by_hand(weights, ends, side, costs)
        lasso = wrapped(GroupLasso(STRENGTH, groups=side, costs=costs))
        model.net.config[obj].regularizer = lasso
    return expected


def doubled(lasso):
    """Return a regularizer of the user's own, which has a lasso in it."""
    return lambda weights: 2 * lasso(weights)


def test_penalties_of_settings():
    """Of regularizers, and of a user's own functions around them."""
    model = EveryKind(in_parts=GENERATION == 3)
    assert list(model.kinds.values()).count(in_two_parts) == (2 if GENERATION == 3 else 0)
    with simulator(model.net) as sim:
        cases = [*itertools.product(SIDES, (False, True), (1,)), ("inputs", False, 2)]
        for side, with_costs, factor in cases:
            wrapped = doubled if factor == 2 else lambda lasso: lasso
            expected = set_lassos(model, sim, side, with_costs, wrapped)
            losses = nengo_wd.regularization_losses(sim)
            assert len(losses) == len(model.kinds) >= 10
            for parameter, _, (penalty, _, _) in expected.values():
                wanted = pytest.approx(factor * penalty, rel=1e-9)
                assert losses[parameter.name] == wanted, (parameter, side, with_costs)


@pytest.mark.generation(3)
def test_proximal_maps():
    """Also of convolutions in parts, which are not trained on a CPU."""
    model = EveryKind(in_parts=True)
    with simulator(model.net) as sim:
        for side, with_costs in itertools.product(SIDES, (False, True)):
            expected = set_lassos(model, sim, side, with_costs)
            for obj, (parameter, weights, (_, _, stepped)) in expected.items():
                with use_sides(parameter.sides):
                    lasso = model.net.config[obj].regularizer
                    found = lasso.shrunk(tf.constant(weights), STRENGTH * RATE).numpy()
                np.testing.assert_allclose(found, stepped, rtol=1e-9, atol=1e-12)


def test_biases_of_neurons():
    model = EveryKind()
    with simulator(model.net) as sim:
        neurons = model.a.neurons
        model.net.config[neurons].regularizer = GroupLasso(0.5, groups="outputs")
        bias = sim.data[model.a].bias
        expected = {"native 0.biases": pytest.approx(0.5 * np.abs(bias).sum())}
        assert nengo_wd.regularization_losses(sim) == expected
        model.net.config[neurons].regularizer = GroupLasso(0.5, groups="inputs")
        fault = "0.biases, of rank 1, can't be put into groups='inputs'; give groups='outputs', or"
        with pytest.raises(ValidationError, match=fault):
            nengo_wd.regularization_losses(sim)


def test_a_step_of_sgd_on_penalties():
    model = EveryKind()
    with simulator(model.net) as sim:
        expected = set_lassos(model, sim, "inputs", with_costs=True)
        objective = nengo_wd.regularized_objective(sim, {model.probe: product})
        train(sim, model.inputs, model.targets, objective, sgd(RATE))
        trained = {obj: parameter.value for obj, (parameter, _, _) in expected.items()}
    for obj, (_, weights, (_, gradient, _)) in expected.items():
        np.testing.assert_allclose(trained[obj], weights - RATE * gradient, rtol=1e-9, atol=1e-12)


def scheduled(lasso):
    config = {**lasso.get_config(), "strength": 1.0}
    return Scheduled(GroupLasso(**config), lasso.strength)


@pytest.mark.parametrize("side, with_costs", [("inputs", False), ("outputs", True)])
def test_proximal_steps(side, with_costs):
    model = EveryKind()
    with simulator(model.net) as sim:
        wrapped = scheduled if with_costs else lambda lasso: lasso
        expected = set_lassos(model, sim, side, with_costs, wrapped)
        optimizer = nengo_wd.proximal_regularization(sim, sgd(RATE))
        train(sim, model.inputs, model.targets, {model.probe: product}, optimizer)
        trained = {obj: parameter.value for obj, (parameter, _, _) in expected.items()}
    n_zeros = 0
    for obj, (_, weights, (_, _, stepped)) in expected.items():
        np.testing.assert_allclose(trained[obj], stepped, rtol=1e-6, atol=1e-9)
        np.testing.assert_array_equal(trained[obj] == 0, stepped == 0)
        n_zeros += np.sum(stepped == 0) - np.sum(weights == 0)
    assert n_zeros > 0


@pytest.mark.parametrize("change", ["strength", "costs", "groups"])
def test_updated_settings(change):
    """A number is taken on by what was compiled; other groups and costs need new steps."""
    model = EveryKind()
    with simulator(model.net) as sim:
        expected = set_lassos(model, sim, "inputs", True)
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        node, parameter, weights = next((o, p, w) for o, (p, w, _) in expected.items() if p.layer)
        lasso = model.net.config[node].regularizer
        config = lasso.get_config()
        other = {"strength": 0.125, "costs": config["costs"][::-1], "groups": "outputs"}
        config.update({change: other[change]})
        if change == "groups":
            del config["costs"]
        model.net.config[node].regularizer = GroupLasso(**config)
        if change != "strength":
            with pytest.raises(ValidationError, match=f"{parameter.name}"):
                optimizer.update_settings()
            return
        optimizer.update_settings()
        train(sim, model.inputs, model.targets, {model.probe: product}, optimizer)
        (trained,) = values(sim, [parameter.variable])
    _, _, stepped = by_hand(weights, kernel, "inputs", config["costs"], by=0.125 * RATE)
    np.testing.assert_allclose(trained, stepped, rtol=1e-6, atol=1e-9)


# -- layers' own -----------------------------------------------------------------------------


def own_layers(side):
    lasso = GroupLasso(STRENGTH, groups=side)
    for layer, ends in layers(kernel_regularizer=lasso, bias_regularizer=None):
        yield layer, ends, {}
    yield in_loop(HasTransposed)(lasso, input_shape=(2, 3, 2), name="outer"), transposed, {}
    if GENERATION == 3:  # layers of Keras, of which a TensorNode takes flat inputs
        flat = keras.Dense(4, kernel_regularizer=lasso, name="flat")
        yield flat, kernel, {"pass_time": False}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("proximal", [False, True])
def test_regularizers_of_layers(side, proximal):
    with nengo.Network(seed=0) as net:
        one_step()
        source = nengo.Node(np.zeros(12))
        added = list(own_layers(side))
        nodes = [tensor_node(layer, 12, **kwargs) for layer, _, kwargs in added]
        for node in nodes:
            nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(nodes[0])
    data = {source: np.zeros((1, 1, 12))}, {probe: np.zeros((1, 1, 4))}
    with simulator(net) as sim:
        variables = [layer.weights[0] for layer, _, _ in added]
        start = values(sim, variables)
        expected = [by_hand(w, ends, side) for w, (_, ends, _) in zip(start, added)]
        losses = nengo_wd.regularization_losses(sim)
        if proximal:
            optimizer, loss = nengo_wd.proximal_regularization(sim, sgd(RATE)), {probe: product}
        else:
            loss = nengo_wd.regularized_objective(sim, {probe: product})
            optimizer = sgd(RATE)
        train(sim, *data, loss, optimizer)
        trained = values(sim, variables)
    assert list(losses.values()) == pytest.approx([one[0] for one in expected], rel=1e-6)
    for after, before, (_, gradient, stepped) in zip(trained, start, expected):
        wanted = stepped if proximal else before - RATE * gradient
        np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.generation(3)
@pytest.mark.parametrize("side", SIDES)
def test_layers_of_keras(side):
    """Of which ours know where the channels are, in a simulator, and Keras does not."""
    lasso = GroupLasso(STRENGTH, groups=side)
    kwargs = dict(kernel_regularizer=lasso)
    kinds = [
        (keras.Conv2D(3, 2, **kwargs), (2, 3, 2), kernel),
        (keras.Conv2DTranspose(3, 2, **kwargs), (2, 3, 2), transposed),
        (keras.Conv1D(6, 2, groups=2, **kwargs), (3, 4), in_two_parts),
        (keras.DepthwiseConv2D(2, depth_multiplier=3, depthwise_regularizer=lasso), (2, 3, 2),
         depthwise),
    ]  # fmt: skip
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(12))
        for layer, shape, _ in kinds:
            nengo_dl.Layer(layer)(source, shape_in=shape)
        nengo.Probe(source)
    with simulator(net) as sim:
        losses = nengo_wd.regularization_losses(sim)
        of_keras = float(sum(sim.keras_model.losses))
        start = values(sim, [layer.weights[0] for layer, _, _ in kinds])
    expected = [by_hand(w, ends, side)[0] for w, (_, _, ends) in zip(start, kinds)]
    assert list(losses.values()) == pytest.approx(expected, rel=1e-6)
    assert of_keras == pytest.approx(sum(expected), rel=1e-6)


@pytest.mark.generation(3)
def test_our_layers_in_a_model_of_keras(rng):
    lasso = GroupLasso(STRENGTH, groups="inputs")
    layer = in_loop(keras.Conv2DTranspose)(3, 2, kernel_regularizer=lasso)
    layer(tf.zeros((1, 2, 3, 2)))
    expected, _, _ = by_hand(layer.kernel.numpy(), transposed, "inputs")
    assert float(sum(layer.losses)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "layer, side, known",
    [
        (keras.LSTMCell(2), "inputs", True),
        (keras.LSTMCell(2), "outputs", False),
        (keras.GRUCell(2), "outputs", False),
        (keras.SimpleRNNCell(2), "outputs", True),
        (keras.LocallyConnected1D(2, 2), "inputs", False),
    ],
)
def test_layers_whose_sides_are_not_known(layer, side, known):
    sides = sides_in_layer(layer, "kernel", "cell.kernel")
    if known:
        assert sides.groups(side, (3, 8)).axes == (SIDES.index(side),)
        return
    with pytest.raises(ValidationError, match="cell.kernel, of rank 2, can't be put into groups"):
        sides.groups(side, (3, 8))
