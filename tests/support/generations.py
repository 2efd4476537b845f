"""The same steps on NengoDL 2 and 3, so that each test is written once."""

import random

import numpy as np
import tensorflow as tf

from nengo_wd import nengo_dl

GENERATION = 2 if nengo_dl.__version__.startswith("2.") else 3


def seed(number):
    """Seed every source of random numbers."""
    if GENERATION == 2:
        random.seed(number)
        np.random.seed(number)
        tf.compat.v1.set_random_seed(number)
    else:
        tf.keras.utils.set_random_seed(number)


def simulator(net, **kwargs):
    return nengo_dl.Simulator(net, progress_bar=False, **kwargs)


def use_dtype(dtype):
    nengo_dl.configure_settings(dtype=dtype if GENERATION == 3 else getattr(tf, dtype))


def one_step():
    """Build the network for data of one time step, without the loop that costs most of a trace."""
    if GENERATION == 3:
        nengo_dl.configure_settings(use_loop=False)


def tensor_node(layer, size_in, size_out=None, **kwargs):
    if GENERATION == 2:
        return nengo_dl.TensorNode(layer, size_in=size_in, size_out=size_out)
    size_out = None if size_out is None else (size_out,)
    return nengo_dl.TensorNode(layer, shape_in=(size_in,), shape_out=size_out, **kwargs)


def values(sim, tensors):
    """Return tensors or variables of ``sim`` as arrays."""
    if GENERATION == 2:
        return sim.sess.run(list(tensors))
    return [np.array(v) for v in tf.keras.backend.batch_get_value(list(tensors))]


def variable(sim, value):
    """Return a variable of a user's own that ``sim`` can use."""
    if GENERATION == 3:
        return tf.Variable(value, trainable=False)
    with sim.tensor_graph.graph.as_default():
        made = tf.compat.v1.Variable(value, trainable=False, collections=[])
    sim.sess.run(made.initializer)
    return made


def assign(sim, variable, value):
    if GENERATION == 2:
        variable.load(value, sim.sess)
    else:
        tf.keras.backend.set_value(variable, value)


def outputs(sim, inputs, probes):
    """Return what ``probes`` recorded for ``inputs``, without training."""
    if GENERATION == 2:
        recorded = sim.run_batch(inputs, {p: None for p in probes}, combine=np.concatenate)
    else:
        recorded = sim.predict(inputs, verbose=0)
    return [recorded[p] for p in probes]


def outputs_in_training(sim, inputs, probes, compiles=False):
    """Return what ``probes`` recorded for ``inputs`` as in training, for a single minibatch."""
    if GENERATION == 2:
        what = {p: None for p in probes}
        recorded = sim.run_batch(inputs, what, training=True, combine=np.concatenate)
        return [recorded[p] for p in probes]
    n_examples, n_steps = next(iter(inputs.values())).shape[:2]
    shown = {
        sim.get_name(node): tf.constant(x, sim.keras_model.dtype) for node, x in inputs.items()
    }
    shown["n_steps"] = tf.fill((n_examples, 1), n_steps)
    model = sim.keras_model
    call = tf.function(lambda x: model(x, training=True), autograph=False, jit_compile=compiles)
    recorded = dict(zip(sim.model.probes, tf.nest.flatten(call(shown))))
    return [recorded[p].numpy() for p in probes]


def sgd(learning_rate):
    if GENERATION == 2:
        return tf.compat.v1.train.GradientDescentOptimizer(learning_rate)
    return tf.keras.optimizers.SGD(learning_rate)


def train(sim, inputs, targets, objective, optimizer, epochs=1):
    if GENERATION == 2:
        data = {**inputs, **targets}
        sim.train(data, optimizer, epochs, objective=objective, shuffle=False, progress_bar=False)
    else:
        sim.compile(optimizer, loss=objective)
        sim.fit(inputs, targets, epochs=epochs, shuffle=False, verbose=0)


def total_loss(sim, inputs, targets, objective):
    if GENERATION == 2:
        return sim.loss({**inputs, **targets}, objective, progress_bar=False)
    if getattr(sim, "compiled_for", None) is not objective:  # each time costs a second
        sim.compile(loss=objective)
        sim.compiled_for = objective
    return sim.evaluate(inputs, targets, verbose=0)["loss"]


def n_operations(sim, function):
    """Return how many operations of a graph ``function`` makes."""
    if GENERATION == 3:
        return len(tf.function(function).get_concrete_function().graph.get_operations())
    with sim.tensor_graph.graph.as_default() as graph:
        before = len(graph.get_operations())
        function()
        return len(graph.get_operations()) - before
