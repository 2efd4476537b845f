"""What penalties and the recording of norms cost: training with them against without.

    python benchmarks/overhead.py [--layers 1 10 100] [--connections 10 100 1000]
                                  [--convolutions 3] [--pairs 30] [--variants nengo_wd ...]

Every figure is a ratio to the same network without penalties, or, for a `WeightNorms` that records
at every batch, to the same network with penalties but without it, or, for `FiringRates` on a probe
of each ensemble's neurons, to the same network with the probes alone. For the time of an epoch, the
two networks take turns in one process, and the table gives the median over the pairs of
epochs (and the quartiles, which show how noisy the machine was). Construction of the
simulator, the first fit and the peak of memory are those of processes of their own, in turn,
and the table gives the ratio of the medians.

The third network has convolutions and spiking neurons, and is trained on rates, for one time step:
it shows what ``spike_noise`` on all neurons costs, with XLA and without. The ratio of the least
times is that of the epochs that the machine disturbed least.

Variants with a probe for each connection, `nengo_dl.losses.Regularize` and `FiringRates`, are left
out above 100 connections, where they would take many minutes.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

SIZE = 32
N_STEPS = 50
MINIBATCH_SIZE = 32
N_BATCHES = 4
MOST_PROBES = 100
NENGO_DL_3 = hasattr(nengo_dl.Simulator, "fit")
PENALTIES, REGULARIZE, NORMS, NONE = "nengo_wd", "Regularize", "WeightNorms", "none"
RATES, PERCENTILES, PROBES = "FiringRates", "FiringRates(percentile=99)", "probes"
NOISE, COMPILED_NOISE, COMPILED = "spike_noise", "spike_noise, compiled", "none, compiled"
WITHOUT = {  # what each is compared with
    PENALTIES: NONE,
    REGULARIZE: NONE,
    NORMS: PENALTIES,
    RATES: PROBES,
    PERCENTILES: PROBES,
    NOISE: NONE,
    COMPILED_NOISE: COMPILED,
}
PROBED = (REGULARIZE, RATES, PERCENTILES)


class Model:
    """A network, its source, and the losses of its probes."""

    n_steps, minibatch_size, n_batches = N_STEPS, MINIBATCH_SIZE, N_BATCHES


class Layers(Model):
    """A network of dense layers side by side, with or without penalties."""

    variants = (PENALTIES, NORMS) if NENGO_DL_3 else (PENALTIES,)

    def __init__(self, n_layers, variant):
        regularizer = "l2" if variant in (PENALTIES, NORMS) else None
        with nengo.Network(seed=0) as self.net:
            self.source = nengo.Node(np.zeros(SIZE))
            total = nengo.Node(size_in=SIZE)
            for _ in range(n_layers):
                layer = nengo_wd.RegularizedDense(SIZE, "relu", kernel_regularizer=regularizer)
                node = nengo_dl.tensor_layer(self.source, layer)
                nengo.Connection(node, total, synapse=None)
            self.probe = nengo.Probe(total)
        self.objective = {self.probe: "mse"}


class Connections(Model):
    """A network of ensembles side by side, with or without penalties on their decoders."""

    variants = (PENALTIES, RATES, PERCENTILES)
    variants += (NORMS, REGULARIZE) if NENGO_DL_3 else ()

    def __init__(self, n_connections, variant):
        with nengo.Network(seed=0) as self.net:
            regularizer = "l2" if variant in (PENALTIES, NORMS) else None
            nengo_wd.configure_settings(regularizer=regularizer)
            self.source = nengo.Node(np.zeros(SIZE))
            total = nengo.Node(size_in=1)
            connections = []
            for i in range(n_connections):
                ensemble = nengo.Ensemble(20, 1, neuron_type=nengo.RectifiedLinear())
                if variant in (RATES, PERCENTILES, PROBES):
                    self.probe_rates(ensemble, variant)
                nengo.Connection(self.source[i % SIZE], ensemble, synapse=None)
                connections.append(nengo.Connection(ensemble, total, synapse=None))
            self.probe = nengo.Probe(total)
            self.objective = {self.probe: "mse"}
            if variant == REGULARIZE:
                for connection in connections:
                    weights = nengo.Probe(connection, "weights")
                    self.objective[weights] = nengo_dl.losses.Regularize()

    def probe_rates(self, ensemble, variant):
        """Probe the rates of an ensemble, with a penalty on them or without."""
        probe = nengo.Probe(ensemble.neurons)
        if variant != PROBES:
            percentile = 99 if variant == PERCENTILES else None
            rates = nengo_wd.regularizers.FiringRates(10, 30, l2=1e-3, percentile=percentile)
            self.net.config[probe].regularizer = rates


class Convolutions(Model):
    """The network of ``examples/accuracy_for_energy.py``, with noise on its rates or without."""

    variants = (NOISE, COMPILED_NOISE) if NENGO_DL_3 else ()
    n_steps, minibatch_size, n_batches = 1, 100, 35

    def __init__(self, n_layers, variant):
        with nengo.Network(seed=0) as self.net:
            nengo_dl.configure_settings(stateful=False, trainable=False)
            nengo_wd.configure_settings(jit_compile=variant in (COMPILED, COMPILED_NOISE))
            if variant in (NOISE, COMPILED_NOISE):
                self.net.config[nengo.ensemble.Neurons].spike_noise = 0.02
            self.net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([100])
            self.net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
            self.source = x = nengo.Node(np.zeros(SIZE))
            shape = (SIZE, 1)
            for _ in range(n_layers):
                conv = nengo_wd.RegularizedConv1D(25, 3, strides=2, input_shape=shape)
                x = nengo_dl.Layer(conv)(x, synapse=None)
                x = nengo_dl.Layer(nengo.SpikingRectifiedLinear(amplitude=0.01))(x, synapse=None)
                shape = conv.compute_output_shape((1, *shape))[1:]
            dense = nengo_wd.RegularizedDense(10)
            self.probe = nengo.Probe(nengo_dl.Layer(dense)(x, synapse=None))
        self.objective = {self.probe: "mse"}


class Training:
    """A simulator that is trained one epoch at a time."""

    def __init__(self, model, variant):
        start = time.perf_counter()
        size = model.minibatch_size
        self.sim = nengo_dl.Simulator(model.net, minibatch_size=size, progress_bar=False)
        recorded = variant == NORMS
        self.callbacks = [nengo_wd.WeightNorms(self.sim, every="batch")] if recorded else []
        self.construction = time.perf_counter() - start
        rng = np.random.RandomState(0)
        n_examples = size * model.n_batches
        shape = (n_examples, model.n_steps)
        self.inputs = {model.source: rng.uniform(-1, 1, size=(*shape, SIZE))}
        self.targets = {probe: np.zeros((n_examples, 1, 1)) for probe in model.objective}
        size_out = model.probe.size_in
        self.targets[model.probe] = rng.uniform(-1, 1, size=(*shape, size_out))
        self.objective = nengo_wd.regularized_objective(self.sim, model.objective)
        if NENGO_DL_3:
            self.sim.compile(tf.keras.optimizers.SGD(1e-3), loss=self.objective)
        else:
            self.optimizer = tf.compat.v1.train.GradientDescentOptimizer(1e-3)

    def epoch(self):
        """Train for an epoch and return the seconds that it took."""
        start = time.perf_counter()
        if NENGO_DL_3:
            self.sim.fit(self.inputs, self.targets, verbose=0, callbacks=self.callbacks)
        else:
            data = {**self.inputs, **self.targets}
            self.sim.train(data, self.optimizer, objective=self.objective, progress_bar=False)
        return time.perf_counter() - start


MODELS = {"layers": Layers, "connections": Connections, "convolutions": Convolutions}


def epoch_ratios(kind, n_objects, variant, n_pairs):
    """Return the time of an epoch over that without the variant, of each pair, and of the least."""
    one, other = (Training(MODELS[kind](n_objects, v), v) for v in (variant, WITHOUT[variant]))
    for training in (one, other):
        training.epoch()  # builds the graph
    seconds = {one: [], other: []}
    for pair in range(n_pairs):
        for training in (one, other) if pair % 2 else (other, one):
            seconds[training].append(training.epoch())
    return np.divide(seconds[one], seconds[other]), min(seconds[one]) / min(seconds[other])


def start_up(kind, n_objects, variant):
    """Return seconds of construction and first fit, and the peak of memory, in this process."""
    training = Training(MODELS[kind](n_objects, variant), variant)
    first_fit = training.epoch()
    return training.construction, first_fit, peak_of_memory()


def peak_of_memory():
    """Return the most memory that this process had so far, in KiB."""
    # not resource.getrusage, whose peak includes that of the process that started this one
    peak = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(peak.group(1))


def start_up_ratios(kind, n_objects, variant, n_runs):
    """Return the ratios of the medians of `start_up`, measured in processes of their own."""
    measured = {variant: [], WITHOUT[variant]: []}
    for run in range(n_runs):
        for v in sorted(measured, reverse=run % 2):
            command = [sys.executable, __file__, "--start-up", kind, str(n_objects), v]
            printed = subprocess.check_output(command, stderr=subprocess.DEVNULL)
            measured[v].append(json.loads(printed.decode().splitlines()[-1]))
    medians = {v: np.median(runs, axis=0) for v, runs in measured.items()}
    return medians[variant] / medians[WITHOUT[variant]]


def print_table(kind, sizes, options):
    columns = "epoch (quartiles) | least | construction | first fit | memory"
    print(f"\n| {kind} | with | {columns} |\n|---|---|---|---|---|---|---|")
    for n_objects in sizes:
        for variant in filter(options.variants.__contains__, MODELS[kind].variants):
            if variant in PROBED and n_objects > MOST_PROBES:
                print(f"| {n_objects} | {variant} | left out | | | | |")
                continue
            ratios, least = epoch_ratios(kind, n_objects, variant, options.pairs)
            low, median, high = np.percentile(ratios, (25, 50, 75))
            others = start_up_ratios(kind, n_objects, variant, options.runs)
            row = " | ".join(f"{ratio:.2f}" for ratio in others)
            epoch = f"{median:.3f} ({low:.3f} to {high:.3f})"
            print(f"| {n_objects} | {variant} | {epoch} | {least:.3f} | {row} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--connections", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--convolutions", type=int, nargs="*", default=[3])
    parser.add_argument("--variants", nargs="*", choices=WITHOUT, default=list(WITHOUT))
    parser.add_argument("--pairs", type=int, default=30, help="pairs of epochs")
    parser.add_argument("--runs", type=int, default=3, help="processes for each start-up")
    parser.add_argument("--start-up", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.start_up:
        kind, n_objects, variant = options.start_up
        print(json.dumps(start_up(kind, int(n_objects), variant)))
        return
    print(f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}")
    print(f"{N_STEPS} steps, {N_BATCHES} batches of {MINIBATCH_SIZE}, {options.pairs} pairs")
    print_table("layers", options.layers, options)
    print_table("connections", options.connections, options)
    print_table("convolutions", options.convolutions, options)


if __name__ == "__main__":
    main()
