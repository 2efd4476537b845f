"""Zeros and norms
===============

Four ways to small weights in a spiking network: what each is good for, and how many training runs
it takes to find its strength.

A network of three convolutions and a dense layer, with integrate-and-fire neurons in between,
classifies the signals of MNIST-1D, which its package generates. NengoDL trains the network for a
single time step, on firing rates and without filters. Every signal is then shown for 80 ms, and
the neurons spike. The kernels of all layers are trained with

- decay: ``w <- w - rate * decay * w`` before the gradient step. At zero, the network is plain;
- L1 penalty: ``strength * sum(abs(w))`` in the loss;
- L1 steps: the same regularizer as a proximal step;
- target norms: bounds with ``nengo_wd.target_norms.InflectionPoint``, which finds the norm of each
  kernel during training.

``nengo_wd.regularized_optimizer`` and ``nengo_wd.regularized_objective`` carry out the settings of
each network.

The first three need a strength, so each is trained with a grid of strengths. For each way, the
script chooses the strongest that costs at most two points of accuracy on a validation split, as a
mean over all seeds. If all cost more, it chooses the weakest. Target norms are trained once. The
optimizer is SGD with a momentum of 0.9. Momentum adds up a gradient to ten times itself, but not a
step, so the strengths of the steps are ten times those of the penalty.

Zeros are exact: a synapse with zero weight has no events, and ``nengo_wd.Energy`` leaves it out
with ``skip_zeros=True``. It also leaves out the signals' own values, because they are not spikes.

Run it with ``python zeros_and_norms.py``, on NengoDL 3. It takes about 10 minutes, and less than
one with ``--short``.
"""

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
    raise SystemExit("zeros_and_norms.py needs NengoDL 3")

from mnist1d.data import get_dataset_args, make_dataset

SHORT = "--short" in sys.argv  # takes seconds
SEEDS = [0] if SHORT else [0, 1, 2]
SIZES = {"train": 3500, "validation": 500, "test": 500}
GRIDS = {  # the strengths of each way, the first one plain; a target norm needs none
    "decay": [0, 0.01, 0.03, 0.1],
    "L1 penalty": [3e-4, 6e-4, 1e-3],
    "L1 steps": [3e-3, 6e-3, 1e-2],
    "target norms": [None],
}
if SHORT:
    SIZES = {"train": 1000, "validation": 100, "test": 100}
    GRIDS = {"L1 steps": [0, 2e-2], "target norms": [None]}
PLAIN = next(iter(GRIDS)), 0
N_COUNTED = 100  # signals of the test split whose synaptic events are counted
ALLOWED = 2  # points of validation accuracy that a chosen strength may cost
EPOCHS = 20 if SHORT else 30
LEARNING_RATE, MOMENTUM = 0.1, 0.9  # the rate at the beginning; it falls to zero as a cosine does
MINIBATCH_SIZE = 100
EVERY = 20  # steps of an interval in which the growth of norms is looked at
CHANNELS = 25  # of each convolution
KERNEL_SIZES = [5, 3, 3]
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
N_STEPS = 30 if SHORT else 80  # of 1 ms each, NengoDL's default: how long a signal is shown
SYNAPSE, READOUT = 0.005, 0.02  # seconds: time constants of filters, between layers and at the end
DEVICE = "loihi"
STYLES = {  # colour, line and marker
    "decay": ("C4", "--^"),
    "L1 penalty": ("C1", ":D"),
    "L1 steps": ("C0", "-o"),
    "target norms": ("C2", "s"),
}
RING = {"marker": "o", "linestyle": "", "markersize": 9, "fillstyle": "none"}
FIGURE = Path("figures/zeros_and_norms.png")
nengo_wd.Energy.register_device("events", 1, 0, spiking=True)  # which counts instead of weighing


def load_splits():
    """Return signals (n, 40) and labels (n,) of each split; validation is taken from training."""
    arguments = get_dataset_args()
    arguments.num_samples = 1500 if SHORT else 5000
    data = make_dataset(arguments)
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


def build(neuron_type, synapse, way=None):
    """Return the network; its node, layers, probes and strength are its attributes."""
    with nengo.Network(seed=0) as net:
        # each signal starts from rest; the layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        neurons = nengo_dl.Layer(neuron_type(amplitude=1 / MAX_RATE))

        # a variable, so that nothing need be built or compiled again to change it
        net.strength = tf.Variable(0.0, trainable=False)
        nengo_wd.configure_settings()
        kernels, l1 = net.config[nengo_dl.TensorNode], None
        if way == "decay":
            kernels.weight_decay = net.strength
        elif way == "target norms":
            kernels.target_norm = nengo_wd.target_norms.InflectionPoint(every=EVERY)
        elif way is not None:
            l1 = nengo_wd.regularizers.Scheduled(tf.keras.regularizers.L1(1.0), net.strength)

        net.signal = x = nengo.Node(np.zeros(40))
        net.layers, shape = [], (40, 1)
        for i, kernel_size in enumerate(KERNEL_SIZES):
            conv = nengo_wd.RegularizedConv1D(
                CHANNELS,
                kernel_size,
                strides=2,
                input_shape=shape,
                kernel_initializer="he_uniform",
                kernel_regularizer=l1,
            )
            x = neurons(nengo_dl.Layer(conv)(x, synapse=synapse if i else None))
            net.layers.append(conv)
            shape = conv.compute_output_shape((1, *shape))[1:]
        net.layers.append(nengo_wd.RegularizedDense(10, kernel_regularizer=l1))
        output = nengo_dl.Layer(net.layers[-1])(x, synapse=synapse)
        net.output = nengo.Probe(output)
        net.readout = nengo.Probe(output, synapse=READOUT)
    return net


def simulator(net, minibatch_size):
    return nengo_dl.Simulator(net, minibatch_size=minibatch_size, progress_bar=False)


def compiled(sim, net, way):
    """Compile a simulator for one of the ways, and return its optimizer."""
    n_steps = EPOCHS * SIZES["train"] // MINIBATCH_SIZE
    rate = tf.optimizers.schedules.CosineDecay(LEARNING_RATE, n_steps)
    optimizer = tf.optimizers.SGD(rate, momentum=MOMENTUM, nesterov=True)
    loss = {net.output: tf.losses.SparseCategoricalCrossentropy(from_logits=True)}
    optimizer = nengo_wd.regularized_optimizer(sim, optimizer, proximal=way == "L1 steps")
    loss = nengo_wd.regularized_objective(sim, loss)
    sim.compile(optimizer, loss=loss, steps_per_execution=5)
    return optimizer


def train(way, seed, splits):
    """Yield the weights of all layers after a training with each strength, from the same start."""
    tf.keras.utils.set_random_seed(seed)
    net = build(nengo.RectifiedLinear, None, way)
    signals, labels = splits["train"]
    data = {net.signal: signals[:, None]}, {net.output: labels[:, None, None]}
    with simulator(net, MINIBATCH_SIZE) as sim:
        optimizer = compiled(sim, net, way)
        start = sim.keras_model.get_weights()
        for strength in GRIDS[way]:
            sim.keras_model.set_weights(start)
            for variable in optimizer.variables:  # momentum and count of steps
                variable.assign(tf.zeros_like(variable))
            net.strength.assign(strength or 0)
            tf.keras.utils.set_random_seed(seed)  # of the order in which signals are shown
            sim.fit(*data, epochs=EPOCHS, verbose=0)
            yield [layer.get_weights() for layer in net.layers]


def test(sim, net, weights, splits):
    """Return the table's numbers for weights, tested with spikes."""
    for layer, arrays in zip(net.layers, weights):
        layer.set_weights(arrays)
    accuracy = {}
    for name in ("validation", "test"):
        signals, labels = splits[name]
        outputs = sim.predict({net.signal: over_time(signals)}, verbose=0)[net.readout]
        accuracy[name] = 100 * np.mean(outputs[:, -1].argmax(axis=-1) == labels)
    kernels = np.concatenate([kernel.ravel() for kernel, _ in weights])
    shown = {net.signal: over_time(splits["test"][0][:N_COUNTED])}
    energy = nengo_wd.Energy(sim, shown, skip_zeros=True)
    return SimpleNamespace(
        **accuracy,
        zeros=100 * np.mean(kernels == 0),
        tiny=100 * np.mean(np.abs(kernels) < 1e-3),
        norm=np.linalg.norm(kernels),
        events=energy.total("events", inputs=False),
        microjoules=1e6 * energy.total(DEVICE, inputs=False),
    )


def experiment(splits):
    """Return what `test` found after the trainings of each way and strength, one for each seed."""
    keys = [(way, strength) for way, grid in GRIDS.items() for strength in grid]
    runs = {key: [] for key in keys}
    progress = progressbar.ProgressBar(max_value=len(keys) * len(SEEDS), prefix="Training: ")
    net = build(nengo.SpikingRectifiedLinear, SYNAPSE)
    with simulator(net, MINIBATCH_SIZE) as sim:
        for seed in SEEDS:
            for way, grid in GRIDS.items():
                for strength, weights in zip(grid, train(way, seed, splits)):
                    runs[way, strength].append(test(sim, net, weights, splits))
                    progress.update(progress.value + 1)
    progress.finish()
    return runs


def mean(runs, name):
    """Return the mean over seeds of an attribute of the runs."""
    return np.mean([getattr(run, name) for run in runs])


def error(runs, name):
    """Return the standard error of that mean."""
    values = [getattr(run, name) for run in runs]
    return np.std(values, ddof=min(1, len(values) - 1)) / np.sqrt(len(values))


def choose(runs):
    """Return the key of each way's strongest runs that cost little accuracy, by way."""
    least = mean(runs[PLAIN], "validation") - ALLOWED
    chosen = {}
    for way, grid in GRIDS.items():
        accurate = [one for one in grid if mean(runs[way, one], "validation") >= least]
        chosen[way] = way, (accurate or grid[:1])[-1]
    return chosen


def label(key):
    way, strength = key
    if strength is None:
        return f"{way:12}    found"
    return f"{'plain' if strength == 0 else way:12} {strength:8g}"


def print_table(runs, chosen):
    print("\nAccuracy with spikes (%), shares of the kernels' weights (%), their norm, and what an")
    print(
        "answer costs. Means over seeds, and the standard error. A star is the choice of a way.\n"
    )
    print(
        "                       validation      test      exact  below        synaptic  microjoules"
    )
    print(
        "way          strength   accuracy    accuracy     zeros  0.001   norm    events  on Loihi"
    )
    for key, found in runs.items():
        star = "*" if key in chosen.values() else " "
        validation, accuracy, zeros, tiny, norm, events, microjoules = (
            mean(found, name)
            for name in ("validation", "test", "zeros", "tiny", "norm", "events", "microjoules")
        )
        row = (
            f"{label(key)} {star} {validation:8.1f}  {accuracy:6.1f} +- {error(found, 'test'):3.1f}"
        )
        print(f"{row}  {zeros:5.1f}  {tiny:5.1f}  {norm:5.1f}  {events:8.0f}  {microjoules:8.2f}")


def check(runs):
    """Raise if weights are zero without steps of L1, or none is with them."""
    for key, trained in runs.items():
        assert np.isfinite(mean(trained, "norm")), f"{label(key)}: weights are not finite"
        if key[0] != "L1 steps":
            assert mean(trained, "zeros") < 0.1, f"{label(key)} has exact zeros"
    strongest = GRIDS["L1 steps"][-1]
    assert mean(runs["L1 steps", strongest], "zeros") > 1, "steps of L1 reach no zeros"


def check_findings(runs):
    """Raise if what `main` prints is not so, allowing for noise."""
    plain, found = runs[PLAIN], runs["target norms", None]
    assert mean(found, "norm") < mean(plain, "norm"), "no target norm was found"
    noise = 4  # points, some two standard errors of the splits
    assert mean(found, "test") > mean(plain, "test") - noise, "the norms found are too small"


def tell(runs, chosen):
    """Print what the chosen runs reach, and how many trainings that took."""
    for way, key in chosen.items():
        found, strength = runs[key], "found" if key[1] is None else f"{key[1]:g}"
        print(
            f"{way}, {strength}: accuracy {mean(found, 'test'):.1f}%, "
            f"exact zeros {mean(found, 'zeros'):.1f}%, norm {mean(found, 'norm'):.1f}, "
            f"{mean(found, 'events'):.0f} synaptic events, trainings: {len(GRIDS[way])}"
        )


def plot(axes, runs, chosen, name, scale=1):
    """Plot accuracy over an attribute, a line for each way; what was chosen has a ring."""
    plain = runs[PLAIN]
    point = scale * mean(plain, name), mean(plain, "test"), error(plain, "test")
    axes.errorbar(*point, fmt="X", color="black", markersize=4, label="none", zorder=9)
    for way in GRIDS:
        (color, line), keys = STYLES[way], [key for key in runs if key[0] == way]
        x = [scale * mean(runs[key], name) for key in keys]
        y = [mean(runs[key], "test") for key in keys]
        errors = [error(runs[key], "test") for key in keys]
        axes.errorbar(x, y, errors, fmt=line, color=color, markersize=3.5, label=way)
        best = keys.index(chosen[way])
        axes.plot(x[best], y[best], **RING, color=color)


def save_figure(runs, chosen):
    with nengo_wd.plotting.style():
        figure, panels = plt.subplots(1, 3, figsize=(7.2, 2.9), sharey=True)  # inches
        plot(panels[0], runs, chosen, "zeros")
        plot(panels[1], runs, chosen, "events", 1 / 1000)
        plot(panels[2], runs, chosen, "norm")
        panels[0].set(title="(a) exact zeros", xlabel="share of the weights (%)")
        panels[1].set(title="(b) what an answer costs", xlabel="synaptic events (thousands)")
        panels[2].set(title="(c) size", xlabel="norm of all kernels")
        panels[0].set(ylabel="accuracy with spikes (%)")
        for axes in panels[1:]:
            axes.set_xlim(left=0)
        panels[0].plot([], **RING, color="0.4", label="chosen on validation")
        ring, *others = panels[0].get_legend_handles_labels()[0]
        title = f"means of {len(SEEDS)} seeds; bars are standard errors"
        legend = {"loc": "outside upper center", "ncols": 6, "title": title}
        figure.legend(handles=[*others, ring], **legend)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    runs = experiment(load_splits())
    chosen = choose(runs)
    print_table(runs, chosen)
    check(runs)
    if not SHORT:
        check_findings(runs)
    print("\nThe choices:")
    tell(runs, chosen)
    save_figure(runs, chosen)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
