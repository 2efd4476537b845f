"""What steps beside an optimizer's own cost, on weights that are larger than the cache.

    python benchmarks/decay.py [--size 4096] [--rounds 50]

One layer, and gradients that are there already: each optimizer takes a step in turn, and so
does a plain copy of as many bytes. The table gives the median of the milliseconds that a step
with decay, or with constrained norms, takes beyond the bare optimizer's, by round, and its ratio to
the copy.
"""

import argparse
import time

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

RATE, DECAY = 1e-3, 1e-2


def build(size, n_decayed, target_norm=None):
    """Return a network of two connections that share a variable, ``n_decayed`` of them decayed."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(size))
        weights = np.random.RandomState(0).normal(size=(size // 2, size))
        connections = [
            nengo.Connection(source, nengo.Node(size_in=size // 2), transform=weights, synapse=None)
            for _ in range(2)
        ]
        for connection in connections:
            nengo.Probe(connection.post_obj)
        for connection in connections[:n_decayed]:
            net.config[connection].weight_decay = DECAY
        net.config[nengo.Connection].target_norm = target_norm
    return net


def make_steps(size, optimizer_class):
    """Return a function for each row of the table, which takes a step and waits for it."""
    simulators, steps = [], {}

    def step_of(optimizer, variable, penalty=None):
        gradient = tf.Variable(tf.random.normal(variable.shape), trainable=False)

        @tf.function
        def step():
            total = gradient if penalty is None else gradient + penalty(variable)
            optimizer.apply_gradients([(total, variable)])

        return step

    def simulator(*args):
        sim = nengo_dl.Simulator(build(size, *args), progress_bar=False)
        simulators.append(sim)
        (variable,) = sim.keras_model.trainable_variables
        return sim, variable

    _, variable = simulator(0)
    steps["bare"] = step_of(optimizer_class(RATE), variable)
    for name, n_decayed in (("nengo_wd, all rows", 2), ("nengo_wd, half of the rows", 1)):
        sim, variable = simulator(n_decayed)
        optimizer = nengo_wd.decoupled_weight_decay(sim, optimizer_class(RATE))
        steps[name] = step_of(optimizer, variable)
    for name, target_norm in (("above", 1.0), ("below", 1e6)):
        sim, variable = simulator(0, target_norm)
        optimizer = nengo_wd.constrained_norms(sim, optimizer_class(RATE))
        steps[f"nengo_wd, norms {name} their targets"] = step_of(optimizer, variable)
    _, variable = simulator(0)
    keras = tf.keras.optimizers.AdamW if optimizer_class is tf.keras.optimizers.Adam else None
    keras = keras or optimizer_class
    steps["Keras' weight_decay"] = step_of(keras(RATE, weight_decay=DECAY), variable)
    _, variable = simulator(0)
    # the gradient of an L2 penalty
    steps["L2 penalty"] = step_of(optimizer_class(RATE), variable, lambda w: DECAY * w)
    source, target = np.zeros((size, size), np.float32), np.ones((size, size), np.float32)
    steps["copy"] = lambda: np.copyto(target, source)
    return steps, simulators


def measure(steps, n_rounds):
    """Return the seconds of each step, by round."""
    for step in steps.values():
        step()
    seconds = {name: [] for name in steps}
    for _ in range(n_rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def print_table(optimizer_class, size, n_rounds):
    steps, simulators = make_steps(size, optimizer_class)
    seconds = measure(steps, n_rounds)
    for sim in simulators:
        sim.close()
    bare, copy = seconds.pop("bare"), np.median(seconds["copy"])
    name = optimizer_class.__name__
    print(f"\n{name} alone: {1e3 * np.median(bare):.1f} ms")
    print("| added by | ms | times a copy |\n|---|---|---|")
    for row, values in seconds.items():
        added = np.median(values if row == "copy" else values - bare)
        print(f"| {row} | {1e3 * added:.1f} | {added / copy:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="rows and columns of the weights")
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    print(f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}")
    print(f"{options.size} x {options.size} weights in float32, {options.rounds} rounds")
    for optimizer_class in (tf.keras.optimizers.SGD, tf.keras.optimizers.Adam):
        print_table(optimizer_class, options.size, options.rounds)


if __name__ == "__main__":
    main()
