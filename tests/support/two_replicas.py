"""What a DistributedSimulator does on two logical CPUs, and a Simulator on one.

    python two_replicas.py FOLDER

Each check of `CHECKS` prints a line: its name, and the largest relative difference between the two.
"""

import os
import sys
import traceback
import warnings
from pathlib import Path
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import FiringRates, GroupLasso, Scheduled
from nengo_wd.target_norms import AtStep, OfInitial

CPU = tf.config.list_physical_devices("CPU")[0]
LOGICAL = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(CPU, LOGICAL)  # before TensorFlow starts its devices

STRATEGY = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
MAKE_TRAIN_FUNCTION = tf.keras.Model.make_train_function
N_STEPS, MINIBATCH, EXAMPLES = 3, 8, 24
L2 = tf.keras.regularizers.L2(1e-2)
NOISE, SPIKES = {"spike_noise": 0.02}, {"spiking_aware_training": True}

rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(EXAMPLES, N_STEPS, 3))
Y = np.sin(X[..., :2])


class Model:
    """A network of an ensemble and two layers, with settings of each kind."""

    def __init__(self, use_loop=False):
        with nengo.Network(seed=0) as self.net:
            nengo_dl.configure_settings(dtype="float64", use_loop=use_loop, trainable=None)
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(3), label="source")
            self.ensemble = nengo.Ensemble(10, 3, label="ensemble")
            nengo.Connection(self.source, self.ensemble, synapse=None)
            dense = nengo_wd.RegularizedDense(4, activation="tanh", name="hidden")
            self.hidden = nengo_dl.Layer(dense)(self.ensemble.neurons)
            self.readout = nengo.Node(size_in=2, label="readout")
            self.conn = nengo.Connection(
                self.hidden, self.readout, transform=rng_weights(), synapse=None
            )
            self.probe = nengo.Probe(self.readout, label="out")
            self.rates = nengo.Probe(self.ensemble.neurons, label="rates")
        self.config[self.conn].regularizer = L2
        self.config[self.ensemble].regularizer = L2
        self.config[self.conn].weight_decay = 0.1
        self.config[self.ensemble].weight_decay = 0.05
        self.config[self.rates].regularizer = FiringRates(20, 60, l2=1e-4)
        self.data = {self.source: X}, {self.probe: Y}
        self.settings = {} if use_loop else {"unroll_simulation": N_STEPS}

    @property
    def config(self):
        return self.net.config

    def one(self):
        return nengo_dl.Simulator(
            self.net, minibatch_size=MINIBATCH, progress_bar=False, **self.settings
        )

    def two(self):
        return nengo_wd.DistributedSimulator(
            self.net, STRATEGY, MINIBATCH, progress_bar=False, **self.settings
        )

    def compile(self, sim, optimizer, **kwargs):
        loss = nengo_wd.regularized_objective(sim, {self.probe: "mse"})
        sim.compile(optimizer, loss=loss, **kwargs)


def rng_weights():
    return np.random.RandomState(1).uniform(-1, 1, size=(2, 4))


def weights(sim):
    return [np.array(value) for value in sim.keras_model.get_weights()]


def difference(one, two):
    """Return the largest difference of two nests of numbers, relative to the first."""
    pairs = list(zip(tf.nest.flatten(one), tf.nest.flatten(two)))
    assert len(tf.nest.flatten(one)) == len(tf.nest.flatten(two)) and pairs
    assert all(np.isfinite(value).all() for value in tf.nest.flatten([one, two]))
    return max(np.linalg.norm(np.subtract(a, b)) / (np.linalg.norm(a) + 1e-9) for a, b in pairs)


def trained(model, name, make_optimizer, then=None, **kwargs):
    """Return losses and weights of three epochs, on one device or two."""
    tf.keras.utils.set_random_seed(0)
    with getattr(model, name)() as sim:
        model.compile(sim, make_optimizer(sim))
        ran = sim.fit(*model.data, epochs=3, verbose=0, **{"shuffle": False, **kwargs})
        later = [] if then is None else then(model, sim)
        return [[ran.history[k] for k in sorted(ran.history)], weights(sim), later]


def compare(make_model, make_optimizer, **kwargs):
    """Compare two trainings of networks of their own, which share no layers."""
    one, two = (trained(make_model(), name, make_optimizer, **kwargs) for name in ("one", "two"))
    return difference(one, two)


def adam(sim):
    return nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.Adam(0.01))


# -- the checks ----------------------------------------------------------------------------


def adam_with_decay_penalties_and_rates(folder):
    """Compare all that there is after a training with shuffling and validation data."""
    ran = []

    def then(model, sim):
        found = [sim.evaluate(*model.data, verbose=0), sim.predict(X, verbose=0)[model.probe]]
        found += [nengo_wd.regularization_losses(sim), sim.data[model.conn].weights]
        found += [sim.data[model.ensemble].encoders, energy(model, sim), norms(model, sim)]
        sim.save_params(str(folder / "saved"))
        ran.append(weights(sim))
        sim.reset()
        sim.load_params(str(folder / "saved"))
        assert difference(ran[-1], weights(sim)) == 0
        return found

    model = Model()
    found = compare(Model, adam, shuffle=True, then=then, validation_split=1 / 3)
    with model.one() as sim:  # of the file that two replicas have written
        sim.load_params(str(folder / "saved"))
        assert difference(ran[1], weights(sim)) == 0
    return found


def energy(model, sim):
    return nengo_wd.Energy(sim, {model.source: X}).total("cpu")


def norms(model, sim):
    recorded = nengo_wd.WeightNorms(sim)
    recorded.record()
    return [recorded.norms, recorded.column("penalty")]


def layerwise_with_constrained_norms(folder):
    def make():
        model = Model(use_loop=True)
        model.config[model.conn].target_norm = OfInitial(0.8)
        model.config[model.hidden].target_norm = 0.5
        model.config[model.conn].learning_rate = 0.02
        return model

    return compare(
        make, lambda s: nengo_wd.constrained_norms(s, nengo_wd.LayerwiseSGD(s, 0.01, 0.9))
    )


def proximal_steps_with_percentiles(folder):
    def make():
        model = Model()
        model.config[model.rates].regularizer = FiringRates(20, 60, l2=1e-4, percentile=90)
        strength = tf.keras.optimizers.schedules.InverseTimeDecay(1.0, 3, 0.5)
        l1 = tf.keras.regularizers.L1(0.1)
        model.config[model.ensemble].regularizer = Scheduled(l1, strength)
        return model

    return compare(
        make, lambda s: nengo_wd.proximal_regularization(s, tf.keras.optimizers.SGD(0.01, 0.9))
    )


def legacy_optimizer_and_penalty_of_the_whole_minibatch(folder):
    def make():
        model = Model()
        model.config[model.probe].regularizer = GroupLasso(0.1, axis=0)
        model.config[model.conn].target_norm = 1.0
        return model

    def optimizer(sim):
        legacy = tf.keras.optimizers.legacy.Adam(0.01)
        return nengo_wd.constrained_norms(sim, nengo_wd.decoupled_weight_decay(sim, legacy))

    return compare(make, optimizer)


class LargeModel(Model):
    """Layers side by side, each with a kernel of 520 x 520, and a value of a setting.

    From 512 x 512 on, XLA compiles what changes them.
    """

    def __init__(self, setting, *values):
        with nengo.Network(seed=0) as self.net:
            nengo_dl.configure_settings(dtype="float64", use_loop=False, trainable=None)
            nengo_wd.configure_settings()
            self.source = nengo.Node(np.zeros(520))
            self.nodes, self.probes = zip(*map(self.add_layer, values))
        for node, value in zip(self.nodes, values):
            setattr(self.net.config[node], setting, value)
        uniform = np.random.RandomState(0).uniform
        shape = (MINIBATCH, 1, 520)
        targets = {probe: uniform(-1, 1, size=shape) for probe in self.probes}
        self.data, self.settings = ({self.source: uniform(-1, 1, size=shape)}, targets), {}

    def add_layer(self, value):
        node = nengo_dl.Layer(nengo_wd.RegularizedDense(520, kernel_regularizer=None))(self.source)
        return node, nengo.Probe(node)

    def compile(self, sim, optimizer, **kwargs):
        loss = nengo_wd.regularized_objective(sim, dict.fromkeys(self.probes, "mse"))
        sim.compile(optimizer, loss=loss, **kwargs)


def moving():
    """Return a schedule and a variable."""
    schedule = tf.keras.optimizers.schedules.InverseTimeDecay(0.5, 2, 0.5)
    return schedule, tf.Variable(0.25, trainable=False)


def decay_of_large_weights(folder):
    return compare(lambda: LargeModel("weight_decay", 0.1, *moving()), adam)


def proximal_steps_of_large_weights(folder):
    def make():
        l1 = tf.keras.regularizers.L1(1e-2)
        to_start = nengo_wd.regularizers.TowardsInitial(l1=1e-2, l2=1e-2)
        fixed = tf.keras.regularizers.L1L2(1e-2, 1e-2), GroupLasso(1e-2), to_start
        return LargeModel(
            "regularizer", *fixed, *(Scheduled(l1, strength) for strength in moving())
        )

    return compare(
        make, lambda s: nengo_wd.proximal_regularization(s, tf.keras.optimizers.SGD(0.1, 0.9))
    )


def constrained_norms_of_large_weights(folder):
    def make():
        return LargeModel("target_norm", 20.0, OfInitial(0.9), AtStep(2))

    return compare(make, lambda s: nengo_wd.constrained_norms(s, tf.keras.optimizers.Adam(0.01)))


def layerwise_with_large_weights(folder):
    def make():
        model = LargeModel("weight_decay", 0.1, *moving())
        for node in model.nodes:
            model.config[node].target_norm = 20.0
            model.config[node].regularizer = L2
        return model

    def optimizer(sim):
        rule = nengo_wd.LayerwiseSGD(sim, tf.Variable(0.1, trainable=False), 0.9)
        return nengo_wd.constrained_norms(sim, nengo_wd.proximal_regularization(sim, rule))

    return compare(make, optimizer)


def optimizers_without_variables(folder):
    """Compare trainings whose optimizers make their variables in the first step, as users have."""
    optimizers = tf.keras.optimizers
    loss_scaling = tf.keras.mixed_precision.LossScaleOptimizer
    makes = [
        lambda sim: nengo_wd.decoupled_weight_decay(sim, optimizers.legacy.Adam(0.01)),
        lambda sim: loss_scaling(optimizers.legacy.SGD(0.01, 0.9)),
    ]
    with mock.patch.object(tf.keras.Model, "make_train_function", MAKE_TRAIN_FUNCTION):
        return max(compare(Model, make) for make in makes)


def inputs_of_all_kinds(folder):
    """Compare losses on the same data in each form that Simulator takes."""
    model = Model()
    named = {"source": X, "n_steps": np.full((EXAMPLES, 1), N_STEPS, np.int32)}
    dataset = tf.data.Dataset.from_tensor_slices((named, {"out": Y})).batch(MINIBATCH)

    def generator():
        for start in range(0, EXAMPLES, MINIBATCH):
            rows = slice(start, start + MINIBATCH)
            yield {k: v[rows] for k, v in named.items()}, {"out": Y[rows]}

    with model.two() as sim:
        model.compile(sim, "sgd")
        forms = [(X, Y), ([X], [Y]), ({"source": X}, {"out": Y})]
        losses = [sim.evaluate(x, y, verbose=0)["loss"] for x, y in [model.data, *forms]]
        losses += [sim.evaluate(x, verbose=0)["loss"] for x in (dataset, generator())]
        assert sim.predict(n_steps=N_STEPS, verbose=0)[model.probe].shape == (MINIBATCH, N_STEPS, 2)
        assert sim.predict_on_batch(X[:MINIBATCH])[model.probe].shape == (MINIBATCH, N_STEPS, 2)
        start, ends = weights(sim), []
        for data in (model.data, (dataset,), (generator(),)):
            sim.keras_model.set_weights(start)
            sim.fit(*data, shuffle=False, verbose=0)
            ends.append(weights(sim))
    assert difference(start, ends[0]) > 1e-4
    found = [difference(losses[0], loss) for loss in losses]
    return max(found + [difference(ends[0], end) for end in ends])


def frozen_parameters(folder):
    """Compare what a network does after its trained weights were frozen."""
    found = []
    for name in ("one", "two"):
        model = Model()
        tf.keras.utils.set_random_seed(0)
        with getattr(model, name)() as sim:
            model.compile(sim, adam(sim))
            sim.fit(*model.data, shuffle=False, verbose=0)
            sim.freeze_params([model.ensemble, model.conn])
        with model.one() as sim:
            found.append([sim.data[model.conn].weights, sim.data[model.ensemble].bias])
    return difference(*found)


def random_numbers(folder):
    """Compare two equal trainings with noise, and with random spikes, on two replicas."""

    def train(settings, neuron_type):
        model = Model(use_loop=True)
        model.ensemble.neuron_type = neuron_type
        for name, value in settings.items():
            setattr(model.config[nengo.ensemble.Neurons], name, value)
        return trained(model, "two", adam, lambda model, sim: sim.predict(X, verbose=0))[:2]

    plain, noisy, again = (train(one, nengo.LIF()) for one in ({}, NOISE, NOISE))
    assert difference(plain, noisy) > 1e-6
    at_random = nengo.PoissonSpiking(nengo.LIFRate())
    spiking, spiking_again = (train(SPIKES, at_random) for _ in range(2))
    return max(difference(noisy, again), difference(spiking, spiking_again))


def refusals(folder):
    """Check the errors that need two replicas."""
    model = Model()
    refused(lambda: nengo_wd.DistributedSimulator(model.net, STRATEGY, 9), "such as 10")
    outside = tf.keras.optimizers.Adam(0.01)
    with model.two() as sim:
        refused(lambda: sim.compile(outside), "the optimizer has the variable iteration")
    sim = model.two()  # not in a with block
    model.compile(sim, "adam")
    sim.close()
    with nengo.Network(seed=0) as net:
        layer = tf.keras.layers.Dense(2)
        layer.scale = tf.Variable(1.0)
        nengo.Probe(nengo_dl.Layer(layer)(nengo.Node(np.zeros(2))))
    refused(
        lambda: nengo_wd.DistributedSimulator(net, STRATEGY, 4, progress_bar=False),
        "a layer has the variable",
    )
    with nengo.Network(seed=0) as compiled:
        nengo_wd.configure_settings(jit_compile=True)
        nengo.Probe(nengo.Node([1.0]))
    refused(
        lambda: nengo_wd.DistributedSimulator(compiled, STRATEGY, 4, progress_bar=False),
        "XLA takes no variables of several devices",
    )
    return 0.0


def refused(call, pattern):
    try:
        call()
    except nengo.exceptions.ValidationError as error:
        assert pattern in str(error), error
    else:
        raise AssertionError(f"no error: {pattern}")


CHECKS = {
    function.__name__: function
    for function in (
        adam_with_decay_penalties_and_rates,
        layerwise_with_constrained_norms,
        proximal_steps_with_percentiles,
        legacy_optimizer_and_penalty_of_the_whole_minibatch,
        decay_of_large_weights,
        proximal_steps_of_large_weights,
        constrained_norms_of_large_weights,
        layerwise_with_large_weights,
        optimizers_without_variables,
        inputs_of_all_kinds,
        frozen_parameters,
        random_numbers,
        refusals,
    )
}


def main(folder, *names):
    from untraced import after_making_variables

    for name in ("make_train_function", "make_test_function"):
        make = getattr(tf.keras.Model, name)
        setattr(tf.keras.Model, name, after_making_variables(make))
    warnings.simplefilter("ignore")
    for name in names or CHECKS:
        try:
            print(name, CHECKS[name](Path(folder)), flush=True)
        except Exception:
            print(name, "failed:", traceback.format_exc().replace("\n", "|"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
