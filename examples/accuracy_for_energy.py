"""Accuracy for energy
===================

How accurate a spiking network is, and what its answers cost, with and without regularization.

A network of three convolutions and a dense layer, with spiking neurons in between, classifies the
signals of MNIST-1D, which its package generates. The neurons are integrate-and-fire neurons, or
LIF neurons whose slope at the threshold NengoDL smooths (``lif_smoothing``). NengoDL trains the
network for a single time step, on firing rates and without filters. Every signal is then shown for
100 ms: the neurons spike, with a filter of 5 ms on the way to each layer and one of 20 ms on the
output. The largest output is the answer. The network is trained

- plain: without regularization;
- rate targets: ``strength * mean(rate)``, in Hz, of each layer's neurons in the loss;
- with noise: rate targets, and rates with noise like that of spikes behind a filter of a given time
  constant: the setting ``spike_noise``;
- with spikes: rate targets, and then five more epochs with ``spiking_aware_training``. There, each
  signal is shown for 60 ms, and the loss is on the mean output of the last 25 ms;
- with both: rate targets and noise, and then the same epochs with spikes.

A synaptic event is a spike that arrives at a synapse. ``nengo_wd.Energy`` counts them, and says how
many joules an answer takes on a device: events and updates of neurons times their costs. It leaves
out the signals' own values, because they are not spikes. Bars and bands in the figure are standard
errors over seeds.

Strengths are chosen on a validation split, over the first two seeds: the best accuracy after 100 ms
among those with a sixth of plain's events or fewer, because training with spikes adds some. The
other seeds use only these strengths. The test split is only for the comparison. There are two more
comparisons. One is with the results of Greydanus and Kobak for networks without spikes ("Scaling
down deep learning with MNIST-1D", ICML 2024). The other is with the same model, trained in
KerasSpiking with its activity regularizer, at the same strengths. Its weights are then tested like
ours, in the same spiking network.

Run it with ``python accuracy_for_energy.py``, on NengoDL 3. It takes about 30 minutes, because XLA
compiles the time loop, and less than one with ``--short``.
"""

import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("accuracy_for_energy.py needs NengoDL 3")

import keras_spiking  # after nengo_wd, which sees to it that both find their Keras
from mnist1d.data import get_dataset_args, make_dataset


class Strengths(NamedTuple):
    """What training on rates has besides the loss."""

    strength: float = 0  # of the rate targets, per Hz
    noise: float = 0  # time constant of the noise, in seconds


SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [5, 6, 7, 8, 9]  # none of which was seen when strengths were listed
TRIED = SEEDS[:2]  # all strengths; the other seeds have the ones that were chosen
SIZES = {"train": 3500, "validation": 500, "test": 1000}
if SHORT:
    SIZES = {"train": 1000, "validation": 100, "test": 100}
NEURONS = {"integrate-and-fire": nengo.SpikingRectifiedLinear, "LIF": nengo.LIF}
TARGETS = {"integrate-and-fire": [1e-3, 3e-3, 5e-3, 6e-3], "LIF": [3e-3, 6e-3, 8e-3]}  # per Hz
NOISES = {"integrate-and-fire": [0.01, 0.02], "LIF": [0.02, 0.04]}  # time constants in seconds
if SHORT:
    del NEURONS["LIF"]
    TARGETS, NOISES = (
        {name: found[-1:] for name, found in one.items()} for one in (TARGETS, NOISES)
    )
KERAS_SPIKING = "KerasSpiking"  # which has no LIF neurons
CONTINUED = {"with spikes": "rate targets", "with both": "with noise"}  # from there, with spikes
SHARE = 1 / 6  # of plain's synaptic events, at most
ON_RATES = {"epochs": 3 if SHORT else 40, "learning_rate": 5e-3, "minibatch_size": 100}
WITH_SPIKES = {"epochs": 1 if SHORT else 5, "learning_rate": 1e-3, "minibatch_size": 50}
CHANNELS = 25  # of each convolution, as in the paper
KERNEL_SIZES = [5, 3, 3]
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
N_STEPS = 20 if SHORT else 100  # of 1 ms each, NengoDL's default: how long a signal is shown
TRAINED_STEPS = N_STEPS * 3 // 5  # with spikes, with the loss on the mean output of the last
READ_STEPS = N_STEPS // 4
SYNAPSE, READOUT = 0.005, 0.02  # seconds: time constants of filters, between layers and at the end
SMOOTHING = 0.02  # of the slope of LIF neurons, in units of their input
DEVICES = ["loihi", "spinnaker2"]
PAPER = {"logistic regression": 32, "MLP": 68, "CNN": 94}  # accuracy (%), without spikes
STYLES = {  # colour, line and marker
    "plain": ("C6", "X"),
    "rate targets": ("C0", "-o"),
    "with noise": ("C4", "--^"),
    "with spikes": ("C2", "D"),
    "with both": ("C3", "s"),
    KERAS_SPIKING: ("C1", ":v"),
}
CROSSENTROPY = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
RING = {"marker": "o", "linestyle": "", "markersize": 9, "fillstyle": "none"}
FIGURE = Path("figures/accuracy_for_energy.png")
nengo_wd.Energy.register_device("events", 1, 0, spiking=True)  # which counts instead of weighing


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


def build(neuron_type, synapse, **options):
    """Return the network; its node, layers, probes and strengths are its attributes.

    There are filters of a time constant between the layers, or none. Options are NengoDL's.
    """
    with nengo.Network(seed=0) as net:
        # each signal starts from rest; the layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False, **options)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        neurons = nengo_dl.Layer(neuron_type(amplitude=1 / MAX_RATE))

        # variables, so that nothing need be built or compiled again to change them
        net.decay, net.strength, net.noise = (tf.Variable(0.0, trainable=False) for _ in range(3))
        nengo_wd.configure_settings(weight_decay=net.decay, jit_compile=True)
        few_spikes = nengo_wd.regularizers.FiringRates(maximum=0, l1=net.strength)

        net.signal = x = nengo.Node(np.zeros(40))
        net.layers, shape = [], (40, 1)
        for i, kernel_size in enumerate(KERNEL_SIZES):
            conv = nengo_wd.RegularizedConv1D(
                CHANNELS,
                kernel_size,
                strides=2,
                input_shape=shape,
                kernel_initializer="he_uniform",
                kernel_regularizer=None,
            )
            x = neurons(nengo_dl.Layer(conv)(x, synapse=synapse if i else None))
            net.config[nengo.Probe(x)].regularizer = few_spikes
            net.layers.append(conv)
            shape = conv.compute_output_shape((1, *shape))[1:]
        net.layers.append(nengo_wd.RegularizedDense(10, kernel_regularizer=None))
        output = nengo_dl.Layer(net.layers[-1])(x, synapse=synapse)
        net.output = nengo.Probe(output)
        net.readout = nengo.Probe(output, synapse=READOUT)
    return net


def draw(layers, seed):
    """Return new weights of layers, with biases of zero."""
    shapes = [[array.shape for array in layer.get_weights()] for layer in layers]
    draws = (tf.keras.initializers.HeUniform(seed * len(layers) + i) for i in range(len(layers)))
    return [[one(kernel).numpy(), np.zeros(bias)] for one, (kernel, bias) in zip(draws, shapes)]


def late_crossentropy(labels, outputs):
    """Return the loss of the mean output of the last steps; one of them has the labels."""
    return CROSSENTROPY(labels[:, -1], tf.reduce_mean(outputs[:, -READ_STEPS:], axis=1))


def weights_of(net):
    return [layer.get_weights() for layer in net.layers]


def set_weights(net, weights):
    for layer, arrays in zip(net.layers, weights):
        layer.set_weights(arrays)


class Trainer:
    """Trains a network of `build` with Adam, which starts afresh for each training.

    The loss is on one of its probes. The learning rate falls to zero, as a cosine does.
    """

    def __init__(self, net, probe, loss, n_examples, epochs, learning_rate, minibatch_size):
        self.net, self.probe, self.epochs = net, probe, epochs
        self.sim = nengo_dl.Simulator(net, minibatch_size=minibatch_size, progress_bar=False)
        n_steps = epochs * n_examples // minibatch_size
        falling = tf.optimizers.schedules.CosineDecay(learning_rate, n_steps)
        optimizer = nengo_wd.regularized_optimizer(self.sim, tf.optimizers.Adam(falling))
        self.sim.compile(optimizer, loss=nengo_wd.regularized_objective(self.sim, {probe: loss}))
        self.start = nengo_wd.search.Start(self.sim)

    def fit(self, weights, inputs, labels, **strengths):
        """Train from these weights on inputs (n, steps, d) and labels (n,); return the new ones.

        Strengths are by the names of variables of the network.
        """
        self.start.restore()
        set_weights(self.net, weights)
        for name, value in strengths.items():
            getattr(self.net, name).assign(value)
        targets = {self.probe: labels[:, None, None]}
        self.sim.fit({self.net.signal: inputs}, targets, epochs=self.epochs, verbose=0)
        return weights_of(self.net)

    def accuracy(self, weights, inputs, labels):
        """Return the percentage of right answers at each time step."""
        set_weights(self.net, weights)
        outputs = self.sim.predict({self.net.signal: inputs}, verbose=0)[self.probe]
        return 100 * np.mean(outputs.argmax(axis=-1) == labels[:, None], axis=0)

    def energy(self, inputs):
        """Return synaptic events and joules by device, of an answer with the weights it has."""
        energy = nengo_wd.Energy(self.sim, {self.net.signal: inputs})
        joules = {device: energy.total(device, inputs=False) for device in DEVICES}
        return energy.total("events", inputs=False), joules


class Experiment:
    """Trains and tests networks of one type of neurons, on rates and with spikes."""

    def __init__(self, neuron_type, splits):
        self.splits, n_examples = splits, len(splits["train"][0])
        net = build(neuron_type, None, lif_smoothing=SMOOTHING, learning_phase=True)
        net.config[nengo.ensemble.Neurons].spike_noise = net.noise
        self.on_rates = Trainer(net, net.output, CROSSENTROPY, n_examples, **ON_RATES)
        net = build(neuron_type, SYNAPSE, lif_smoothing=SMOOTHING)
        net.config[nengo.ensemble.Neurons].spiking_aware_training = True
        self.spiking = Trainer(net, net.readout, late_crossentropy, n_examples, **WITH_SPIKES)

    def data(self, name, n_steps):
        """Return the data of a split, constant for a number of time steps, and its labels."""
        signals, labels = self.splits[name]
        return np.tile(signals[:, None], (1, n_steps, 1)), labels

    def train(self, way, strengths, seed):
        """Train on rates, and test."""
        tf.keras.utils.set_random_seed(seed)
        if way == KERAS_SPIKING:
            return self.test(train_in_keras_spiking(strengths, *self.data("train", 1)))
        weights = draw(self.on_rates.net.layers, seed)
        weights = self.on_rates.fit(weights, *self.data("train", 1), **strengths._asdict())
        self.on_rates.net.noise.assign(0)
        return self.test(weights)

    def train_with_spikes(self, run, strengths):
        """Train the network of a run further, with spikes, and test."""
        shown = self.data("train", TRAINED_STEPS)
        return self.test(self.spiking.fit(run.weights, *shown, strength=strengths.strength))

    def test(self, weights):
        """Return weights, accuracies (over time with spikes), and what an answer costs."""
        shown = {name: self.data(name, N_STEPS) for name in ("validation", "test")}
        accuracies = {name: self.spiking.accuracy(weights, *shown[name]) for name in shown}
        rates = self.on_rates.accuracy(weights, *self.data("test", 1))[-1]
        events, joules = self.spiking.energy(shown["validation"][0])
        return SimpleNamespace(
            weights=weights, rates=rates, events=events, joules=joules, **accuracies
        )


def keras_spiking_model(strength):
    """Return the same model in KerasSpiking, and its layers with weights."""
    layers, x = tf.keras.layers, tf.keras.Input((None, 40, 1))
    model, convs = tf.keras.Sequential([x]), []
    for kernel_size in KERNEL_SIZES:
        conv = layers.Conv1D(CHANNELS, kernel_size, strides=2, kernel_initializer="he_uniform")
        model.add(layers.TimeDistributed(conv))
        n_neurons = np.prod(model.output_shape[2:])  # it sums over neurons; ours is the mean
        model.add(
            keras_spiking.SpikingActivation(
                lambda inputs: tf.nn.relu(MAX_RATE * inputs),
                spiking_aware_training=False,
                activity_regularizer=keras_spiking.regularizers.L1(strength / n_neurons),
            )
        )
        model.add(layers.Rescaling(1 / MAX_RATE))
        convs.append(conv)
    dense = layers.Dense(10)
    model.add(layers.Reshape((-1, np.prod(model.output_shape[2:]))))
    model.add(layers.TimeDistributed(dense))
    return model, [*convs, dense]


def train_in_keras_spiking(strengths, inputs, labels):
    """Return the weights after training on rates in KerasSpiking."""
    model, layers = keras_spiking_model(strengths.strength)
    size, epochs = ON_RATES["minibatch_size"], ON_RATES["epochs"]
    n_steps = epochs * len(inputs) // size
    falling = tf.optimizers.schedules.CosineDecay(ON_RATES["learning_rate"], n_steps)
    model.compile(tf.optimizers.Adam(falling), loss=CROSSENTROPY, steps_per_execution=5)
    model.fit(inputs[..., None], labels[:, None], size, epochs, verbose=0)
    return [layer.get_weights() for layer in layers]


def strengths_of(neurons):
    """Return the strengths that are tried in each way of training on rates."""
    targets, taus = TARGETS[neurons], NOISES[neurons]
    ways = {
        "plain": [Strengths()],
        "rate targets": [Strengths(strength) for strength in targets],
        "with noise": [Strengths(strength, tau) for strength in targets[-2:] for tau in taus],
    }
    if neurons == "integrate-and-fire":
        ways[KERAS_SPIKING] = ways["rate targets"]
    return ways


def all_runs(neurons, splits):
    """Return the runs of each way and its strengths, one for each seed."""
    experiment, runs = Experiment(NEURONS[neurons], splits), defaultdict(list)
    for seed in progressbar.progressbar(SEEDS, prefix=f"{neurons}, on rates: "):
        for way, tried in strengths_of(neurons).items():
            for strengths in tried if seed in TRIED else [choose(runs)[way][1]]:
                runs[way, strengths].append(experiment.train(way, strengths, seed))
    chosen = choose(runs)
    for way, before in CONTINUED.items():
        _, strengths = chosen[before]
        for run in progressbar.progressbar(runs[chosen[before]], prefix=f"{neurons}, {way}: "):
            runs[way, strengths].append(experiment.train_with_spikes(run, strengths))
    experiment.on_rates.sim.close()
    experiment.spiking.sim.close()
    return runs


def summary(values):
    """Return the mean over seeds and its standard error."""
    deviation = np.std(values, axis=0, ddof=min(1, len(values) - 1))
    return np.mean(values, axis=0), deviation / np.sqrt(len(values))


def mean(runs, name):
    """Return the mean over seeds of an attribute of the runs."""
    return np.mean([getattr(run, name) for run in runs], axis=0)


def choose(runs):
    """Return the key of each way's most accurate runs that cost at most a share of plain's."""
    tried = {key: found[: len(TRIED)] for key, found in runs.items()}
    most = SHARE * mean(tried["plain", Strengths()], "events")

    def merit(key):
        events = mean(tried[key], "events")
        return min(0, most - events), mean(tried[key], "validation")[-1]

    return {way: max((key for key in runs if key[0] == way), key=merit) for way, _ in runs}


def print_table(neurons, runs, chosen):
    """Print what each training of one type of neurons led to."""
    head = "{:12} {:>7} {:>5}   {:>10} {:>8} {:>13} {:>13} {:>8} {:>5}".format
    print(f"\n{neurons}:")
    print(head("", "rate", "noise", "validation", "test", "test", "test", "synaptic", ""))
    columns = "way targets ms accuracy rates".split() + [f"{N_STEPS // 2} ms", f"{N_STEPS} ms"]
    print(head(*columns, "events", "share"), "  microjoules:", *DEVICES)
    plain = mean(runs[chosen["plain"]], "events")
    for key, found in runs.items():
        (way, (targets, noise)), star = key, " *"[key == chosen[key[0]]]
        times = (summary([run.test[n - 1] for run in found]) for n in (N_STEPS // 2, N_STEPS))
        after = ["{:.1f} +- {:.1f}".format(*one) for one in times]
        events, joules = mean(found, "events"), [run.joules for run in found]
        validation, rates = mean(found, "validation")[-1], mean(found, "rates")
        strengths = f"{targets:g}", f"{1000 * noise:g}"
        percentages = f"{validation:.1f}", f"{rates:.1f}", *after
        row = head(way, *strengths, *percentages, f"{events:.0f}", f"{events / plain:.0%}")
        energies = (1e6 * np.mean([one[device] for one in joules]) for device in DEVICES)
        print(row, star, *(f"{e:9.1f}" for e in energies))


def check(runs):
    """Check energies against each other: networks differ only in their synaptic events."""
    found = [run for seeds in runs.values() for run in seeds]
    events = np.array([run.events for run in found])
    assert np.isfinite(events).all() and events.max() > 0, "no network spikes"
    for device in DEVICES:
        joules = np.array([run.joules[device] for run in found])
        line = np.polyval(np.polyfit(events, joules, 1), events)
        assert np.allclose(joules, line, rtol=1e-3, atol=0), f"{device}: not a sum over events"


def check_findings(runs, pairs):
    """Raise if a seed contradicts what `main` prints."""
    for neurons, pair in pairs.items():
        for before, after in zip(*(runs[neurons][key] for key in pair)):
            assert after.test[-1] >= before.test[-1], "a network became less accurate"
            assert after.events <= before.events / 2, "more than half of the events are left"


def frontier(axes, runs, chosen):
    """Plot accuracy over synaptic events, a line for each way; what was chosen has a ring."""
    for way, best in chosen.items():
        (color, line), keys = STYLES[way], [key for key in runs if key[0] == way]
        keys.sort(key=lambda key: mean(runs[key], "events"))
        means, errors = np.transpose([summary([r.test[-1] for r in runs[key]]) for key in keys])
        x = [mean(runs[key], "events") / 1000 for key in keys]
        axes.errorbar(x, means, errors, fmt=line, color=color, markersize=3.5, label=way)
        place = keys.index(best)
        axes.plot(x[place], means[place], **RING, color=color)


def over_presentation(axes, runs, chosen):
    """Plot accuracy over time, and a mark for that on rates, of what was chosen, in its colour."""
    for way in ("plain", "rate targets", "with both"):
        found, color = runs[chosen[way]], STYLES[way][0]
        accuracy, error = summary([run.test for run in found])
        time = np.arange(1, N_STEPS + 1)
        axes.plot(time, accuracy, "-", color=color)
        axes.fill_between(time, accuracy - error, accuracy + error, color=color, alpha=0.2, lw=0)
        axes.plot(1.06 * N_STEPS, mean(found, "rates"), "_", color=color, markersize=9, mew=2)
    axes.annotate("on rates", (1.1 * N_STEPS, 94.5), color="0.4", ha="right")


def save_figure(runs, chosen):
    with nengo_wd.plotting.style():
        figure, panels = plt.subplots(1, 3, figsize=(7.2, 3.2))  # inches
        for axes, letter, neurons in zip(panels, "ab", NEURONS):
            frontier(axes, runs[neurons], chosen[neurons])
            axes.set(title=f"({letter}) {neurons}", xlabel="synaptic events (thousands)")
            axes.set(xscale="log", xlim=(7, 170), ylim=(80, 96), ylabel="accuracy with spikes (%)")
            axes.set_xticks([10, 20, 50, 100], [10, 20, 50, 100])
            axes.set_xticks([], minor=True)
            axes.axhline(PAPER["CNN"], color="0.7", linewidth=0.7, zorder=0)
            place = {"va": "bottom", "ha": "right", "transform": axes.get_yaxis_transform()}
            axes.text(0.98, PAPER["CNN"], "CNN without spikes", color="0.4", **place)
        over_presentation(panels[2], runs["integrate-and-fire"], chosen["integrate-and-fire"])
        panels[2].set(title="(c) integrate-and-fire", ylim=(60, 96))
        panels[2].set(xlabel="time that a signal is shown (ms)", ylabel="accuracy by then (%)")
        panels[0].plot([], **RING, color="0.4", label="chosen on validation")
        ring, *others = panels[0].get_legend_handles_labels()[0]
        above = {"loc": "outside upper center", "title": "means over seeds, with standard errors"}
        figure.legend(handles=[*others, ring], ncols=4, **above)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def best_pair(runs, chosen):
    """Return plain, and what is best on the validation split of the ways of this package."""
    ours = [key for way, key in chosen.items() if way not in ("plain", KERAS_SPIKING)]
    return chosen["plain"], max(ours, key=lambda key: mean(runs[key], "validation")[-1])


def tell(neurons, runs, pair):
    """Print the means over seeds of plain and of the best way, for a type of neurons."""
    plain, best = ([mean(runs[key], name) for name in ("test", "rates", "events")] for key in pair)
    print(f"\n{neurons}, plain and best on the validation split ({pair[1][0]}):")
    for step in (N_STEPS // 2, N_STEPS):
        accuracies = f"{plain[0][step - 1]:.1f}% and {best[0][step - 1]:.1f}%"
        print(f"accuracy with spikes after {step} ms: {accuracies}")
    print(f"accuracy on rates: {plain[1]:.1f}% and {best[1]:.1f}%")
    print(f"synaptic events: {plain[2]:.0f} and {best[2]:.0f}, {best[2] / plain[2]:.0%}")


def main():
    splits = load_splits()
    runs = {neurons: all_runs(neurons, splits) for neurons in NEURONS}
    chosen = {neurons: choose(found) for neurons, found in runs.items()}
    pairs = {neurons: best_pair(runs[neurons], chosen[neurons]) for neurons in NEURONS}
    print("Accuracy (%) on rates and with spikes, and what an answer costs: means over seeds, and")
    print(f"standard errors. A star is the choice for each way. Others have {len(TRIED)} seeds.")
    for neurons, found in runs.items():
        print_table(neurons, found, chosen[neurons])
        check(found)
    if not SHORT:
        check_findings(runs, pairs)
    for neurons, pair in pairs.items():
        tell(neurons, runs[neurons], pair)
    paper = (f"{name} {accuracy}%" for name, accuracy in PAPER.items())
    print(f"\nWithout spikes, Greydanus and Kobak report {', '.join(paper)}.")
    save_figure(runs, chosen)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
