"""What decay beside a learning rule costs in a time step of NengoDL.

    python benchmarks/online_decay.py [--connections 100] [--neurons 50] [--rounds 20]

Networks with and without `nengo_wd.Decay` beside PES on each of their connections run in turn. The
table gives the least of the milliseconds that a time step took in a round, which is what the step
takes when nothing disturbs it, and how many groups of operators NengoDL's time loop has.
"""

import argparse
import time

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

RATE = 0.1
RULES = {
    "PES": lambda: [nengo.PES(1e-4)],
    "PES and `Decay`": lambda: [nengo.PES(1e-4), nengo_wd.Decay(RATE)],
    "PES and `Decay`, towards the initial values": lambda: [
        nengo.PES(1e-4),
        nengo_wd.Decay(RATE, towards="initial"),
    ],
}


def build(make_rules, n_connections, n_neurons):
    """Return a network in which each connection learns to pass its input on."""
    with nengo.Network(seed=0) as net:
        stimulus = nengo.Node(lambda t: np.sin(t))
        for _ in range(n_connections):
            ensemble, error = nengo.Ensemble(n_neurons, 1), nengo.Node(size_in=1)
            nengo.Connection(stimulus, ensemble)
            connection = nengo.Connection(ensemble, error, learning_rule_type=make_rules())
            nengo.Connection(stimulus, error, transform=-1)
            nengo.Connection(error, connection.learning_rule[0])
        nengo.Probe(error)
    return net


def measure(simulators, n_rounds, n_steps):
    """Return the least of the seconds that a time step of each simulator takes."""
    for sim in simulators.values():
        sim.run_steps(n_steps)  # traces it
    seconds = {name: [] for name in simulators}
    for _ in range(n_rounds):
        for name, sim in simulators.items():
            start = time.perf_counter()
            sim.run_steps(n_steps)
            seconds[name].append((time.perf_counter() - start) / n_steps)
    return {name: min(values) for name, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--neurons", type=int, default=50, help="in each ensemble")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500, help="in each round")
    options = parser.parse_args()
    print(f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}")
    print(f"{options.connections} connections, {options.neurons} neurons each\n")
    simulators = {
        name: nengo_dl.Simulator(
            build(rules, options.connections, options.neurons), progress_bar=False
        )
        for name, rules in RULES.items()
    }
    seconds = measure(simulators, options.rounds, options.steps)
    print("| rules | ms | ratio | groups of operators |\n|---|---|---|---|")
    for name, sim in simulators.items():
        ratio, groups = seconds[name] / seconds["PES"], len(sim.tensor_graph.plan)
        print(f"| {name} | {1e3 * seconds[name]:.3f} | {ratio:.2f} | {groups} |")
        sim.close()


if __name__ == "__main__":
    main()
