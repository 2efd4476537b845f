"""One simulator on many devices."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import sgd, simulator
from scripts import SUPPORT, run_in_fresh_python

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = pytest.mark.generation(3)

CHECKS = (
    "adam_with_decay_penalties_and_rates",
    "layerwise_with_constrained_norms",
    "proximal_steps_with_percentiles",
    "legacy_optimizer_and_penalty_of_the_whole_minibatch",
    "decay_of_large_weights",
    "proximal_steps_of_large_weights",
    "constrained_norms_of_large_weights",
    "layerwise_with_large_weights",
    "optimizers_without_variables",
    "inputs_of_all_kinds",
    "frozen_parameters",
    "random_numbers",
    "refusals",
)


def trained(make):
    """Train with a penalty and decay, and return the loss and the weights."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(dtype="float64", use_loop=False)
        nengo_wd.configure_settings()
        source, end = nengo.Node(np.zeros(2)), nengo.Node(size_in=3)
        conn = nengo.Connection(source, end, transform=np.ones((3, 2)), synapse=None)
        probe = nengo.Probe(end)
    net.config[conn].regularizer, net.config[conn].weight_decay = "l2", 0.25
    x = np.random.RandomState(0).uniform(-1, 1, size=(8, 1, 2))
    with make(net) as sim:
        loss = nengo_wd.regularized_objective(sim, {probe: "mse"})
        sim.compile(nengo_wd.decoupled_weight_decay(sim, sgd(0.125)), loss=loss)
        ran = sim.fit({source: x}, {probe: np.zeros((8, 1, 3))}, shuffle=False, verbose=0)
        return [ran.history["loss"][0], *np.ravel(sim.data[conn].weights)]


@pytest.mark.traced
def test_one_replica_does_what_a_simulator_does():
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    spread = trained(
        lambda net: nengo_wd.DistributedSimulator(net, strategy, 4, progress_bar=False)
    )
    assert spread == pytest.approx(trained(lambda net: simulator(net, minibatch_size=4)), rel=1e-9)


# -- two logical CPUs ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """Return how far two logical CPUs are from one, by the name of the check.

    They have to be set up before TensorFlow starts its devices.
    """
    folder = tmp_path_factory.mktemp("two_replicas")
    ran = run_in_fresh_python(SUPPORT / "two_replicas.py", str(folder), folder=folder)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split(" ", 1) for line in ran.stdout.splitlines() if " " in line)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS)
def test_two_replicas_do_what_one_device_does(differences, check):
    """In float64, of what is rounded in another order."""
    assert not differences[check].startswith("failed"), differences[check].replace("|", "\n")
    assert float(differences[check]) < 1e-9
