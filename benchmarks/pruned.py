"""What a pruned network costs, beside the whole one; and how long pruning takes.

    python benchmarks/pruned.py [--networks dense convolutional native] [--times 1 8]
                                [--shares 0.25 0.5 0.9] [--rounds 15]
                                [--connections 1000 4000] [--weights 1e6 1e7]

The first table has the least time of a time step over that of the whole network, in NengoDL as it
is and compiled, and in Nengo's own simulator for the native network; the whole and the pruned one
take turns. Beside them, what is left of neurons, of parameters, and of the joules on Loihi, and the
memory that a network takes in NengoDL, above what its libraries take, in a process of its own:
there, the pruned network is one that was built as small. ``--times 8`` has eight times as many
neurons in each layer. The second table has the seconds that pruning takes, for networks of many
connections and of many weights.
"""

import argparse
import itertools
import subprocess
import sys
import time

import nengo
import numpy as np
import tensorflow as tf
from overhead import peak_of_memory

import nengo_wd
from nengo_wd import nengo_dl

SIZES = {"dense": 500, "convolutional": 64, "native": 500}  # neurons or filters of a layer
STEPS, EXAMPLES = 50, 32
NEURONS = {"gain": nengo.dists.Choice([1]), "bias": nengo.dists.Choice([50])}


def neurons(size):
    kind = nengo.SpikingRectifiedLinear(amplitude=0.01)
    return nengo.Ensemble(size, 1, neuron_type=kind, **NEURONS).neurons


def kernel(rng, shape, share):
    """Return weights that read nothing of a share of the inputs, on the last axis but one."""
    weights = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
    weights[..., : int(share * shape[-2]), :] = 0
    return weights


def build(kind, size, share=0.0):
    """Return a network of three layers of neurons, and its source."""
    rng = np.random.RandomState(0)
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(stateful=False)
        before = source = nengo.Node(np.zeros(40))
        for i in range(3):
            gone = share if i else 0.0  # of the neurons before
            if kind == "convolutional":
                shape = (40, size if i else 1)
                weights = kernel(rng, (5, shape[1], size), gone)
                layer = tf.keras.layers.Conv1D(
                    size, 5, padding="same", kernel_initializer=tf.constant_initializer(weights)
                )
                node = nengo_dl.TensorNode(layer, shape, (40, size), pass_time=False)
                nengo.Connection(before, node, synapse=None)
                before = neurons(40 * size)
                nengo.Connection(node, before, synapse=None)
                continue
            weights = kernel(rng, (before.size_out, size), gone)
            after = neurons(size)
            if kind == "native":
                nengo.Connection(before, after, transform=weights.T, synapse=None)
            else:
                layer = tf.keras.layers.Dense(
                    size, kernel_initializer=tf.constant_initializer(weights)
                )
                node = nengo_dl.tensor_layer(before, layer)
                nengo.Connection(node, after, synapse=None)
            before = after
        readout = nengo.Node(size_in=10)
        weights = kernel(rng, (before.size_out // size, size, 10), share).reshape(-1, 10)
        nengo.Connection(before, readout, transform=weights.T, synapse=None)
        nengo.Probe(readout)
    return net, source


def prune(net):
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        start = time.perf_counter()
        smaller = nengo_wd.pruned(sim)
        return smaller, time.perf_counter() - start


def least_times(networks, compiled, rounds):
    """Return the least seconds of a prediction of each network; they take turns."""
    sims, data = [], np.random.RandomState(0).uniform(size=(EXAMPLES, STEPS, 40))
    for net in networks:
        with net:
            nengo_wd.configure_settings(jit_compile=compiled)
        sims.append(nengo_dl.Simulator(net, minibatch_size=EXAMPLES, progress_bar=False))
    calls = [lambda sim=sim: sim.predict(data, verbose=0) for sim in sims]
    found = turns(calls, rounds)
    for sim in sims:
        sim.close()
    return found


def turns(calls, rounds):
    times = []
    for _ in range(rounds + 1):  # the first one traces
        for call in calls:
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return np.reshape(times, (-1, len(calls)))[1:].min(axis=0)


def in_nengo(networks, rounds):
    sims = [nengo.Simulator(net, progress_bar=False) for net in networks]
    return turns([lambda sim=sim: sim.run_steps(200) for sim in sims], rounds)


def joules(net, source):
    data = {source: np.random.RandomState(0).uniform(size=(4, STEPS, 40))}
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        return nengo_wd.Energy(sim, data).total("loihi")


def memory_here(kind, size):
    """Return the memory that a network takes in this process, in MiB."""
    with nengo_dl.Simulator(build("dense", 10)[0], progress_bar=False) as sim:
        sim.run_steps(5)  # what TensorFlow takes once
    before, (net, source) = peak_of_memory(), build(kind, size)
    with nengo_dl.Simulator(net, minibatch_size=EXAMPLES, progress_bar=False) as sim:
        sim.predict({source: np.zeros((EXAMPLES, STEPS, 40))}, verbose=0)
    return (peak_of_memory() - before) / 1024


def memory(kind, size):
    """Return the memory that a network takes in a process of its own, in MiB."""
    command = [sys.executable, __file__, "--memory", kind, str(size)]
    return float(subprocess.check_output(command, stderr=subprocess.DEVNULL).split()[-1])


def compare(kind, size, share, rounds):
    """Return a row of the first table."""
    net, source = build(kind, size, share)
    smaller, _ = prune(net)
    frame = smaller.to_frame()
    left = [frame[f"{one}_left"].sum() / frame[one].sum() for one in ("neurons", "parameters")]
    left.append(joules(smaller.network, smaller[source]) / joules(net, source))
    networks = [net, smaller.network]
    times = [least_times(networks, compiled, rounds) for compiled in (False, True)]
    if kind == "native":
        times.append(in_nengo(networks, rounds))
    ratios = [f"{after / before:.2f}" for before, after in times]
    taken = [f"{memory(kind, one):.0f}" for one in (size, size - int(share * size))]
    columns = [*(f"{one:.2f}" for one in left), " to ".join(taken), *ratios]
    return [kind, str(size), f"{share:.0%}", *columns]


def chain(n_connections, n_weights):
    """Return a network of connections one after another, half of whose inputs are not read."""
    rng, size = np.random.RandomState(0), int(np.sqrt(n_weights / n_connections))
    with nengo.Network(seed=0) as net:
        optimizer = nengo_dl.graph_optimizer  # which takes much longer than pruning
        nengo_dl.configure_settings(
            trainable=True,
            planner=optimizer.noop_planner,
            sorter=optimizer.noop_order_signals,
        )
        before = neurons(size)
        for _ in range(n_connections):
            after = neurons(size)
            weights = kernel(rng, (size, size), 0.5)
            nengo.Connection(before, after, transform=weights.T, synapse=None)
            before = after
        nengo.Probe(before)
    return net


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=SIZES, default=list(SIZES))
    parser.add_argument("--times", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--shares", type=float, nargs="*", default=[0.25, 0.5, 0.9])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--connections", type=int, nargs="*", default=[1000, 4000])
    parser.add_argument("--weights", type=float, nargs="*", default=[1e6, 1e7])
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        print(memory_here(options.memory[0], int(options.memory[1])))
        return
    columns = "network | size | gone | neurons | parameters | joules | MiB"
    print(f"| {columns} | NengoDL | compiled | Nengo |\n" + "|---" * 10 + "|")
    for kind, times, share in itertools.product(options.networks, options.times, options.shares):
        row = compare(kind, times * SIZES[kind], share, options.rounds)
        print("| " + " | ".join([*row, *[""] * (10 - len(row))]) + " |", flush=True)
    print("\n| connections | weights | seconds |\n|---|---|---|")
    cases = [(n, 16 * n) for n in options.connections] + [(10, n) for n in options.weights]
    for n_connections, n_weights in cases:
        _, seconds = prune(chain(n_connections, n_weights))
        print(f"| {n_connections} | {n_weights:.0e} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
