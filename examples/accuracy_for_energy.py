"""Accuracy for energy
===================

How accurate a spiking network is, and what its answers cost, with and without regularization.

A network of three convolutions and a dense layer, with integrate-and-fire neurons in between,
classifies the signals of MNIST-1D, which its package generates. NengoDL trains the network for a
single time step, on firing rates and without filters. Every signal is then shown for 100 ms: the
neurons spike, with a filter of 5 ms on the way to each layer and one of 20 ms on the output, the
largest element of which is the answer. The network is trained

- plain: without regularization;
- with decay: ``w <- w - rate * decay * w`` beside Adam's step;
- with rate targets: ``strength * mean(rate)``, in Hz, of each layer's neurons in the loss;
- with both: that decay which is in the middle, and rate targets.

A synaptic event is a spike that arrives at a synapse. ``nengo_wd.Energy`` counts them, and says
how many joules an answer takes on a device: events and updates of neurons times what they take.
The signals' own values, which are not spikes, are left out.

Strengths are chosen on a validation split, by the mean accuracy over all seeds. The test split is
for the comparison alone. There are two more comparisons. One is with what Greydanus and Kobak
report for networks without spikes ("Scaling down deep learning with MNIST-1D", ICML 2024). The
other is with the same model, trained in KerasSpiking with its activity regularizer, at the same
strengths. Its weights are then tested as ours are, in the same spiking network.

Run it with ``python accuracy_for_energy.py``, on NengoDL 3. All of it takes some 4 minutes, since
XLA compiles the time loop (15 without), and less than one with ``--short``.
"""

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

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

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [0, 1, 2]
SIZES = {"train": 3500, "validation": 100 if SHORT else 500, "test": 200 if SHORT else 1000}
DECAYS = [0.1] if SHORT else [0.03, 0.1, 0.3]
STRENGTHS = [3e-3] if SHORT else [3e-4, 1e-3, 3e-3, 1e-2]  # of the rate targets, per Hz
WAYS = {  # the decay and the strength of the rate targets, of each training
    "plain": [(0, 0)],
    "decay": [(decay, 0) for decay in DECAYS],
    "rate targets": [(0, strength) for strength in STRENGTHS],
    "both": [(DECAYS[len(DECAYS) // 2], strength) for strength in STRENGTHS],
}
if SHORT:
    del WAYS["decay"]  # which takes no fewer spikes by itself
KERAS_SPIKING = {"KerasSpiking": [(0, strength) for strength in STRENGTHS]}
EPOCHS = 10 if SHORT else 40
LEARNING_RATE = 5e-3  # at the beginning; it falls to zero as a cosine does
MINIBATCH_SIZE = 100
CHANNELS = 25  # of each convolution, as in the paper
KERNEL_SIZES = [5, 3, 3]
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
N_STEPS = 40 if SHORT else 100  # of 1 ms each, NengoDL's default: how long a signal is shown
SYNAPSE, READOUT = 0.005, 0.02  # seconds: time constants of filters, between layers and at the end
DEVICES = ["loihi", "spinnaker2"]
PAPER = {"logistic regression": 32, "MLP": 68, "CNN": 94}  # accuracy (%), without spikes
STYLES = {  # colour, line and marker
    "plain": ("C6", "X"),
    "decay": ("C4", "--^"),
    "rate targets": ("C0", "-o"),
    "both": ("C2", "-.s"),
    "KerasSpiking": ("C1", ":D"),
}
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


def over_time(signals):
    """Return what is shown: every signal, constant for ``N_STEPS``."""
    return np.tile(signals[:, None], (1, N_STEPS, 1))


def build(neuron_type, synapse):
    """Return the network; its node, layers, probes and strengths are its attributes."""
    with nengo.Network(seed=0) as net:
        # each signal starts from rest; the layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        neurons = nengo_dl.Layer(neuron_type(amplitude=1 / MAX_RATE))

        # variables, so that nothing need be built or compiled again to change them
        net.decay, net.strength = (tf.Variable(0.0, trainable=False) for _ in range(2))
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


def simulator(net, minibatch_size):
    return nengo_dl.Simulator(net, minibatch_size=minibatch_size, progress_bar=False)


def adam():
    n_steps = EPOCHS * SIZES["train"] // MINIBATCH_SIZE
    return tf.optimizers.Adam(tf.optimizers.schedules.CosineDecay(LEARNING_RATE, n_steps))


def crossentropy():
    return tf.losses.SparseCategoricalCrossentropy(from_logits=True)


def train(splits):
    """Yield weights and accuracy on rates after each training of `WAYS`, from the same start."""
    net = build(nengo.RectifiedLinear, synapse=None)
    signals, labels = splits["train"]
    with simulator(net, MINIBATCH_SIZE) as sim:
        optimizer = nengo_wd.regularized_optimizer(sim, adam())
        objective = nengo_wd.regularized_objective(sim, {net.output: crossentropy()})
        sim.compile(optimizer, loss=objective, steps_per_execution=5)
        start = sim.keras_model.get_weights()
        for decay, strength in (pair for pairs in WAYS.values() for pair in pairs):
            sim.keras_model.set_weights(start)
            for variable in optimizer.variables:  # Adam's moments and its count of steps
                variable.assign(tf.zeros_like(variable))
            net.decay.assign(decay)
            net.strength.assign(strength)
            inputs, targets = {net.signal: signals[:, None]}, labels[:, None, None]
            sim.fit(inputs, {net.output: targets}, epochs=EPOCHS, verbose=0)
            outputs = sim.predict({net.signal: splits["test"][0][:, None]}, verbose=0)[net.output]
            yield [layer.get_weights() for layer in net.layers], right(outputs, splits["test"])


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


def train_in_keras_spiking(splits):
    """Yield weights and accuracy on rates after each training of `KERAS_SPIKING`."""
    signals, labels = splits["train"]
    inputs, targets = signals[:, None, :, None], labels[:, None]
    for _, strength in KERAS_SPIKING["KerasSpiking"]:
        model, layers = keras_spiking_model(strength)
        model.compile(adam(), loss=crossentropy(), steps_per_execution=5)
        model.fit(inputs, targets, MINIBATCH_SIZE, EPOCHS, verbose=0)
        outputs = model(splits["test"][0][:, None, :, None], training=True)  # does not spike
        yield [layer.get_weights() for layer in layers], right(outputs.numpy(), splits["test"])


def right(outputs, split):
    """Return the percentage of right answers at each time step."""
    return 100 * np.mean(outputs.argmax(axis=-1) == split[1][:, None], axis=0)


def experiment(splits):
    """Return the runs of each way and its strengths, one for each seed, tested with spikes."""
    keys = [(way, pair) for ways in (WAYS, KERAS_SPIKING) for way in ways for pair in ways[way]]
    runs = {key: [] for key in keys}
    progress = progressbar.ProgressBar(max_value=len(keys) * len(SEEDS), prefix="Training: ")
    net = build(nengo.SpikingRectifiedLinear, SYNAPSE)
    with simulator(net, SIZES["validation"]) as sim:
        for seed in SEEDS:
            tf.keras.utils.set_random_seed(seed)
            trained = itertools.chain(train(splits), train_in_keras_spiking(splits))
            for key, (weights, on_rates) in zip(keys, trained):
                for layer, arrays in zip(net.layers, weights):
                    layer.set_weights(arrays)
                runs[key].append(SimpleNamespace(rates=on_rates, **test(sim, net, splits)))
                progress.update(progress.value + 1)
    progress.finish()
    return runs


def test(sim, net, splits):
    """Return accuracies over time with spikes, and what an answer of the test split costs."""
    accuracy = {}
    for name in ("validation", "test"):
        outputs = sim.predict({net.signal: over_time(splits[name][0])}, verbose=0)[net.readout]
        accuracy[name] = right(outputs, splits[name])
    energy = nengo_wd.Energy(sim, {net.signal: over_time(splits["test"][0])})
    events = energy.total("events", inputs=False)
    joules = {device: energy.total(device, inputs=False) for device in DEVICES}
    return {**accuracy, "events": events, "joules": joules}


def summary(values):
    """Return the mean over seeds and its standard error."""
    deviation = np.std(values, axis=0, ddof=min(1, len(values) - 1))
    return np.mean(values, axis=0), deviation / np.sqrt(len(values))


def mean(runs, name):
    """Return the mean over seeds of an attribute of the runs."""
    return np.mean([getattr(run, name) for run in runs], axis=0)


def choose(runs):
    """Return the key of each way's runs with the highest validation accuracy, by way."""
    by_accuracy = sorted(runs, key=lambda key: mean(runs[key], "validation")[-1])
    best = {way: (way, strengths) for way, strengths in by_accuracy}
    return {way: best[way] for way in STYLES if way in best}


def print_table(runs, chosen):
    print("\nAccuracy (%), on rates or with spikes after all time steps, and what an answer costs.")
    print("Means over seeds, and the standard error. A star is the choice for each way.\n")
    print("                   rate     validation    test         test       synaptic  microjoules")
    print(
        "way           decay  targets  accuracy  on rates  with spikes     events  "
        + "  ".join(DEVICES)
    )
    for key, found in runs.items():
        (way, (decay, strength)), star = key, " *"[key == chosen[key[0]]]
        validation, rates = (mean(found, name)[-1] for name in ("validation", "rates"))
        accuracy, error = summary([run.test[-1] for run in found])
        row = f"{way:12}  {decay:5g}  {strength:7g} {star} {validation:7.1f}  {rates:8.1f}"
        row += f"  {accuracy:5.1f} +- {error:3.1f}  {mean(found, 'events'):9.0f}"
        joules = (1e6 * np.mean([run.joules[device] for run in found]) for device in DEVICES)
        print(row, *(f"{number:7.1f}" for number in joules))


def compare(runs, chosen):
    """Print plain against regularized, seed by seed, and return both for all seeds."""
    ours = [key for way, key in chosen.items() if way not in ("plain", *KERAS_SPIKING)]
    best = max(ours, key=lambda key: mean(runs[key], "validation")[-1])
    plain, regularized = runs[chosen["plain"]], runs[best]
    decay, strength = best[1]
    print(f"\nThe best on the validation split: {best[0]}, decay {decay:g}, rates {strength:g}")
    print("seed  accuracy plain  regularized   events plain  regularized  share")
    for seed, before, after in zip(SEEDS, plain, regularized):
        share = after.events / before.events
        print(f"{seed:4} {before.test[-1]:15.1f} {after.test[-1]:12.1f}", end="")
        print(f" {before.events:14.0f} {after.events:12.0f} {share:6.0%}")
    return plain, regularized


def check(runs):
    """Hold energies against each other: all networks differ by their synaptic events only."""
    found = [run for seeds in runs.values() for run in seeds]
    events = np.array([run.events for run in found])
    assert np.isfinite(events).all() and events.max() > 0, "no network spikes"
    for device in DEVICES:
        joules = np.array([run.joules[device] for run in found])
        line = np.polyval(np.polyfit(events, joules, 1), events)
        assert np.allclose(joules, line, rtol=1e-3, atol=0), f"{device}: not a sum over events"


def check_findings(plain, regularized):
    """Raise where a seed does not bear out what `main` prints."""
    for before, after in zip(plain, regularized):
        assert after.test[-1] >= before.test[-1], "a network became less accurate"
        assert after.events <= before.events / 2, "more than half of the synaptic events are left"


def plot_frontier(axes, runs, chosen, cost):
    """Plot accuracy over cost, a line for each way; what was chosen has a ring."""
    for way, best in chosen.items():
        (color, line), keys = STYLES[way], [key for key in runs if key[0] == way]
        costs = {key: np.mean([cost(run) for run in runs[key]]) for key in keys}
        keys.sort(key=costs.get)
        accuracies = [summary([run.test[-1] for run in runs[key]]) for key in keys]
        means, errors = np.transpose(accuracies)
        x = [costs[key] for key in keys]
        axes.errorbar(x, means, errors, fmt=line, color=color, markersize=3.5, label=way)
        place = keys.index(best)
        axes.plot(x[place], means[place], "o", color=color, markersize=9, fillstyle="none")


def plot_over_time(axes, runs, chosen):
    for way in WAYS:
        mean, error = summary([run.test for run in runs[chosen[way]]])
        time, (color, line) = np.arange(1, N_STEPS + 1), STYLES[way]
        axes.plot(time, mean, line[:-1] or "-", color=color)
        axes.fill_between(time, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)


def save_figure(runs, chosen):
    with nengo_wd.plotting.style():
        figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.9))  # inches
        plot_frontier(panels[0], runs, chosen, lambda run: run.events / 1000)
        plot_frontier(panels[1], runs, chosen, lambda run: 1e6 * run.joules["loihi"])
        plot_over_time(panels[2], runs, chosen)
        panels[0].set(title="(a) what an answer costs", xlabel="synaptic events (thousands)")
        panels[1].set(title="(b) on Loihi", xlabel="energy (microjoules)")
        panels[2].set(title="(c) while a signal is shown", xlabel="presentation time (ms)")
        panels[0].set(ylabel="accuracy with spikes (%)")
        for axes in panels[:2]:
            axes.margins(x=0.08)
            axes.set(xlim=(0, None), ylim=(65, 97))
        panels[2].set(ylim=(0, 100))
        for name, accuracy in PAPER.items():
            for axes in panels:
                axes.axhline(accuracy, color="0.7", linewidth=0.7, zorder=0)
            panels[1].text(
                0.2, accuracy, f"{name}, no spikes", va="bottom", color="0.4", clip_on=True
            )
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    runs = experiment(load_splits())
    chosen = choose(runs)
    print_table(runs, chosen)
    check(runs)
    plain, regularized = compare(runs, chosen)
    if not SHORT:
        check_findings(plain, regularized)
    before, after = (mean(found, "test")[-1] for found in (plain, regularized))
    share = mean(regularized, "events") / mean(plain, "events")
    print(
        f"\nRegularized, the network answers {after:.1f}% of the test signals right with spikes, "
        f"against {before:.1f}%\nwithout, with {share:.0%} of the synaptic events."
    )
    paper = (f"{name} {accuracy}%" for name, accuracy in PAPER.items())
    print(f"Without spikes, Greydanus and Kobak report {', '.join(paper)}.")
    save_figure(runs, chosen)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
