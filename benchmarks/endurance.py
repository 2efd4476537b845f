"""Whether what is done many times on one simulator costs the same at the end as at the beginning.

    python benchmarks/endurance.py [--fits 2000] [--objectives 300] [--records 2000]

Fits (trainings, with NengoDL 2) of one batch, with penalties, decoupled decay and, with NengoDL 3,
a `WeightNorms`, are compared with the same number of them without any of ours, in the same
process. Objectives are made with a strength that changes each time. The table gives the time of
a call in the last fifth of the calls over that in the second, both as the least of the medians of
ten stretches, and how many bytes the peak of memory grows per call in the last half.
"""

import argparse
import resource
import time

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

NENGO_DL_3 = hasattr(nengo_dl.Simulator, "fit")
DATA = np.zeros((4, 1, 4), np.float32)


def network(regularizer):
    """Return a network of a layer and an ensemble."""
    with nengo.Network(seed=0) as net:
        net.source = nengo.Node(np.zeros(4))
        layer = nengo_wd.RegularizedDense(4, kernel_regularizer=regularizer)
        ensemble = nengo.Ensemble(20, 4, neuron_type=nengo.RectifiedLinear())
        nengo.Connection(nengo_dl.tensor_layer(net.source, layer), ensemble, synapse=None)
        net.readout = nengo.Connection(ensemble, nengo.Node(size_in=4), synapse=None)
        net.probe = nengo.Probe(net.readout.post)
    return net


def simulator(net):
    return nengo_dl.Simulator(net, minibatch_size=4, progress_bar=False)


def fits(with_ours):
    """Return a function that trains on one batch."""
    net = network("l2" if with_ours else None)
    objective, callbacks = {net.probe: "mse"}, []
    if with_ours:
        with net:
            nengo_wd.configure_settings(regularizer="l2", weight_decay=0.01)
    sim = simulator(net)
    optimizer = sgd(1e-6)
    if with_ours:
        objective = nengo_wd.regularized_objective(sim, objective)
        optimizer = nengo_wd.decoupled_weight_decay(sim, optimizer)
    if not NENGO_DL_3:
        data = {net.source: DATA, net.probe: DATA}
        return lambda: sim.train(data, optimizer, objective=objective, progress_bar=False)
    if with_ours:
        callbacks = [nengo_wd.WeightNorms(sim)]
    sim.compile(optimizer, loss=objective)
    data = {net.source: DATA}, {net.probe: DATA}
    return lambda: sim.fit(*data, verbose=0, callbacks=callbacks)


def sgd(learning_rate):
    if NENGO_DL_3:
        return tf.keras.optimizers.SGD(learning_rate)
    return tf.compat.v1.train.GradientDescentOptimizer(learning_rate)


def objectives():
    """Return a function that makes an objective with another strength than before."""
    net = network("l2")
    with net:
        nengo_wd.configure_settings()
    sim = simulator(net)
    strengths = iter(np.linspace(0.1, 1, 10**5))

    def make():
        net.config[net.readout].regularizer = tf.keras.regularizers.l2(float(next(strengths)))
        nengo_wd.regularized_objective(sim, {net.probe: "mse"})

    return make


def records():
    """Return a function that records norms."""
    return nengo_wd.WeightNorms(simulator(network("l2"))).record


def measure(call, number):
    """Return the ratio of the last to the first times, and the bytes gained per call."""
    seconds, peaks = [], []
    for _ in range(number):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        if len(seconds) in (number // 2, number):
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    fifths = np.array_split(seconds, 5)
    first, last = (least_disturbed(fifth) for fifth in (fifths[1], fifths[-1]))
    return last / first, (peaks[1] - peaks[0]) / (number - number // 2)


def least_disturbed(seconds):
    """Return the least of the medians of ten stretches."""
    return min(np.median(stretch) for stretch in np.array_split(seconds, 10))


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("fits", 2000), ("objectives", 300), ("records", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    numbers = parser.parse_args()
    tried = {
        "fits, without ours": (fits(False), numbers.fits),
        "fits": (fits(True), numbers.fits),
        "objectives": (objectives(), numbers.objectives),
        "records": (records(), numbers.records),
    }
    print("| what | calls | time, last / first | bytes gained per call |")
    print("|---|---|---|---|")
    for name, (call, number) in tried.items():
        ratio, gained = measure(call, number)
        print(f"| {name} | {number} | {ratio:.2f} | {gained:.0f} |", flush=True)


if __name__ == "__main__":
    main()
