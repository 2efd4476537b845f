"""Recording changes nothing: whatever is recorded, a simulator goes on as if it had not been.

Two simulators of a network go through the same generated sequence, and one of them is recorded.
"""

import random

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, outputs, sgd, simulator, tensor_node, values
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tensorflow.python.eager import context

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [pytest.mark.slow, pytest.mark.traced]

STEPS = 4
RECORDS = ["rates", "norms", "losses", "gap", *(["energy"] if GENERATION == 3 else [])]


def learning():
    """Make neurons that learn online, with noise and a random input."""
    source = nengo.Node(np.zeros(2), label="source")
    signal = nengo.Node(nengo.processes.WhiteNoise(), size_out=1, label="signal")
    noise = nengo.processes.WhiteNoise(scale=False)
    a = nengo.Ensemble(9, 2, noise=noise, label="a")
    b = nengo.Ensemble(8, 1, label="b")
    nengo.Connection(source, a, synapse=None, learning_rule_type=nengo.Voja())
    nengo.Connection(signal, b, synapse=0.01, transform=[[0.5]])
    conn = nengo.Connection(a, b, function=lambda x: 0, learning_rule_type=nengo.PES(1e-2))
    nengo.Connection(source[0], conn.learning_rule, synapse=None)
    rule = [nengo.BCM(1e-4), nengo_wd.Decay(0.5)]
    nengo.Connection(a.neurons, b.neurons, transform=np.ones((8, 9)) / 100, learning_rule_type=rule)
    end = nengo.Node(size_in=2, label="end")
    nengo.Connection(a, end)
    return source, [nengo.Probe(end), nengo.Probe(a.neurons), nengo.Probe(b.neurons)]


def layered():
    """Make layers with spikes that are random, where there are such, and one that drops out."""
    source = nengo.Node(np.zeros(2), label="source")
    kinds = [nengo.SpikingRectifiedLinear()]
    if GENERATION == 3:
        tanh = nengo.Tanh(tau_ref=0.01)
        kinds += [nengo.PoissonSpiking(tanh), nengo.StochasticSpiking(tanh)]
        kinds += [nengo.RegularSpiking(nengo.LIFRate())]
    dropout = tensor_node(lambda t, x: tf.nn.relu(x), 6, 6)
    if GENERATION == 3:
        dropout = tensor_node(tf.keras.layers.Dropout(0.5), 6, pass_time=False)
    readout = tensor_node(nengo_wd.RegularizedDense(2, name="readout"), 6, 2)
    ensembles = []
    for kind in kinds:
        hidden = tensor_node(nengo_wd.RegularizedDense(6, kernel_initializer="ones"), 2, 6)
        given_currents = dict(gain=np.full(6, 9.0), bias=np.ones(6))
        ensembles.append(nengo.Ensemble(6, 1, neuron_type=kind, **given_currents))
        nengo.Connection(source, hidden, synapse=None)
        nengo.Connection(hidden, ensembles[-1].neurons, synapse=None)
        nengo.Connection(ensembles[-1].neurons, dropout, synapse=0.005, transform=0.01)
    nengo.Connection(dropout, readout, synapse=None)
    return source, [nengo.Probe(readout), *(nengo.Probe(one.neurons) for one in ensembles)]


class Network:
    """A network that is trained, with data."""

    def __init__(self, fill, minibatch_size):
        self.minibatch_size = minibatch_size
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings(weight_decay=0.1)
            nengo_dl.configure_settings(trainable=None)
            self.source, self.probes = fill()
            self.net.config[nengo.Ensemble].regularizer = "l2"
        rng = np.random.RandomState(0)
        size = minibatch_size or 1
        size *= 1 if fill is learning else 2  # NengoDL has random inputs for one minibatch alone
        self.inputs = {self.source: rng.uniform(-1, 1, size=(size, STEPS, 2))}
        self.shown = {self.source: rng.uniform(-1, 1, size=(size, 2 * STEPS, 2))}
        self.targets = {self.probes[0]: np.ones((size, STEPS, 2))}
        self.answers = {self.probes[0]: np.ones((size, 1, 2))}


class Run:
    """A simulator, in which things are done that another one does as well."""

    def __init__(self, network, recorded):
        self.network = network
        self.sim = simulator(network.net, minibatch_size=network.minibatch_size)
        self.optimizer = nengo_wd.decoupled_weight_decay(self.sim, sgd(1e-4))
        self.objective = nengo_wd.regularized_objective(self.sim, {network.probes[0]: "mse"})
        if GENERATION == 3:
            self.sim.compile(self.optimizer, loss=self.objective)
        self.callbacks = []
        self.recorded = recorded
        if recorded:
            self.rates = nengo_wd.NeuronRates(self.sim, network.shown)
            self.norms = nengo_wd.WeightNorms(self.sim, objects=network.net)
            self.callbacks = [self.rates, self.norms]
        self.validation = []
        if recorded and GENERATION == 3:
            shown = network.shown, network.answers
            self.validation = [nengo_wd.SpikeValidation(self.sim, *shown)]

    def record(self, kinds):
        for kind in kinds if self.recorded else ():
            if kind == "energy":
                nengo_wd.Energy(self.sim, self.network.shown)
            elif kind == "losses":
                nengo_wd.regularization_losses(self.sim)
            elif kind == "gap":
                network = self.network
                nengo_wd.spike_gap(self.sim, network.shown, network.answers, loss="mse")
            else:
                getattr(self, kind).record()

    def fit(self, every):
        network = self.network
        for callback in self.callbacks:
            callback.every = every
        if GENERATION == 3:
            arguments = dict(epochs=2, verbose=0)
            arguments["callbacks"] = [*self.callbacks, *self.validation]
            self.sim.fit(network.inputs, network.targets, **arguments)
        else:
            data = {**network.inputs, **network.targets}
            arguments = dict(objective=self.objective, progress_bar=False)
            self.sim.train(data, self.optimizer, 2, **arguments)

    def predict(self, every):
        return outputs(self.sim, self.network.inputs, self.network.probes)

    def steps(self, every):
        self.sim.run_steps(STEPS, progress_bar=False)

    def reset(self, every):
        self.sim.reset()

    def do(self, sequence):
        """Return all that can be seen of a sequence."""
        same_streams()
        seen = []
        for what, every, kinds in sequence:
            self.record(kinds)
            seen += getattr(self, what)(every) or []
        return seen + self.state() + drawn()

    def state(self):
        sim = self.sim
        if GENERATION == 3:
            graph = sim.tensor_graph
            variables = [*sim.keras_model.variables, *graph.saved_state.values()]
            variables += self.optimizer.variables()
        else:
            with sim.tensor_graph.graph.as_default():
                variables = [*tf.compat.v1.global_variables(), *tf.compat.v1.local_variables()]
        recorded = [sim.data[probe] for probe in self.network.probes if len(sim.data[probe])]
        return [*values(sim, variables), *recorded, sim.n_steps, sim.time]


def same_streams():
    """Have the streams that all share begin anew, without making TensorFlow's functions anew."""
    random.seed(1)
    np.random.seed(1)
    if GENERATION == 3:
        context.context()._rng.seed(1)
        tf.random.set_global_generator(tf.random.Generator.from_seed(1))


def drawn():
    """Return numbers from the streams that all share."""
    numbers = [random.random(), np.random.uniform()]
    if GENERATION == 3:
        numbers += [context.context()._rng.random()]
        numbers += [tf.random.get_global_generator().uniform(()).numpy()]
    return numbers


NETWORKS = [(learning, 2), (layered, 4)]
OPERATIONS = st.tuples(
    st.sampled_from(["fit", "steps", "predict", "reset"]),
    st.sampled_from(["epoch", "batch"]),
    st.lists(st.sampled_from(RECORDS), max_size=2),
)


def test_recording_changes_nothing():
    twins = {}

    @settings(phases=[Phase.generate])  # to shrink would build simulators again and again
    @given(st.integers(0, len(NETWORKS) - 1), st.lists(OPERATIONS, min_size=1, max_size=3))
    def check(number, sequence):
        if number not in twins:
            network = Network(*NETWORKS[number])
            twins[number] = Run(network, False), Run(network, True)
        plain, recorded = twins.pop(number)  # not to go on after a failure
        expected, found = plain.do(sequence), recorded.do(sequence)
        assert len(found) == len(expected)
        for one, other in zip(found, expected):
            np.testing.assert_array_equal(one, other)
        twins[number] = plain, recorded

    check()
    for runs in twins.values():
        for run in runs:
            run.sim.close()
