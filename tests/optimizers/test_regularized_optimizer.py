"""All steps that settings ask for by one call, against their rules written out in NumPy."""

import itertools
import warnings

import by_hand
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, MOMENTUM, RATE, STEPS, Constrained, shrunk, shrunk_groups
from generations import GENERATION, assign, sgd, simulator, tensor_node, values, variable
from nengo.exceptions import ValidationError
from networks import ThreeConnections

import nengo_wd
from nengo_wd._seam.state import steps_of
from nengo_wd.regularizers import GroupLasso, Scheduled, TowardsInitial
from nengo_wd.target_norms import AtStep, OfInitial

L1, L2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2
L1_SIZE, TARGET = 0.5, 1.5
KINDS = ("weight_decay", "regularizer", "target_norm")


@pytest.fixture
def model():
    return ThreeConnections()


def set_all(model, kinds):
    """Have two connections with all settings of some kinds; the third has none."""
    if "weight_decay" in kinds:
        model.set("weight_decay", DECAY, 2 * DECAY)
    if "regularizer" in kinds:
        model.set("regularizer", L1(L1_SIZE), GroupLasso(L1_SIZE))
    if "target_norm" in kinds:
        model.set("target_norm", TARGET, OfInitial(0.5))


def by_numpy(model, kinds, rate=RATE, scale=RATE, n_steps=STEPS, rules=None):
    """Return the weights after steps: decay, gradient, proximal step, constraint."""
    weights = np.array(model.start)
    rules = rules or [Constrained(TARGET), Constrained(0.5 * np.linalg.norm(weights[1]))]
    for _ in range(n_steps):
        if "weight_decay" in kinds:
            weights *= 1 - scale * np.array([DECAY, 2 * DECAY, 0])[:, None, None]
        weights -= rate * model.gradient
        if "regularizer" in kinds:
            weights[0] = shrunk(weights[0], scale * L1_SIZE)
            weights[1] = shrunk_groups(weights[1], scale * L1_SIZE, 0)
        if "target_norm" in kinds:
            weights[:2] = [rule(one) for rule, one in zip(rules, weights)]
    return weights


ALL = [kinds for n in range(1, 4) for kinds in itertools.combinations(KINDS, n)]


@pytest.mark.parametrize("kinds", ALL, ids="-".join)
def test_all_combinations_in_their_order(kinds, model):
    set_all(model, kinds)
    trained = model.trained(
        lambda sim: nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
    )
    np.testing.assert_allclose(trained, by_numpy(model, kinds), rtol=1e-9, atol=1e-12)


def test_the_order_counts(model):
    """The norm after a step is at its target, which a proximal step after it would undo."""
    model.set("regularizer", L1(0.1))
    model.set("target_norm", 0.25)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        assert [step.name for step in steps_of(optimizer)] == ["Proximal", "ConstrainedNorms"]
        trained = model.train(sim, optimizer, epochs=1)
    assert by_hand.norm(trained[0]) == pytest.approx(0.25, rel=1e-9)


def test_steps_that_the_learning_rate_does_not_scale(model):
    set_all(model, KINDS)
    trained = model.trained(lambda sim: nengo_wd.regularized_optimizer(sim, sgd(RATE), True, False))
    expected = by_numpy(model, KINDS, scale=1)
    np.testing.assert_allclose(trained, expected, rtol=1e-9, atol=1e-12)


def test_regularizers_stay_penalties_by_default(model):
    set_all(model, KINDS)
    model.set("regularizer", L2(0.25), L2(0.25))
    with simulator(model.net) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE))
        assert [step.name for step in steps_of(optimizer)] == ["Decay", "ConstrainedNorms"]
        objective = nengo_wd.regularized_objective(sim, model.objective)
        model.objective = objective
        trained = model.train(sim, optimizer, epochs=1)
    weights = np.array(model.start)
    gradient = model.gradient + np.array([0.5, 0.5, 0])[:, None, None] * weights
    weights = weights * (1 - RATE * np.array([DECAY, 2 * DECAY, 0])[:, None, None])
    weights -= RATE * gradient
    rules = [Constrained(TARGET), Constrained(0.5 * np.linalg.norm(model.start[1]))]
    weights[:2] = [rule(one) for rule, one in zip(rules, weights)]
    np.testing.assert_allclose(trained, weights, rtol=1e-9)


def test_without_settings_it_is_the_optimizer_itself(model):
    given = sgd(RATE)
    attributes = dict(vars(given))
    with simulator(model.net) as sim:
        for proximal in (False, True):
            assert nengo_wd.regularized_optimizer(sim, given, proximal) is given
        assert type(given) is type(sgd(RATE)) and vars(given) == attributes
        trained = model.train(sim, given, epochs=1)
    np.testing.assert_allclose(trained, model.start - RATE * model.gradient, rtol=1e-12)


@pytest.mark.generation(3)
def test_names_of_optimizers(model):
    with simulator(model.net) as sim:
        assert type(nengo_wd.regularized_optimizer(sim, "adam")) is type(
            tf.keras.optimizers.get("adam")
        )
        with pytest.raises(ValidationError, match="'adamm' is not an .* did you mean 'adam'"):
            nengo_wd.regularized_optimizer(sim, "adamm")
        model.set("weight_decay", DECAY)
        assert type(nengo_wd.regularized_optimizer(sim, "sgd")).__name__ == "SGDWithDecay"


@pytest.mark.generation(3)
@pytest.mark.parametrize("kind", ["optimizers", "legacy"])
def test_optimizers_are_extended_in_place(kind, model):
    """Also the one inside of Keras' loss scaling; the outer one takes on settings."""
    optimizers = tf.keras.optimizers.legacy if kind == "legacy" else tf.keras.optimizers
    set_all(model, KINDS)
    with simulator(model.net) as sim:
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(optimizers.SGD(RATE))
        optimizer = nengo_wd.regularized_optimizer(sim, scaled, proximal=True)
        assert optimizer is scaled and len(steps_of(optimizer)) == 3
        trained = model.train(sim, optimizer, epochs=2)
        optimizer.update_settings()
    expected = by_numpy(model, KINDS, n_steps=2)
    np.testing.assert_allclose(trained, expected, rtol=1e-6, atol=1e-9)


def test_momentum_stays_out_of_the_steps(model):
    rule, make = by_hand.OPTIMIZERS["momentum"]
    set_all(model, KINDS)
    trained = model.trained(lambda sim: nengo_wd.regularized_optimizer(sim, make(), True))
    rules = [Constrained(TARGET), Constrained(0.5 * np.linalg.norm(model.start[1]))]
    weights = np.array(model.start)
    for update, _ in zip(rule(model.gradient, RATE), range(STEPS)):
        weights = weights * (1 - RATE * np.array([DECAY, 2 * DECAY, 0])[:, None, None]) - update
        weights[0] = rules[0](shrunk(weights[0], RATE * L1_SIZE))
        weights[1] = rules[1](shrunk_groups(weights[1], RATE * L1_SIZE, 0))
    np.testing.assert_allclose(trained, weights, rtol=1e-9, atol=1e-12)


def test_layerwise_sgd_decays_once(model):
    """By its own rule, through the momentum; the other steps come after it."""
    set_all(model, KINDS)
    with simulator(model.net) as sim:
        layerwise = nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM)
        optimizer = nengo_wd.regularized_optimizer(sim, layerwise, proximal=True)
        assert [step.name for step in steps_of(optimizer)] == ["Proximal", "ConstrainedNorms"]
        trained = model.train(sim, optimizer)
        model.set("weight_decay", 0.0, 0.0)
        model.set("target_norm", 100.0)
        model.set("regularizer", L1(0.0), GroupLasso(0.0))
        optimizer.update_settings()
        last = model.train(sim, optimizer, epochs=1)
    rules = [Constrained(TARGET), Constrained(0.5 * np.linalg.norm(model.start[1]))]
    weights, increment = np.array(model.start), 0
    for step in range(STEPS + 1):
        decays = np.array([DECAY, 2 * DECAY, 0])[:, None, None] * (step < STEPS)
        increment = MOMENTUM * increment - RATE * (model.gradient + decays * weights)
        weights = weights + increment
        if step == STEPS:
            break
        weights[0] = rules[0](shrunk(weights[0], RATE * L1_SIZE))
        weights[1] = rules[1](shrunk_groups(weights[1], RATE * L1_SIZE, 0))
        expected = np.array(weights)
    np.testing.assert_allclose(trained, expected, rtol=1e-9, atol=1e-12)
    if GENERATION == 3:  # a call of sim.train in NengoDL 2 begins with no momentum
        np.testing.assert_allclose(last[[0, 2]], weights[[0, 2]], rtol=1e-9, atol=1e-12)


def test_layerwise_sgd_without_other_settings_is_itself(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        layerwise = nengo_wd.LayerwiseSGD(sim, RATE)
        assert nengo_wd.regularized_optimizer(sim, layerwise) is layerwise


# -- changed settings ------------------------------------------------------------------------


def train_on(model, sim, optimizer, epochs):
    """Train further; in NengoDL 3 with what was compiled."""
    if GENERATION == 3:
        sim.fit(model.inputs, model.targets, epochs=epochs, shuffle=False, verbose=0)
        return model.weights(sim)
    return model.train(sim, optimizer, epochs)


def test_changed_settings_count_in_what_was_compiled(model):
    set_all(model, KINDS)
    model.set("regularizer", None, None, TowardsInitial(0.25, 0.25))
    model.set("target_norm", 0.25, TARGET)
    rules = [Constrained(0.25), Constrained(TARGET)]
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=model.connections)
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        model.train(sim, optimizer, epochs=3)
        model.set("weight_decay", None, DECAY, DECAY)
        model.set("regularizer", L1(0.5), L2(0.5), TowardsInitial(0.5))
        model.set("target_norm", 1.0, None, 2.0)
        optimizer.update_settings()
        trained = train_on(model, sim, optimizer, 3)
        norms.record()
    weights = np.array(model.start)
    for step in range(6):
        changed = step >= 3
        decays = np.array([0, DECAY, DECAY] if changed else [DECAY, 2 * DECAY, 0])
        weights = weights * (1 - RATE * decays[:, None, None]) - RATE * model.gradient
        if changed:
            weights[0] = shrunk(weights[0], RATE * 0.5)
            weights[1] = shrunk(weights[1], l2=RATE * 0.5)
            weights[2] = shrunk(weights[2], RATE * 0.5, centre=model.start[2])
        else:
            weights[2] = shrunk(weights[2], RATE * 0.25, RATE * 0.25, model.start[2])
        if step == 3:
            rules[0].bound = 1.0  # with the multiplier that it had
            rules[1:] = [None, Constrained(2.0)]
        rules += [None] * (3 - len(rules))
        weights = np.array([rule(w) if rule else w for rule, w in zip(rules, weights)])
    np.testing.assert_allclose(trained, weights, rtol=1e-9, atol=1e-12)
    multipliers = [rules[0].multiplier, np.nan, rules[2].multiplier]
    np.testing.assert_allclose(norms.column("multiplier")[-1], multipliers, rtol=1e-9)
    np.testing.assert_allclose(norms.column("target_norm")[-1], [1.0, np.nan, 2.0])


def test_multipliers_are_kept(model):
    """A bound that stays as it is goes on as if nothing was changed."""
    model.set("target_norm", TARGET, AtStep(2))
    rules = [Constrained(TARGET), Constrained(at_step=2)]
    with simulator(model.net) as sim:
        optimizer = nengo_wd.constrained_norms(sim, sgd(RATE))
        model.train(sim, optimizer, epochs=4)
        model.set("target_norm", TARGET, AtStep(2), 1.0)
        optimizer.update_settings()
        trained = train_on(model, sim, optimizer, 4)
    weights = np.array(model.start)
    for step in range(8):
        weights = weights - RATE * model.gradient
        if step == 4:
            rules.append(Constrained(1.0))
        weights[: len(rules)] = [rule(w) for rule, w in zip(rules, weights)]
    np.testing.assert_allclose(trained, weights, rtol=1e-9)


CHANGED = {
    "weight_decay": (DECAY, 0.0),
    "regularizer": (GroupLasso(0.5), GroupLasso(100.0)),
    "target_norm": (100.0, 0.125),
    "momentum": (0.5, 0.25),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_settings_warn_until_they_are_updated(name, model):
    before, after = CHANGED[name]
    model.set(name, before)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.LayerwiseSGD(sim, RATE) if name == "momentum" else sgd(RATE)
        optimizer = nengo_wd.regularized_optimizer(sim, optimizer, proximal=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*update_settings")
            model.train(sim, optimizer, epochs=1)
            model.set(name, before)
            train_on(model, sim, optimizer, 1)
        model.set(name, after)
        with pytest.warns(UserWarning, match=rf"settings for {name}: call update_settings\(\)"):
            train_on(model, sim, optimizer, 1)
        optimizer.update_settings()
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*update_settings")
            train_on(model, sim, optimizer, 1)


@pytest.mark.parametrize("name", KINDS)
def test_each_single_function_takes_on_settings(name, model):
    make = {
        "weight_decay": nengo_wd.decoupled_weight_decay,
        "regularizer": nengo_wd.proximal_regularization,
        "target_norm": nengo_wd.constrained_norms,
    }[name]
    before, after = CHANGED[name]
    with simulator(model.net) as sim:
        model.set(name, before)
        optimizer = make(sim, sgd(RATE))
        first = model.train(sim, optimizer, epochs=1)[0]
        model.set(name, after)
        optimizer.update_settings()
        last = train_on(model, sim, optimizer, 1)[0]
    moved = model.start[0] - RATE * model.gradient[0]
    moved = {
        "weight_decay": moved - RATE * DECAY * model.start[0],
        "regularizer": shrunk_groups(moved, RATE * 0.5, 0),
        "target_norm": moved,
    }[name]
    np.testing.assert_allclose(first, moved, rtol=1e-9)
    moved = moved - RATE * model.gradient[0]
    rule = {
        "weight_decay": lambda w: w,
        "regularizer": np.zeros_like,
        "target_norm": Constrained(0.125),
    }[name]
    np.testing.assert_allclose(last, rule(moved), rtol=1e-9, atol=1e-12)


NOT_TAKEN = {
    "a decay that takes all": ("weight_decay", (8.0,), "weight_decay 8.0 of .*below 1"),
    "a schedule as a decay": (
        "weight_decay",
        (tf.keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5),),
        "a value that is not a number was not among the settings for weight_decay",
    ),
    "a group lasso for L1": (
        "regularizer",
        (GroupLasso(0.5),),
        "weights was not among the settings for regularizer",
    ),
    "other groups": (
        "regularizer",
        (L1(L1_SIZE), GroupLasso(0.5, axis=1)),
        "was not among the settings for regularizer",
    ),
    "no step": ("regularizer", (lambda w: tf.reduce_sum(w),), "which has no proximal step"),
    "another way to a norm": (
        "target_norm",
        (TARGET, OfInitial(0.25)),
        "a value that is not a number was not among the settings for target_norm",
    ),
    "a way for a number": (
        "target_norm",
        (AtStep(3),),
        "a value that is not a number was not among the settings for target_norm",
    ),
    "a number for a way": (
        "target_norm",
        (TARGET, 1.0),
        "a value that is not a number was not among the settings for target_norm",
    ),
}


@pytest.mark.parametrize("name, given, pattern", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_an_update_that_is_refused_changes_no_step(name, given, pattern, model):
    set_all(model, KINDS)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        model.set("weight_decay", 0.0, 0.0)
        model.set("regularizer", L1(2.0), GroupLasso(2.0))
        model.set("target_norm", 0.125)
        model.set(name, *given)
        with pytest.raises(ValidationError, match=pattern):
            optimizer.update_settings()
        trained = model.train(sim, optimizer, epochs=3)
    expected = by_numpy(model, KINDS, n_steps=3)
    np.testing.assert_allclose(trained, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_a_setting_of_another_kind_needs_another_optimizer(name, model):
    others = [kind for kind in KINDS if kind != name]
    set_all(model, others)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        optimizer.update_settings()
        set_all(model, [name])
        with pytest.raises(ValidationError, match=f"not among the settings for {name} .*anew"):
            optimizer.update_settings()


def test_an_object_in_another_variable_needs_another_optimizer(model):
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None, name="dense")
    with model.net:
        node = tensor_node(layer, 3, 3)
    set_all(model, KINDS)
    with simulator(model.net) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        for name, value in zip(KINDS, (DECAY, L1(0.5), 1.0)):
            setattr(model.net.config[node], name, value)
            with pytest.raises(ValidationError, match=f"dense.kernel was not among .* for {name}"):
                optimizer.update_settings()
            setattr(model.net.config[node], name, None)
        optimizer.update_settings()


def test_a_strength_that_moves_stays_in_force(model):
    with simulator(model.net) as sim:
        strength = variable(sim, 0.5)
        model.set("regularizer", Scheduled(GroupLasso(0.5), strength), GroupLasso(0.25))
        optimizer = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        model.set("regularizer", Scheduled(GroupLasso(1.0), strength), GroupLasso(0.5))
        optimizer.update_settings()
        assign(sim, strength, np.float32(0.25))
        trained = model.train(sim, optimizer, epochs=1)
    moved = model.start - RATE * model.gradient
    expected = [shrunk_groups(moved[0], RATE * 0.25, 0), shrunk_groups(moved[1], RATE * 0.5, 0)]
    np.testing.assert_allclose(trained, [*expected, moved[2]], rtol=1e-9, atol=1e-12)


# -- what is refused -------------------------------------------------------------------------


def test_an_error_leaves_the_optimizer_as_it_was(model):
    """The settings for the last step are wrong: it gets no step, and the loss its penalties."""
    set_all(model, KINDS)
    given = sgd(RATE)
    with simulator(model.net) as sim:
        kernels = [p.variable for p in nengo_wd.WeightNorms(sim).parameters.values()]
        (start,) = values(sim, kernels[:1])
        assign(sim, kernels[0], np.zeros_like(start))
        with pytest.raises(ValidationError, match="the norm of its weights is 0.0 now"):
            nengo_wd.regularized_optimizer(sim, given, proximal=True)
        assert type(given) is type(sgd(RATE)) and steps_of(given) == []
        assert len(nengo_wd.regularization_losses(sim)) == 2
        assign(sim, kernels[0], start)
        optimizer = nengo_wd.regularized_optimizer(sim, given, proximal=True)
        trained = model.train(sim, optimizer, epochs=2)
    expected = by_numpy(model, KINDS, n_steps=2)
    np.testing.assert_allclose(trained, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name, does",
    [
        ("weight_decay", "decays weights"),
        ("regularizer", "takes proximal steps"),
        ("target_norm", "constrains norms"),
    ],
)
def test_no_step_is_taken_twice(name, does, model):
    set_all(model, [name])
    with simulator(model.net) as sim:
        once = nengo_wd.regularized_optimizer(sim, sgd(RATE), proximal=True)
        with pytest.raises(ValidationError, match=f"With.* {does} already"):
            nengo_wd.regularized_optimizer(sim, once, proximal=True)


def test_warnings_name_the_builder(model):
    set_all(model, KINDS)
    with simulator(model.net) as sim:
        with pytest.warns(UserWarning, match="compile with nengo_wd.regularized_o") as found:
            model.train(sim, sgd(RATE), epochs=1)
    messages = [str(one.message) for one in found]
    for name in ("weight_decay", "target_norm"):
        assert any(f"{name}: compile with nengo_wd.regularized_optimizer" in m for m in messages)
