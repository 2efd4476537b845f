"""Sparse transforms and RLS, compiled by XLA and not."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import simulator, use_dtype

import nengo_wd

pytestmark = [pytest.mark.generation(3), pytest.mark.traced]

BOTH = pytest.mark.parametrize("compiles", [False, True], ids=["uncompiled", "compiled"])
ENTRIES = np.array([[0, 0], [2, 1], [2, 0], [4, 3], [2, 0]])  # one of them twice
SHAPE = 5, 4


@pytest.fixture(params=[0, 2], ids=["dense", "segments"])
def share(request, monkeypatch):
    """Have all matrices multiply as dense ones, or by segments."""
    monkeypatch.setattr("nengo_wd._seam.nengo_dl3.builders.operators.DENSE_FROM", request.param)


class SparseNetwork:
    """Two sparse transforms of one input, which NengoDL multiplies as one."""

    def __init__(self, weights, inputs, dtype="float64", compiles=True):
        transforms = [nengo.Sparse(SHAPE, indices=ENTRIES, init=one) for one in weights]
        with nengo.Network(seed=0) as self.net:
            use_dtype(dtype)
            nengo_wd.configure_settings(jit_compile=compiles)
            self.input = nengo.Node(lambda t: inputs[round(t * 1000) - 1], size_out=SHAPE[1])
            nodes = [nengo.Node(size_in=SHAPE[0]) for _ in weights]
            self.probes = [nengo.Probe(node) for node in nodes]
            for node, transform in zip(nodes, transforms):
                nengo.Connection(self.input, node, synapse=None, transform=transform)


@BOTH
@pytest.mark.parametrize("dtype, tolerance", [("float32", 1e-5), ("float64", 1e-10)])
def test_sparse_transforms_are_as_in_nengo(dtype, tolerance, compiles, share, rng):
    weights, inputs = rng.uniform(-1, 1, (2, len(ENTRIES))), rng.uniform(-1, 1, (9, SHAPE[1]))
    network = SparseNetwork(weights, inputs, dtype, compiles)
    with nengo.Simulator(network.net, progress_bar=False) as sim:
        sim.run_steps(9)
        expected = [sim.data[probe] for probe in network.probes]
    with simulator(network.net) as sim:
        sim.run_steps(9)
        found = [sim.data[probe] for probe in network.probes]
    np.testing.assert_allclose(found, expected, atol=tolerance)


@BOTH
def test_sparse_transforms_have_gradients(compiles, share, rng):
    """The derivative of the sum of ``G * (W x)`` by w_ij is the sum of ``g_i x_j``."""
    weights, inputs = rng.uniform(-1, 1, (2, len(ENTRIES))), rng.uniform(-1, 1, (3, 2, SHAPE[1]))
    factors = rng.uniform(-1, 1, (2, 3, 2, SHAPE[0]))
    network = SparseNetwork(weights, inputs, compiles=compiles)

    def gradients(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            *outputs, _ = sim.keras_model([inputs, tf.fill((3, 1), 2)], training=True)
            loss = tf.add_n([tf.reduce_sum(one) for one in map(tf.multiply, factors, outputs)])
        return tape.gradient(loss, [inputs, *sim.keras_model.trainable_variables])

    with simulator(network.net, minibatch_size=3) as sim:
        compiled = tf.function(gradients, autograph=False, jit_compile=compiles)
        by_inputs, by_weights = compiled(tf.constant(inputs))
        (variable,) = sim.keras_model.trainable_variables
        order = [0, 1] if np.allclose(variable[: len(ENTRIES)], weights[0]) else [1, 0]
    rows, columns = ENTRIES.T
    expected = [
        np.einsum("bte,bte->e", factors[one][..., rows], inputs[..., columns]) for one in order
    ]
    np.testing.assert_allclose(by_weights, np.concatenate(expected), atol=1e-12)
    dense = np.zeros((2, *SHAPE))
    np.add.at(dense, (slice(None), rows, columns), weights)
    np.testing.assert_allclose(by_inputs, np.einsum("nij,nbti->btj", dense, factors), atol=1e-12)


@BOTH
@pytest.mark.parametrize(
    "kind, pre_synapse", [("decoders", nengo.Lowpass(0.005)), ("weights", None)]
)
@pytest.mark.skipif(not hasattr(nengo, "RLS"), reason="Nengo has RLS from 4.0 on")
@pytest.mark.slow
def test_rls_is_as_in_nengo(kind, pre_synapse, compiles):
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings(jit_compile=compiles)
        node, errors = nengo.Node(lambda t: np.sin(30 * t)), nengo.Node(size_in=2)
        ens = nengo.Ensemble(10, 1, neuron_type=nengo.LIFRate())
        nengo.Connection(node, ens)
        learned = nengo.Connection(
            ens if kind == "decoders" else ens.neurons,
            errors,
            learning_rule_type=nengo.RLS(learning_rate=0.1, pre_synapse=pre_synapse),
            **{
                "decoders": {"function": lambda x: [0, 0]},
                "weights": {"transform": np.zeros((2, 10))},
            }[kind],
        )
        nengo.Connection(node, errors, transform=[[-1], [0.5]])
        nengo.Connection(errors, learned.learning_rule)
        probes = [nengo.Probe(errors), nengo.Probe(learned, "weights")]
    with nengo.Simulator(net, progress_bar=False) as sim:
        sim.run_steps(30)
        expected = [sim.data[probe] for probe in probes]
    with simulator(net, minibatch_size=2) as sim:
        sim.run_steps(10)
        sim.run_steps(20)
        for probe, one in zip(probes, expected):
            assert np.ptp(one) > 0
            np.testing.assert_allclose(sim.data[probe][1], one, atol=1e-10)
