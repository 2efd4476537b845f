"""Rules of decay that are none, and connections that can't have one."""

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, check, table
from nengo.exceptions import BuildError

import nengo_wd

NO_RATES = {
    "text": ("0.1", "'0.1' is not a rate"),
    "None": (None, "None is not a rate"),
    "bool": (True, "True is not a rate"),
    "complex": (1j, "1j is not a rate"),
    "array": (np.ones(2), r"array\(\[1., 1.\]\) is not a rate"),
    "function": (np.sin, "is not a rate; give a number in 1/s.* connect a node to the rule"),
    "schedule": (tf.keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5), "is not a rate"),
    "negative": (-0.1, "rate=-0.1 must be a finite number"),
    "NaN": (np.nan, "rate=nan must be a finite number"),
    "infinite": (np.inf, "rate=inf must be a finite number"),
    "infinite in float32": (1e39, r"rate=1e\+39 must be a finite number in float32"),
}
ROWS = [
    Row(f"rate, {kind}", lambda s, rate=rate: nengo_wd.Decay(rate), f"Decay.*{pattern}")
    for kind, (rate, pattern) in NO_RATES.items()
]
ROWS += [
    Row("no rate", lambda s: nengo_wd.Decay(), "argument: 'rate'", TypeError),
    Row(
        "unknown goal",
        lambda s: nengo_wd.Decay(0.1, towards="start"),
        r"Decay.towards: String 'start' must be one of \['zero', 'initial'\]",
    ),
    Row(
        "number as the goal",
        lambda s: nengo_wd.Decay(0.1, towards=1.0),
        "Decay.towards: Must be .*str",
    ),
    Row(
        "unknown part",
        lambda s: nengo_wd.Decay(0.1, modifies="biases"),
        "Decay.modifies: String 'biases' must be one of .*decoders.*weights.*encoders",
    ),
]

# -- connections -----------------------------------------------------------------------------


def connect(make_ends, transform=1.0, build=False, **kwargs):
    """Return a call that makes a connection with the rule, and builds it where that is asked."""

    def call(shared):
        with nengo.Network(seed=0) as net:
            pre, post = make_ends()
            rule = nengo_wd.Decay(0.1, **kwargs)
            nengo.Connection(pre, post, transform=transform, learning_rule_type=rule)
        if build:
            with nengo.Simulator(net, progress_bar=False):
                pass

    return call


def ensembles(**kwargs):
    return nengo.Ensemble(4, 1, **kwargs), nengo.Ensemble(4, 1)


def neurons():
    return [ens.neurons for ens in ensembles()]


def nodes():
    return nengo.Node([0.0]), nengo.Node(size_in=1)


def sparse():
    return nengo.Sparse((4, 4), indices=[(0, 0), (1, 2)], init=[1.0, 2.0])


ROWS += [
    Row("from a node", connect(nodes), "'pre' must be of type .*Decay"),
    Row(
        "of what is not computed by neurons",
        connect(lambda: ensembles(neuron_type=nengo.Direct())),
        "'pre' cannot have neuron type 'Direct'",
    ),
    Row(
        "full weights of decoders",
        connect(ensembles, modifies="weights"),
        "Decay.* neurons|decoded",
    ),
    Row(
        "encoders of a node",
        connect(nodes, modifies="encoders"),
        "'post' must be of type 'Ensemble'",
    ),
    Row(
        "a sparse transform",
        connect(neurons, sparse(), build=True),
        "Learning on connections with Sparse transforms is not supported",
        NotImplementedError,
    ),
    Row(
        "a convolution",
        connect(neurons, nengo.Convolution(1, (2, 2, 1), kernel_size=(1, 1)), build=True),
        "Learning on connections with Convolution transforms is not supported",
        NotImplementedError,
    ),
    Row(
        "a number as the transform",
        connect(neurons, 2.0, build=True),
        "'transform' must be a 2-dimensional array for learning",
        BuildError,
    ),
]


@table(ROWS)
def test_learning_rules(row, shared):
    check(row, shared)
