"""What a step beside an optimizer's own costs, on weights that are larger than the cache.

    python benchmarks/decay.py [--size 4096] [--rounds 50]

Two connections that share a variable, and gradients that are there already: each optimizer takes a
step in turn, and so does a plain copy of as many bytes. The table gives the median of the
milliseconds that a step takes beyond the bare optimizer's, by round, and its ratio to the copy.
The last column is that ratio in the quietest tenth of the rounds, which other processes have
disturbed least.
"""

import argparse
import time

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

RATE, DECAY = 1e-3, 1e-2
L1 = "regularizer", tf.keras.regularizers.L1(DECAY)
GROUPS = "regularizer", nengo_wd.regularizers.GroupLasso(DECAY, axis=0)
OURS = {  # what extends an optimizer, and the settings of the two connections
    "decay, all rows": (nengo_wd.decoupled_weight_decay, [("weight_decay", DECAY)] * 2),
    "decay, half of the rows": (nengo_wd.decoupled_weight_decay, [("weight_decay", DECAY)]),
    "proximal L1, all rows": (nengo_wd.proximal_regularization, [L1, L1]),
    "proximal L1, half of the rows": (nengo_wd.proximal_regularization, [L1]),
    "proximal group lasso, all rows": (nengo_wd.proximal_regularization, [GROUPS, GROUPS]),
    "norms above their targets": (nengo_wd.constrained_norms, [("target_norm", 1.0)] * 2),
    "norms below their targets": (nengo_wd.constrained_norms, [("target_norm", 1e6)] * 2),
}


def build(size, settings):
    """Return a network of two connections that share a variable, with settings for the first ones.

    The settings are pairs of a name and a value, or None.
    """
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
        for connection, setting in zip(connections, settings):
            if setting is not None:
                setattr(net.config[connection], *setting)
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

    def simulator(*settings):
        sim = nengo_dl.Simulator(build(size, settings), progress_bar=False)
        simulators.append(sim)
        (variable,) = sim.keras_model.trainable_variables
        return sim, variable

    _, variable = simulator()
    steps["bare"] = step_of(optimizer_class(RATE), variable)
    for name, (extend, settings) in OURS.items():
        sim, variable = simulator(*settings)
        steps[name] = step_of(extend(sim, optimizer_class(RATE)), variable)
    _, variable = simulator()
    keras = tf.keras.optimizers.AdamW if optimizer_class is tf.keras.optimizers.Adam else None
    keras = keras or optimizer_class
    steps["Keras' weight_decay"] = step_of(keras(RATE, weight_decay=DECAY), variable)
    _, variable = simulator()
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
    order = np.argsort(sum(seconds.values()))  # of the rounds, the quietest first
    bare, copy = seconds.pop("bare"), seconds["copy"]
    name = optimizer_class.__name__
    print(f"\n{name} alone: {1e3 * np.median(bare):.1f} ms")
    print("| added by | ms | times a copy | least disturbed |\n|---|---|---|---|")
    for row, values in seconds.items():
        added = values if row == "copy" else values - bare
        ratios = [
            np.median(added[rounds]) / np.median(copy[rounds])
            for rounds in (order, order[: max(1, n_rounds // 10)])
        ]
        print(f"| {row} | {1e3 * np.median(added):.1f} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


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
