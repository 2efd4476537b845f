"""Records that can't be made or read."""

import sys

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, check, in_function, table
from nengo.exceptions import SimulatorClosed

import nengo_wd
from nengo_wd import nengo_dl

EVERY = ("day", 0, -1, 1.5, True, None, b"epoch", [1])
NO_PATHS = (5, 1.5, True, ["logs"], object, "", "a\0b", b"")
UNWRITABLE = ("/proc/nengo_wd", __file__)


def made(**kwargs):
    return lambda shared: nengo_wd.WeightNorms(shared.sim, **kwargs)


def of(objects):
    """Return a call that makes a callback for objects, which are picked from what is shared."""
    return lambda shared: nengo_wd.WeightNorms(shared.sim, objects=objects(shared))


NOTHING = 'stands for no parameter of <Network "here"'
NO_OBJECTS = {
    "text": (lambda s: "dense", f"'dense' {NOTHING}"),
    "number": (lambda s: 5, f"5 {NOTHING}"),
    "name in a list": (lambda s: ["dense.kernel"], f"'dense.kernel' {NOTHING}"),
    "nothing": (lambda s: [], r"\[\] contains no objects"),
    "node": (lambda s: s.source, f"source.* {NOTHING}"),
    "probe": (lambda s: s.probe, f"probe.* {NOTHING}"),
    "of another network": (
        lambda s: s.stranger,
        f"stranger.* {NOTHING}.*it is not in that network",
    ),
    "another network": (lambda s: s.elsewhere, f"elsewhere.* {NOTHING}"),
    "class of nothing": (lambda s: nengo.Probe, f"Probe.* {NOTHING}"),
    "layer of nobody": (lambda s: tf.keras.layers.Dense(3), f"Dense.* {NOTHING}"),
    "frozen": (lambda s: s.frozen, f"frozen.* {NOTHING}.*set not to be trainable"),
    "learned": (lambda s: [s.conn, s.learned], f"learned.* {NOTHING}.*by a learning rule"),
    "no weights": (lambda s: s.function, f"TensorNode.* {NOTHING}.*no trainable weights"),
}
ROWS = [
    Row(f"every {every!r}", made(every=every), "every: .* does not say when to record")
    for every in EVERY
]
ROWS += [Row(f"objects, {kind}", of(make), pattern) for kind, (make, pattern) in NO_OBJECTS.items()]
ROWS += [
    Row(f"log_dir {path!r}", made(log_dir=path), "log_dir: log_dir=.* is not a path")
    for path in NO_PATHS
]
ROWS += [
    Row(f"log_dir {path}", made(log_dir=path), f"log_dir='{path}' can't be written to")
    for path in UNWRITABLE
]

# -- of firing rates -----------------------------------------------------------------------------

NO_DATA = (None, 5, "data", [], {}, np.ones((1, 2, 2)))
NO_PROBES = {
    "empty": (lambda s: [], "no probe of <Network .*here.* records firing rates"),
    "a node": (lambda s: s.source, "source.* is not a probe"),
    "decoded": (lambda s: [s.decoded], "decoded.* records no neurons"),
    "voltage": (lambda s: [s.voltage], "voltage.* records the voltage of neurons"),
    "filtered": (lambda s: s.filtered, "filtered.* records neurons through Lowpass"),
    "elsewhere": (lambda s: s.strange_rates, "strange rates.* is not in <Network .*here"),
    "none there are": (lambda s: None, "no probe of <Network .*here.* records firing rates"),
}


def rates(shared, **kwargs):
    return nengo_wd.NeuronRates(
        shared.sim, **{"data": {shared.source: np.ones((1, 2, 2))}, **kwargs}
    )


ROWS += [
    Row(
        f"NeuronRates, data={data!r}",
        lambda s, d=data: rates(s, data=d),
        "data must be a dict.* and not ",
    )
    for data in NO_DATA
]
BAD_DATA = {
    "NaN": (np.full((1, 2, 2), np.nan), "source.* have NaN or infinite"),
    "infinite": (np.full((1, 2, 2), np.inf), "source.* have NaN or infinite"),
    "no time steps": (np.ones((1, 0, 2)), r"source.* have shape \(1, 0, 2\), without any"),
    "no examples": (np.ones((0, 2, 2)), r"source.* have shape \(0, 2, 2\), without any"),
    "flat": (np.ones(2), r"source.* have shape \(2,\)"),
    "a number": (1.0, r"source.* have shape \(\)"),
    "too large": (np.ones((1, 2, 3)), "source.* time steps, 2"),
    "ragged lists": ([[[1, 2], [3]]], "source.* (can't be an array|have dtype object)"),
    "text": ([[["a", "b"]]], "source.* have dtype <U1"),
    "objects": (np.ones((1, 2, 2), object), "source.* have dtype object"),
    "complex": (np.ones((1, 2, 2), complex), "source.* have dtype complex128"),
}
ROWS += [
    Row(f"NeuronRates, data, {kind}", lambda s, d=d: rates(s, data={s.source: d}), pattern)
    for kind, (d, pattern) in BAD_DATA.items()
]
ROWS += [
    Row(
        f"Energy, data, {kind}",
        lambda s, d=d: nengo_wd.Energy(s.sim, {s.source: d}),
        pattern,
        generation=3,
    )
    for kind, (d, pattern) in BAD_DATA.items()
]
ROWS += [
    Row("NeuronRates, data of no input", lambda s: rates(s, data={s.a: 1}), "a.*"),
    Row(
        "NeuronRates, data of another network",
        lambda s: rates(s, data={s.stranger: np.ones((1, 2, 1))}),
        "stranger",
    ),
]
ROWS += [
    Row(f"channels={value!r}", made(channels=value), "channels=.* must be True or False")
    for value in (None, 1, "no", [True])
]
ROWS += [
    Row(
        f"NeuronRates, every {every!r}",
        lambda s, every=every: rates(s, every=every),
        "every: .* does not say when to record",
    )
    for every in EVERY
]
ROWS += [
    Row(f"NeuronRates, probes, {kind}", lambda s, of=of: rates(s, probes=of(s)), pattern)
    for kind, (of, pattern) in NO_PROBES.items()
]
ROWS += [
    Row(
        "NeuronRates of a closed simulator",
        lambda s: nengo_wd.NeuronRates(s.closed, {}),
        "the simulator of .* is closed",
        SimulatorClosed,
    ),
    Row(
        "NeuronRates of no simulator",
        lambda s: nengo_wd.NeuronRates(s.net, {}),
        "expected a nengo_dl.Simulator",
    ),
]

ROWS += [
    Row(
        f"NeuronRates, gap={value!r}", lambda s, gap=value: rates(s, gap=gap), "gap=.* must be True"
    )
    for value in (None, 1, "no")
]

# -- with spikes, and on rates -------------------------------------------------------------------


def gap_of(shared, **kwargs):
    return both_of(nengo_wd.spike_gap, shared, **{"loss": "mse", **kwargs})


def validation_of(shared, **kwargs):
    return both_of(nengo_wd.SpikeValidation, shared, **kwargs)


def both_of(function, shared, **kwargs):
    given = {
        "sim": shared.sim,
        "data": {shared.source: np.ones((2, 1, 2))},
        "targets": {shared.decoded: np.ones((2, 1, 2))},
        "n_steps": 20,
        **kwargs,
    }
    return function(**given)


BOTH = [("spike_gap", gap_of, None), ("SpikeValidation", validation_of, 3)]
BAD_TARGETS = {
    "None": (lambda s: None, "targets must be a dict.* and not NoneType"),
    "array": (lambda s: np.ones((2, 1, 2)), "targets must be a dict.* and not ndarray"),
    "empty": (lambda s: {}, "targets must be a dict.* and not empty"),
    "of a node": (
        lambda s: {s.source: np.ones((2, 1, 2))},
        "for .*source.* is not a probe",
    ),
    "of another network": (
        lambda s: {s.strange_probe: 1},
        "for .*strange.* is not a probe",
    ),
    "of a name": (
        lambda s: {"nothing": 1},
        "for 'nothing', which is not a probe of .*here",
    ),
    "flat": (lambda s: {s.decoded: np.ones(2)}, r"decoded.* have shape \(2,\).*\(2, 1 or 20, size"),
    "steps": (lambda s: {s.decoded: np.ones((2, 3, 2))}, r"decoded.* have shape \(2, 3, 2\)"),
    "too few": (lambda s: {s.decoded: np.ones((1, 1, 2))}, r"decoded.* have shape \(1, 1, 2\)"),
    "NaN": (lambda s: {s.decoded: np.full((2, 1, 2), np.nan)}, "decoded.* have NaN or infinite"),
    "text": (lambda s: {s.decoded: [[["a", "b"]]] * 2}, "decoded.* have dtype <U1"),
    "ragged": (lambda s: {s.decoded: [[[1, 2], [3]]]}, "decoded.* (can't be an array|have dtype)"),
}
BAD_ARGUMENTS = {
    "n_steps=0": ({"n_steps": 0}, "n_steps=0 must be a whole number of time steps"),
    "n_steps=1.5": ({"n_steps": 1.5}, "n_steps=1.5 must be a whole number"),
    "n_steps=True": ({"n_steps": True}, "n_steps=True must be a whole number"),
    "window=0": ({"window": 0}, "window=0 must be a positive number of seconds"),
    "window=nan": ({"window": np.nan}, "window=nan must be a positive number of seconds"),
    "window='10 ms'": ({"window": "10 ms"}, "window='10 ms' must be a positive number of seconds"),
    "long window": ({"window": 0.021}, "window=0.021 must be .* at most the 0.02 that are shown"),
    "no loss": ({"loss": "nothing"}, "loss: the loss 'nothing' of .* is neither the name of a"),
    "no simulator": ({"sim": 5}, "expected a nengo_dl.Simulator, got 5"),
    "no data": ({"data": {}}, "data must be a dict.* and not empty"),
}
ROWS += [
    Row(
        f"{name}, targets, {kind}", lambda s, f=f, of=of: f(s, targets=of(s)), pattern, generation=n
    )
    for name, f, n in BOTH
    for kind, (of, pattern) in BAD_TARGETS.items()
]
ROWS += [
    Row(f"{name}, {kind}", lambda s, f=f, kw=kwargs: f(s, **kw), pattern, generation=n)
    for name, f, n in BOTH
    for kind, (kwargs, pattern) in BAD_ARGUMENTS.items()
]
ROWS += [
    Row(
        f"{name}, data, {kind}", lambda s, f=f, d=d: f(s, data={s.source: d}), pattern, generation=n
    )
    for name, f, n in BOTH
    for kind, (d, pattern) in BAD_DATA.items()
]
ROWS += [
    Row(
        f"{name}, data of other time steps",
        lambda s, f=f: f(s, data={s.source: np.ones((2, 5, 2))}),
        "data for .*source.* have 5 time steps, and n_steps=20",
        generation=n,
    )
    for name, f, n in BOTH
]
ROWS += [
    Row(
        f"{name} of the last step alone",
        lambda s, f=f: with_last_step_alone(s, f),
        "keep_history: .*decoded.* keeps the last time step alone",
        generation=3,
    )
    for name, f, _ in BOTH
]
ROWS += [
    Row(
        f"{name} of a closed simulator",
        lambda s, f=f: f(s, sim=s.closed),
        "the simulator of .* is closed",
        SimulatorClosed,
        generation=n,
    )
    for name, f, n in BOTH
]
ROWS += [
    Row(
        f"{name} of a probe without a loss",
        lambda s, f=f: f(s, loss={s.probe: "mse"}),
        "loss: .*decoded.* has targets, but no loss",
        generation=n,
    )
    for name, f, n in BOTH
]
ROWS += [
    Row(f"tolerance={value!r}", lambda s, t=value: gap_of(s, tolerance=t), "tolerance=.* must be a")
    for value in (-0.1, np.nan, np.inf, "1%", None)
]
ROWS += [
    Row(
        f"every={value!r} epochs",
        lambda s, every=value: validation_of(s, every=every),
        "every=.* must be a whole number of epochs",
        generation=3,
    )
    for value in (0, -1, 1.5, True, "epoch", None)
]
NO_METRICS = {
    "name": (lambda s: "precise", "'precise', a metric of .*decoded.*, is neither"),
    "class": (lambda s: tf.keras.metrics.Mean, "Mean.*, a metric of .*decoded.*, is neither"),
    "number": (lambda s: ["mae", 5], "5, a metric of .*decoded.*, is neither"),
    "no targets": (lambda s: {s.probe: "mae"}, ".*probe.* has metrics, but no targets"),
}
ROWS += [
    Row(
        f"metrics, {kind}",
        lambda s, of=of: validation_of(s, metrics=of(s)),
        f"metrics: .*{pattern}",
        generation=3,
    )
    for kind, (of, pattern) in NO_METRICS.items()
]
ROWS += [
    Row(
        "spike_gap for inference only",
        lambda s: gap_of(s, sim=s.inference_only),
        "untrained.* is for inference only",
    ),
    Row(
        "spike_gap in a tf.function",
        lambda s: in_function(lambda: gap_of(s)),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
    Row(
        "SpikeValidation of NengoDL 2",
        validation_of,
        "nengo_wd.SpikeValidation needs NengoDL 3",
        NotImplementedError,
        generation=2,
    ),
]


def with_last_step_alone(shared, function):
    with shared.net:
        nengo_dl.configure_settings(keep_history=True)
    shared.config[shared.decoded].keep_history = False
    try:
        function(shared)
    finally:
        del shared.config[shared.decoded].keep_history


# -- records by hand -----------------------------------------------------------------------------

NO_NUMBERS = ("0.5", b"0.5", [1.0, 2.0], np.ones(2), 1j)
ROWS += [
    Row(
        f"{name}={value!r}",
        lambda s, given={name: value}: s.norms.record(**given),
        f"WeightNorms.record: {name}=.* is not a number",
    )
    for name in ("step", "epoch", "loss")
    for value in NO_NUMBERS
]
ROWS += [
    Row(
        f"step={step!r}",
        lambda s, step=step: s.norms.record(step=step),
        "WeightNorms.record: step=.* must be a whole number",
    )
    for step in (1.5, -1, True, np.nan, np.inf, 2**63)
]
ROWS += [
    Row(
        "loss=None",
        lambda s: s.norms.record(loss=None),
        "WeightNorms.record: loss=None is not a number",
    ),
    Row(
        "record in a tf.function",
        lambda s: in_function(s.norms.record),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
    Row(
        "value in a tf.function",
        lambda s: in_function(lambda: s.norms.parameters["dense.kernel"].value),
        "tf.function: nengo_wd is called inside a tf.function",
    ),
    Row(
        "unknown column",
        lambda s: s.norms.column("norms"),
        "'norms' is not a column; there are .*'norm'",
    ),
    Row(
        "unknown column of the history",
        lambda s: s.norms.history.column(0),
        "0 is not a column",
    ),
    Row(
        "table in no folder",
        lambda s: s.norms.to_csv("/nowhere/norms.csv"),
        "/nowhere/norms.csv",
        OSError,
    ),
    Row(
        "table without pandas",
        lambda s: without("pandas", s.norms.to_frame),
        "to_frame needs pandas: pip install pandas",
        ImportError,
    ),
    Row(
        "callback of another model",
        lambda s: trained_with(s.norms, tf.keras.Sequential()),
        'WeightNorms of a simulator of <Network "here".* another model',
    ),
]


def without(package, function):
    """Call a function as if a package were not installed."""
    before = sys.modules.get(package)
    sys.modules[package] = None
    try:
        function()
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


def trained_with(norms, model):
    norms.sim.keras_model = getattr(norms.sim, "keras_model", None)  # NengoDL 2 has none
    norms.set_model(model)
    norms.on_train_begin()


@table(ROWS)
def test_recording(row, shared):
    check(row, shared)
