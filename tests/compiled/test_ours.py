"""Penalties, steps and records are the same whether XLA compiles the time loop or not."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import seed, simulator

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import FiringRates, GroupLasso, Scheduled, TowardsGrid, TowardsInitial
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

pytestmark = [pytest.mark.generation(3), pytest.mark.traced, pytest.mark.slow]

L2 = tf.keras.regularizers.l2
MINIBATCH, N_STEPS = 4, 5


def halving():
    return tf.keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)


def on_parameters(**settings):
    def configure(net):
        for obj in (net.forward, net.loop, net.layer):
            for name, make in settings.items():
                setattr(net.config[obj], name, make())

    return configure


def on_rates(net):
    net.config[net.first].regularizer = FiringRates(10, 30, l2=1e-3)
    net.config[net.second].regularizer = FiringRates(10, 30, l1=1e-3, percentile=90)


def on_native_parameters(net):
    net.config[net.ensemble].regularizer = L2(0.1)
    net.config[net.ensemble.neurons].regularizer = "l1"
    net.config[net.first].regularizer = "l2"


def adam():
    return tf.keras.optimizers.Adam(0.01)


def momentum():
    return tf.keras.optimizers.SGD(0.01, momentum=0.9)


def regularized(optimizer, **options):
    return lambda sim: nengo_wd.regularized_optimizer(sim, optimizer(), **options)


CASES = {
    "L2": (on_parameters(regularizer=lambda: L2(0.1)), regularized(adam)),
    "a schedule": (
        on_parameters(regularizer=lambda: Scheduled(L2(1.0), halving())),
        regularized(adam),
    ),
    "GroupLasso": (on_parameters(regularizer=lambda: GroupLasso(0.1)), regularized(adam)),
    "TowardsInitial": (
        on_parameters(regularizer=lambda: TowardsInitial(l2=0.1)),
        regularized(adam),
    ),
    "FiringRates": (on_rates, regularized(adam)),
    "encoders and biases": (on_native_parameters, regularized(adam)),
    "decay": (on_parameters(weight_decay=lambda: 0.1), regularized(momentum)),
    "decay by a schedule": (on_parameters(weight_decay=halving), regularized(adam)),
    "decay, legacy Adam": (
        on_parameters(weight_decay=lambda: 0.1),
        regularized(lambda: tf.keras.optimizers.legacy.Adam(0.01)),
    ),
    "norms": (on_parameters(target_norm=lambda: 0.5), regularized(adam)),
    "norms of initial": (on_parameters(target_norm=lambda: OfInitial(0.8)), regularized(adam)),
    "norms at a step": (on_parameters(target_norm=lambda: AtStep(2)), regularized(adam)),
    "norms found": (on_parameters(target_norm=lambda: InflectionPoint(2)), regularized(adam)),
    "proximal L1": (on_parameters(regularizer=lambda: "l1"), regularized(adam, proximal=True)),
    "proximal GroupLasso": (
        on_parameters(regularizer=lambda: GroupLasso(0.1)),
        regularized(momentum, proximal=True),
    ),
    "proximal TowardsGrid": (
        on_parameters(regularizer=lambda: TowardsGrid(0.1, bits=3)),
        regularized(momentum, proximal=True),
    ),
    "LayerwiseSGD": (
        on_parameters(learning_rate=lambda: 0.1, momentum=lambda: 0.5, weight_decay=lambda: 0.1),
        lambda sim: nengo_wd.LayerwiseSGD(sim, 0.01),
    ),
}


def network(configure, jit_compile):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=jit_compile)
        nengo_dl.configure_settings(lif_smoothing=0.05)
        net.config[nengo.Ensemble].neuron_type = nengo.LIF(amplitude=0.01)
        net.source = nengo.Node(np.zeros(2))
        net.ensemble, other = nengo.Ensemble(10, 2), nengo.Ensemble(10, 2)
        nengo.Connection(net.source, net.ensemble, synapse=None)
        net.forward = nengo.Connection(net.ensemble, other)
        net.loop = nengo.Connection(other, other, synapse=0.01)
        dense = nengo_wd.RegularizedDense(3, "relu", name="dense")
        net.layer = nengo_dl.tensor_layer(other, dense, synapse=None)
        net.output = nengo.Probe(net.layer)
        net.first, net.second = nengo.Probe(net.ensemble.neurons), nengo.Probe(other.neurons)
        configure(net)
    return net


def train(configure, make_optimizer, jit_compile):
    """Return all that training finds: losses, penalties, weights and records."""
    seed(0)
    net, rng = network(configure, jit_compile), np.random.RandomState(0)
    inputs = {net.source: rng.uniform(-1, 1, (2 * MINIBATCH, N_STEPS, 2))}
    targets = {net.output: rng.uniform(-1, 1, (2 * MINIBATCH, N_STEPS, 3))}
    with simulator(net, minibatch_size=MINIBATCH, seed=0) as sim:
        optimizer = make_optimizer(sim)
        sim.compile(optimizer, loss=nengo_wd.regularized_objective(sim, {net.output: "mse"}))
        norms = nengo_wd.WeightNorms(sim, every="batch")
        rates = nengo_wd.NeuronRates(sim, inputs)
        fit = {"epochs": 2, "shuffle": False, "verbose": 0, "callbacks": [norms, rates]}
        history = sim.fit(inputs, targets, **fit).history["loss"]
        evaluated = sim.evaluate(inputs, targets, verbose=0)["loss"]
        penalties = list(nengo_wd.regularization_losses(sim).values())
        weights = [variable.numpy() for variable in sim.keras_model.trainable_variables]
        energy = nengo_wd.Energy(sim, inputs).total("loihi")
        assert sim.keras_model.jit_compile == (jit_compile or None)
    records = [norms.history.norms, *rates.history.rates.values()]
    return [history, evaluated, penalties, *weights, *records, energy * 1e6]


@pytest.mark.parametrize("configure, make_optimizer", CASES.values(), ids=CASES)
def test_compiled_equals_uncompiled(configure, make_optimizer):
    plain, fast = (train(configure, make_optimizer, jit_compile) for jit_compile in (False, True))
    for one, other in zip(plain, fast):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-5)
