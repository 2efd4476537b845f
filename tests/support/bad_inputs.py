"""The form of the tables in ``tests/bad_input/``, and what their rows work on."""

import contextlib
import functools
from typing import Any, Callable, NamedTuple, Optional

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, sgd, simulator, tensor_node, variable
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl


class Row(NamedTuple):
    """One kind of bad input: what is called, and the error that has to say what is wrong."""

    id: str
    call: Callable[[Any], Any]  # of `Shared`
    pattern: str  # which names the object
    error: Any = ValidationError
    generation: Optional[int] = None  # both, unless it says which


def table(rows):
    """Return the decorator that runs a test for each row."""
    marks = {None: ()}
    marks.update((number, (pytest.mark.generation(number),)) for number in (2, 3))
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row.id, marks=marks[row.generation]) for row in rows]
    )


def check(row, shared):
    """Check the class of the error, and its message."""
    with pytest.raises(row.error, match=row.pattern):
        row.call(shared)


def cached(method):
    """Return a property that is computed once."""
    return property(functools.lru_cache(maxsize=None)(method))


def tanh(t, x):
    return tf.tanh(x)


def in_function(function):
    """Call a function while TensorFlow traces another one."""
    tf.function(lambda: function() and None, autograph=False).get_concrete_function()


def built(make, shape=(1, 2), shape_out=None):
    """Make a layer, and build it for inputs of a shape."""
    with contextlib.ExitStack() as stack:
        if GENERATION == 2:
            stack.enter_context(tf.Graph().as_default())
        layer = make()
        layer.pre_build(shape, shape_out)
        return layer


class Shared:
    """Networks, simulators and records that all rows share, and leave as they are."""

    def __init__(self):
        with nengo.Network(seed=0, label="here") as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(trainable=None)
            self.source = nengo.Node(np.zeros(2), label="source")
            self.a = nengo.Ensemble(5, 2, label="a")
            self.direct = nengo.Ensemble(5, 1, neuron_type=nengo.Direct(), label="direct")
            nengo.Connection(self.source, self.a)
            end = nengo.Node(size_in=2, label="end")
            self.conn = nengo.Connection(self.a, end, label="conn")
            self.frozen = nengo.Connection(self.a, end, label="frozen")
            self.net.config[self.frozen].trainable = False
            nothing = np.zeros((2, 2))
            self.zero = nengo.Connection(
                self.source, end, transform=nothing, synapse=None, label="zero"
            )
            rule = nengo.PES()
            self.learned = nengo.Connection(self.a, end, learning_rule_type=rule, label="learned")
            self.layer = nengo_wd.RegularizedDense(3, name="dense")
            self.node = tensor_node(self.layer, 2, 3)
            nengo.Connection(self.source, self.node, synapse=None)
            self.function = tensor_node(tanh, 2, 2, label="function")
            self.probe = nengo.Probe(self.node, label="probe")
            self.decoded = nengo.Probe(self.a, label="decoded")
            self.voltage = nengo.Probe(self.a.neurons, "voltage", label="voltage")
            self.filtered = nengo.Probe(self.a.neurons, synapse=0.1, label="filtered")
        with nengo.Network(label="elsewhere") as self.elsewhere:
            nengo_wd.configure_settings()
            self.stranger = nengo.Ensemble(5, 1, label="stranger")
            self.strange_rates = nengo.Probe(self.stranger.neurons, label="strange rates")
            self.strange_probe = nengo.Probe(self.stranger, label="strange")
        with nengo.Network(label="bare") as self.bare:
            self.unset = nengo.Ensemble(5, 1, label="unset")
        self._opened = []

    def _simulator(self, net):
        self._opened.append(simulator(net))  # not by `with`, which would enter its graph
        return self._opened[-1]

    def close(self):
        for sim in self._opened:
            sim.close()

    @property
    def config(self):
        return self.net.config

    @cached
    def sim(self):
        """The simulator of the network."""
        return self._simulator(self.net)

    @cached
    def closed(self):
        """A simulator that is closed."""
        with simulator(self.bare) as sim:
            return sim

    @cached
    def inference_only(self):
        """A simulator without training."""
        with nengo.Network(label="untrained") as net:
            nengo_dl.configure_settings(inference_only=True)
            nengo.Node(np.zeros(1))
        return self._simulator(net)

    @cached
    def norms(self):
        """Two records of one parameter."""
        norms = nengo_wd.WeightNorms(self.sim)
        norms.record()
        norms.record(step=1)
        return norms

    @cached
    def empty(self):
        """Records without any."""
        return nengo_wd.WeightNorms(self.sim)

    def variable(self, value):
        """Return a variable that the simulator can use."""
        return variable(self.sim, np.float32(value))

    def objective(self, objective="mse"):
        return nengo_wd.regularized_objective(self.sim, objective)

    def with_setting(self, name, value, obj=None, then=None):
        """Make a setting, use it, and take it back."""
        obj = self.conn if obj is None else obj
        try:
            setattr(self.config[obj], name, value)
            return (then or Shared.objective)(self)
        finally:
            del self.config.params[obj]

    def with_penalty(self, penalty, obj=None):
        """Make an objective with a regularizer that returns ``penalty``, on an object."""
        return self.with_setting("regularizer", lambda weights: penalty, obj)

    def decaying(self, value=0.1, **kwargs):
        """Return an optimizer that decays weights."""
        return self.with_setting("weight_decay", value, then=lambda shared: shared.decay(**kwargs))

    def decay(self, optimizer=None, **kwargs):
        return nengo_wd.decoupled_weight_decay(self.sim, optimizer or sgd(0.1), **kwargs)
