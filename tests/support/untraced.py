"""Short runs of a simulator without a trace by TensorFlow, which costs more than the run."""

import functools

import numpy as np
import tensorflow as tf

FUNCTIONS = {  # what Keras keeps, by the method that makes it
    "fit": "train_function",
    "evaluate": "test_function",
    "predict": "predict_function",
    "predict_on_batch": "predict_function",
}
STEPS_OF_BATCH = 6  # what a minibatch costs without a trace, in time steps
STEPS_OF_TRACE = {"fit": 48, "evaluate": 32, "predict": 24, "predict_on_batch": 24}


def cost(x, batch_size=None, epochs=1, initial_epoch=0, **_):
    """Return what a run costs without a trace, in time steps, by the inputs of the Keras model."""
    if not isinstance(x, dict) or not isinstance(x.get("n_steps"), np.ndarray):
        return np.inf
    examples = len(x["n_steps"])
    n_batches = examples / (batch_size or examples) * (epochs - initial_epoch)
    return n_batches * (STEPS_OF_BATCH + x["n_steps"][0, 0])


def eagerly_where_short(name):
    """Return a method of Keras' models that runs short ones eagerly."""
    method, function = getattr(tf.keras.Model, name), FUNCTIONS[name]

    @functools.wraps(method)
    def run(model, x=None, *args, **kwargs):
        before = model._run_eagerly
        is_short = cost(x, **kwargs) <= STEPS_OF_TRACE[name]
        eagerly = is_short if before is None else before  # as the test says
        if getattr(getattr(model, function), "eagerly", eagerly) != eagerly:
            setattr(model, function, None)
        model._run_eagerly = eagerly
        try:
            return method(model, x, *args, **kwargs)
        finally:
            model._run_eagerly = before

    return run


def marked(make_function):
    """Return a method of Keras' models that marks the function it makes as eager or not."""

    @functools.wraps(make_function)
    def make(model, force=False):
        function = make_function(model, force)
        function.eagerly = bool(model.run_eagerly)
        return function

    return make


def after_making_variables(make_function):
    """Return a method of a Keras model that makes the metrics' and the optimizer's variables first.

    Keras makes them in the first step otherwise, which TensorFlow then traces once more.
    """

    @functools.wraps(make_function)
    def make(model, force=False):
        if not model.compiled_loss.built:
            model.compiled_loss.build(model.outputs)
        if "train" in make_function.__name__:
            _make_variables(model.optimizer, model.trainable_variables)
        return make_function(model, force)

    return make


def _make_variables(optimizer, trained):
    if isinstance(optimizer, tf.keras.optimizers.legacy.Optimizer):
        optimizer._create_all_weights(trained)
    else:
        optimizer.build(trained)


def run_eagerly_where_short(monkeypatch):
    """Have Keras run eagerly what costs less than its trace."""
    for name in FUNCTIONS:
        monkeypatch.setattr(tf.keras.Model, name, eagerly_where_short(name))
    for name in ("make_train_function", "make_test_function", "make_predict_function"):
        monkeypatch.setattr(tf.keras.Model, name, marked(getattr(tf.keras.Model, name)))


def trace_once(monkeypatch):
    """Have Keras trace a step once. The second trace is for the variables that the first makes."""
    for name in ("make_train_function", "make_test_function"):
        make = getattr(tf.keras.Model, name)
        monkeypatch.setattr(tf.keras.Model, name, after_making_variables(make))
