"""A smaller network
=================

Train, make neurons' weights zero, remove these neurons, and continue training.

The network is that of ``accuracy_for_energy.py``: three convolutions and a dense layer with
integrate-and-fire neurons in between classify the signals of MNIST-1D. There, rate targets leave
few spikes, and then most of the energy on Loihi goes into updating the 725 neurons. Only fewer
neurons change that.

1. Adam trains the network on firing rates, with rate targets and with ``spike_noise``.
2. SGD without momentum, with clipped gradients, trains it further, with proximal steps of a group
   lasso. A group has all weights that read one channel, and its strength is proportional to the
   channel's joules, which ``nengo_wd.Energy`` counts.
3. ``nengo_wd.pruned`` removes the neurons that nothing reads.
4. Adam trains the rest, as in the first step, without the group lasso.

The script compares it with three others: the network without any of this (plain), after as many
epochs as the first step or as all steps; the whole network, trained with rate targets and noise for
as long as all steps; and networks with the pruned one's channels from the start, trained as long.
All but the first lack the neurons that nothing reads. Each signal is shown for 100 ms with spikes.
Strengths are chosen on a validation split, over all seeds: for the most accurate network with at
most 35 % of plain's joules, and for the cheapest network that is as accurate as plain, trained as
long.

Run it with ``python smaller_network.py``, on NengoDL 3. It takes about 25 minutes, and one with
``--short``.
"""

import functools
import multiprocessing
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import List, NamedTuple

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("smaller_network.py needs NengoDL 3")

from mnist1d.data import get_dataset_args, make_dataset

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [5, 6, 7]
SIZES = {"train": 3500, "validation": 500, "test": 1000}
if SHORT:
    SIZES = {"train": 500, "validation": 100, "test": 100}
STRENGTHS = [5e-2] if SHORT else [4e-3, 6e-3, 7e-3, 7.2e-3, 7.35e-3, 7.5e-3, 8e-3]
CHANNELS, KERNEL_SIZES = [25, 25, 25], [5, 3, 3]
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
TARGETS, NOISE = 3e-3, 0.02  # per Hz, and a time constant in seconds
EPOCHS = 3 if SHORT else 40  # with Adam, each time
GROUP_EPOCHS = 3 if SHORT else 20  # with SGD
ADAM_RATE, SGD_RATE = 5e-3, 0.3  # learning rates, which fall to zero as a cosine does
MINIBATCH_SIZE = 100
SGD = functools.partial(tf.optimizers.SGD, clipnorm=1.0)  # some seeds diverge without
WITH_MOMENTUM = functools.partial(SGD, momentum=0.9)
N_STEPS = 20 if SHORT else 100  # of 1 ms each: how long a signal is shown
SYNAPSE, READOUT = 0.005, 0.02  # seconds: time constants of filters, between layers and at the end
SHARE = 0.35  # of plain's joules, at most
OPTIMIZERS = [  # of the second step, with their learning rates, and strengths
    ("SGD", SGD, SGD_RATE, 7e-3),
    ("SGD with momentum", WITH_MOMENTUM, 0.03, 7e-3),
    ("SGD with momentum", WITH_MOMENTUM, 0.03, 7e-2),
    ("Adam", tf.optimizers.Adam, 5e-3, 7e-2),
    ("Adam", tf.optimizers.Adam, 5e-3, 0.3),
    ("Adam", tf.optimizers.Adam, 5e-3, 0.5),
]
STYLES = {  # colour, line and marker
    "plain": "C6X",
    "plain, as long": "C6P",
    "whole, as long": "C4D",
    "pruned": "C0-o",
    "small from the start": "C1--s",
}
FIGURE = Path("figures/smaller_network.png")
nengo_wd.Energy.register_device("events", 1, 0, spiking=True)  # which counts instead of weighing

# Variables, which a pruned network shares with the one that it comes from.
targets, noise, groups = (tf.Variable(0.0, trainable=False) for _ in range(3))


class Model(NamedTuple):
    """A network, and the objects in it that the script needs."""

    net: nengo.Network
    signal: nengo.Node
    output: nengo.Probe
    readout: nengo.Probe
    layers: List[nengo_dl.TensorNode]

    def pruned(self):
        """Return the model without the neurons that nothing reads."""
        with simulator(self, filtered=True) as sim:
            smaller = nengo_wd.pruned(sim)
        objects = (smaller[one] for one in (self.signal, self.output, self.readout))
        return Model(smaller.network, *objects, [smaller[node] for node in self.layers])


def load_splits():
    """Return signals (n, 40) and labels (n,) of each split; validation is taken from training."""
    data = make_dataset(get_dataset_args())
    end = SIZES["train"] + SIZES["validation"]
    parts = {
        "train": (data["x"][: SIZES["train"]], data["y"][: SIZES["train"]]),
        "validation": (data["x"][SIZES["train"] : end], data["y"][SIZES["train"] : end]),
        "test": (data["x_test"][: SIZES["test"]], data["y_test"][: SIZES["test"]]),
    }
    return {name: (x.astype(np.float32), y) for name, (x, y) in parts.items()}


def build(channels):
    """Return a model with the given numbers of channels in its convolutions."""
    with nengo.Network(seed=0) as net:
        # each signal starts from rest; the layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False)
        nengo_wd.configure_settings(jit_compile=not SHORT)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        net.config[nengo.ensemble.Neurons].spike_noise = noise
        few_spikes = nengo_wd.regularizers.FiringRates(maximum=0, l1=targets)
        neurons = nengo_dl.Layer(nengo.SpikingRectifiedLinear(amplitude=1 / MAX_RATE))

        signal = x = nengo.Node(np.zeros(40))
        layers, shape = [], (40, 1)
        for n_channels, kernel_size in zip(channels, KERNEL_SIZES):
            conv = nengo_wd.RegularizedConv1D(
                n_channels,
                kernel_size,
                strides=2,
                input_shape=shape,
                kernel_initializer="he_uniform",
                kernel_regularizer=None,
            )
            layers.append(nengo_dl.Layer(conv)(x, synapse=None))
            x = neurons(layers[-1])
            net.config[nengo.Probe(x)].regularizer = few_spikes
            shape = conv.compute_output_shape((1, *shape))[1:]
        dense = nengo_wd.RegularizedDense(10, kernel_regularizer=None)
        layers.append(nengo_dl.Layer(dense)(x, synapse=None))
        output, readout = nengo.Probe(layers[-1]), nengo.Probe(layers[-1], synapse=READOUT)
    return Model(net, signal, output, readout, layers)


def simulator(model, filtered):
    """Return a simulator, with filters between the layers or without.

    The layers have the weights that they had in the last one.
    """
    for connection in model.net.all_connections:
        if isinstance(connection.pre_obj, nengo.ensemble.Neurons):
            connection.synapse = nengo.Lowpass(SYNAPSE) if filtered else None
    return nengo_dl.Simulator(model.net, minibatch_size=MINIBATCH_SIZE, progress_bar=False)


def train(model, splits, make, rate, epochs, proximal=False):
    """Train on firing rates, with a new optimizer."""
    signals, labels = splits["train"]
    falling = tf.optimizers.schedules.CosineDecay(rate, epochs * len(labels) // MINIBATCH_SIZE)
    with simulator(model, filtered=False) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, make(falling), proximal=proximal)
        loss = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
        objective = nengo_wd.regularized_objective(sim, {model.output: loss})
        sim.compile(optimizer, loss=objective)
        shown = {model.signal: signals[:, None]}, {model.output: labels[:, None, None]}
        sim.fit(*shown, epochs=epochs, verbose=0)


def set_strengths(of_targets=TARGETS, of_noise=NOISE, of_groups=0.0):
    for variable, value in ((targets, of_targets), (noise, of_noise), (groups, of_groups)):
        variable.assign(value)


def shown(splits, name):
    """Return a split's signals for all time steps."""
    return np.tile(splits[name][0][:, None], (1, N_STEPS, 1))


def count(sim, model, splits):
    return nengo_wd.Energy(sim, {model.signal: shown(splits, "validation")})


def test(model, splits):
    """Return accuracies with spikes, and what an answer costs."""
    accuracies = {}
    with simulator(model, filtered=True) as sim:
        for name in ("validation", "test"):
            outputs = sim.predict({model.signal: shown(splits, name)}, verbose=0)[model.readout]
            right = outputs[:, -1].argmax(axis=-1) == splits[name][1]
            accuracies[name] = 100 * np.mean(right)
        energy = count(sim, model, splits)
    sizes = [ensemble.n_neurons for ensemble in model.net.all_ensembles]
    joules, events = (energy.total(one, inputs=False) for one in ("loihi", "events"))
    return SimpleNamespace(
        joules=joules, events=events, sizes=sizes, neurons=sum(sizes), **accuracies
    )


def price_groups(model, splits):
    """Give each layer a group lasso on what it reads, at the price of its neurons' joules."""
    with simulator(model, filtered=True) as sim:
        joules = [*count(sim, model, splits).by_neuron("loihi").values()]
    channels = [*channels_of(model)[:-1], joules[-1].size]  # the dense layer reads single neurons
    costs = [one.reshape(-1, n).sum(axis=0) for one, n in zip(joules, channels)]
    mean = np.mean(np.concatenate(costs[:-1]))
    for node, cost in zip(model.layers[1:], costs):
        lasso = nengo_wd.regularizers.GroupLasso(groups, groups="inputs", costs=cost / mean)
        model.net.config[node].regularizer = lasso


def weights_of(model):
    return [node.tensor_func.get_weights() for node in model.layers]


def set_weights(model, weights):
    for node, arrays in zip(model.layers, weights):
        node.tensor_func.set_weights(arrays)


def channels_of(model):
    return [node.tensor_func.filters for node in model.layers[:-1]]


def trained(channels, splits, **strengths):
    """Return a network that is trained on rates, as long as those that become smaller."""
    model = build(channels)
    set_strengths(**strengths)
    train(model, splits, tf.optimizers.Adam, ADAM_RATE, 2 * EPOCHS + GROUP_EPOCHS)
    return model.pruned()


def shrunk(model, weights, splits, strength, make=SGD, rate=SGD_RATE):
    """Return what a strength of the group lasso leaves of a network with weights, trained on."""
    with simulator(model, filtered=False):
        set_weights(model, weights)
    set_strengths(of_groups=strength)
    train(model, splits, make, rate, GROUP_EPOCHS, proximal=True)
    smaller = model.pruned()
    set_strengths()
    train(smaller, splits, tf.optimizers.Adam, ADAM_RATE, EPOCHS)
    return smaller


def first_step(splits):
    """Return a network that is trained on rates, with prices of its groups, and its weights."""
    model = build(CHANNELS)
    set_strengths()
    train(model, splits, tf.optimizers.Adam, ADAM_RATE, EPOCHS)
    price_groups(model, splits)
    return model, weights_of(model)


def small_groups(model):
    """Return how many channels of the first two convolutions are near zero, and at zero."""
    kernels = [node.tensor_func.get_weights()[0] for node in model.layers[1:3]]
    norms = [np.linalg.norm(kernel, axis=(0, 2)) for kernel in kernels]
    return [sum(np.sum(one <= share * one.max()) for one in norms) for share in (0.05, 0)]


def compare_optimizers(seed):
    """Return lines: what optimizers of the second step make of groups, and where that ends."""
    tf.keras.utils.set_random_seed(seed)
    splits = load_splits()
    model, weights = first_step(splits)
    line = "{:18} {:>8} {:>8} {:>9} {:>8} {:>9} {:>12}".format
    lines = [line("", "rate", "strength", "near zero", "at zero", "accuracy", "microjoules")]
    for name, make, rate, strength in OPTIMIZERS:
        tested = test(shrunk(model, weights, splits, strength, make, rate), splits)
        cells = rate, strength, *small_groups(model), f"{tested.test:.1f}"
        lines.append(line(name, *cells, f"{1e6 * tested.joules:.2f}"))
    return lines


def runs_of(seed):
    """Return what each way led to with a seed, by its name and strength."""
    return {(way, strength): tested for way, strength, tested in each_run(seed, load_splits())}


def each_run(seed, splits):
    tf.keras.utils.set_random_seed(seed)
    model = build(CHANNELS)
    set_strengths(of_targets=0, of_noise=0)
    train(model, splits, tf.optimizers.Adam, ADAM_RATE, EPOCHS)
    yield "plain", 0, test(model, splits)
    yield "plain, as long", 0, test(trained(CHANNELS, splits, of_targets=0, of_noise=0), splits)
    yield "whole, as long", 0, test(trained(CHANNELS, splits), splits)

    model, weights = first_step(splits)
    for strength in STRENGTHS:
        smaller = shrunk(model, weights, splits, strength)
        yield "pruned", strength, test(smaller, splits)
        small = trained(channels_of(smaller), splits)
        yield "small from the start", strength, test(small, splits)


def mean(runs, name):
    """Return the mean over seeds of an attribute of the runs."""
    return np.mean([getattr(run, name) for run in runs])


def error(runs, name):
    """Return the standard error of the mean over seeds."""
    return np.std([getattr(run, name) for run in runs], ddof=1) / np.sqrt(len(runs))


def choose(runs):
    """Return two strengths by the validation split: of an accurate network, and of a cheap one."""
    plain, as_long = runs["plain", 0], runs["plain, as long", 0]
    tried = {strength: found for (way, strength), found in runs.items() if way == "pruned"}

    def accuracy(strength):
        return mean(tried[strength], "validation")

    def joules(strength):
        return mean(tried[strength], "joules")

    cheap = [one for one in tried if joules(one) <= SHARE * mean(plain, "joules")]
    good = [one for one in tried if accuracy(one) >= mean(as_long, "validation")]
    return max(cheap or tried, key=accuracy), min(good or tried, key=joules)


def print_table(runs):
    """Print what each way led to."""
    plain = runs["plain", 0]
    head = "{:20} {:>8} {:>10} {:>12} {:>8} {:>7} {:>6} {:>12} {:>6}".format
    print(head("", "", "validation", "test", "", "synaptic", "", "microjoules", ""))
    columns = ("accuracy", "accuracy", "neurons", "events", "share", "on Loihi", "share")
    print(head("way", "strength", *columns))
    for (way, strength), found in runs.items():
        tested = f"{mean(found, 'test'):.1f}"
        if len(found) > 1:
            tested += f" +- {error(found, 'test'):.1f}"
        shares = (mean(found, name) / mean(plain, name) for name in ("events", "joules"))
        events, joules = (f"{one:.0%}" for one in shares)
        print(
            head(
                way,
                f"{strength:g}" if strength else "",
                f"{mean(found, 'validation'):.1f}",
                tested,
                f"{mean(found, 'neurons'):.0f}",
                f"{mean(found, 'events'):.0f}",
                events,
                f"{1e6 * mean(found, 'joules'):.2f}",
                joules,
            )
        )


def tell(title, runs, strength):
    """Print a chosen network next to plain and to the network that was small from the start."""
    plain, found = runs["plain", 0], runs["pruned", strength]
    small = mean(runs["small from the start", strength], "test")
    print(f"\n{title} (strength {strength:g}):")
    accuracies = (mean(one, "test") for one in (plain, found))
    print("accuracy: {:.1f}% and {:.1f}%".format(*accuracies), f"({small:.1f}% from the start)")
    for name in ("joules", "events", "neurons"):
        print(f"{name}: {mean(found, name) / mean(plain, name):.0%}")


def check(runs):
    """Check energies against each other: they are sums over neurons and events."""
    found = [run for seeds in runs.values() for run in seeds]
    assert max(run.neurons for run in found) == 725, "a network has grown"
    counts = np.array([(run.neurons, run.events) for run in found], float)
    joules = np.array([run.joules for run in found])
    prices = np.linalg.lstsq(counts, joules, rcond=None)[0]
    assert np.allclose(counts @ prices, joules, rtol=1e-3, atol=0), "joules are not such sums"


def check_findings(runs, chosen):
    """Raise if a chosen network contradicts what `main` prints."""
    plain = runs["plain", 0]
    for strength in chosen:
        found = runs["pruned", strength]
        assert mean(found, "joules") <= SHARE * mean(plain, "joules"), "it takes too many joules"
        assert mean(found, "test") >= mean(plain, "test"), "it is less accurate than plain"


def save_figure(runs, chosen):
    """Plot accuracy over joules, and the neurons of plain and of the chosen networks."""
    with nengo_wd.plotting.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0))  # inches
        for way, style in STYLES.items():
            found = [seeds for (name, _), seeds in runs.items() if name == way]
            x = [1e6 * mean(seeds, "joules") for seeds in found]
            y = [mean(seeds, "test") for seeds in found]
            errors = [error(seeds, "test") if len(seeds) > 1 else 0 for seeds in found]
            left.errorbar(x, y, errors, fmt=style, markersize=3.5, label=way)
        left.set(
            xlabel="energy of an answer on Loihi (microjoules)", title="(a) accuracy for energy"
        )
        left.set(ylabel="accuracy with spikes (%)", xlim=(0, None))
        title = (
            "means over seeds, with standard errors; as long: trained for as many epochs as pruned"
        )
        handles = left.get_legend_handles_labels()
        figure.legend(*handles, loc="outside upper center", ncols=5, title=title)

        shown = [("plain", 0), *(("pruned", strength) for strength in dict.fromkeys(chosen))]
        names = ["plain", *(f"pruned, with\nstrength {strength:g}" for _, strength in shown[1:])]
        sizes = np.transpose([np.mean([run.sizes for run in runs[key]], axis=0) for key in shown])
        before = np.zeros(len(shown))
        for name, size in zip(("first", "second", "third"), sizes):
            right.bar(names, size, bottom=before, label=f"{name} convolution")
            before += size
        right.set(ylabel="neurons", title="(b) what is left")
        right.legend()
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def fresh_processes():
    """Return a pool with a new process for each task, because XLA keeps what it compiled."""
    return multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1)


def runs_by_key(runs_of):
    """Return lists of runs, one for each seed, from a function of a seed that returns runs."""
    if SHORT:
        by_seed = [runs_of(SEEDS[0])]
    else:
        pool = fresh_processes()
        found = pool.imap(runs_of, SEEDS)
        by_seed = [*progressbar.progressbar(found, max_value=len(SEEDS))]
    return {key: [one[key] for one in by_seed] for key in by_seed[0]}


def main():
    runs = runs_by_key(runs_of)
    print(
        "Accuracy (%) with spikes, and what an answer costs: means over seeds, and standard errors."
    )
    print_table(runs)
    chosen = choose(runs)
    tell(f"The most accurate with at most {SHARE:.0%} of plain's joules", runs, chosen[0])
    tell("The cheapest that is as accurate as plain, trained as long", runs, chosen[1])
    check(runs)
    if not SHORT:
        print(f"\nOptimizers of the second step, with seed {SEEDS[0]}: channels of the first two")
        print("convolutions, 50 in all, whose weights are near zero, and at zero.")
        print(*fresh_processes().apply(compare_optimizers, SEEDS[:1]), sep="\n")
    if not SHORT:
        check_findings(runs, chosen)
    save_figure(runs, chosen)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
