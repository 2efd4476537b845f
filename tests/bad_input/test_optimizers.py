"""Optimizers that can't decay or take proximal steps, and numbers that are not rates."""

import copy
import pickle

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, check, in_function, table
from generations import GENERATION, sgd, simulator
from nengo.exceptions import SimulatorClosed

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import GroupLasso, Scheduled
from nengo_wd.target_norms import OfInitial

v1 = tf.compat.v1.train
keras = tf.keras.optimizers
NOT_TAKEN = f"is not an optimizer that sim.{'train' if GENERATION == 2 else 'compile'} takes"

# -- what is to be extended ------------------------------------------------------------------

NO_OPTIMIZERS = {
    "None": (lambda: None, f"None {NOT_TAKEN}"),
    "number": (lambda: 0.1, f"0.1 {NOT_TAKEN}"),
    "class": (lambda: type(sgd(0.1)), f"{NOT_TAKEN}; give an instance of it"),
    "loss": (lambda: tf.keras.losses.MeanSquaredError(), NOT_TAKEN),
}
ROWS = [
    Row(
        f"decay by {kind}",
        lambda s, make=make: s.with_setting("weight_decay", 0.1, then=decay_with(make)),
        pattern,
    )
    for kind, (make, pattern) in NO_OPTIMIZERS.items()
]


def decay_with(make, **kwargs):
    return lambda shared: nengo_wd.decoupled_weight_decay(shared.sim, make(), **kwargs)


def excluding(optimizer):
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def with_decay(make):
    """Return a call that has an optimizer decay weights."""
    return lambda shared: shared.with_setting(
        "weight_decay", 0.1, then=lambda s: nengo_wd.decoupled_weight_decay(s.sim, make(s))
    )


ROWS += [
    Row(
        "optimizer of TensorFlow 1",
        with_decay(lambda s: v1.GradientDescentOptimizer(0.1)),
        f"GradientDescentOptimizer.* {NOT_TAKEN}",
        generation=3,
    ),
    Row(
        "optimizer of Keras",
        with_decay(lambda s: keras.SGD(0.1)),
        f"SGD.* {NOT_TAKEN}",
        generation=2,
    ),
    Row(
        "unknown name",
        with_decay(lambda s: "adamm"),
        "'adamm' is not an optimizer that Keras knows; did you mean 'adam' or .*There are 'ada",
        generation=3,
    ),
    Row(
        "Ftrl",
        with_decay(lambda s: keras.Ftrl()),
        "Ftrl computes the weights from sums of gradients",
        generation=3,
    ),
    Row(
        "FtrlOptimizer",
        with_decay(lambda s: v1.FtrlOptimizer(0.1)),
        "FtrlOptimizer computes the weights from sums of gradients",
        generation=2,
    ),
    Row(
        "AdagradDAOptimizer",
        with_decay(lambda s: v1.AdagradDAOptimizer(0.1, tf.Variable(0))),
        "AdagradDAOptimizer computes the weights from sums of gradients",
        generation=2,
    ),
    Row(
        "decay of its own",
        with_decay(lambda s: keras.Adam(0.1, weight_decay=0.1)),
        "Adam decays weights already, with weight_decay=0.1",
        generation=3,
    ),
    Row(
        "decay that leaves out variables by Keras' way",
        with_decay(lambda s: excluding(keras.Adam(0.1))),
        "Adam leaves out variables by exclude_from_weight_decay, .* net.config",
        generation=3,
    ),
    *(
        Row(
            f"{how} of {kind}",
            lambda s, make=make, change=change: change(make(s)),
            f"{kind}.*decays weights by the settings of objects.*net.config",
            generation=3,
        )
        for kind, make in {
            "SGDWithDecay": lambda s: s.decaying(),
            "LayerwiseSGD": lambda s: nengo_wd.LayerwiseSGD(s.sim),
        }.items()
        for how, change in {
            "another decay": lambda one: setattr(one, "weight_decay", 0.1),
            "variables left out by Keras' way": lambda one: excluding(one),
        }.items()
    ),
    Row("decay twice", with_decay(lambda s: s.decay()), "WithDecay decays weights already"),
    Row(
        "decay by LayerwiseSGD",
        with_decay(lambda s: nengo_wd.LayerwiseSGD(s.sim)),
        "LayerwiseSGD decays weights already",
    ),
    Row("nothing to decay", lambda s: s.decay(), 'nothing in <Network "here".* has a weight_decay'),
    Row(
        "all of the weights at once",
        lambda s: s.decaying(1.0, scale_by_learning_rate=False),
        "weight_decay 1.0 of <Connection conn> would remove all .* is not scaled by the learning",
    ),
]

BAD_RATES = {
    "negative": lambda s: -0.1,
    "NaN": lambda s: np.nan,
    "infinite": lambda s: np.inf,
    "negative schedule": lambda s: Constant(-0.1),
    "negative variable": lambda s: s.variable(-0.1),
}
BUILDERS = {
    "decay": (nengo_wd.decoupled_weight_decay, "weight_decay", 0.1),
    "constraint": (nengo_wd.constrained_norms, "target_norm", 7.0),
    "proximal steps": (nengo_wd.proximal_regularization, "regularizer", "l1"),
}


class Constant(keras.schedules.LearningRateSchedule):
    """A learning rate that does not move."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return tf.constant(self.rate)


def with_rate(builder, make, **kwargs):
    """Return a call that extends an optimizer with a learning rate."""
    build, setting, value = BUILDERS[builder]
    return lambda shared: shared.with_setting(
        setting, value, then=lambda s: build(s.sim, sgd(make(s)), **kwargs)
    )


ROWS += [
    Row(
        f"{builder} with a learning rate that is {kind}",
        with_rate(builder, make),
        "(SGD|GradientDescent).*: the strength learning_rate=.* must be a finite number",
        generation=3 if kind == "negative schedule" else None,
    )
    for builder in BUILDERS
    for kind, make in BAD_RATES.items()
]
ROWS += [
    Row(
        "decay with a learning rate that is negative and not used",
        with_rate("decay", lambda s: -0.1, scale_by_learning_rate=False),
        "must be a finite number",
    )
]

# -- constrained norms -------------------------------------------------------------------------


def constrained(make=lambda s: sgd(0.1), value=7.0, obj=None):
    """Return a call that has an optimizer constrain the norm of an object."""
    return lambda shared: shared.with_setting(
        "target_norm",
        value,
        obj and obj(shared),
        then=lambda s: nengo_wd.constrained_norms(s.sim, make(s)),
    )


ROWS += [
    Row(f"constraint by {kind}", constrained(lambda s, make=make: make()), pattern)
    for kind, (make, pattern) in NO_OPTIMIZERS.items()
]
ROWS += [
    Row(
        f"constraint by {name}",
        constrained(make),
        f"{name} computes the weights from sums .* would undo the constraint",
        generation=generation,
    )
    for name, make, generation in [
        ("Ftrl", lambda s: keras.Ftrl(), 3),
        ("FtrlOptimizer", lambda s: v1.FtrlOptimizer(0.1), 2),
    ]
]
NOT_CONSTRAINED = {
    "frozen": "its weights are set not to be trainable",
    "learned": "its weights are changed by a learning rule",
    "function": "its function has no trainable weights of rank 2",
    "stranger": "is not in that network",
}
ROWS += [
    Row(
        f"constraint of {name}",
        constrained(obj=lambda shared, name=name: getattr(shared, name)),
        f"({name}|TensorNode).*{pattern}",
    )
    for name, pattern in NOT_CONSTRAINED.items()
]
ROWS += [
    Row(
        "constraint twice",
        constrained(lambda s: nengo_wd.constrained_norms(s.sim, sgd(0.1))),
        "ConstrainedNorms.* constrains norms already",
    ),
    Row(
        "nothing to constrain",
        lambda s: nengo_wd.constrained_norms(s.sim, sgd(0.1)),
        'nothing in <Network "here".* has a target_norm',
    ),
    Row(
        "bound of what is zero",
        constrained(value=OfInitial(0.5), obj=lambda s: s.zero),
        r"zero.weights has the target norm OfInitial\(factor=0.5\), but the norm of its weights "
        "is 0.0 now",
    ),
    Row(
        "constraint without training",
        lambda s: nengo_wd.constrained_norms(s.inference_only, sgd(0.1)),
        "untrained.* is for inference only",
    ),
    Row(
        "constraint for a closed simulator",
        lambda s: nengo_wd.constrained_norms(s.closed, sgd(0.1)),
        "the simulator of .*bare.* is closed",
        SimulatorClosed,
    ),
    Row(
        "constraint for no simulator",
        lambda s: nengo_wd.constrained_norms(s.net, sgd(0.1)),
        "expected a nengo_dl.Simulator",
    ),
    Row(
        "constraint in a tf.function",
        lambda s: in_function(lambda: nengo_wd.constrained_norms(s.sim, sgd(0.1))),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
]

# -- all steps that settings ask for -------------------------------------------------------------


def regularized(make=lambda s: sgd(0.1), setting="weight_decay", value=0.1, obj=None, **kwargs):
    """Return a call that has an optimizer take the steps that a setting asks for."""
    return lambda shared: shared.with_setting(
        setting,
        value,
        obj and obj(shared),
        then=lambda s: nengo_wd.regularized_optimizer(s.sim, make(s), **kwargs),
    )


ROWS += [
    Row(f"all steps by {kind}", regularized(lambda s, make=make: make()), pattern)
    for kind, (make, pattern) in NO_OPTIMIZERS.items()
]
ROWS += [
    Row(
        f"{setting} by Ftrl",
        regularized(
            lambda s: keras.Ftrl() if GENERATION == 3 else v1.FtrlOptimizer(0.1),
            setting,
            value,
            proximal=setting == "regularizer",
        ),
        f"Ftrl.* computes the weights from sums .* would undo the {change}",
    )
    for change, (_, setting, value) in BUILDERS.items()
]
ROWS += [
    Row(
        f"all steps for {name}",
        regularized(setting=setting, value=value, obj=lambda s: s.frozen, proximal=True),
        f"frozen.* has a {setting}, but its weights are set not to be trainable",
    )
    for name, (_, setting, value) in BUILDERS.items()
]
ROWS += [
    Row(
        f"all steps with a learning rate that is {kind}",
        regularized(lambda s, make=make: sgd(make(s))),
        "(SGD|GradientDescent).*: the strength learning_rate=.* must be a finite number",
        generation=3 if kind == "negative schedule" else None,
    )
    for kind, make in BAD_RATES.items()
]
ROWS += [
    Row(
        "all steps, and a decay of its own",
        regularized(lambda s: keras.Adam(0.1, weight_decay=0.1)),
        "Adam decays weights already, with weight_decay=0.1",
        generation=3,
    ),
    Row(
        "all steps, and a decay of all",
        regularized(value=1.0, scale_by_learning_rate=False),
        "weight_decay 1.0 of <Connection conn> would remove all .* is not scaled by the learning",
    ),
    Row(
        "all steps, and a regularizer without one",
        regularized(
            setting="regularizer", value=lambda w: tf.reduce_sum(w), obj=None, proximal=True
        ),
        "conn.weights has the regularizer .* has no proximal step",
    ),
    Row(
        "all steps without training",
        lambda s: nengo_wd.regularized_optimizer(s.inference_only, sgd(0.1)),
        "untrained.* is for inference only",
    ),
    Row(
        "all steps in a closed simulator",
        lambda s: nengo_wd.regularized_optimizer(s.closed, sgd(0.1)),
        "the simulator of .*bare.* is closed",
        SimulatorClosed,
    ),
    Row(
        "all steps of no simulator",
        lambda s: nengo_wd.regularized_optimizer(s.net, sgd(0.1)),
        "expected a nengo_dl.Simulator",
    ),
    Row(
        "all steps in a tf.function",
        lambda s: in_function(lambda: nengo_wd.regularized_optimizer(s.sim, sgd(0.1))),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
]

# -- LayerwiseSGD ------------------------------------------------------------------------------

NO_RATES = {
    "text": ("0.1", "'0.1' is not a {}"),
    "None": (None, "None is not a {}"),
    "bool": (True, "True is not a {}"),
    "complex": (1j, "1j is not a {}"),
    "list": ([0.1], r"\[0.1\]\)? is not a {}"),
    "negative": (-0.1, "{}=-0.1 must be a finite number"),
    "NaN": (np.nan, "{}=nan must be a finite number"),
    "infinite": (np.inf, "{}=inf must be a finite number"),
}
ROWS += [
    Row(
        f"LayerwiseSGD, {name}, {kind}",
        lambda s, given={name: value}: nengo_wd.LayerwiseSGD(s.sim, **given),
        f"LayerwiseSGD: .*{pattern.format(name)}",
    )
    for name in ("learning_rate", "momentum")
    for kind, (value, pattern) in NO_RATES.items()
]
ROWS += [
    Row(
        f"LayerwiseSGD, momentum changed to {kind}",
        lambda s, value=value: setattr(nengo_wd.LayerwiseSGD(s.sim), "momentum", value),
        f"LayerwiseSGD: .*{pattern.format('momentum')}",
    )
    for kind, (value, pattern) in NO_RATES.items()
]
ROWS += [
    Row(
        "LayerwiseSGD, momentum of 1",
        lambda s: nengo_wd.LayerwiseSGD(s.sim, momentum=1.0),
        "LayerwiseSGD: with a momentum of 1.0",
    ),
    Row(
        "LayerwiseSGD, number for a schedule",
        lambda s: setattr(nengo_wd.LayerwiseSGD(s.sim, momentum=schedule()), "momentum", 0.5),
        "LayerwiseSGD.momentum: .* can't become 0.5",
    ),
    Row(
        "LayerwiseSGD, schedule for a number",
        lambda s: setattr(nengo_wd.LayerwiseSGD(s.sim), "momentum", schedule()),
        "LayerwiseSGD.momentum: a momentum of 0.0 can't become",
    ),
    Row(
        "LayerwiseSGD of a configuration",
        lambda s: nengo_wd.LayerwiseSGD.from_config(nengo_wd.LayerwiseSGD(s.sim).get_config()),
        r"make it with LayerwiseSGD\(sim, ...\)",
        generation=3,
    ),
]


def schedule():
    return keras.schedules.ExponentialDecay(0.1, 10, 0.5)


# -- changed settings, copies, and calls inside a tf.function ---------------------------------


def update_after(setting, value, make, update, **kwargs):
    """Return a call that changes a setting, and has an optimizer take it on."""

    def call(shared):
        optimizer = make(shared, **kwargs)
        shared.with_setting(setting, value, then=lambda s: getattr(optimizer, update)())

    return call


def momentum_in_function(optimizer):
    in_function(lambda: setattr(optimizer, "momentum", 0.5))


MAKES = {
    "decay": (lambda s: s.decaying(), "WithDecay|OptimizerWithSteps"),
    "LayerwiseSGD": (lambda s: nengo_wd.LayerwiseSGD(s.sim), "LayerwiseSGD"),
}
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
}
ROWS += [
    Row(
        "decay that became a schedule",
        update_after("weight_decay", schedule(), MAKES["decay"][0], "update_settings"),
        "was not among the settings for weight_decay when the optimizer was made",
    ),
    Row(
        "momentum that is new",
        update_after("momentum", 0.5, MAKES["LayerwiseSGD"][0], "update_settings"),
        "conn.weights was not among the settings for momentum when the optimizer was made",
    ),
    Row(
        "decay changed in a tf.function",
        lambda s: in_function(s.decaying().update_settings),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
    Row(
        "settings changed in a tf.function",
        lambda s: in_function(nengo_wd.LayerwiseSGD(s.sim).update_settings),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
    Row(
        "momentum changed in a tf.function",
        lambda s: momentum_in_function(nengo_wd.LayerwiseSGD(s.sim)),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
]
ROWS += [
    Row(
        f"{how} of {kind}",
        lambda s, make=make, copied=copied: copied(make(s)),
        f"({name}) is bound to its simulator, and can't be copied or pickled",
    )
    for kind, (make, name) in MAKES.items()
    for how, copied in COPIES.items()
]


# -- proximal steps --------------------------------------------------------------------------


def proximal_with(make, **kwargs):
    return lambda shared: nengo_wd.proximal_regularization(shared.sim, make(shared), **kwargs)


def proximal(regularizer, make=lambda s: sgd(0.1), obj=None, **kwargs):
    """Return a call that has an optimizer step for a setting."""
    then = proximal_with(make, **kwargs)
    return lambda s: s.with_setting("regularizer", regularizer, obj and obj(s), then=then)


def cubes(weights):
    return tf.reduce_sum(tf.abs(weights) ** 3)


class Halved(tf.keras.regularizers.L1L2):
    """A subclass, which may compute anything."""


def twice(s):
    optimizer = stepped(sgd(0.1))
    return nengo_wd.proximal_regularization(s.sim, optimizer)


def stepped(optimizer):
    """Return an optimizer with proximal steps, for a simulator of its own."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l1")
        nengo.Connection(nengo.Ensemble(5, 1), nengo.Node(size_in=1))
    with simulator(net) as sim:
        return nengo_wd.proximal_regularization(sim, optimizer)


def unregularized(**kwargs):
    """Have an optimizer step in a network without regularizers."""
    with nengo.Network(label="free") as net:
        nengo_dl.configure_settings(**kwargs)
        nengo.Connection(nengo.Ensemble(5, 1), nengo.Node(size_in=1))
    with simulator(net) as sim:
        nengo_wd.proximal_regularization(sim, sgd(0.1))


L1 = tf.keras.regularizers.l1(0.5)
NO_STEPS = {
    "a function": (cubes, "conn.weights has the regularizer .*cubes"),
    "a subclass of Keras'": (Halved(0.5), "conn.weights has the regularizer .*Halved"),
    "a scheduled function": (Scheduled(cubes, 0.5), "conn.weights has the regularizer .*Scheduled"),
}
ROWS += [
    Row(f"proximal step by {kind}", proximal(L1, lambda s, make=make: make()), pattern)
    for kind, (make, pattern) in NO_OPTIMIZERS.items()
]
ROWS += [
    Row(
        f"proximal step of {kind}",
        proximal(regularizer),
        f"{pattern}.* has no proximal step; .*Use the penalty: loss=nengo_wd.regularized_obj",
    )
    for kind, (regularizer, pattern) in NO_STEPS.items()
]
ROWS += [
    Row(
        "proximal step of an axis that there is not",
        proximal(GroupLasso(0.5, axis=2)),
        "GroupLasso along axis 2 does not fit weights of rank 2",
    ),
    Row(
        "proximal step of what is not trained",
        proximal(L1, obj=lambda s: s.frozen),
        "frozen.* has a regularizer, but its weights are set not to be trainable",
    ),
    Row(
        "proximal step of what is learned",
        proximal(L1, obj=lambda s: s.learned),
        "learned.* has a regularizer, but its weights are changed by a learning rule",
    ),
    Row("proximal steps twice", twice, "WithProximal takes proximal steps already"),
    Row(
        "proximal steps of nothing",
        lambda s: unregularized(),
        "nothing in <Network .*free.* has a regularizer",
    ),
    Row(
        "proximal steps without training",
        lambda s: unregularized(inference_only=True),
        "free.* is for inference only",
    ),
    Row(
        "proximal steps in a closed simulator",
        lambda s: nengo_wd.proximal_regularization(s.closed, sgd(0.1)),
        "is closed",
        error=SimulatorClosed,
    ),
    Row(
        "proximal steps of no simulator",
        lambda s: nengo_wd.proximal_regularization(s.net, sgd(0.1)),
        "expected a nengo_dl.Simulator, got <Network",
    ),
    Row(
        "proximal steps in a tf.function",
        lambda s: in_function(lambda: nengo_wd.proximal_regularization(s.sim, sgd(0.1))),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
]
ROWS += [
    Row(
        f"proximal steps of {name.strip()}",
        proximal(L1, lambda s, make=make: make()),
        f"{name.strip()} computes the weights from sums .* would undo the proximal steps",
        generation=generation,
    )
    for name, make, generation in (
        ("FtrlOptimizer", lambda: v1.FtrlOptimizer(0.1), 2),
        ("Ftrl", lambda: keras.Ftrl(0.1), 3),
        ("Ftrl ", lambda: keras.legacy.Ftrl(0.1), 3),
    )
]
ROWS += [
    Row(
        f"{how} of an optimizer with proximal steps",
        lambda s, copied=copied: copied(stepped(sgd(0.1))),
        "is bound to its simulator, and can't be copied or pickled",
    )
    for how, copied in COPIES.items()
]


@table(ROWS)
def test_optimizers(row, shared):
    check(row, shared)
