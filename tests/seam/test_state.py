"""What is kept for a simulator goes with the simulator."""

import gc
import weakref

import nengo
import pytest
import tensorflow as tf
from generations import GENERATION, sgd, simulator, train
from networks import Ensembles

import nengo_wd
from nengo_wd._seam import hooks


def decaying(sim):
    return nengo_wd.decoupled_weight_decay(sim, sgd(0.1))


@pytest.mark.parametrize("make_optimizer", [decaying, nengo_wd.LayerwiseSGD])
@pytest.mark.slow
def test_nothing_keeps_a_simulator_alive(make_optimizer):
    model = Ensembles(regularizer=nengo_wd.regularizers.TowardsInitial(l2=0.5))
    model.config[model.a].regularizer = nengo_wd.regularizers.GroupLasso(0.5)
    model.config[model.b].weight_decay = 0.5
    with model.net:
        rates = nengo.Probe(model.a.neurons)
    with simulator(model.net) as sim:
        objective = nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        optimizer = make_optimizer(sim)
        train(sim, model.inputs, model.targets, objective, optimizer)
        nengo_wd.WeightNorms(sim).record()
        nengo_wd.NeuronRates(sim, model.inputs, probes=rates).record()
        if GENERATION == 3:
            nengo_wd.Energy(sim, model.inputs)
    known = weakref.ref(sim)
    del sim, objective, optimizer
    tf.keras.backend.clear_session()
    for _ in range(2):  # Python 3.13 frees some in the second collection alone
        gc.collect()
    assert known() is None


def test_one_record_for_each_simulator():
    model = Ensembles(regularizer="l2")
    with simulator(model.net) as sim:
        before = set(vars(sim)) - {"_nengo_wd"}  # which may be there from when it was made
        nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        nengo_wd.WeightNorms(sim).record()
        added = set(vars(sim)) - before
        assert len(added) == 1
        if GENERATION == 3:
            kept = {"_nengo_wd", *(f"_nengo_wd_{what}" for what in ("params", "layers", "initial"))}
            assert {name for name in vars(sim.tensor_graph) if "nengo_wd" in name} == kept
            assert kept == {name for _, name, _ in hooks.OBJECTS if "nengo_wd" in name}
