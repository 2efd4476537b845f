"""Objectives that the simulator could not use."""

import tensorflow as tf
from bad_inputs import Row, check, table
from generations import GENERATION

LOSSES = r"the loss .* of .*probe.* is neither the name of a Keras loss"


def of_three(one, two, three):
    return one


def of_none():
    return 0.0


NO_LOSSES = {
    "unknown name": "mean square",
    "class": tf.keras.losses.MeanSquaredError,
    "number": 0.5,
    "function of three": of_three,
    "function of nothing": of_none,
    "tensor": tf.zeros(()) if GENERATION == 3 else 1.0,
    "bytes": b"mse",
    "set": {"mse"},
}
ROWS = [
    Row(f"{kind} for all", lambda s, loss=loss: s.objective(loss), LOSSES)
    for kind, loss in NO_LOSSES.items()
]
ROWS += [
    Row(f"{kind} for a probe", lambda s, loss=loss: s.objective({s.probe: loss}), LOSSES)
    for kind, loss in NO_LOSSES.items()
]

NOT_AMONG = r'{} among the probes of <Network "here"'
NO_KEYS = {
    "probe of another network": (lambda s: s.strange_probe, NOT_AMONG.format("strange.*is not")),
    "node": (lambda s: s.source, NOT_AMONG.format("source.* is not a probe, and so is not")),
    "ensemble": (lambda s: s.a, NOT_AMONG.format("Ensemble.* is not a probe, and so is not")),
    "layer": (lambda s: s.layer, NOT_AMONG.format("Dense.* is not a probe, and so is not")),
    "unknown name": (lambda s: "prob", NOT_AMONG.format("'prob' is not")),
    "number": (lambda s: 0, NOT_AMONG.format("0 is not a probe, and so is not")),
    "None": (lambda s: None, NOT_AMONG.format("None is not a probe, and so is not")),
    "empty tuple": (lambda s: (), r"\(\) is not a key of an objective"),
}
ROWS += [
    Row(f"{kind} as key", lambda s, key=key: s.objective({key(s): "mse"}), pattern)
    for kind, (key, pattern) in NO_KEYS.items()
]
ROWS += [
    Row(
        "tuple of probes",
        lambda s: s.objective({(s.probe,): "mse"}),
        "NengoDL 2 alone takes tuples of probes",
        generation=3,
    ),
    Row(
        "tuple with a node",
        lambda s: s.objective({(s.probe, s.source): "mse"}),
        NOT_AMONG.format("source.* is not a probe, and so is not"),
        generation=2,
    ),
    Row(
        "nothing",
        lambda s: s.objective({}),
        'there is none; give a loss for a probe of <Network "here"',
        generation=2,
    ),
]
ROWS += [
    Row(
        f"{len(losses)} losses",
        lambda s, losses=losses: s.objective(losses),
        f'{len(losses)} losses for 4 probes in <Network "here"',
    )
    for losses in ([], ["mse", "mse"])
]


@table(ROWS)
def test_objectives(row, shared):
    check(row, shared)
