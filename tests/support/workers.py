"""Trainings by two workers on this machine, and by one process.

    python workers.py FOLDER

Each check of `CHECKS` prints a line: its name, and the largest relative difference to one device.
The workers are forked, so that TensorFlow is imported once; it is first used in the forks.
"""

import json
import os
import signal
import socket
import sys
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

EPOCHS, MINIBATCH, EXAMPLES, N_STEPS = 4, 8, 24, 2
KILLED = 1, 1, 1  # worker, epoch and batch, counted from zero

rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, size=(EXAMPLES, N_STEPS, 3))
Y = np.sin(X[..., :2])


def network():
    """Return a network, source and probe; with L2, decay and a rate target."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(dtype="float64", use_loop=False, trainable=None)
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(3))
        ensemble = nengo.Ensemble(10, 3)
        nengo.Connection(source, ensemble, synapse=None)
        layer = nengo_wd.RegularizedDense(2, name="readout")
        probe = nengo.Probe(nengo_dl.Layer(layer)(ensemble.neurons))
        rates = nengo.Probe(ensemble.neurons)
    net.config[ensemble].regularizer = tf.keras.regularizers.L2(1e-2)
    net.config[ensemble].weight_decay = 0.1
    net.config[nengo_dl.TensorNode].target_norm = nengo_wd.target_norms.OfInitial(0.8)
    net.config[rates].regularizer = nengo_wd.regularizers.FiringRates(20, 60, l2=1e-4)
    return net, source, probe


def train(make, log_dir=None, backups=None, watch=None):
    """Train, and return losses, predictions and weights."""
    tf.keras.utils.set_random_seed(0)
    net, source, probe = network()
    with make(net) as sim:
        adam = nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.Adam(0.01))
        loss = nengo_wd.regularized_objective(sim, {probe: "mse"})
        sim.compile(nengo_wd.constrained_norms(sim, adam), loss=loss)
        callbacks = [nengo_wd.WeightNorms(sim, log_dir=log_dir)]
        if backups is not None:
            callbacks.append(tf.keras.callbacks.BackupAndRestore(str(backups)))
        if watch is not None:
            callbacks.append(Watched(watch))
        data = {source: X}, {probe: Y}
        ran = sim.fit(*data, epochs=EPOCHS, shuffle=backups is None, verbose=0, callbacks=callbacks)
        predicted = sim.predict({source: X}, verbose=0)[probe]
        return ran.history["loss"], [predicted, *sim.keras_model.get_weights()]


class Watched(tf.keras.callbacks.Callback):
    """Calls a function with the epoch and the number of each batch."""

    def __init__(self, watch):
        super().__init__()
        self.watch = watch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self.watch(self.epoch, batch)


def one_device(net):
    return nengo_dl.Simulator(
        net, minibatch_size=MINIBATCH, unroll_simulation=N_STEPS, progress_bar=False
    )


def worker(number, ports, **kwargs):
    """Train as one of the workers."""
    addresses = [f"localhost:{port}" for port in ports]
    task = {"type": "worker", "index": number}
    os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def make(net):
        return nengo_wd.DistributedSimulator(
            net, strategy, MINIBATCH, unroll_simulation=N_STEPS, progress_bar=False
        )

    return train(make, **kwargs)


# -- processes -----------------------------------------------------------------------------


def start(function, path, *args, **kwargs):
    """Fork a process that saves what a function returns, and return its number."""
    process = os.fork()
    if process:
        return process
    try:
        losses, arrays = function(*args, **kwargs)
        np.savez(path, losses, *arrays)
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def start_workers(folder, **kwargs):
    ports = free_ports(2)
    return [start(worker, folder / f"{i}.npz", i, ports, **kwargs) for i in range(2)]


def statuses(processes):
    return [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]


def free_ports(number):
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def load(path):
    with np.load(path) as saved:
        return [saved[name] for name in saved.files]


def difference(one, two):
    assert len(one) == len(two)
    assert all(np.isfinite(array).all() for array in one + two)
    return max(np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(one, two))


# -- the checks ----------------------------------------------------------------------------


def two_workers(folder):
    """Compare losses, predictions and weights, shuffled; only one worker writes event files."""
    started = start(train, folder / "one.npz", one_device)
    assert statuses([started]) == [0]
    assert statuses(start_workers(folder, log_dir=str(folder / "logs"))) == [0, 0]
    assert len(list((folder / "logs").iterdir())) == 1
    expected = load(folder / "one.npz")
    return max(difference(expected, load(folder / f"{i}.npz")) for i in range(2))


def killed_worker(folder):
    """Compare a training of which a worker is killed, and all workers are started again."""
    started = start(train, folder / "one.npz", one_device, backups=folder / "of one")
    assert statuses([started]) == [0]

    def kill(epoch, batch):
        number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
        if (number, epoch, batch) == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)

    def resumed(epoch, batch):
        assert epoch >= KILLED[1]

    backups = folder / "of two"
    killed = statuses(start_workers(folder, backups=backups, watch=kill))
    assert killed[1] == -signal.SIGKILL and killed[0] != 0, killed
    assert statuses(start_workers(folder, backups=backups, watch=resumed)) == [0, 0]
    expected = load(folder / "one.npz")[1:]
    return max(difference(expected, load(folder / f"{i}.npz")[1:]) for i in range(2))


CHECKS = {function.__name__: function for function in (two_workers, killed_worker)}


def main(folder, *names):
    warnings.simplefilter("ignore")
    for name in names or CHECKS:
        own = Path(folder) / name
        own.mkdir()
        try:
            print(name, CHECKS[name](own), flush=True)
        except Exception:
            print(name, "failed:", traceback.format_exc().replace("\n", "|"), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
