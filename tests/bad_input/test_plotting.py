"""Figures of nothing, or of what was not recorded."""

import nengo
import numpy as np
from bad_inputs import Row, check, table
from matplotlib.figure import Figure

from nengo_wd import plotting

FUNCTIONS = {
    "norms": lambda shared, **kwargs: plotting.norms(shared.norms, **kwargs),
    "histograms": lambda shared, **kwargs: plotting.histograms(shared.norms, **kwargs),
    "compare": lambda shared, **kwargs: plotting.compare({"run": shared.norms}, **kwargs),
}
ONLY = "but only of dense.kernel"
NOT_RECORDED = {
    "unknown name": (lambda s: "dense.bias", f"nothing was recorded of 'dense.bias'.*{ONLY}"),
    "part of a name": (lambda s: "dense", f"nothing was recorded of 'dense'.*{ONLY}"),
    "object": (lambda s: s.conn, f"nothing was recorded of <Connection.*conn.*{ONLY}"),
    "class": (lambda s: nengo.Ensemble, f"nothing was recorded of <class.*Ensemble.*{ONLY}"),
    "network": (lambda s: s.elsewhere, f"nothing was recorded of <Network.*elsewhere.*{ONLY}"),
    "number": (lambda s: 0, f"nothing was recorded of 0.*{ONLY}"),
    "one of two": (lambda s: ["dense.kernel", "b"], f"nothing was recorded of 'b'.*{ONLY}"),
    "nothing": (lambda s: [], r"which=\[\] has nothing to plot"),
}
ROWS = [
    Row(f"{name}, {kind}", lambda s, f=f, which=which: f(s, which=which(s)), pattern)
    for name, f in FUNCTIONS.items()
    for kind, (which, pattern) in NOT_RECORDED.items()
]


NO_HISTORIES = {
    "None": (lambda s: None, "expected a WeightNorms, got None"),
    "array": (lambda s: np.ones(3), "expected a WeightNorms, got array"),
    "simulator": (lambda s: s.sim, "expected a WeightNorms, got <nengo_dl.simulator"),
    "without records": (lambda s: s.empty, "nothing was recorded"),
}
NO_RATES = {kind: make for kind, (make, _) in NO_HISTORIES.items()}
NO_RATES["norms"] = lambda s: s.norms
ROWS += [
    Row(f"rates of {kind}", lambda s, make=make: plotting.rates(make(s)), "expected a NeuronRates")
    for kind, make in NO_RATES.items()
]
ROWS += [
    Row(f"gap of {kind}", lambda s, make=make: plotting.spike_gap(make(s)), "expected a SpikeGap")
    for kind, make in NO_RATES.items()
]
ROWS += [
    Row(f"norms of {kind}", lambda s, make=make: plotting.norms(make(s)), pattern)
    for kind, (make, pattern) in NO_HISTORIES.items()
]
ROWS += [
    Row(f"histograms of {kind}", lambda s, make=make: plotting.histograms(make(s)), pattern)
    for kind, (make, pattern) in NO_HISTORIES.items()
]
ROWS += [
    Row(
        f"second run is {kind}",
        lambda s, make=make: plotting.compare({"one": s.norms, "two": make(s)}),
        f"{pattern}.* in the run 'two'",
    )
    for kind, (make, pattern) in NO_HISTORIES.items()
]
ROWS += [
    Row(f"runs are {kind}", lambda s, make=make: plotting.compare(make(s)), pattern)
    for kind, (make, pattern) in {
        "none": (lambda s: {}, "runs={} must be a dictionary"),
        "a list": (lambda s: [s.norms], r"runs=\[.* must be a dictionary"),
        "one": (lambda s: s.norms, "runs=<.*WeightNorms.* must be a dictionary"),
    }.items()
]

BINS = (0, -1, 10_001, 10**6, 10**12, 2.5, "30", None, True, [0.0, 1.0])
ROWS += [
    Row(
        f"{name}, bins={bins!r}",
        lambda s, f=FUNCTIONS[name], bins=bins: f(s, bins=bins),
        "bins=.* must be a number of bins, from 1 to 10,000",
    )
    for name in ("histograms", "compare")
    for bins in BINS
]
ROWS += [
    Row(
        f"records={records!r}",
        lambda s, records=records: plotting.histograms(s.norms, records=records),
        "records=.* must be places among the 2 records",
    )
    for records in (2, -3, [0, 5], [], "first", 0.5, [None])
]
ROWS += [
    Row(
        f"axes for {name}",
        lambda s, f=f: f(s, axes=Figure().subplots(3, 3)),
        r"axes has shape \(3, 3\), but must have shape",
    )
    for name, f in FUNCTIONS.items()
]
NO_AXES = {
    "text": "axes",
    "a figure": Figure(),
    "numbers": np.ones((2, 1)),
    "lists": [[1, 2], [3]],
    "one among axes": [Figure().subplots(), None],
}
ROWS += [
    Row(
        f"{name} in {kind}",
        lambda s, f=f, axes=axes: f(s, axes=axes),
        "axes has .* of type .*, and not a matplotlib.axes.Axes",
    )
    for name, f in FUNCTIONS.items()
    for kind, axes in NO_AXES.items()
]
ROWS += [
    Row(
        "last norms of no record", lambda s: s.empty.last_channel_norms, "nothing was recorded yet"
    ),
    Row("last of no record", lambda s: s.empty.history.last, "nothing was recorded yet"),
]
ROWS += [
    Row("unknown setting of the style", lambda s: styled({"font.sise": 8}), "font.sise", KeyError),
    Row("bad setting of the style", lambda s: styled({"font.size": "x"}), "font.size", ValueError),
]


def styled(rc):
    with plotting.style(rc):
        pass


@table(ROWS)
def test_plotting(row, shared):
    check(row, shared)
