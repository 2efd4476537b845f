import nengo
import numpy as np
import optuna
import pytest
import tensorflow as tf
from generations import simulator
from optuna_integration import TFKerasPruningCallback

import nengo_wd
from nengo_wd import nengo_dl

OPTIMIZERS = {
    "Adagrad": lambda: tf.keras.optimizers.Adagrad(0.01),  # its moments do not begin at zero
    "legacy": lambda: tf.keras.optimizers.legacy.Adam(0.01),
    "loss scaling": lambda: tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.Adam(0.01), initial_scale=8.0, dynamic_growth_steps=4
    ),
}


def network(strength, decay):
    """Return a network with weights of a layer and of a connection, and with states."""
    l2 = nengo_wd.regularizers.Scheduled(tf.keras.regularizers.l2(1.0), strength)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(weight_decay=decay)
        net.source = nengo.Node(np.zeros(3))
        x = nengo_wd.RegularizedDense(4, kernel_regularizer=l2, name="hidden")
        x = nengo_dl.Layer(x)(net.source)
        x = nengo_dl.Layer(tf.keras.layers.BatchNormalization())(x)
        end = nengo.Node(size_in=1)
        conn = nengo.Connection(x, end, transform=np.ones((1, 4)), synapse=0.01)
        net.config[conn].regularizer = nengo_wd.regularizers.TowardsInitial(l2=1e-3)
        net.probe = nengo.Probe(end)
    return net


class Trained:
    """A simulator, its callbacks, and strengths that move."""

    def __init__(self, optimizer="Adagrad"):
        self.strength, self.decay = (tf.Variable(0.0, trainable=False) for _ in range(2))
        tf.keras.utils.set_random_seed(0)  # once: examples have the same order in each training
        self.net = network(self.strength, self.decay)
        self.sim = simulator(self.net, minibatch_size=4)
        decaying = nengo_wd.decoupled_weight_decay(self.sim, OPTIMIZERS[optimizer]())
        loss = nengo_wd.regularized_objective(self.sim, {self.net.probe: "mse"})
        self.sim.compile(decaying, loss=loss)
        self.norms = nengo_wd.WeightNorms(self.sim)
        self.best = Best()
        slower = tf.keras.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=10)
        self.callbacks = [self.norms, slower, self.best]

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.sim.close()

    def train(self, strength, decay, epochs=3, more=()):
        """Return weights, losses and records of a training with strengths."""
        self.strength.assign(strength)
        self.decay.assign(decay)
        rng = np.random.RandomState(0)
        x, y = rng.uniform(-1, 1, (12, 2, 3)), rng.uniform(-1, 1, (12, 2, 1))
        history = self.sim.fit(
            {self.net.source: x},
            {self.net.probe: y},
            epochs=epochs,
            verbose=0,
            stateful=True,
            callbacks=[*self.callbacks, *more],
        ).history
        records = [self.norms.steps, self.norms.epochs, self.norms.norms]
        records += [self.norms.column("penalty"), [*self.best.found]]
        weights = [weight.copy() for weight in self.sim.keras_model.get_weights()]
        return [history["loss"], history["lr"], *weights, *records]


class Best(tf.keras.callbacks.Callback):
    """Remembers the best loss and where it was; like a ModelCheckpoint, it never forgets."""

    def __init__(self):
        super().__init__()
        self.best, self.found = np.inf, []

    def on_epoch_end(self, epoch, logs=None):
        if logs["loss"] < self.best:
            self.best = logs["loss"]
            self.found.append(epoch)


def same(one, other):
    assert len(one) == len(other)
    return all(np.array_equal(a, b) for a, b in zip(one, other))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.slow
def test_a_training_begins_anew(optimizer):
    with Trained(optimizer) as trained:
        start = nengo_wd.search.Start(trained.sim, trained.callbacks)
        expected = trained.train(1e-2, 0.5)
        assert not same(trained.train(1e-2, 0.5), expected)
        for _ in range(2):
            start.restore()
            assert not same(trained.train(0.3, 2.0), expected)
            start.restore()
            assert same(trained.train(1e-2, 0.5), expected)


def test_a_training_begins_in_the_middle_of_another():
    with Trained() as trained:
        trained.train(1e-2, 0.5)
        start = nengo_wd.search.Start(trained.sim, trained.callbacks)
        start.restore()
        expected = trained.train(1e-2, 0.5)
        start.restore()
        assert same(trained.train(1e-2, 0.5), expected)
        assert trained.norms.steps.tolist() == [9, 12, 15, 18]  # with those of before


@pytest.mark.traced
def test_nothing_is_traced_again():
    with Trained() as trained:
        start = nengo_wd.search.Start(trained.sim, trained.callbacks)
        trained.train(0.1, 0.1)
        train_function = trained.sim.keras_model.train_function
        n_traced = train_function.experimental_get_tracing_count()
        start.restore()
        trained.train(0.2, 0.2)
        assert trained.sim.keras_model.train_function is train_function
        assert train_function.experimental_get_tracing_count() == n_traced


def test_a_training_begins_anew_after_it_was_pruned():
    """Optuna's callback of Keras ends a training by an error, in the middle of it."""
    with Trained() as trained:
        start = nengo_wd.search.Start(trained.sim, trained.callbacks)
        expected = trained.train(1e-2, 0.5)

        def train(strengths, trial):
            start.restore()
            trained.train(strengths["l2"], 0.5, more=[TFKerasPruningCallback(trial, "loss")])

        study = nengo_wd.search.strengths(
            train,
            {"l2": (1e-2, 1e2)},
            n_trials=2,
            storage=optuna.storages.InMemoryStorage(),
            pruner=optuna.pruners.ThresholdPruner(upper=-1.0, n_warmup_steps=1),
            progress_bar=False,
        )
        assert [trial.state.name for trial in study.trials] == 2 * ["PRUNED"]
        assert [list(trial.intermediate_values) for trial in study.trials] == 2 * [[0, 1]]
        start.restore()
        assert same(trained.train(1e-2, 0.5), expected)
