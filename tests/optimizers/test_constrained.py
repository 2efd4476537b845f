"""Optimizers that keep norms at a bound, against the rule written out in NumPy."""

import re
import warnings

import by_hand
import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, OPTIMIZERS, RATE, Constrained
from generations import GENERATION, assign, sgd, simulator, tensor_node, values
from internals import XLA, without_xla
from networks import EveryParameter, ThreeConnections, collecting, parameters_of

import nengo_wd
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

EPOCHS = 30
ABOVE, FAR_ABOVE = 1.5, 0.4  # target norms; weights far above one are scaled to it at first


@pytest.fixture
def model():
    return ThreeConnections()


def by_numpy(rules, start, updates, factors=1.0):
    """Return the weights of the three connections after steps, with a rule for some of them."""
    weights = np.array(start)
    for update in updates:
        weights = weights * factors - update
        weights = np.array([rule(w) if rule else w for rule, w in zip(rules, weights)])
    return weights


def constrained(make, *args, **kwargs):
    """Return what makes an optimizer that constrains norms."""
    return lambda sim: nengo_wd.constrained_norms(sim, make(*args, **kwargs))


def test_numbers_for_two_of_three_connections_in_a_variable(model):
    model.set("target_norm", ABOVE, None, FAR_ABOVE)
    rules = [Constrained(ABOVE), None, Constrained(FAR_ABOVE)]
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=model.connections)
        trained = model.train(sim, nengo_wd.constrained_norms(sim, sgd(RATE)), EPOCHS)
        norms.record()
    expected = by_numpy(rules, model.start, [RATE * model.gradient] * EPOCHS)
    np.testing.assert_allclose(trained, expected, rtol=0, atol=1e-10)
    assert rules[0].n_scaled == 0 < rules[0].multiplier and rules[2].n_scaled > 0
    multipliers = [rules[0].multiplier, np.nan, rules[2].multiplier]
    np.testing.assert_allclose(norms.column("multiplier")[-1], multipliers, rtol=1e-10)
    np.testing.assert_allclose(norms.column("target_norm")[-1], [ABOVE, np.nan, FAR_ABOVE])


@pytest.mark.parametrize("name", ["Adam"] if GENERATION == 2 else ["Adam", "legacy momentum"])
def test_step_comes_after_that_of_any_optimizer(name, model):
    rule, make = OPTIMIZERS[name]
    model.set("target_norm", ABOVE)
    trained = model.trained(constrained(make))
    updates = (np.array(one) for one in zip(*(rule(g, RATE) for g in model.gradient)))
    updates = (update for update, _ in zip(updates, range(by_hand.STEPS)))
    expected = by_numpy([Constrained(ABOVE), None, None], model.start, updates)
    np.testing.assert_allclose(trained, expected, rtol=1e-6)


# -- bounds that are found -----------------------------------------------------------------


class Growing(ThreeConnections):
    """Weights that grow fast in ten steps, and slowly in the others, of an epoch."""

    def __init__(self):
        super().__init__()
        ((source, x),) = self.inputs.items()
        scales = np.where(np.arange(EPOCHS) < 10, 4.0, 0.5)
        self.gradients = scales[:, None, None, None] * -np.abs(self.gradient)
        self.inputs = {source: scales[:, None, None] * np.abs(x)}
        self.targets = {p: np.repeat(-np.abs(t), EPOCHS, 0) for p, t in self.targets.items()}


def test_bounds_that_are_found():
    model = Growing()
    model.set("target_norm", OfInitial(0.8), AtStep(4), InflectionPoint(every=2))
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        norms.record(step=0)
        trained = model.train(sim, optimizer, 1)
        norms.record()
    rules = [
        Constrained(0.8 * np.linalg.norm(model.start[0])),
        Constrained(at_step=4),
        Constrained(every=2),
    ]
    expected = by_numpy(rules, model.start, RATE * model.gradients)
    np.testing.assert_allclose(trained, expected, rtol=0, atol=1e-10)
    targets = [rule.bound for rule in rules]
    assert all(targets)
    columns = norms.column("target_norm"), norms.column("multiplier")
    nothing = np.full(3, np.nan)
    np.testing.assert_allclose(columns[0], [nothing, nothing, targets], rtol=1e-10)
    multipliers = [rule.multiplier for rule in rules]
    np.testing.assert_allclose(columns[1], [nothing, np.zeros(3), multipliers], rtol=1e-10)


def take_steps(sim, optimizer, variables, n_steps=1, gradient=tf.zeros_like):
    """Take steps, with gradients of zero by default."""
    if GENERATION == 3:
        for _ in range(n_steps):
            optimizer.apply_gradients([(gradient(v), v) for v in variables])
    else:
        with sim.tensor_graph.graph.as_default():
            step = optimizer.apply_gradients([(gradient(v), v) for v in variables])
        for _ in range(n_steps):
            sim.sess.run(step)


def test_multiplier_begins_anew_where_weights_are_scaled(model):
    """Weights far above their target, of a loss that wants zero, go there and are not held."""
    model.set("target_norm", 1.0, 4.0)
    with simulator(model.net) as sim:
        variable = parameters_of(sim, model.connections[0])[0].variable
        scale = 9.8 / by_hand.norm(model.start[0])
        assign(sim, variable, scale * values(sim, [variable])[0])
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        gradient = lambda v: DECAY * tf.convert_to_tensor(v)  # noqa: E731
        take_steps(sim, optimizer, [variable], 48, gradient)
        trained = model.weights(sim)
    rules = [Constrained(1.0), Constrained(4.0), None]
    weights, norms = scale * model.start, []
    for _ in range(48):
        weights = by_numpy(rules, weights, [RATE * DECAY * weights])
        norms.append([by_hand.norm(one) for one in weights])
    np.testing.assert_allclose(trained, weights, rtol=1e-10)
    assert norms[0][:2] == pytest.approx([1.0, 4.0]) and np.all(np.diff(norms, axis=0) < 0)


@pytest.mark.parametrize("size, rtol", [(1e-25, 1e-6), (1e20, 1e-6), (1e37, 1e-6), (1e38, 0.5)])
def test_norms_whose_squares_float32_does_not_hold(size, rtol):
    """The last one needs a factor that float32 does not hold either, and so takes two steps."""
    start = np.array([[3, 0], [0, -4]], np.float32) * np.float32(size / 4)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        connections = [
            nengo.Connection(
                nengo.Node(np.zeros(2)), nengo.Node(size_in=2), transform=start, synapse=None
            )
            for _ in range(2)
        ]
        for connection in connections:
            nengo.Probe(connection.post)
    net.config[connections[0]].target_norm = 1.0
    net.config[connections[1]].target_norm = OfInitial(0.5)
    with simulator(net) as sim:
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        take_steps(sim, optimizer, [parameters_of(sim, connections[0])[0].variable], 2)
        norms = nengo_wd.WeightNorms(sim, objects=connections)
        norms.record()
    found = norms.column("norm")[0], norms.column("target_norm")[0]
    expected = np.float64(size) / 4 * 5 * np.array([1, 0.5])
    np.testing.assert_allclose(found[1], [1.0, expected[1]], rtol=1e-6)
    # what is small has a multiplier of nearly zero
    np.testing.assert_allclose(found[0], found[1] if size > 1 else expected * [1, 2], rtol=rtol)


@pytest.mark.parametrize("target", [OfInitial(0.5), AtStep(2)])
def test_weights_of_zero_are_not_bound_to_zero(target, model):
    """The bound is found as soon as they are not zero, here by the gradient of the next step."""
    model.set("target_norm", target)
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=model.connections)
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        variable = parameters_of(sim, model.connections[0])[0].variable
        (start,) = values(sim, [variable])
        assign(sim, variable, np.zeros_like(start))
        take_steps(sim, optimizer, [variable], 3)
        norms.record()
        assign(sim, variable, start)
        take_steps(sim, optimizer, [variable])
        norms.record(step=1)
    factor = getattr(target, "factor", 1)
    found = norms.column("target_norm")[:, 0]
    np.testing.assert_allclose(found, [np.nan, factor * by_hand.norm(model.start[0])])


def test_norm_that_does_not_grow_has_no_inflection_point(model):
    model.set("target_norm", InflectionPoint(every=2))
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        take_steps(sim, optimizer, [p.variable for p in norms.parameters.values()], 10)
        norms.record()
    assert np.isnan(norms.column("target_norm")[0, 0])
    assert norms.column("multiplier")[0, 0] == 0


def test_initial_norm_is_that_of_the_weights_that_are_trained(model):
    """Not that from before they were loaded."""
    model.set("target_norm", OfInitial(0.5), OfInitial(0.5))
    with simulator(model.net) as sim:
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        variable = parameters_of(sim, model.connections[0])[0].variable
        assign(sim, variable, 3 * values(sim, [variable])[0])
        take_steps(sim, optimizer, [variable])
        trained = model.weights(sim)
    rules = [Constrained(1.5 * np.linalg.norm(w)) for w in model.start[:2]]
    expected = by_numpy([*rules, None], 3 * model.start, [0])
    np.testing.assert_allclose(trained, expected, rtol=1e-10)


# -- small weights -------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [nengo_wd.constrained_norms, nengo_wd.regularized_optimizer])
def test_warning_of_a_bound_that_takes_long(wrap, model):
    """The steps that it names are those of the rule."""
    norm = 1e-4 * np.sqrt(6)
    model.set("target_norm", norm)
    with simulator(model.net) as sim:
        with pytest.warns(UserWarning, match="has the target norm") as caught:
            wrap(sim, sgd(RATE))
    (warning,) = [one for one in caught if "target norm" in str(one.message)]
    assert warning.filename == __file__
    rule, weights = Constrained(norm), np.full(6, 2e-4)
    while by_hand.norm(weights) > norm:
        weights = rule(weights)
    named = float(re.search("take about (.*) steps", str(warning.message)).group(1))
    assert named == pytest.approx(rule.steps, rel=0.05)


@pytest.mark.parametrize("wrap", [nengo_wd.constrained_norms, nengo_wd.regularized_optimizer])
def test_changed_settings_warn_as_new_ones(wrap, model):
    """But a rule has its norm from the start, whatever the weights are now."""
    small = 1e-4 * np.sqrt(6)
    model.set("target_norm", ABOVE, OfInitial(1e-9))
    with simulator(model.net) as sim:
        with pytest.warns(UserWarning, match="has the target norm OfInitial"):
            optimizer = wrap(sim, sgd(RATE))
        variable = parameters_of(sim, model.connections[0])[0].variable
        assign(sim, variable, np.zeros_like(values(sim, [variable])[0]))
        model.set("target_norm", small, OfInitial(1e-9))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            optimizer.update_settings()
    (warning,) = [one for one in caught if "target norm" in str(one.message)]
    assert f"has the target norm {small}, which is 0.0001 in" in str(warning.message)
    assert warning.filename == __file__


@pytest.mark.parametrize(
    "target, warns",
    [
        (1e-3 * np.sqrt(6) * 0.99, True),
        (1e-3 * np.sqrt(6) * 1.01, False),
        (OfInitial(1e-9), True),
        (OfInitial(1.0), False),
        (AtStep(2), False),
        (InflectionPoint(), False),
    ],
)
def test_which_bounds_take_long(target, warns, model):
    model.set("target_norm", target)
    with simulator(model.net) as sim, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nengo_wd.constrained_norms(sim, sgd(RATE))
    assert any("has the target norm" in str(one.message) for one in caught) == warns


# -- what norms are of ---------------------------------------------------------------------


def test_norm_of_every_parameter():
    """Encoders, biases, decoders, sparse weights, and kernels, in their variables."""
    model = EveryParameter()
    with model.net:
        layer = nengo_wd.RegularizedConv2D(2, 2, input_shape=(3, 2, 2), name="filters")
        nengo.Connection(model.image, tensor_node(layer, 12, 4), synapse=None)
    for kind in nengo_wd.settings.TRAINABLE:
        model.net.config[kind].target_norm = AtStep(1)
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        variables = {id(p.variable): p.variable for p in norms.parameters.values()}
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        take_steps(sim, optimizer, variables.values())
        norms.record()
        weights = [p.value for p in norms.parameters.values()]
    ranks = {w.ndim for w in weights}
    assert {1, 2, 4} <= ranks and "filters.bias" not in norms.names
    expected = [by_hand.norm(w) for w in weights]
    np.testing.assert_allclose(norms.column("target_norm")[0], expected, rtol=1e-6)


@pytest.mark.parametrize("xla", XLA)
def test_large_variables_as_small_ones(xla, monkeypatch):
    if not xla:
        without_xla(monkeypatch)
    size = 600
    start = np.random.RandomState(0).uniform(-1, 1, size=(size, size)).astype(np.float32)
    target = 0.9 * np.linalg.norm(start)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source, ends = nengo.Node(np.zeros(size)), [nengo.Node(size_in=size) for _ in range(2)]
        connections = [nengo.Connection(source, end, transform=start, synapse=None) for end in ends]
        for end in ends:
            nengo.Probe(end)
        net.config[connections[0]].target_norm = target
    with simulator(net) as sim:
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        variable = parameters_of(sim, connections[0])[0].variable
        take_steps(sim, optimizer, [variable], 2)
        rule = Constrained(target)
        expected = rule(rule(start.astype(float)))
        np.testing.assert_allclose(sim.data[connections[0]].weights, expected, rtol=1e-5)
        np.testing.assert_array_equal(sim.data[connections[1]].weights, start)


# -- beside all else that an optimizer does ------------------------------------------------


@pytest.mark.parametrize("decay_first", [True, False])
def test_decay_in_either_order(decay_first, model):
    """The decay comes before the gradient step, the constraint after it."""
    model.set("weight_decay", DECAY, DECAY)
    model.set("target_norm", ABOVE, OfInitial(0.5))
    wraps = [nengo_wd.decoupled_weight_decay, nengo_wd.constrained_norms]

    def both(sim):
        optimizer = sgd(RATE)
        for wrap in wraps if decay_first else wraps[::-1]:
            optimizer = wrap(sim, optimizer)
        return optimizer

    rules = [Constrained(ABOVE), Constrained(0.5 * np.linalg.norm(model.start[1])), None]
    factors = np.array([1 - RATE * DECAY, 1 - RATE * DECAY, 1])[:, None, None]
    updates = [RATE * model.gradient] * by_hand.STEPS
    expected = by_numpy(rules, model.start, updates, factors)
    np.testing.assert_allclose(model.trained(both), expected, rtol=1e-10)


def test_layerwise_sgd(model):
    model.set("target_norm", ABOVE)
    model.set("learning_rate", RATE, RATE / 2)
    trained = model.trained(
        lambda sim: nengo_wd.constrained_norms(sim, nengo_wd.LayerwiseSGD(sim, RATE / 4))
    )
    rates = np.array([RATE, RATE / 2, RATE / 4])[:, None, None]
    updates = [rates * model.gradient] * by_hand.STEPS
    expected = by_numpy([Constrained(ABOVE), None, None], model.start, updates)
    np.testing.assert_allclose(trained, expected, rtol=1e-10)


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_loss_scaling_with_an_overflow(kind, model):
    """Neither weights nor multipliers nor step counts change in a step that is left out."""
    optimizers = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("target_norm", ABOVE, AtStep(4))
    with simulator(model.net) as sim:
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(RATE))
        optimizer = nengo_wd.constrained_norms(sim, scaled)
        assert optimizer is scaled
        model.train(sim, optimizer, epochs=3)
        finite = model.targets[model.probes[1]]
        model.targets[model.probes[1]] = np.full_like(finite, np.inf)
        sim.fit(model.inputs, model.targets, epochs=2, verbose=0)
        model.targets[model.probes[1]] = finite
        sim.fit(model.inputs, model.targets, epochs=3, verbose=0)
        trained = model.weights(sim)
    rules = [Constrained(ABOVE), Constrained(at_step=4), None]
    expected = by_numpy(rules, model.start, [RATE * model.gradient] * 6)
    np.testing.assert_allclose(trained, expected, rtol=1e-6)


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_optimizer_that_collects_gradients(kind, model):
    base = tf.keras.optimizers if kind == "optimizers" else tf.keras.optimizers.legacy
    model.set("target_norm", ABOVE)
    trained = model.trained(constrained(collecting(base), RATE))
    updates = [2 * RATE * model.gradient] * (by_hand.STEPS // 2)
    expected = by_numpy([Constrained(ABOVE), None, None], model.start, updates)
    np.testing.assert_allclose(trained, expected, rtol=1e-10)


@pytest.mark.generation(3)
@pytest.mark.parametrize("overwrite", [None, 2])
def test_moving_average_is_of_constrained_weights(overwrite, model):
    """With clipped gradients, too."""
    model.set("target_norm", ABOVE, OfInitial(0.5))
    rules = [Constrained(ABOVE), Constrained(0.5 * np.linalg.norm(model.start[1])), None]
    arguments = {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": overwrite}
    trained = model.trained(constrained(tf.optimizers.SGD, RATE, clipvalue=0.1, **arguments))
    weights = average = model.start
    for step in range(by_hand.STEPS):
        weights = by_numpy(rules, weights, [RATE * np.clip(model.gradient, -0.1, 0.1)])
        average = 0.75 * average + 0.25 * weights
        if overwrite and (step + 1) % overwrite == 0:
            weights = average
    np.testing.assert_allclose(trained, average, rtol=1e-6)


@pytest.mark.generation(3)
def test_weights_without_a_gradient_are_constrained(model):
    layer = nengo_wd.RegularizedDense(3)
    with model.net:
        node = tensor_node(layer, 3, 3)
    model.net.config[node].target_norm = 0.1
    with simulator(model.net) as sim:
        connections = parameters_of(sim, model.connections[0])[0].variable
        (before,) = values(sim, [layer.kernel])
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        optimizer.apply_gradients([(tf.zeros_like(connections), connections), (None, layer.kernel)])
        (after,) = values(sim, [layer.kernel])
    np.testing.assert_allclose(after, Constrained(0.1)(before), rtol=1e-6)


def test_records_show_the_optimizer_that_was_compiled_last(model):
    """Though another one was made after it."""
    model.set("target_norm", ABOVE)
    rules = [Constrained(ABOVE), None, None]
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=model.connections[0])
        first = nengo_wd.constrained_norms(sim, sgd(RATE))
        nengo_wd.constrained_norms(sim, sgd(RATE))
        model.train(sim, first, EPOCHS)
        norms.record()
    by_numpy(rules, model.start, [RATE * model.gradient] * EPOCHS)
    assert rules[0].multiplier > 0
    np.testing.assert_allclose(norms.column("multiplier"), [[rules[0].multiplier]], rtol=1e-10)


# -- what is saved with the optimizer --------------------------------------------------------


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy", "scaled"])
def test_checkpoint_of_the_optimizer(kind, tmp_path):
    """A second optimizer, and so a second training, goes on with multipliers, bounds and steps."""
    optimizers = tf.keras.optimizers.legacy if kind == "legacy" else tf.keras.optimizers
    model = Growing()
    ways = OfInitial(0.8), AtStep(4), InflectionPoint(every=2)
    model.set("target_norm", *ways)

    def make(sim):
        optimizer = optimizers.SGD(RATE)
        if kind == "scaled":
            optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
        return nengo_wd.constrained_norms(sim, optimizer)

    with simulator(model.net) as sim:
        optimizer = make(sim)
        model.train(sim, optimizer, epochs=1)
        start = sim.keras_model.get_weights()
        path = tf.train.Checkpoint(optimizer=optimizer).save(str(tmp_path / "optimizer"))
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        sim.fit(model.inputs, model.targets, shuffle=False, verbose=0)
        expected = model.weights(sim)
        sim.keras_model.set_weights(start)
        again = make(sim)
        tf.train.Checkpoint(optimizer=again).restore(path).assert_existing_objects_matched()
        norms.record(step=2)
        for name in ("multiplier", "target_norm"):
            np.testing.assert_array_equal(*norms.column(name))
        np.testing.assert_array_equal(model.train(sim, again, epochs=1), expected)


@pytest.mark.generation(3)
def test_state_in_the_h5_format_under_other_settings(model, tmp_path):
    path = str(tmp_path / "saved.weights.h5")
    model.set("target_norm", ABOVE, FAR_ABOVE)
    with simulator(model.net) as sim:
        model.train(sim, nengo_wd.constrained_norms(sim, tf.optimizers.Adam(RATE)), epochs=3)
        sim.keras_model.save_weights(path)
        norms = nengo_wd.WeightNorms(sim, objects=model.connections)
        norms.record()
        state = [v.numpy() for v in sim.keras_model.optimizer.variables]
    model.set("target_norm", 2 * ABOVE, None, ABOVE)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.constrained_norms(sim, tf.optimizers.Adam(RATE))
        sim.compile(optimizer, loss=model.objective)
        optimizer.build(sim.keras_model.trainable_variables)
        sim.keras_model.load_weights(path)
        for one, other in zip(optimizer.variables, state):
            np.testing.assert_array_equal(one.numpy(), other)
        loaded = nengo_wd.WeightNorms(sim, objects=model.connections)
        loaded.record()
    expected = [norms.column("multiplier")[0, 0], np.nan, 0]
    np.testing.assert_array_equal(loaded.column("multiplier")[0], expected)
    np.testing.assert_array_equal(loaded.column("target_norm")[0], [2 * ABOVE, np.nan, ABOVE])


@pytest.mark.generation(2)
def test_variables_of_the_optimizer_hold_the_state(model):
    model.set("target_norm", ABOVE)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.constrained_norms(
            sim, tf.compat.v1.train.MomentumOptimizer(RATE, by_hand.MOMENTUM)
        )
        model.train(sim, optimizer, epochs=2)
        assert optimizer.get_slot_names() == ["momentum"]
        _, state = values(sim, optimizer.variables())
        np.testing.assert_array_equal(state[0], [2, 2, 2])  # steps
