"""Regularizers that can't be made, and what they return that is not a penalty."""

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, built, check, table
from generations import variable

import nengo_wd
from nengo_wd.regularizers import FiringRates, GroupLasso, Scheduled, TowardsGrid, TowardsInitial

NO_STRENGTHS = {
    "text": ("0.1", "'0.1' is not a number"),
    "bytes": (b"0.1", "b'0.1' is not a number"),
    "None": (None, "None is not a number"),
    "bool": (True, "True is not a number"),
    "list": ([1, 2], r"\[1, 2\] is not a number"),
    "complex": (1j, "1j is not a number"),
    "negative": (-1, "-1.0 must be a finite number"),
    "NaN": (np.nan, "nan must be a finite number"),
    "infinite": (np.inf, "inf must be a finite number"),
}
NO_AXES = (0.5, 1.0, np.nan, "0", 1j, True, {0}, (0, 0.5), [None])
REGULARIZERS = {
    "GroupLasso": ("strength", GroupLasso),
    "TowardsGrid": ("strength", TowardsGrid),
    "FiringRates, l1": ("l1", lambda value: FiringRates(10, l1=value)),
    "FiringRates, l2": ("l2", lambda value: FiringRates(10, l2=value)),
    "TowardsInitial, l1": ("l1", lambda value: TowardsInitial(l1=value)),
    "TowardsInitial, l2": ("l2", lambda value: TowardsInitial(l2=value)),
}
ROWS = [
    Row(
        f"{name}, {kind}",
        lambda s, make=make, value=value: make(value),
        f"{name.split(',')[0]}: the strength {strength}={pattern}",
    )
    for name, (strength, make) in REGULARIZERS.items()
    for kind, (value, pattern) in NO_STRENGTHS.items()
]
ROWS += [
    Row(
        f"TowardsGrid, bits {bits!r}",
        lambda s, bits=bits: TowardsGrid(0.1, bits),
        f"TowardsGrid: bits={bits!r} must be a whole number from 2 to 16",
    )
    for bits in (1, 17, 4.0, True, "4", None)
]
ROWS += [
    Row(
        f"GroupLasso, axis {axis!r}",
        lambda s, axis=axis: GroupLasso(0.1, axis),
        "GroupLasso: axis=.* is not an axis",
    )
    for axis in NO_AXES
]
ROWS += [
    Row(
        f"GroupLasso, axis {axis} of a matrix",
        lambda s, axis=axis: GroupLasso(0.1, axis)(tf.ones((2, 3))),
        f"GroupLasso along axis {axis} does not fit weights of rank 2",
    )
    for axis in (2, -3)
]
ROWS += [
    Row(
        "GroupLasso, axis of a connection",
        lambda s: s.with_setting("regularizer", GroupLasso(0.1, axis=2)),
        "GroupLasso along axis 2 does not fit weights of rank 2",
    ),
    Row(
        "TowardsInitial on a layer",
        lambda s: built(lambda: dense(TowardsInitial(l2=1.0))),
        "TowardsInitial is a setting for Nengo objects",
    ),
]

NO_GROUPS = {
    "another text": (dict(groups="input"), 'groups=\'input\' is neither "inputs" nor "outputs"'),
    "a number": (dict(groups=0), "groups=0 is neither"),
    "both": (dict(axis=0, groups="inputs"), "axis=0 and groups='inputs' both say what the groups"),
    "None and groups": (dict(axis=None, groups="inputs"), "axis=None and groups='inputs' both"),
    "a single cost": (dict(costs=2.0), "costs=2.0 must be finite numbers, zero or above, one for"),
    "a negative cost": (dict(costs=[1, -1]), r"costs=\[1, -1\] must be finite"),
    "an infinite cost": (dict(costs=[np.inf]), r"costs=\[inf\] must be finite"),
    "a cost of NaN": (dict(costs=[np.nan]), r"costs=\[nan\] must be finite"),
    "costs that are text": (dict(costs=["1"]), r"costs=\['1'\] must be finite"),
    "costs that are bool": (dict(costs=[True]), r"costs=\[True\] must be finite"),
    "costs of several lengths": (dict(costs=[[1], [1, 2]]), r"costs=\[\[1\], \[1, 2\]\] must be"),
}
ROWS += [
    Row(
        f"GroupLasso, {kind}",
        lambda s, given=given: GroupLasso(0.1, **given),
        f"GroupLasso: {pattern}",
    )
    for kind, (given, pattern) in NO_GROUPS.items()
]
ROWS += [
    Row(
        "GroupLasso, costs that do not fit",
        lambda s: s.with_setting("regularizer", GroupLasso(groups="inputs", costs=np.ones(77))),
        r"GroupLasso has 77 costs, but conn.weights, of shape \(.*\), have \d+ groups",
    ),
    Row(
        "GroupLasso, inputs of biases",
        lambda s: s.with_setting("regularizer", GroupLasso(groups="inputs"), s.a.neurons),
        "GroupLasso: a.biases, of rank 1, can't be put into groups='inputs'; give groups='outputs'",
    ),
    Row(
        "GroupLasso, groups of a probe",
        lambda s: s.with_setting("regularizer", GroupLasso(groups="outputs"), s.probe),
        "probe.* has a GroupLasso with groups='outputs', but what it records are not weights; give",
    ),
]

# -- firing rates ----------------------------------------------------------------------------

NO_BOUNDS = ("10", b"10", True, [10], 1j, np.ones(2), np.nan, np.inf, -1)
IDLE = {
    "no strength": (dict(minimum=10, maximum=30), "FiringRates has nothing to do with l1=0"),
    "strengths of zero": (dict(minimum=10, l1=0, l2=0.0), "FiringRates has nothing to do with l1"),
    "no bounds": (dict(l2=1.0), "FiringRates has nothing to do, as all rates are above"),
    "bounds that cross": (
        dict(minimum=30, maximum=10, l2=1.0),
        "FiringRates: no rate is above minimum=30.0 and below maximum=10.0",
    ),
}
ROWS += [
    Row(
        f"FiringRates, {name}={value!r}",
        lambda s, given={name: value}: FiringRates(**{"minimum": 1, "l2": 1.0, **given}),
        f"FiringRates: {name}=.* must be a number",
    )
    for name in ("minimum", "maximum", "percentile")
    for value in NO_BOUNDS
]
ROWS += [
    Row("FiringRates, minimum=None", lambda s: FiringRates(None, 5, 1), "minimum=None must be"),
    Row(
        "FiringRates, percentile=100.5",
        lambda s: FiringRates(1, l2=1.0, percentile=100.5),
        "FiringRates: percentile=100.5 must be a number, from 0 to 100",
    ),
]
ROWS += [
    Row(f"FiringRates, {kind}", lambda s, given=given: FiringRates(**given), pattern)
    for kind, (given, pattern) in IDLE.items()
]
RATES = FiringRates(10, 30, l2=1.0)
NO_RATES = {
    "a connection": (lambda s: s.conn, "Connection.*conn.*FiringRates is a setting of a probe"),
    "encoders": (lambda s: s.a, "Ensemble.*a.*FiringRates is a setting of a probe"),
    "biases": (lambda s: s.a.neurons, "Neurons.*FiringRates is a setting of a probe"),
    "a TensorNode": (lambda s: s.node, "TensorNode.*FiringRates is a setting of a probe"),
    "a probe of a TensorNode": (lambda s: s.probe, "Probe.*probe.* but records no neurons"),
    "a probe of a decoded value": (lambda s: s.decoded, "decoded.* but records no neurons"),
    "a probe of voltages": (lambda s: s.voltage, "voltage.* but records the voltage"),
    "a probe with a synapse": (lambda s: s.filtered, "filtered.* but records neurons through Low"),
}
ROWS += [
    Row(
        f"FiringRates on {kind}",
        lambda s, of=of: s.with_setting("regularizer", RATES, of(s)),
        pattern,
    )
    for kind, (of, pattern) in NO_RATES.items()
]
ROWS += [
    Row(
        "FiringRates on all Connections",
        lambda s: configured(regularizer=RATES),
        "Connection.*FiringRates is a setting of a probe",
    ),
    Row(
        "FiringRates on a kernel",
        lambda s: dense(RATES),
        "dense.*FiringRates is a setting of a probe",
    ),
    Row(
        "FiringRates on a Keras layer",
        lambda s: RATES(tf.ones((2, 3))),
        "FiringRates is a setting of a probe of neurons",
    ),
]


# -- strengths that move -----------------------------------------------------------------------

L2 = tf.keras.regularizers.l2(0.5)
NO_MOVING = {
    "text": (lambda s: "0.1", "Scheduled: '0.1' is not a strength; give a number, a tf.keras.opt"),
    "None": (lambda s: None, "Scheduled: None is not a strength"),
    "bool": (lambda s: True, "Scheduled: True is not a strength"),
    "list": (lambda s: [1, 2], r"Scheduled: \[1, 2\] is not a strength"),
    "function": (lambda s: abs, "Scheduled: .*abs.* is not a strength"),
    "negative": (lambda s: -1, "Scheduled: the strength strength=-1.0 must be a finite number"),
    "NaN": (lambda s: np.nan, "Scheduled: the strength strength=nan must be a finite number"),
    "infinite": (lambda s: np.inf, "Scheduled: the strength strength=inf must be a finite"),
    "vector": (lambda s: variable(s.sim, [1.0]), r"Scheduled: the variable .* has shape \(1,\)"),
}
NO_SCHEDULED = {
    "None": (lambda: None, "Scheduled: None can't be multiplied by a strength"),
    "number": (lambda: 0.5, "Scheduled: 0.5 is not a regularizer that Keras knows"),
    "name": (lambda: "l3", "Scheduled: 'l3' is not a regularizer that Keras knows"),
    "class": (lambda: GroupLasso, r"Scheduled: GroupLasso is a class.*GroupLasso\(...\)"),
    "scheduled": (lambda: Scheduled(L2, 0.5), "Scheduled: .* is not scheduled itself"),
}
ROWS += [
    Row(f"Scheduled, strength {kind}", lambda s, of=of: Scheduled(L2, of(s)), pattern)
    for kind, (of, pattern) in NO_MOVING.items()
]
ROWS += [
    Row(f"Scheduled, regularizer {kind}", lambda s, of=of: Scheduled(of(), 0.5), pattern)
    for kind, (of, pattern) in NO_SCHEDULED.items()
]
ROWS += [
    Row(
        f"Scheduled, {kind} that is {value} now",
        lambda s, of=of, value=value: s.with_setting("regularizer", Scheduled(L2, of(s, value))),
        f"the strength strength={value} of the regularizer of conn.weights must be a finite",
    )
    for kind, of in {
        "schedule": lambda s, value: at(value),
        "variable": lambda s, value: variable(s.sim, value),
    }.items()
    for value in (-1.0, np.nan)
]
ROWS += [
    Row(
        "Scheduled, inner strength that is negative now",
        lambda s: s.with_setting(
            "regularizer", Scheduled(TowardsInitial(l2=variable(s.sim, -1.0)), 0.5)
        ),
        "the strength l2=-1.0 of the regularizer of conn.weights",
    ),
    Row(
        "Scheduled, FiringRates on a connection",
        lambda s: s.with_setting("regularizer", Scheduled(RATES, 0.5)),
        "Connection.*conn.*FiringRates is a setting of a probe",
    ),
    Row(
        "Scheduled, FiringRates on a probe of a TensorNode",
        lambda s: s.with_setting("regularizer", Scheduled(RATES, 0.5), s.probe),
        "Probe.*probe.* but records no neurons",
    ),
    Row(
        "Scheduled, TowardsInitial on a layer",
        lambda s: built(lambda: dense(Scheduled(TowardsInitial(l2=1.0), 0.5))),
        "TowardsInitial is a setting for Nengo objects",
    ),
    Row(
        "Scheduled, outside of a simulator",
        lambda s: Scheduled(L2, at(1.0))(tf.ones((2, 3))),
        "there is no training step to look a schedule up at",
    ),
    Row(
        "Scheduled, schedule of two values",
        lambda s: s.with_setting("regularizer", Scheduled(L2, TwoValues())),
        r"schedule TwoValues has shape \(2,\)",
    ),
]


def at(value):
    return tf.keras.optimizers.schedules.PiecewiseConstantDecay([100], [value, value])


class TwoValues(tf.keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return tf.ones(2)


def configured(**kwargs):
    with nengo.Network():
        nengo_wd.configure_settings(**kwargs)


def dense(regularizer):
    return nengo_wd.RegularizedDense(3, kernel_regularizer=regularizer, name="dense")


def total(weights):
    return tf.reduce_sum(weights)


# -- what regularizers return ----------------------------------------------------------------

NO_PENALTIES = {
    "None": (lambda w: None, "is None, but must be a scalar"),
    "text": (lambda w: "much", "is 'much', but must be a scalar"),
    "bool": (lambda w: True, "is True, but must be a scalar"),
    "complex": (lambda w: 1j, "is 1j, but must be a scalar"),
    "list": (lambda w: [1.0], r"is \[1.0\], but must be a scalar"),
    "array": (lambda w: np.ones(3), r"has shape \(3,\), but must be a scalar"),
    "vector": (lambda w: tf.reduce_sum(w, axis=0), r"has shape \(.*\), but must be a scalar"),
    "text tensor": (lambda w: tf.constant("much"), "has dtype string, but must be a real"),
    "bool tensor": (lambda w: tf.reduce_any(w > 0), "has dtype bool, but must be a real"),
    "NumPy bool": (lambda w: np.bool_(True), "has dtype bool, but must be a real"),
    "complex tensor": (lambda w: tf.cast(total(w), tf.complex64), "has dtype complex64, but must"),
    "NaN": (lambda w: float("nan"), "is nan for the current weights"),
    "infinite": (lambda w: float("inf"), "is inf for the current weights"),
}
NOT_FINITE = {
    "NaN tensor": (lambda w: total(w) * np.nan, "is nan for the current weights"),
    "infinite tensor": (lambda w: total(w**2) * np.inf, "is inf for the current weights"),
}
ROWS += [
    Row(
        f"setting that returns {kind}",
        lambda s, returns=returns: s.with_setting("regularizer", returns),
        rf"the penalty conn\.weights {pattern}",
    )
    for kind, (returns, pattern) in {**NO_PENALTIES, **NOT_FINITE}.items()
]
ROWS += [
    Row(
        f"layer's regularizer that returns {kind}",
        lambda s, returns=returns: built(lambda: dense(returns)),
        rf"the penalty dense\.kernel {pattern}",
    )
    for kind, (returns, pattern) in NO_PENALTIES.items()
]
ROWS += [
    Row(
        f"probe's regularizer that returns {kind}",
        lambda s, returns=returns: s.with_setting("regularizer", returns, s.probe),
        rf"the penalty .*probe.*\.activity {pattern}",
        generation=3,  # when NengoDL 2 trains
    )
    for kind, (returns, pattern) in NO_PENALTIES.items()
]


@table(ROWS)
def test_regularizers(row, shared):
    check(row, shared)
