"""Trainings that are killed in the middle of an epoch, and go on in another process.

    python killed_and_resumed.py FOLDER [WAY OPTIMIZER]...

Each pair of a way to save (of `WAYS`) and an optimizer (of `OPTIMIZERS`) is tried; all of them
if none are named. Printed is how far the weights of the resumed training are from those
of one that nothing interrupted.

Processes are forked, so that TensorFlow is imported once. It is first used in the forks, as it has
to be.
"""

import gc
import itertools
import os
import pathlib
import signal
import sys
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nengo
import numpy as np
import tensorflow as tf
from nengo.dists import Choice

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import TowardsInitial
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

EPOCHS, BATCHES, MINIBATCH, N_STEPS = 4, 3, 4, 2
KILLED_AT = (2, 1)  # epoch and batch

rng = np.random.RandomState(0)
INPUTS = rng.uniform(-1, 1, size=(BATCHES * MINIBATCH, N_STEPS, 16))
TARGETS = rng.uniform(-1, 1, size=(BATCHES * MINIBATCH, N_STEPS, 3))


def network(seed):
    """Return a network with dense, convolutional, Keras' and native parameters."""
    with nengo.Network(seed=seed) as net:
        net.config[nengo.Connection].synapse = None
        nengo_dl.configure_settings(trainable=None, use_loop=False)  # whose gradient takes seconds
        nengo_wd.configure_settings()
        pixels = nengo.Node(np.zeros(16))
        images = nengo_wd.RegularizedConv2D(2, 2, input_shape=(4, 4, 1))
        convolved = nengo_dl.Layer(images)(pixels)
        hidden = nengo_dl.Layer(nengo_wd.RegularizedDense(5))(convolved)
        keras = nengo_dl.Layer(tf.keras.layers.Dense(4))(hidden)
        net.config[nengo.Ensemble].update(
            {"neuron_type": nengo.RectifiedLinear(), "gain": Choice([1.0]), "bias": Choice([0.5])}
        )
        a, b = nengo.Ensemble(8, 4), nengo.Ensemble(8, 4)
        nengo.Connection(keras, a)
        nengo.Connection(a, b)
        readout = nengo.Connection(b, nengo.Node(size_in=3), function=lambda x: x[:3])
        net.probe = nengo.Probe(readout.post)
        net.config[readout].regularizer = TowardsInitial(l2=0.1)
        net.config[hidden].regularizer = TowardsInitial(l1=0.1)
        net.config[nengo.Connection].weight_decay = 0.01
        net.config[a].learning_rate = 0.002
        net.config[nengo.Connection].target_norm = OfInitial(0.9)
        net.config[readout].target_norm = 0.01
        net.config[nengo_dl.TensorNode].target_norm = AtStep(5)
        net.config[convolved].target_norm = InflectionPoint(every=2)
    return net


def adam(sim):
    schedule = tf.keras.optimizers.schedules.CosineDecay(0.01, EPOCHS * BATCHES)
    decaying = nengo_wd.decoupled_weight_decay(sim, tf.optimizers.Adam(schedule))
    return nengo_wd.constrained_norms(sim, decaying)


def layerwise(sim):
    return nengo_wd.constrained_norms(sim, nengo_wd.LayerwiseSGD(sim, 0.001, momentum=0.9))


def scaled_and_averaged(sim):
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
        initial_scale=4.0,
        dynamic_growth_steps=2,
    )
    decaying = nengo_wd.decoupled_weight_decay(sim, nengo_wd.constrained_norms(sim, optimizer))
    return nengo_wd.proximal_regularization(sim, decaying)


def legacy(sim):
    optimizer = nengo_wd.constrained_norms(sim, tf.keras.optimizers.legacy.Adam(0.01))
    return nengo_wd.decoupled_weight_decay(sim, optimizer)


OPTIMIZERS = {
    function.__name__: function for function in (adam, layerwise, scaled_and_averaged, legacy)
}


def backup_and_restore(sim, folder):
    return [tf.keras.callbacks.BackupAndRestore(str(folder), delete_checkpoint=False)], 0


def model_checkpoint(sim, folder):
    saving = tf.keras.callbacks.ModelCheckpoint(
        str(folder / "epoch_{epoch}"), save_weights_only=True
    )
    latest = tf.train.latest_checkpoint(str(folder))
    if latest is None:
        return [saving], 0
    sim.keras_model.load_weights(latest)
    return [saving], int(latest.rpartition("_")[2])


def checkpoint(sim, folder):
    saved = tf.train.Checkpoint(model=sim.keras_model, epoch=tf.Variable(0))
    manager = tf.train.CheckpointManager(saved, str(folder), max_to_keep=1)

    def save(epoch, logs):
        saved.epoch.assign(epoch + 1)
        manager.save()

    manager.restore_or_initialize()
    return [tf.keras.callbacks.LambdaCallback(on_epoch_end=save)], int(saved.epoch)


WAYS = {
    function.__name__: function for function in (backup_and_restore, model_checkpoint, checkpoint)
}


class Killed(tf.keras.callbacks.Callback):
    """Kill the process in the middle of an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == KILLED_AT:
            os.kill(os.getpid(), signal.SIGKILL)


def train(way, optimizer, folder, result=None, seed=0):
    """Train, saving in a way, until killed; with ``result``, to the end, and save the weights.

    All initial values depend on the seed.
    """
    tf.keras.utils.set_random_seed(seed)  # Keras' initializers have it from here, not from NengoDL
    steps = {"minibatch_size": MINIBATCH, "unroll_simulation": N_STEPS}
    with nengo_dl.Simulator(network(seed), **steps, progress_bar=False) as sim:
        objective = nengo_wd.regularized_objective(sim, "mse")
        sim.compile(OPTIMIZERS[optimizer](sim), loss=objective)
        callbacks, epoch = WAYS[way](sim, folder)
        if result is None:
            callbacks.append(Killed())
        data = {"x": INPUTS, "y": TARGETS, "shuffle": False, "verbose": 0}
        sim.fit(**data, epochs=EPOCHS, initial_epoch=epoch, callbacks=callbacks)
        weights = {f"w{i}": w for i, w in enumerate(sim.keras_model.get_weights())}
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        multipliers = np.nan_to_num(norms.column("multiplier"))
        assert multipliers.any()
        penalty = nengo_wd.regularization_loss(sim)
        np.savez(str(result), penalty=penalty, multipliers=multipliers, **weights)


def forked(function, *args, **kwargs):
    """Call a function in a process of its own, and return how that ended."""
    pid = os.fork()
    if pid == 0:
        try:
            function(*args, **kwargs)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def distance(way, optimizer, folder):
    """Return how far the weights of a resumed training are from those of a whole one."""
    whole, saved = folder / "whole", folder / "saved"
    for path in (whole, saved):
        path.mkdir(parents=True)
    assert forked(train, way, optimizer, whole, folder / "whole.npz") == 0
    assert forked(train, way, optimizer, saved) == signal.SIGKILL
    assert forked(train, way, optimizer, saved, folder / "resumed.npz", seed=1) == 0
    with np.load(folder / "whole.npz") as one, np.load(folder / "resumed.npz") as other:
        assert one.files == other.files
        assert all(np.isfinite(one[name]).all() for name in one.files)
        return max(np.max(np.abs(one[name] - other[name])) for name in one.files)


if __name__ == "__main__":
    folder, *named = sys.argv[1:]
    pairs = list(zip(named[::2], named[1::2])) or itertools.product(WAYS, OPTIMIZERS)
    gc.collect()
    gc.freeze()  # what was imported, which would be copied where it is looked through in a fork
    for way, optimizer in pairs:
        found = distance(way, optimizer, pathlib.Path(folder) / f"{way}_{optimizer}")
        print(way, optimizer, found, flush=True)
