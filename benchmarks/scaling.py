"""How an epoch of a DistributedSimulator gets faster with more replicas, or does not.

    python benchmarks/scaling.py [--replicas 1 2] [--units 256] [--steps 10] [--rounds 5]

The replicas are the GPUs of this machine; without GPUs, logical CPUs, which share the same cores.
They can't make anything faster, and show only what the distribution costs. The table has the
least of the times of an epoch, over that of a `nengo_dl.Simulator` on one device, and the bytes
that each replica sends in a training step: its gradients, summed in a ring, which takes
2 (n - 1) / n times the size of the trained weights. That is computed and not measured; NCCL and
TensorFlow's own sum on CPUs may exchange more.
"""

import argparse
import time

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl


def devices(number):
    """Return the names of GPUs, or of logical CPUs; to be called before any of them is used."""
    if tf.config.list_physical_devices("GPU"):
        found = tf.config.list_logical_devices("GPU")
        return [f"GPU:{i}" for i in range(min(number, len(found)))]
    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * number
    tf.config.set_logical_device_configuration(cpu, logical)
    print("no GPU: logical CPUs share the same cores, so that this shows overhead alone")
    return [f"CPU:{i}" for i in range(number)]


def build(n_units):
    """Return a network of spiking neurons and two layers with weight decay, source and probe."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(64))
        hidden = nengo_dl.Layer(nengo_wd.RegularizedDense(n_units))(source)
        neurons = nengo_dl.Layer(nengo.LIF(amplitude=0.01))(hidden)
        probe = nengo.Probe(nengo_dl.Layer(nengo_wd.RegularizedDense(10))(neurons))
        net.config[nengo_dl.TensorNode].weight_decay = 0.01
    return net, source, probe


def measure(make, options):
    """Return the least of the seconds of an epoch, and the bytes of the trained weights."""
    net, source, probe = build(options.units)
    rng = np.random.RandomState(0)
    shape = (options.examples, options.steps)
    inputs, targets = rng.uniform(size=(*shape, 64)), rng.uniform(size=(*shape, 10))
    with make(net) as sim:
        optimizer = nengo_wd.decoupled_weight_decay(sim, tf.keras.optimizers.Adam(1e-3))
        sim.compile(optimizer, loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
        seconds = []
        for _ in range(options.rounds + 1):  # the first one traces
            start = time.perf_counter()
            sim.fit({source: inputs}, {probe: targets}, epochs=1, verbose=0)
            seconds.append(time.perf_counter() - start)
        weights = sim.keras_model.trainable_weights
        size = sum(int(np.prod(w.shape)) * w.dtype.size for w in weights)
        return min(seconds[1:]), size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--steps", type=int, default=10, help="time steps of an example")
    parser.add_argument("--examples", type=int, default=1024)
    parser.add_argument("--minibatch-size", type=int, default=128, help="over all replicas")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}")
    names, arguments = devices(max(options.replicas)), dict(progress_bar=False)

    def one(net):
        return nengo_dl.Simulator(net, minibatch_size=options.minibatch_size, **arguments)

    reference, size = measure(one, options)
    n_steps = options.examples // options.minibatch_size
    print(f"an epoch of {n_steps} training steps on one device: {reference:.2f} s\n")
    print("| replicas | epoch, over that on one device | bytes sent by a replica in a step |")
    print("|---|---|---|")
    for number in options.replicas:
        if number > len(names):
            print(f"| {number} | there are only {len(names)} devices | |")
            continue
        strategy = tf.distribute.MirroredStrategy(names[:number])

        def many(net, strategy=strategy):
            return nengo_wd.DistributedSimulator(net, strategy, options.minibatch_size, **arguments)

        seconds, _ = measure(many, options)
        sent = 2 * (number - 1) * size // number
        print(f"| {number} | {seconds / reference:.2f} | {sent} |", flush=True)


if __name__ == "__main__":
    main()
