"""Settings in a network's config that are none, or are on what has none."""

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, check, table
from nengo.exceptions import ConfigError, NetworkContextError

import nengo_wd


def variable(value):
    return tf.Variable(value, name="mine")


def l2_changed_to(strength):
    regularizer = tf.keras.regularizers.l2(0.1)
    regularizer.l2 = strength
    return regularizer


def setting(name, value, of=lambda shared: shared.conn):
    """Return a call that makes a setting."""
    return lambda shared: setattr(shared.config[of(shared)], name, value())


NO_REGULARIZERS = {
    "unknown name": (lambda: "l3", "'l3' is not a regularizer"),
    "class": (lambda: tf.keras.regularizers.L1L2, r"L1L2 is a class.*instance, L1L2\(...\)"),
    "number": (lambda: 0.5, "0.5 is not a regularizer"),
    "list": (lambda: ["l2"], r"\['l2'\] is not a regularizer"),
    "unknown configuration": (lambda: {"class_name": "L3", "config": {}}, "is not a regularizer"),
    "negative": (lambda: tf.keras.regularizers.l2(-1.0), "l2=-1.0 must be a finite number"),
    "NaN": (lambda: l2_changed_to(np.nan), "l2=nan must be a finite number"),
    "infinite": (lambda: l2_changed_to(np.inf), "l2=inf must be a finite number"),
}
NO_RATES = {
    "text": (lambda: "0.1", "'0.1' is not a {}"),
    "bytes": (lambda: b"0.1", "b'0.1' is not a {}"),
    "bool": (lambda: True, "True is not a {}"),
    "list": (lambda: [0.1], r"\[0.1\] is not a {}"),
    "array": (lambda: np.ones(3), r"array\(\[1., 1., 1.\]\) is not a {}"),
    "complex": (lambda: 1j, "1j is not a {}"),
    "function": (lambda: lambda step: 0.1, "function .* is not a {}"),
    "negative": (lambda: -0.1, "{}=-0.1 must be a finite number"),
    "NaN": (lambda: np.nan, "{}=nan must be a finite number"),
    "infinite": (lambda: np.inf, "{}=inf must be a finite number"),
    "vector variable": (lambda: variable([0.1, 0.2]), r"mine.*shape \(2,\).* {} is a single real"),
    "text variable": (lambda: variable("x"), "mine.*dtype string.* {} is a single real"),
    "bool variable": (lambda: variable(True), "mine.*dtype bool.* {} is a single real"),
    "complex variable": (lambda: variable(1j), "mine.*dtype complex128.* {} is a single real"),
}


def configured(regularizer):
    with nengo.Network():
        nengo_wd.configure_settings(regularizer=regularizer)


ROWS = [
    Row(
        "class of a regularizer for all",
        lambda s: configured(tf.keras.regularizers.L1L2),
        "Connection.*: L1L2 is a class, not a regularizer; give an instance",
    )
]
ROWS += [
    Row(f"regularizer, {kind}", setting("regularizer", value), f"Connection conn.*{pattern}")
    for kind, (value, pattern) in NO_REGULARIZERS.items()
]
ROWS += [
    Row(f"{name}, {kind}", setting(name, value), f"Connection conn.*{pattern.format(name)}")
    for name in ("weight_decay", "learning_rate", "momentum")
    for kind, (value, pattern) in NO_RATES.items()
]
WAYS = nengo_wd.target_norms
NO_TARGET_NORMS = {
    "text": (lambda: "7", "'7' is not a target_norm; give a number, or one of .*OfInitial"),
    "bool": (lambda: True, "True is not a target_norm"),
    "list": (lambda: [7.0], r"\[7.0\] is not a target_norm"),
    "array": (lambda: np.ones(3), r"array\(\[1., 1., 1.\]\) is not a target_norm"),
    "complex": (lambda: 1j, "1j is not a target_norm"),
    "class": (lambda: WAYS.AtStep, "AtStep'> is not a target_norm"),
    "variable": (lambda: variable(7.0), "mine.* is not a target_norm"),
    "regularizer": (lambda: tf.keras.regularizers.l2(0.1), "is not a target_norm"),
    "zero": (lambda: 0.0, "target_norm 0.0 must be a finite number above zero"),
    "negative": (lambda: -7.0, "target_norm -7.0 must be a finite number above zero"),
    "NaN": (lambda: np.nan, "target_norm nan must be a finite number above zero"),
    "infinite": (lambda: np.inf, "target_norm inf must be a finite number above zero"),
    "too large": (lambda: 1e300, r"target_norm 1e\+300 must be a finite number above zero"),
}
ROWS += [
    Row(f"target_norm, {kind}", setting("target_norm", value), f"Connection conn.*{pattern}")
    for kind, (value, pattern) in NO_TARGET_NORMS.items()
]
ROWS += [
    Row(f"OfInitial, {value!r}", lambda s, v=value: WAYS.OfInitial(v), "OfInitial: the factor")
    for value in (0, -0.5, np.nan, np.inf, "0.8", True, None)
]
ROWS += [
    Row(
        f"{way.__name__}, {value!r}",
        lambda s, way=way, value=value: way(value),
        f"{way.__name__}: .*={value!r} must be a whole number of steps, [12] or more",
    )
    for way in (WAYS.AtStep, WAYS.InflectionPoint)
    for value in (0, -1, 2.5, "200", True, None)
]
ROWS += [
    Row("InflectionPoint, 1", lambda s: WAYS.InflectionPoint(1), "every=1 must be .*2 or more"),
    Row(
        "target_norm of a probe",
        setting("target_norm", lambda: 7.0, lambda shared: shared.probe),
        "a Probe has no target_norm, because what it records is not trained",
        AttributeError,
    ),
    Row("momentum of 1", setting("momentum", lambda: 1.0), "Connection conn.*momentum of 1.0"),
    Row(
        "regularizer of a class",
        setting("regularizer", lambda: "l3", lambda shared: nengo.Connection),
        "Connection.*'l3' is not a regularizer",
    ),
    Row(
        "regularizer of a probe",
        setting("regularizer", lambda: "l3", lambda shared: shared.probe),
        "Probe.*'l3' is not a regularizer",
    ),
    Row(
        "configure_settings outside",
        lambda shared: nengo_wd.configure_settings(),
        "nengo_wd.configure_settings must be called within a network",
        NetworkContextError,
    ),
    Row(
        "configure_settings, regularizer",
        lambda shared: configure(shared, regularizer="l3"),
        "Connection.*'l3' is not a regularizer",
    ),
    Row(
        "configure_settings, weight_decay",
        lambda shared: configure(shared, weight_decay="much"),
        "Connection.*'much' is not a weight_decay",
    ),
    Row(
        "configure_settings, unknown",
        lambda shared: configure(shared, l2=0.1),
        r"configure_settings\(\) got an unexpected keyword argument 'l2'",
        TypeError,
    ),
]


def configure(shared, **kwargs):
    with nengo.Network():
        nengo_wd.configure_settings(**kwargs)


# -- without configure_settings, and on what has no settings --------------------------------

MAKES = r"nengo_wd.configure_settings\(\), called in the network's with block, makes {}"
NO_OWNERS = {
    "a layer": (lambda s: s.layer, ConfigError, "layer 'dense' belong to its TensorNode"),
    "a layer class": (
        lambda s: nengo_wd.RegularizedDense,
        ConfigError,
        "layer RegularizedDense belong to its TensorNode",
    ),
    "a view": (lambda s: s.a[0], ConfigError, "belong to the whole object.*Ensemble .?a"),
    "a node": (lambda s: s.source, AttributeError, "'Node'.*a setting of Connection, TensorNode"),
    "a network": (lambda s: s.net, AttributeError, "'Network'.*a setting of Connection"),
    "text": (lambda s: "conn", ConfigError, "Type 'str' is not set up"),
    "None": (lambda s: None, ConfigError, "Type 'NoneType' is not set up"),
}
ROWS += [
    Row(
        f"{name} without configure_settings",
        lambda s, name=name: setattr(s.bare.config[s.unset], name, 0.1),
        f"'Ensemble'.*{MAKES.format(name)}",
        AttributeError,
    )
    for name in ("regularizer", "weight_decay", "learning_rate", "momentum", "target_norm")
]
ROWS += [
    Row(
        f"{name} of a class without configure_settings",
        lambda s, name=name: setattr(s.bare.config[nengo.Connection], name, 0.1),
        f"'Connection'.*{MAKES.format(name)}",
        AttributeError,
    )
    for name in ("regularizer", "weight_decay")
]
ROWS += [
    Row(f"setting of {kind}", setting("regularizer", lambda: "l2", of), pattern, error)
    for kind, (of, error, pattern) in NO_OWNERS.items()
]
ROWS += [
    Row(
        f"{name} of a probe",
        setting(name, lambda: 0.1, lambda shared: shared.probe),
        f"a Probe has no {name}",
        AttributeError,
    )
    for name in ("weight_decay", "learning_rate", "momentum")
]

# -- on objects that have nothing to train -------------------------------------------------

NOTHING_TO_TRAIN = {
    "no biases": (lambda s: s.direct.neurons, "direct.* has a {}, but it has no biases"),
    "no encoders": (lambda s: s.direct, "direct.* has a {}, but it has no encoders"),
    "no weights": (lambda s: s.function, "TensorNode.* has a {}, but its function has no train"),
    "frozen": (lambda s: s.frozen, "frozen.* has a {}, but its weights are set not to be train"),
    "learned": (
        lambda s: s.learned,
        "learned.* has a {}, but its weights are changed by a learning rule.* nengo_wd.Decay is",
    ),
    "elsewhere": (lambda s: s.stranger, "stranger.* has a {} in the config .* not in that network"),
}
USES = {
    "regularizer": ("l2", lambda shared: shared.objective()),
    "weight_decay": (0.1, lambda shared: shared.decay()),
}
ROWS += [
    Row(
        f"{name} where there is {kind}",
        lambda s, name=name, value=value, of=of, use=use: s.with_setting(name, value, of(s), use),
        pattern.format(name),
    )
    for name, (value, use) in USES.items()
    for kind, (of, pattern) in NOTHING_TO_TRAIN.items()
]


@table(ROWS)
def test_settings(row, shared):
    check(row, shared)
