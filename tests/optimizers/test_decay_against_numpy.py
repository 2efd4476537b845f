"""Training with decay, and all else that an optimizer can do, against NumPy in float64."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import ADAM, DECAY, KERAS_ADAM, MOMENTUM, RATE
from generations import GENERATION, one_step, simulator, tensor_node, train, use_dtype, values
from networks import product

import nengo_wd
from nengo_wd import nengo_dl

BATCHES = 5
CLIP = 0.25  # below the norm of each gradient
schedules = tf.keras.optimizers.schedules


class Halving(schedules.LearningRateSchedule):
    """Half as much at every step."""

    def __init__(self, start):
        self.start = start

    def __call__(self, step):
        return self.start * 0.5 ** tf.cast(step, tf.float32)


class Model:
    """Two connections in one variable, a layer in another, and a gradient of each batch's own.

    The first connection decays and so does the layer, half as much.
    """

    def __init__(self):
        rng = np.random.RandomState(0)
        start = rng.uniform(0.5, 1, size=(2, 3, 2))
        with nengo.Network(seed=0) as self.net:
            use_dtype("float64")
            one_step()
            nengo_wd.configure_settings()
            source = nengo.Node(np.zeros(2))
            ends = [nengo.Node(size_in=3) for _ in range(2)]
            self.connections = [
                nengo.Connection(source, end, transform=one, synapse=None)
                for end, one in zip(ends, start)
            ]
            self.layer = nengo_wd.RegularizedDense(3, kernel_regularizer=None, use_bias=False)
            self.node = tensor_node(self.layer, 2, 3)
            to_layer = nengo.Connection(source, self.node, synapse=None)
            nengo_dl.configure_settings(trainable=None)
            self.net.config[to_layer].trainable = False  # NengoDL 2 would train its weight of one
            probes = [nengo.Probe(end) for end in (*ends, self.node)]
        self.net.config[self.connections[0]].weight_decay = DECAY
        self.net.config[self.node].weight_decay = DECAY / 2
        self.decays = np.array([DECAY, 0, DECAY / 2])[:, None, None]
        x = rng.uniform(0.5, 1, size=(BATCHES, 1, 2))
        t = rng.uniform(0.5, 1, size=(3, BATCHES, 1, 3))
        self.inputs, self.targets = {source: x}, dict(zip(probes, t))
        self.objective = {probe: product for probe in probes}
        self.gradients = np.einsum("pbto,bti->bpoi", t, x)  # by batch and parameter

    def weights(self, sim):
        """Return the weights, those of the layer as those of a connection."""
        (kernel,) = values(sim, [self.layer.kernel])
        return np.array([*(sim.data[c].weights for c in self.connections), kernel.T])

    def train(self, sim, optimizer):
        train(sim, self.inputs, self.targets, self.objective, optimizer)
        return self.weights(sim)

    def overflow(self, batch):
        """Have the gradient of a batch overflow."""
        next(iter(self.targets.values()))[batch] = np.inf
        self.gradients[batch] = np.inf

    def expected(self, start, rule, rates=(RATE,) * BATCHES, factors=(1,) * BATCHES, clip=None):
        """Yield the weights after each step, with learning rates and factors of the decay."""
        weights, update = start, rule()
        for step, (gradients, rate, factor) in enumerate(zip(self.gradients, rates, factors)):
            if np.all(np.isfinite(gradients)):
                clipped = gradients if clip is None else clip(gradients)
                weights = (1 - rate * factor * self.decays) * weights + update(clipped, rate, step)
            yield weights

    def assert_trained(self, make, rule, tolerance=1e-12, **kwargs):
        """Compare what training with an optimizer ends in."""
        with simulator(self.net) as sim:
            start = self.weights(sim)
            trained = self.train(sim, make(sim))
        *_, expected = self.expected(start, rule, **kwargs)
        np.testing.assert_allclose(trained, expected, rtol=tolerance)


# -- the rules: functions of gradient, rate and step that return what is added to the weights -----


def momentum():
    kept = [0]

    def update(gradient, rate, step):
        if GENERATION == 2:  # the rate of now for all gradients so far
            kept[0] = MOMENTUM * kept[0] + gradient
            return -rate * kept[0]
        kept[0] = MOMENTUM * kept[0] - rate * gradient
        return kept[0]

    return update


def adam():
    mean, square = [0], [0]

    def update(gradient, rate, step):
        beta1, beta2, epsilon = ADAM["beta1"], ADAM["beta2"], ADAM["epsilon"]
        mean[0] = beta1 * mean[0] + (1 - beta1) * gradient
        square[0] = beta2 * square[0] + (1 - beta2) * gradient**2
        rate = rate * np.sqrt(1 - beta2 ** (step + 1)) / (1 - beta1 ** (step + 1))
        return -rate * mean[0] / (np.sqrt(square[0]) + epsilon)

    return update


if GENERATION == 2:
    v1 = tf.compat.v1.train
    OPTIMIZERS = {
        "momentum": (momentum, lambda rate: v1.MomentumOptimizer(rate, MOMENTUM)),
        "Adam": (adam, lambda rate: v1.AdamOptimizer(rate, **ADAM)),
    }
else:
    OPTIMIZERS = {}
    for prefix, of in (("", tf.keras.optimizers), ("legacy ", tf.keras.optimizers.legacy)):
        OPTIMIZERS[f"{prefix}momentum"] = (
            momentum,
            lambda rate, of=of, **kwargs: of.SGD(rate, momentum=MOMENTUM, **kwargs),
        )
        OPTIMIZERS[f"{prefix}Adam"] = (
            adam,
            lambda rate, of=of, **kwargs: of.Adam(rate, **KERAS_ADAM, **kwargs),
        )


@pytest.fixture
def model():
    return Model()


def decaying(make, *args, **kwargs):
    """Return what makes an optimizer that decays."""
    return lambda sim: nengo_wd.decoupled_weight_decay(sim, make(*args, **kwargs))


# -- clipped gradients ----------------------------------------------------------------------------


def by_norm(gradients):
    """Clip the gradient of each variable: both connections are in one."""
    groups = gradients[:2], gradients[2:]
    return np.concatenate([group * CLIP / np.linalg.norm(group) for group in groups])


CLIPS = {
    "clipvalue": lambda gradients: np.clip(gradients, -CLIP, CLIP),
    "clipnorm": by_norm,
    "global_clipnorm": lambda gradients: gradients * CLIP / np.linalg.norm(gradients),
}


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "name, kind",
    [
        ("momentum", "clipnorm"),
        ("momentum", "global_clipnorm"),
        ("legacy momentum", "clipvalue"),
        ("Adam", "clipvalue"),
        ("legacy momentum", "global_clipnorm"),
    ],
)
def test_clipped_gradients(name, kind, model):
    rule, make = OPTIMIZERS[name]
    make = decaying(make, RATE, **{kind: CLIP})
    model.assert_trained(make, rule, clip=CLIPS[kind], tolerance=1e-6)


@pytest.mark.generation(2)
def test_gradients_that_an_optimizer_clips_itself(model):
    class Clipping(tf.compat.v1.train.MomentumOptimizer):
        def apply_gradients(self, found, *args, **kwargs):
            clipped = [(tf.clip_by_value(gradient, -CLIP, CLIP), v) for gradient, v in found]
            return super().apply_gradients(clipped, *args, **kwargs)

    make = decaying(Clipping, RATE, MOMENTUM)
    model.assert_trained(make, momentum, clip=CLIPS["clipvalue"])


# -- learning rates that change -------------------------------------------------------------------


def halving_rate(sim):
    """Return a learning rate that halves at every step, as the optimizers take it."""
    if GENERATION == 3:
        return Halving(RATE)
    step = sim.tensor_graph.training_step
    return tf.compat.v1.train.exponential_decay(tf.constant(RATE), step, 1, 0.5)


@pytest.mark.parametrize(
    "name", ["momentum", "Adam"] if GENERATION == 2 else ["momentum", "legacy Adam"]
)
def test_schedules_of_the_rate_and_of_the_decay(name, model):
    rule, make = OPTIMIZERS[name]
    model.net.config[model.connections[0]].weight_decay = Halving(DECAY)
    model.net.config[model.node].weight_decay = Halving(DECAY / 2)
    halved = 0.5 ** np.arange(BATCHES)
    model.assert_trained(
        lambda sim: nengo_wd.decoupled_weight_decay(sim, make(halving_rate(sim))),
        rule,
        rates=RATE * halved,
        factors=halved,
    )


@pytest.mark.generation(3)
@pytest.mark.parametrize("name", ["Adam", "legacy momentum"])
def test_rate_that_is_assigned_between_trainings(name, model):
    rule, make = OPTIMIZERS[name]
    with simulator(model.net) as sim:
        start = model.weights(sim)
        decay = nengo_wd.decoupled_weight_decay(sim, make(RATE))
        model.train(sim, decay)
        decay.learning_rate = RATE / 4
        sim.fit(model.inputs, model.targets, shuffle=False, verbose=0)
        trained = model.weights(sim)
    model.gradients = np.concatenate([model.gradients] * 2)
    rates = np.repeat([RATE, RATE / 4], BATCHES)
    *_, expected = model.expected(start, rule, rates, np.ones(2 * BATCHES))
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


@pytest.mark.generation(2)
def test_rate_in_a_variable(model):
    with simulator(model.net) as sim:
        start = model.weights(sim)
        with sim.tensor_graph.graph.as_default():
            rate = tf.compat.v1.Variable(RATE, trainable=False, collections=[])
        sim.sess.run(rate.initializer)
        decay = decaying(OPTIMIZERS["momentum"][1], rate)(sim)
        model.train(sim, decay)
        rate.load(RATE / 4, sim.sess)
        trained = model.train(sim, decay)
    model.gradients = np.concatenate([model.gradients] * 2)
    rates = np.repeat([RATE, RATE / 4], BATCHES)
    *_, expected = model.expected(start, momentum, rates, np.ones(2 * BATCHES))
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


# -- what only Keras' optimizers do ---------------------------------------------------------------


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "name, batch",
    [("momentum", 0), ("Adam", 2), ("legacy momentum", 2), ("legacy Adam", 0)],
)
def test_loss_scaling_with_an_overflow(name, batch, model):
    """No weight and no moment changes in the step that is left out, which Keras counts."""
    rule, make = OPTIMIZERS[name]
    model.overflow(batch)
    model.net.config[model.connections[0]].weight_decay = Halving(DECAY)
    model.net.config[model.node].weight_decay = Halving(DECAY / 2)
    halved = 0.5 ** np.arange(BATCHES)
    model.assert_trained(
        decaying(lambda: tf.keras.mixed_precision.LossScaleOptimizer(make(Halving(RATE)))),
        rule,
        rates=RATE * halved,
        factors=halved,
    )


EMA = 0.75


def averaged(model, start, rule, overwrite=None):
    """Return the average of the weights; with ``overwrite``, it takes their place at times."""
    average, weights, update = start, start, rule()
    for step, gradients in enumerate(model.gradients):
        weights = (1 - RATE * model.decays) * weights + update(gradients, RATE, step)
        average = EMA * average + (1 - EMA) * weights
        if overwrite and (step + 1) % overwrite == 0:
            weights = average
    return average


@pytest.mark.generation(3)
@pytest.mark.parametrize("name, overwrite", [("momentum", 2), ("Adam", None)])
def test_moving_average(name, overwrite, model):
    rule, make = OPTIMIZERS[name]
    arguments = dict(use_ema=True, ema_momentum=EMA, ema_overwrite_frequency=overwrite)
    with simulator(model.net) as sim:
        start = model.weights(sim)
        trained = model.train(sim, decaying(make, RATE, **arguments)(sim))
    np.testing.assert_allclose(trained, averaged(model, start, rule, overwrite), rtol=1e-12)


@pytest.mark.generation(3)
@pytest.mark.parametrize("name, steps", [("Adam", 2), ("legacy Adam", BATCHES)])
def test_several_steps_in_one_execution(name, steps, model):
    rule, make = OPTIMIZERS[name]
    with simulator(model.net) as sim:
        start = model.weights(sim)
        decay = decaying(make, Halving(RATE))(sim)
        sim.compile(decay, loss=model.objective, steps_per_execution=steps)
        sim.fit(model.inputs, model.targets, shuffle=False, verbose=0)
        trained = model.weights(sim)
    *_, expected = model.expected(start, rule, RATE * 0.5 ** np.arange(BATCHES))
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


# -- CUDA-ConvNet's rule, whose decay is a gradient ------------------------------------------------


def cuda_convnet(model, start, rates):
    """Return the weights after steps of the rule; a batch that overflows is left out."""
    weights, increment = start, 0
    for gradients, rate in zip(model.gradients, rates):
        if np.all(np.isfinite(gradients)):
            increment = MOMENTUM * increment - rate * (gradients + model.decays * weights)
            weights = weights + increment
    return weights


def test_schedule_of_the_rate_of_layerwise_sgd(model):
    with simulator(model.net) as sim:
        start = model.weights(sim)
        trained = model.train(sim, nengo_wd.LayerwiseSGD(sim, Halving(RATE), MOMENTUM))
    expected = cuda_convnet(model, start, RATE * 0.5 ** np.arange(BATCHES))
    np.testing.assert_allclose(trained, expected, rtol=1e-12)


@pytest.mark.generation(3)
def test_layerwise_sgd_under_all_of_it(model):
    """Loss scaling with an overflow, several steps at once, and a rate that is assigned."""
    model.overflow(2)
    with simulator(model.net) as sim:
        start = model.weights(sim)
        inner = nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM)
        scaled = tf.keras.mixed_precision.LossScaleOptimizer(inner)
        sim.compile(scaled, loss=model.objective, steps_per_execution=2)
        data = model.inputs, model.targets
        sim.fit(*data, shuffle=False, verbose=0)
        scaled.learning_rate = RATE / 4
        sim.fit(*data, shuffle=False, verbose=0)
        trained = model.weights(sim)
    model.gradients = np.concatenate([model.gradients] * 2)
    expected = cuda_convnet(model, start, np.repeat([RATE, RATE / 4], BATCHES))
    np.testing.assert_allclose(trained, expected, rtol=1e-12)
