"""What compiling the time loop is worth: each network compiled, and as NengoDL runs it.

    python benchmarks/compiled.py [--rounds 15] [--networks keras ours ...]
    python benchmarks/compiled.py --first-calls [--connections 200 1000 4000]
    python benchmarks/compiled.py --peers PYTHON

The first command trains and evaluates 250 examples of 100 steps in minibatches of 50, and prints
milliseconds of an epoch of `fit` and of `predict`. The two variants take turns in one process, and
the figure is that of the least disturbed of all rounds. The second prints seconds of construction
and first `fit`, milliseconds of later epochs, and the peak of memory, each in a process of its own.
The third runs the same networks in snnTorch, by a Python that has snntorch and torch, in turn with
ours, and prints both.

Every example starts from rest, in networks with ``stateful=False``. ``one step`` has 3,500 examples
of one step, without NengoDL's loop, in minibatches of 100, beside the same layers in Keras, which
is compiled as well. ``all of ours`` adds to ``ensembles`` an L2 penalty, decay and `WeightNorms` at
every batch; so does ``200 connections``, side by side.
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np

EXAMPLES, STEPS, MINIBATCH = 250, 100, 50
SIZE, CHANNELS, KERNELS, STRIDE, CLASSES = 40, 25, (5, 3, 3), 2, 10
TAU, TAU_OUT, RATE, LEARNING_RATE = 0.005, 0.02, 100, 1e-3
NETWORKS = ("keras", "ours", "ensembles", "all of ours", "200 connections", "one step")
PEERS = {"keras": "convolutions", "ours": "convolutions", "ensembles": "ensembles"}


def lengths():
    """Return how long the output of each convolution is."""
    found = [SIZE]
    for kernel in KERNELS:
        found.append((found[-1] - kernel) // STRIDE + 1)
    return found[1:]


def signals(size, n_steps=STEPS, n_examples=EXAMPLES):
    return np.random.RandomState(0).rand(n_examples, n_steps, size).astype(np.float32)


# -- networks ------------------------------------------------------------------------------


def convolutional(nengo, nengo_dl, layers, with_filters=True, **settings):
    """Return a network of three convolutions with integrate-and-fire neurons in between."""
    import tensorflow as tf

    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(keep_history=False, stateful=False, **settings)
        ensembles = net.config[nengo.Ensemble]
        ensembles.neuron_type = nengo.SpikingRectifiedLinear(amplitude=1 / RATE)
        ensembles.gain, ensembles.bias = nengo.dists.Choice([RATE]), nengo.dists.Choice([0])
        net.source = values = nengo.Node(np.zeros(SIZE))
        shape, synapse = (SIZE, 1), None
        for kernel, length in zip(KERNELS, lengths()):
            layer = layers.convolution(CHANNELS, kernel, strides=STRIDE)
            values = nengo_dl.tensor_layer(values, layer, shape_in=shape, synapse=synapse)
            shape, synapse = (length, CHANNELS), TAU if with_filters else None
            neurons = nengo.Ensemble(length * CHANNELS, 1).neurons
            nengo.Connection(values, neurons, synapse=None)
            values = neurons
        output = nengo_dl.tensor_layer(values, layers.dense(CLASSES), synapse=synapse)
        net.probe = nengo.Probe(output, synapse=TAU_OUT if with_filters else None)
    targets = np.random.RandomState(1).randint(0, CLASSES, (EXAMPLES, 1, 1))
    loss = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
    return net, signals(SIZE), targets, loss


def ensembles(nengo, nengo_dl, n_pairs=1, n_neurons=100):
    """Return a network of two recurrent LIF ensembles, or many pairs of them side by side."""
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(lif_smoothing=0.05, stateful=False)
        net.source, total = nengo.Node(np.zeros(2)), nengo.Node(size_in=2)
        for _ in range(n_pairs):
            first, second = nengo.Ensemble(n_neurons, 2), nengo.Ensemble(n_neurons, 2)
            nengo.Connection(net.source, first)
            nengo.Connection(first, second)
            nengo.Connection(second, second, synapse=0.1)
            nengo.Connection(second, total, synapse=None)
        net.probe = nengo.Probe(total, synapse=TAU_OUT)
    return net, signals(2), signals(2), "mse"


class Training:
    """A simulator of a network, compiled or not, that is trained and evaluated."""

    def __init__(self, kind, jit_compile):
        import nengo
        import tensorflow as tf

        import nengo_wd
        from nengo_wd import nengo_dl

        class Layers:
            convolution = staticmethod(tf.keras.layers.Conv1D)
            dense = staticmethod(tf.keras.layers.Dense)

        class Regularized:
            convolution = staticmethod(nengo_wd.RegularizedConv1D)
            dense = staticmethod(nengo_wd.RegularizedDense)

        tf.keras.utils.set_random_seed(0)
        minibatch, with_ours = MINIBATCH, kind in ("all of ours", "200 connections")
        if kind in ("keras", "ours"):
            made = convolutional(nengo, nengo_dl, Layers if kind == "keras" else Regularized)
        elif kind == "one step":
            made = convolutional(nengo, nengo_dl, Layers, with_filters=False, use_loop=False)
            minibatch, targets = 100, np.random.RandomState(1).randint(0, CLASSES, (3500, 1, 1))
            made = (made[0], signals(SIZE, 1, 3500), targets, made[3])
        else:
            n_connections, _, word = kind.partition(" ")
            many = word == "connections"
            made = ensembles(nengo, nengo_dl, *((int(n_connections) // 4, 10) if many else ()))
            with_ours = with_ours or many
        net, inputs, targets, loss = made
        with net:
            nengo_wd.configure_settings(jit_compile=jit_compile)
            if with_ours:
                net.config[nengo.Connection].regularizer = tf.keras.regularizers.L2(1e-4)
                net.config[nengo.Connection].weight_decay = 1e-3
        self.inputs, self.targets = {net.source: inputs}, {net.probe: targets}
        start = time.perf_counter()
        self.sim = nengo_dl.Simulator(net, minibatch_size=minibatch, progress_bar=False, seed=0)
        optimizer, objective = tf.keras.optimizers.SGD(LEARNING_RATE), {net.probe: loss}
        if with_ours:
            optimizer = nengo_wd.regularized_optimizer(self.sim, optimizer)
            objective = nengo_wd.regularized_objective(self.sim, objective)
        self.sim.compile(optimizer, loss=objective)
        self.callbacks = [nengo_wd.WeightNorms(self.sim, every="batch")] if with_ours else []
        self.construction = time.perf_counter() - start

    def fit(self):
        """Train for an epoch."""
        self.sim.fit(self.inputs, self.targets, callbacks=self.callbacks, verbose=0)

    def predict(self):
        """Show all examples."""
        self.sim.predict(self.inputs, verbose=0)


class KerasTraining:
    """The layers of the convolutional network in a Keras model of its own, compiled."""

    def __init__(self):
        import tensorflow as tf

        layers = [tf.keras.layers.Input((SIZE, 1))]
        for kernel in KERNELS:
            convolution = tf.keras.layers.Conv1D(CHANNELS, kernel, STRIDE, activation="relu")
            layers.append(convolution)
        layers += [tf.keras.layers.Flatten(), tf.keras.layers.Dense(CLASSES)]
        self.model = tf.keras.Sequential(layers)
        loss = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
        optimizer = tf.keras.optimizers.SGD(LEARNING_RATE)
        self.model.compile(optimizer, loss=loss, jit_compile=True)
        self.inputs = signals(SIZE, 1, 3500).reshape(3500, SIZE, 1)
        self.targets = np.random.RandomState(1).randint(0, CLASSES, 3500)

    def fit(self):
        """Train for an epoch."""
        self.model.fit(self.inputs, self.targets, batch_size=100, verbose=0)

    def predict(self):
        """Show all examples."""
        self.model.predict(self.inputs, batch_size=100, verbose=0)


# -- snnTorch ------------------------------------------------------------------------------


class PeerTraining:
    """The same networks in snnTorch: Leaky neurons, filters by hand, surrogate gradients."""

    def __init__(self, kind):
        import snntorch
        import torch

        torch.manual_seed(0)
        self.torch, self.snntorch, self.kind = torch, snntorch, kind
        decay = float(np.exp(-0.001 / TAU))
        if kind == "convolutions":
            channels = [1, *[CHANNELS] * len(KERNELS)]
            self.layers = torch.nn.ModuleList(
                torch.nn.Conv1d(channels[i], CHANNELS, kernel, STRIDE)
                for i, kernel in enumerate(KERNELS)
            )
            self.readout = torch.nn.Linear(lengths()[-1] * CHANNELS, CLASSES)
            self.neurons = [snntorch.Leaky(beta=1.0, reset_mechanism="subtract") for _ in KERNELS]
            self.inputs = torch.tensor(signals(SIZE))[:, :, None]
            self.targets = torch.tensor(np.random.RandomState(1).randint(0, CLASSES, EXAMPLES))
            parameters = [*self.layers.parameters(), *self.readout.parameters()]
        else:
            self.layers = torch.nn.ModuleList(
                [torch.nn.Linear(2, 100), torch.nn.Linear(100, 100), torch.nn.Linear(100, 100)]
            )
            self.readout = torch.nn.Linear(100, 2)
            self.neurons = [snntorch.Leaky(beta=0.95) for _ in range(2)]
            self.inputs, self.targets = torch.tensor(signals(2)), torch.tensor(signals(2))
            parameters = [*self.layers.parameters(), *self.readout.parameters()]
        self.decay = decay
        self.optimizer = torch.optim.SGD(parameters, LEARNING_RATE)

    def run(self, values):
        """Return the filtered outputs."""
        return (self.convolve if self.kind == "convolutions" else self.recur)(values)

    def convolve(self, values):
        """Return the filtered output after the last step."""
        states = [neuron.init_leaky() for neuron in self.neurons]
        filtered = [0.0] * len(self.layers)
        output, slow = 0.0, float(np.exp(-0.001 / TAU_OUT))
        for step in range(values.shape[1]):
            signal = values[:, step]
            for i, (layer, neuron) in enumerate(zip(self.layers, self.neurons)):
                spikes, states[i] = neuron(layer(signal), states[i])
                filtered[i] = self.decay * filtered[i] + (1 - self.decay) * spikes
                signal = filtered[i]
            output = slow * output + (1 - slow) * self.readout(signal.flatten(1))
        return output

    def recur(self, values):
        """Return the filtered output at each step."""
        states = [neuron.init_leaky() for neuron in self.neurons]
        first = second = output = self.torch.zeros(values.shape[0], 100)
        outputs, slow = [], float(np.exp(-0.001 / TAU_OUT))
        output = self.torch.zeros(values.shape[0], 2)
        for step in range(values.shape[1]):
            spikes, states[0] = self.neurons[0](self.layers[0](values[:, step]), states[0])
            first = self.decay * first + (1 - self.decay) * spikes
            current = self.layers[1](first) + self.layers[2](second)
            spikes, states[1] = self.neurons[1](current, states[1])
            second = self.decay * second + (1 - self.decay) * spikes
            output = slow * output + (1 - slow) * self.readout(second)
            outputs.append(output)
        return self.torch.stack(outputs, 1)

    def fit(self):
        """Train for an epoch."""
        functional = self.torch.nn.functional
        is_classes = self.kind == "convolutions"
        loss = functional.cross_entropy if is_classes else functional.mse_loss
        for start in range(0, EXAMPLES, MINIBATCH):
            rows = slice(start, start + MINIBATCH)
            self.optimizer.zero_grad()
            loss(self.run(self.inputs[rows]), self.targets[rows]).backward()
            self.optimizer.step()

    def predict(self):
        """Show all examples."""
        with self.torch.no_grad():
            for start in range(0, EXAMPLES, MINIBATCH):
                self.run(self.inputs[start : start + MINIBATCH])


class Peer:
    """A process that runs `PeerTraining` on request, and answers with milliseconds."""

    def __init__(self, python, kind):
        command = [python, __file__, "--peer", kind]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes)

    def ask(self, what):
        """Return the milliseconds of `fit` or `predict`."""
        print(what, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def answer(kind):
    """Time what the standard input names."""
    training = PeerTraining(kind)
    for line in sys.stdin:
        print(timed(getattr(training, line.strip())), flush=True)


# -- measurements --------------------------------------------------------------------------


def timed(function):
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1000


def measure(variants, n_rounds):
    """Return the least milliseconds of fit and predict of each variant; they take turns."""
    least = {(name, what): np.inf for name in variants for what in ("fit", "predict")}
    for _ in range(n_rounds + 1):  # the first compiles
        for name, what in least:
            training = variants[name]
            peer = isinstance(training, Peer)
            found = training.ask(what) if peer else timed(getattr(training, what))
            least[name, what] = min(least[name, what], found)
    return least


def print_epochs(options):
    print(f"\n{EXAMPLES} examples of {STEPS} steps, {options.rounds} rounds")
    beside = "snnTorch" if options.peers else "Keras"
    print(f"\n| network | | as it is (ms) | compiled (ms) | ratio | {beside} (ms) |")
    print("|---|---|---|---|---|---|")
    for kind in options.networks:
        variants = {"plain": Training(kind, False), "compiled": Training(kind, True)}
        if options.peers and kind in PEERS:
            variants["peer"] = Peer(options.peers, PEERS[kind])
        elif kind == "one step":
            variants["peer"] = KerasTraining()
        least = measure(variants, options.rounds)
        for what in ("fit", "predict"):
            plain, compiled = least["plain", what], least["compiled", what]
            peer = f"{least['peer', what]:.0f}" if "peer" in variants else ""
            row = f"{plain:.0f} | {compiled:.0f} | {compiled / plain:.2f} | {peer}"
            print(f"| {kind} | `{what}` | {row} |", flush=True)


def first_call(kind, jit_compile):
    """Return seconds of construction and first fit, milliseconds of an epoch, MiB of memory."""
    from overhead import peak_of_memory

    training = Training(kind, jit_compile)
    first = timed(training.fit) / 1000
    epoch = min(timed(training.fit) for _ in range(5))
    return training.construction, first, epoch, peak_of_memory() / 1024


def print_first_calls(options):
    print("\n| network | | construction (s) | first fit (s) | epoch (ms) | memory (MiB) |")
    print("|---|---|---|---|---|---|")
    kinds = ["keras", "ours", "ensembles", *(f"{n} connections" for n in options.connections)]
    for kind in kinds:
        found = {False: [], True: []}
        for _ in range(options.runs):
            for jit_compile, results in found.items():
                command = [sys.executable, __file__, "--call", kind, str(int(jit_compile))]
                printed = subprocess.check_output(command, stderr=subprocess.DEVNULL)
                results.append(json.loads(printed.decode().splitlines()[-1]))
        for jit_compile, results in found.items():
            made, first, epoch, memory = np.min(results, axis=0)
            name = "compiled" if jit_compile else "as it is"
            print(f"| {kind} | {name} | {made:.1f} | {first:.1f} | {epoch:.0f} | {memory:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runs", type=int, default=3, help="processes for each first call")
    parser.add_argument("--first-calls", action="store_true", help="what compiling costs")
    parser.add_argument("--connections", type=int, nargs="*", default=[200, 1000, 4000])
    parser.add_argument("--peers", metavar="PYTHON", help="a Python that has snntorch")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    parser.add_argument("--call", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        answer(options.peer)
    elif options.call:
        kind, jit_compile = options.call
        print(json.dumps(first_call(kind, bool(int(jit_compile)))))
    elif options.first_calls:
        print_first_calls(options)
    else:
        print_epochs(options)


if __name__ == "__main__":
    main()
