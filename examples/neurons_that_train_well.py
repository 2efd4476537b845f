"""Neurons that train well
=======================

Which neurons lose accuracy when they spike, and which settings keep it.

NengoDL trains networks on firing rates, and then they spike. How much of their accuracy is left
depends on the neurons. Two experiments show it, each with five seeds.

The first uses the network of ``accuracy_for_energy.py``: three convolutions classify the signals of
MNIST-1D. All its neurons have the same gain (maximal rates of 100 Hz, intercepts of 0). The slope
of a LIF neuron's rate is unbounded at the threshold: the rate leaves zero like ``-1 / log(x)``.
With ``nengo_dl.configure_settings(lif_smoothing=...)``, NengoDL trains on a rate with a finite
slope. The script compares LIF neurons as they come, smoothed LIF neurons, and integrate-and-fire
neurons, whose slope is one. It trains each of them plainly, with rate targets, and with rate
targets and decay.

The second is what a new user would write: scikit-learn's digits, and two layers of
``nengo_dl.Layer(nengo.LIF(amplitude=0.01))`` between layers of weights. Nengo draws the intercepts
of neurons from -1 to 0.9, and their maximal rates from 200 to 400 Hz. That suits ensembles that
represent a value. Here each neuron has its own weights, and a gain from 3 to 395 multiplies its
input. Then the same network gets equal gains: 2 for maximal rates of 100 Hz and intercepts of 0.

All signals and images are shown for 100 ms. The answer is the largest element of the output behind
a filter of 20 ms.

Run it with ``python neurons_that_train_well.py``, on NengoDL 3. It takes about 10 minutes, and less
than one with ``--short``.
"""

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("neurons_that_train_well.py needs NengoDL 3")

import accuracy_for_energy as mnist1d

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [0, 1, 2, 3, 4]
N_STEPS = 20 if SHORT else 100  # of 1 ms each, NengoDL's default: how long an input is shown
SMOOTHING = 0.02  # of LIF, over the current at the threshold
READOUT = 0.02  # seconds, the time constant of the filter on the output

KINDS = {  # neurons, and what smooths them
    "LIF": (nengo.LIF, None),
    "LIF, smoothed": (nengo.LIF, SMOOTHING),
    "integrate-and-fire": (nengo.SpikingRectifiedLinear, None),
}
TRAININGS = {  # decay, and the strength of rate targets, per Hz
    "plain": (0, 0),
    "rate targets": (0, 3e-3),
    "and decay": (0.1, 3e-3),
}
ONE_GAIN = {"max_rates": 100, "intercepts": 0}
NETWORKS = {  # of digits: what all neurons have, and the smoothing
    "as they come": ({}, None),
    "as they come, smoothed": ({}, SMOOTHING),
    "intercepts 0": ({"intercepts": 0}, None),
    "max_rates 200": ({"max_rates": 200}, None),
    "max_rates 200, intercepts 0": ({"max_rates": 200, "intercepts": 0}, None),
    "max_rates 100, intercepts 0": (ONE_GAIN, None),
    "the same, smoothed": (ONE_GAIN, SMOOTHING),
}
if SHORT:
    KINDS = {"LIF, smoothed": KINDS["LIF, smoothed"]}
    TRAININGS = {"rate targets": TRAININGS["rate targets"]}
    NETWORKS = {name: NETWORKS[name] for name in ("as they come", "the same, smoothed")}
UNITS = [128, 64]  # of the layers of LIF neurons between those of weights
SPLITS = {"train": 1300, "test": 450}  # digits; 47 are left over
EPOCHS = {"signals": 3 if SHORT else 40, "digits": 3 if SHORT else 30}
MINIBATCH_SIZE = {"signals": 100, "digits": 50}
ACCURACIES = ["rates", "spikes"]
FIGURE = Path("figures/neurons_that_train_well.png")
nengo_wd.Energy.register_device("events", 1, 0, spiking=True)  # which counts instead of weighing
warnings.filterwarnings("ignore", "neurons with random gains")  # which are the point here


def load_images():
    """Return images (n, 64), scaled to 0..1, and labels (n,) of each split."""
    images, labels = load_digits(return_X_y=True)
    sizes = {f"{name}_size": size for name, size in SPLITS.items()}
    parts = train_test_split(images / 16, labels, stratify=labels, random_state=0, **sizes)
    return dict(zip(SPLITS, (parts[::2], parts[1::2])))


def network_of_signals(neuron_type, smoothing, synapse=None, rates=False):
    """Return the network of ``accuracy_for_energy.py``; with ``rates``, it never spikes."""
    net = mnist1d.build(neuron_type, synapse)
    net.inputs = net.signal
    return configured(net, smoothing, rates)


def network_of_digits(seed, neurons, smoothing, rates=False):
    """Return a network of two layers of LIF neurons; with ``rates``, it never spikes."""
    with nengo.Network(seed=seed) as net:
        nengo_dl.configure_settings(stateful=False)
        for name, value in neurons.items():
            setattr(net.config[nengo.Ensemble], name, nengo.dists.Choice([value]))
        net.inputs = x = nengo.Node(np.zeros(64))
        net.layers = []
        for units in [*UNITS, 10]:
            x = nengo_dl.Layer(nengo.LIF(amplitude=0.01))(x) if net.layers else x
            net.layers.append(nengo_wd.RegularizedDense(units, kernel_regularizer=None))
            x = nengo_dl.Layer(net.layers[-1])(x)
        net.output = nengo.Probe(x)
        net.readout = nengo.Probe(x, synapse=READOUT)
    return configured(net, smoothing, rates)


def configured(net, smoothing, rates):
    """Return the network, with explicit smoothing, so that there is no warning."""
    with net:
        nengo_dl.configure_settings(lif_smoothing=smoothing)
        nengo_dl.configure_settings(learning_phase=True if rates else None)
    return net


def simulator(net, minibatch_size):
    return nengo_dl.Simulator(net, minibatch_size=minibatch_size, progress_bar=False)


def compile_for_training(sim, net, learning_rate):
    """Train a simulator with Adam and the settings, and return the optimizer."""
    optimizer = nengo_wd.regularized_optimizer(sim, tf.optimizers.Adam(learning_rate))
    loss = tf.losses.SparseCategoricalCrossentropy(from_logits=True)
    objective = nengo_wd.regularized_objective(sim, {net.output: loss})
    sim.compile(optimizer, loss=objective, steps_per_execution=5)
    return optimizer


def fit(sim, net, data, epochs):
    inputs, labels = data
    targets = {net.output: labels[:, None, None]}
    sim.fit({net.inputs: inputs[:, None]}, targets, epochs=epochs, verbose=0)


def accuracy(sim, net, probe, data, n_steps):
    """Return the percentage of right answers after ``n_steps`` time steps."""
    inputs, labels = data
    shown = {net.inputs: np.tile(inputs[:, None], (1, n_steps, 1))}
    return 100 * np.mean(sim.predict(shown, verbose=0)[probe][:, -1].argmax(axis=-1) == labels)


def trained_on_signals(kind, splits, seed):
    """Yield the training, the weights of all layers and the accuracy on rates."""
    neuron_type, smoothing = KINDS[kind]
    tf.keras.utils.set_random_seed(seed)
    net = network_of_signals(neuron_type, smoothing, rates=True)
    size, epochs = MINIBATCH_SIZE["signals"], EPOCHS["signals"]
    falling = tf.optimizers.schedules.CosineDecay(5e-3, epochs * len(splits["train"][0]) // size)
    with simulator(net, size) as sim:
        optimizer = compile_for_training(sim, net, falling)
        start = sim.keras_model.get_weights()
        for name, (decay, strength) in TRAININGS.items():
            sim.keras_model.set_weights(start)
            for variable in optimizer.variables:  # Adam's moments and its count of steps
                variable.assign(tf.zeros_like(variable))
            net.decay.assign(decay)
            net.strength.assign(strength)
            fit(sim, net, splits["train"], epochs)
            on_rates = accuracy(sim, net, net.output, splits["test"], 1)
            yield name, [layer.get_weights() for layer in net.layers], on_rates


def on_signals(progress):
    """Return the runs, one for each seed, by kind of neurons and training."""
    splits = mnist1d.load_splits()
    runs = {(kind, training): [] for kind in KINDS for training in TRAININGS}
    for kind in KINDS:
        net = network_of_signals(*KINDS[kind], mnist1d.SYNAPSE)
        with simulator(net, MINIBATCH_SIZE["signals"]) as sim:
            for seed in SEEDS:
                for training, weights, on_rates in trained_on_signals(kind, splits, seed):
                    for layer, arrays in zip(net.layers, weights):
                        layer.set_weights(arrays)
                    with_spikes = accuracy(sim, net, net.readout, splits["test"], N_STEPS)
                    events = count_events(sim, net, splits["test"])
                    run = SimpleNamespace(rates=on_rates, spikes=with_spikes, events=events)
                    runs[kind, training].append(run)
                    progress.update(progress.value + 1)
    return runs


def count_events(sim, net, data):
    """Return the synaptic events of an answer, without those of the input."""
    shown = {net.inputs: np.tile(data[0][:, None], (1, N_STEPS, 1))}
    return nengo_wd.Energy(sim, shown).total("events", inputs=False)


def on_digits(progress):
    """Return the runs, one for each seed, by the name of the network."""
    splits, runs = load_images(), {name: [] for name in NETWORKS}
    size = MINIBATCH_SIZE["digits"]
    for name, arguments in NETWORKS.items():
        for seed in SEEDS:
            tf.keras.utils.set_random_seed(seed)
            net = network_of_digits(seed, *arguments, rates=True)
            with simulator(net, size) as sim:
                compile_for_training(sim, net, 1e-3)
                fit(sim, net, splits["train"], EPOCHS["digits"])
                on_rates = accuracy(sim, net, net.output, splits["test"], 1)
                weights = sim.keras_model.get_weights()
            spiking = network_of_digits(seed, *arguments)
            with simulator(spiking, size) as sim:
                sim.keras_model.set_weights(weights)
                with_spikes = accuracy(sim, spiking, spiking.readout, splits["test"], N_STEPS)
            runs[name].append(SimpleNamespace(rates=on_rates, spikes=with_spikes))
            progress.update(progress.value + 1)
    return runs


def summary(runs, name):
    """Return the mean of an attribute over seeds, and its standard error."""
    values = [getattr(run, name) for run in runs]
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return np.mean(values), error


def row(name, runs):
    on_rates, with_spikes = ("{:5.1f} +- {:3.1f}".format(*summary(runs, a)) for a in ACCURACIES)
    return f"{name:34}  {on_rates}  {with_spikes}"


def print_tables(signals, digits):
    heads = f"{'on rates':>14}  {'with spikes':>12}"
    print(f"\nAccuracy (%) on rates and with spikes after {N_STEPS} ms, and synaptic events.")
    print("Means over seeds, and the standard error.\n")
    print(f"{'MNIST-1D: neurons and training':34}{heads}  {'events':>9}")
    for (kind, training), runs in signals.items():
        print(f"{row(f'{kind:20}{training}', runs)}  {summary(runs, 'events')[0]:9.0f}")
    print(f"\n{'digits: max_rates, intercepts':34}{heads}")
    for name, runs in digits.items():
        print(row(name, runs))


def rates(currents, smoothing=None):
    """Return firing rates (Hz) of LIF neurons; the current at the threshold is 1.

    With a smoothing ``s``, the current above the threshold, ``x = current - 1``, becomes
    ``s * log(1 + exp(x / s))``, as in Hunsberger and Eliasmith ("Training spiking deep
    networks for neuromorphic hardware", 2016).
    """
    lif, above = nengo.LIF(), np.asarray(currents) - 1
    if smoothing is not None:
        above = smoothing * np.logaddexp(0, above / smoothing)
    above = np.maximum(above, 1e-12)
    return 1 / (lif.tau_ref + lif.tau_rc * np.log1p(1 / above))


def check(runs):
    """Check NengoDL's smoothed rates against the formula, and accuracies against their bounds."""
    currents = np.linspace(0.9, 3, 50)
    theirs = nengo_dl.SoftLIFRate(sigma=SMOOTHING).rates(currents, 1, 0)
    assert np.allclose(np.ravel(theirs), rates(currents, SMOOTHING), rtol=1e-5), "other rates"
    for run in runs:
        found = np.array([run.rates, run.spikes])
        assert np.all((found >= 0) & (found <= 100)), "no accuracies"


def check_findings(signals, digits):
    """Raise if the tables contradict what `main` prints."""
    for training in TRAININGS:
        before, after = (summary(signals[k, training], "spikes") for k in list(KINDS)[:2])
        assert after[0] > before[0] + 5, "smoothing gains less than five points"
    before, after = (
        summary(digits[name], "spikes")[0]
        for name in ("as they come", "max_rates 100, intercepts 0")
    )
    assert after > before + 10, "gains that are alike gain less than ten points"
    on_rates = [summary(runs, "rates")[0] for runs in digits.values()]
    assert max(on_rates) - min(on_rates) < 5, "on rates, the networks differ as well"


def plot_slopes(axes):
    currents = np.linspace(0.8, 1.6, 2001)
    for label, smoothing, style in (("as it comes", None, "C6-"), ("smoothed", SMOOTHING, "C0--")):
        slopes = np.gradient(rates(currents, smoothing), currents)
        axes.plot(currents, slopes, style, label=label)
    axes.set(title="(a) slope of LIF's rate", xlabel="current", ylim=(0, 1000))
    axes.set_ylabel("Hz for each unit of current")
    axes.legend()


def plot_accuracies(axes, runs, title):
    """Draw the accuracy on rates as an open circle, and that with spikes as a bar."""
    places = np.arange(len(runs))[::-1]
    means, errors = np.transpose([summary(found, "spikes") for found in runs.values()])
    axes.barh(places, means, 0.6, xerr=errors, color="C0", alpha=0.6, label="with spikes")
    on_rates = [summary(found, "rates")[0] for found in runs.values()]
    axes.plot(on_rates, places, "o", color="k", fillstyle="none", label="on rates")
    axes.set_yticks(places, runs, fontsize=7)
    axes.set(title=title, xlabel="accuracy (%)", xlim=(0, 105))


def save_figure(signals, digits):
    signals = {f"{kind}\n{training}": runs for (kind, training), runs in signals.items()}
    with nengo_wd.plotting.style():
        figure, panels = plt.subplots(1, 3, figsize=(9.6, 3.6))  # inches
        plot_slopes(panels[0])
        plot_accuracies(panels[1], signals, "(b) MNIST-1D")
        plot_accuracies(panels[2], digits, "(c) digits, LIF")
        title = f"means of {len(SEEDS)} seeds; lines are standard errors with spikes"
        legend = {"loc": "outside upper center", "ncols": 2, "title": title}
        figure.legend(*panels[2].get_legend_handles_labels(), **legend)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    total = len(SEEDS) * (len(KINDS) * len(TRAININGS) + len(NETWORKS))
    progress = progressbar.ProgressBar(max_value=total, prefix="Training: ")
    signals, digits = on_signals(progress), on_digits(progress)
    progress.finish()
    print_tables(signals, digits)
    check([run for runs in (*signals.values(), *digits.values()) for run in runs])
    if not SHORT:
        check_findings(signals, digits)
    first, *_, last = (summary(runs, "spikes")[0] for runs in digits.values())
    print(
        "\nWith gains that are alike and a smooth slope, two layers of LIF neurons read "
        f"{last:.1f}% of the\ndigits with spikes, instead of {first:.1f}%."
    )
    save_figure(signals, digits)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
