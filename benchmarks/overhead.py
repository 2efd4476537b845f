"""What penalties cost: training with them against the same network without.

    python benchmarks/overhead.py [--layers 1 10 100] [--pairs 30]

Every figure is a ratio of epoch times, measured in one process: the two networks take
turns, and the table gives the median over the pairs of epochs (and the quartiles, which
show how noisy the machine was).
"""

import argparse
import time

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

SIZE = 32
N_STEPS = 50
MINIBATCH_SIZE = 32
N_BATCHES = 4


def layers_network(n_layers, regularizer):
    """Return a network of dense layers side by side, its input and its probe."""
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(SIZE))
        total = nengo.Node(size_in=SIZE)
        for _ in range(n_layers):
            layer = nengo_wd.RegularizedDense(SIZE, "relu", kernel_regularizer=regularizer)
            node = nengo_dl.tensor_layer(source, layer)
            nengo.Connection(node, total, synapse=None)
        probe = nengo.Probe(total)
    return net, source, probe


class Training:
    """A simulator that is trained one epoch at a time."""

    def __init__(self, net, source, probe):
        self.sim = nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False)
        rng = np.random.RandomState(0)
        shape = (MINIBATCH_SIZE * N_BATCHES, N_STEPS, SIZE)
        self.inputs = {source: rng.uniform(-1, 1, size=shape)}
        self.targets = {probe: rng.uniform(-1, 1, size=shape)}
        self.objective = nengo_wd.regularized_objective(self.sim, {probe: "mse"})
        if hasattr(self.sim, "compile"):
            self.sim.compile(tf.keras.optimizers.SGD(1e-3), loss=self.objective)
        else:
            self.optimizer = tf.compat.v1.train.GradientDescentOptimizer(1e-3)

    def epoch(self):
        """Train for an epoch and return the seconds that it took."""
        start = time.perf_counter()
        if hasattr(self.sim, "compile"):
            self.sim.fit(self.inputs, self.targets, verbose=0)
        else:
            data = {**self.inputs, **self.targets}
            self.sim.train(data, self.optimizer, objective=self.objective, progress_bar=False)
        return time.perf_counter() - start


def ratios(one, other, n_pairs):
    """Return the time of ``one`` over that of ``other`` for each pair of epochs."""
    for training in (one, other):
        training.epoch()  # builds the graph
    result = []
    for pair in range(n_pairs):
        first, second = (one, other) if pair % 2 else (other, one)
        seconds = {training: training.epoch() for training in (first, second)}
        result.append(seconds[one] / seconds[other])
    return np.array(result)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    print(f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}")
    print(f"{N_STEPS} steps, {N_BATCHES} batches of {MINIBATCH_SIZE}, {options.pairs} pairs")
    print("layers | epoch with penalties / without: median (quartiles)")
    for n_layers in options.layers:
        trainings = [Training(*layers_network(n_layers, r)) for r in ("l2", None)]
        measured = ratios(*trainings, options.pairs)
        low, median, high = np.percentile(measured, (25, 50, 75))
        print(f"{n_layers:6d} | {median:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    main()
