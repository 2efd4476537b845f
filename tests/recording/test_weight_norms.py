"""What WeightNorms says of settings that became bad while it records."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, RATE
from generations import assign, sgd, simulator, variable
from nengo.exceptions import ValidationError
from networks import Ensembles, ThreeConnections

import nengo_wd
from nengo_wd.regularizers import GroupLasso


@pytest.fixture
def model():
    return ThreeConnections()


def decoupled(sim):
    return nengo_wd.decoupled_weight_decay(sim, sgd(RATE))


def by_rule(sim):
    return nengo_wd.LayerwiseSGD(sim, RATE)


@pytest.mark.parametrize("make", [decoupled, by_rule])
@pytest.mark.parametrize("bad", [-0.5, np.nan, 8.0])
def test_decay_in_a_variable_that_became_bad(make, bad, model):
    with simulator(model.net) as sim:
        decay = variable(sim, DECAY)
        model.set("weight_decay", decay)
        norms = nengo_wd.WeightNorms(sim)
        model.train(sim, make(sim), epochs=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            norms.record()
            assign(sim, decay, 7.0)
            norms.record()
        assign(sim, decay, bad)
        with pytest.warns(RuntimeWarning, match=f"at step 5, the weight_decay {bad} of <Connect"):
            norms.record(step=5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            norms.record(step=6)


@pytest.mark.generation(3)
def test_learning_rate_that_became_too_high(model):
    model.set("weight_decay", DECAY)
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        optimizer = decoupled(sim)
        model.train(sim, optimizer, epochs=1)
        optimizer.learning_rate = 4.0
        with pytest.warns(RuntimeWarning, match="rate 4.0 it is 1.0, and must be below 1"):
            sim.fit(model.inputs, model.targets, verbose=0, callbacks=[norms])


@pytest.mark.generation(3)
def test_schedules_that_became_bad(model):
    falling = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1], [DECAY, -DECAY])
    model.set("weight_decay", falling)
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        sim.compile(decoupled(sim), loss=model.objective)
        with pytest.warns(RuntimeWarning, match="at step 2, the weight_decay -0.25 of <Conn"):
            sim.fit(model.inputs, model.targets, epochs=4, verbose=0, callbacks=[norms])


def test_strengths_in_variables():
    model = Ensembles()
    with simulator(model.net) as sim:
        strength = variable(sim, 0.5)
        l2 = tf.keras.regularizers.l2(0.0)
        l2.l2 = strength
        model.config[model.conn].regularizer = l2
        model.config[model.a].regularizer = GroupLasso(strength)
        nengo_wd.regularized_objective(sim, {model.probe: "mse"})
        norms = nengo_wd.WeightNorms(sim)
        assign(sim, strength, -0.5)
        expected = "strength l2=-0.5 of the regularizer of ab.weights.*strength=-0.5 .*a.encoders"
        with pytest.warns(RuntimeWarning, match=expected):
            norms.record()
        with pytest.raises(
            ValidationError, match="strength l2=-0.5 of .*ab.weights must be a finite"
        ):
            nengo_wd.regularized_objective(sim, {model.probe: "mse"})
