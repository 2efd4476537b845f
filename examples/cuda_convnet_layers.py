"""CUDA-ConvNet's layer parameters
===============================

CUDA-ConvNet (Alex Krizhevsky, 2012) reads training settings from a file of layer parameters. Each
layer has learning rates for weights and biases (``epsW``, ``epsB``), momenta (``momW``, ``momB``)
and a weight decay (``wc``). A step of training is::

    increment <- mom * increment - eps * gradient - wc * eps * w
    w <- w + increment

The gradient is that of the mean loss of a minibatch. So ``wc`` is the lambda of a penalty of
``lambda * sum(w ** 2) / 2``. It goes through the momentum, and is not decoupled. Biases have no
decay.

The script applies such a file, ``cuda_convnet_layers.cfg``, to a convolutional network of spiking
neurons. The file's parameters become settings on the connections and neurons, and
`nengo_wd.LayerwiseSGD` trains the network on scikit-learn's digits. Two of the three layers have a
decay. The convolutional layers have a bias for every neuron, as with CUDA-ConvNet's
``sharedBiases=0``.

The script compares the first steps of training with the rule, written out in NumPy. Every layer has
to follow it with its own parameters, not with those of another layer. The gradients come from steps
of plain SGD, from the same weights.

The network is then trained with the file and, for comparison, with every ``wc`` at 0, from several
initial weights. Decay has to make the weights smaller in the layers that have it. The weights of
the layer without decay grow instead. NengoDL trains on the neurons' firing rates, and the accuracy
of the rates on test images is about the same with and without decay. Spikes lower the accuracy,
much more without decay. We measured this for this network; it is not a rule.

Run it with ``python cuda_convnet_layers.py``, on NengoDL 3. It takes seconds with ``--short``.
"""

import configparser
import sys
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
    raise SystemExit("cuda_convnet_layers.py needs NengoDL 3")

SHORT = "--short" in sys.argv  # takes seconds
LAYER_PARAMS = Path(__file__).with_suffix(".cfg")
LAYERS = ("conv1", "conv2", "fc10")
MINIBATCH_SIZE = 50
SPLITS = {"train_size": 1000, "test_size": 250 if SHORT else 750}  # multiples of the minibatch size
EPOCHS = 8 if SHORT else 60
SEEDS = range(1 if SHORT else 3)  # of the initial weights
CHECKED_STEPS = 5
SPLIT_SEED = 0
MAX_RATE = 200  # Hz, the firing rate of a neuron whose input is 1
LIF_SMOOTHING = 0.1  # of the firing rate at its threshold, where the gradient has no bound
N_STEPS = 50  # of 1 ms each, NengoDL's default: how long an image is shown in a test
SYNAPSE = 0.02  # seconds, the time constant of the filter on the output
STYLES = {"without": "C1--", "with": "C0-"}
FIGURE = Path("figures/cuda_convnet_layers.png")


def read_layer_params():
    """Return the parameters of each layer of the network, by their names in the file."""
    parser = configparser.ConfigParser()
    parser.optionxform = str  # names keep their capitals
    parser.read_string(LAYER_PARAMS.read_text(encoding="utf-8"))
    return {
        layer: {name: float(value) for name, value in parser[layer].items()} for layer in LAYERS
    }


def load_splits():
    """Return images (n, 1, 64), scaled to 0..1, and labels (n, 1, 1), to train on and to test."""
    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(
        images / 16, labels, stratify=labels, random_state=SPLIT_SEED, **SPLITS
    )
    images, labels = parts[:2], parts[2:]
    return [(x[:, None, :], y[:, None, None]) for x, y in zip(images, labels)]


def build(layer_params, seed=0, neuron_type=nengo.LIF, dtype="float32"):
    """Return the network, with its settings; its objects are its attributes."""
    with nengo.Network(seed=seed) as net:
        # each image starts from rest
        nengo_dl.configure_settings(stateful=False, lif_smoothing=LIF_SMOOTHING, dtype=dtype)
        nengo_wd.configure_settings()
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        net.config[nengo.Ensemble].neuron_type = neuron_type(amplitude=1 / MAX_RATE)
        net.config[nengo.Connection].synapse = None

        net.pixels, output, one = nengo.Node(np.zeros(64)), nengo.Node(size_in=10), nengo.Node([1])
        glorot = nengo_dl.dists.Glorot()
        conv1 = nengo.Convolution(8, (8, 8, 1), init=glorot)
        conv2 = nengo.Convolution(16, conv1.output_shape, strides=(2, 2), init=glorot)
        neurons1, neurons2 = (
            nengo.Ensemble(conv.output_shape.size, 1).neurons for conv in (conv1, conv2)
        )
        net.weights = {
            "conv1": nengo.Connection(net.pixels, neurons1, transform=conv1),
            "conv2": nengo.Connection(neurons1, neurons2, transform=conv2),
            "fc10": nengo.Connection(neurons2, output, transform=glorot),
        }
        zeros = nengo.Connection(one, output, transform=np.zeros((10, 1)))
        net.biases = {"conv1": neurons1, "conv2": neurons2, "fc10": zeros}
        net.output = nengo.Probe(output)
        net.readout = nengo.Probe(output, synapse=SYNAPSE)
    carry_over(layer_params, net)
    return net


def carry_over(layer_params, net):
    """Make CUDA-ConvNet's parameters the settings of weights and biases."""
    for layer, params in layer_params.items():
        weights, biases = net.config[net.weights[layer]], net.config[net.biases[layer]]
        weights.learning_rate, biases.learning_rate = params["epsW"], params["epsB"]
        weights.momentum, biases.momentum = params["momW"], params["momB"]
        weights.weight_decay = params["wc"]


def simulator(net):
    return nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False)


def compile_with(sim, net, optimizer):
    crossentropy = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sim.compile(optimizer, loss={net.output: crossentropy})


def values(sim, net):
    """Return weights and biases of every layer, by names such as ``"conv1 W"``."""
    weights = {f"{layer} W": sim.data[obj].weights for layer, obj in net.weights.items()}
    biases = {f"{layer} B": bias_values(sim, obj) for layer, obj in net.biases.items()}
    return {**weights, **biases}


def bias_values(sim, obj):
    """Return biases, those of neurons or those on a connection from a constant."""
    if isinstance(obj, nengo.Connection):
        return sim.data[obj].weights
    return sim.data[obj.ensemble].bias


def record_steps(layer_params, images, labels):
    """Return values (steps + 1, ...) and gradients (steps, ...), for the first steps of training.

    A gradient is what a step of plain SGD with a learning rate of 1 subtracts.
    """
    net = build(layer_params, dtype="float64")
    trajectory, gradients = [], []
    with simulator(net) as sim, simulator(net) as plain:
        compile_with(sim, net, nengo_wd.LayerwiseSGD(sim))
        compile_with(plain, net, tf.keras.optimizers.SGD(1.0))
        for start in range(0, CHECKED_STEPS * MINIBATCH_SIZE, MINIBATCH_SIZE):
            batch = slice(start, start + MINIBATCH_SIZE)
            data = {net.pixels: images[batch]}, {net.output: labels[batch]}
            before = values(sim, net)
            plain.keras_model.set_weights(sim.keras_model.get_weights())
            plain.fit(*data, verbose=0)
            sim.fit(*data, verbose=0)
            trajectory.append(before)
            gradients.append({k: before[k] - after for k, after in values(plain, net).items()})
        trajectory.append(values(sim, net))
    return stacked(trajectory), stacked(gradients)


def stacked(dicts):
    return {name: np.array([each[name] for each in dicts]) for name in dicts[0]}


def deviation(values, gradients, eps, mom, wc):
    """Return how far steps are from CUDA-ConvNet's rule, over the largest change in one step."""
    increment, deviations = np.zeros_like(values[0]), []
    for w, gradient, after in zip(values, gradients, values[1:]):
        increment = mom * increment - eps * gradient - wc * eps * w
        deviations.append(np.abs(w + increment - after).max())
    return max(deviations) / np.abs(np.diff(values, axis=0)).max()


def rule(params, kind):
    """Return learning rate, momentum and decay of weights, ``"W"``, or biases, ``"B"``."""
    return params[f"eps{kind}"], params[f"mom{kind}"], params["wc"] if kind == "W" else 0


def check_rule(layer_params):
    """Check the first steps against the rule, with a layer's own and with others' parameters."""
    values, gradients = record_steps(layer_params, *load_splits()[0])
    print(f"The first {CHECKED_STEPS} steps, against the rule in NumPy")
    print("layer      eps   mom     wc   deviation   with another layer's parameters")
    for name in values:
        layer, kind = name.split()
        recorded = values[name], gradients[name]
        own, *others = (
            deviation(*recorded, *rule(layer_params[other], kind))
            for other in sorted(LAYERS, key=lambda other: other != layer)
        )
        eps, mom, wc = rule(layer_params[layer], kind)
        print(f"{name}  {eps:6g}  {mom:4g}  {wc:5g}   {own:9.1e}   {min(others):31.2f}")
        assert own < 1e-9, f"{name} does not follow the rule"  # float64, and gradients from it
        assert min(others) > 0.1, f"{name} follows another layer's parameters as well"
        noticed = wc == 0 or deviation(*recorded, eps, mom, wc=0) > 1e-3
        assert noticed, f"{name} follows the rule without wc as well"


def accuracy(sim, net, images, labels):
    """Return the share of right answers after ``N_STEPS`` time steps."""
    shown = np.tile(images, (1, N_STEPS, 1))
    outputs = sim.predict({net.pixels: shown}, verbose=0)[net.readout]
    return np.mean(outputs[:, -1].argmax(axis=-1) == labels[:, 0, 0])


def accuracy_on_rates(layer_params, weights, images, labels):
    """Return the share of right answers of a network of neurons that do not spike."""
    net = build(layer_params, neuron_type=nengo.LIFRate)
    with simulator(net) as sim:
        sim.keras_model.set_weights(weights)
        return accuracy(sim, net, images, labels)


def experiment(layer_params, seed):
    """Return norms before training and after every epoch, and accuracies on test images."""
    net, (train, test) = build(layer_params, seed), load_splits()
    tf.keras.utils.set_random_seed(seed)
    with simulator(net) as sim:
        compile_with(sim, net, nengo_wd.LayerwiseSGD(sim))
        recorded = nengo_wd.WeightNorms(sim, objects=list(net.weights.values()))
        data = {net.pixels: train[0]}, {net.output: train[1]}
        sim.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[recorded])
        weights = sim.keras_model.get_weights()
        return SimpleNamespace(
            norms=dict(zip(LAYERS, recorded.norms.T)),
            rates=accuracy_on_rates(layer_params, weights, *test),
            spikes=accuracy(sim, net, *test),
        )


def without_decay(layer_params):
    return {layer: {**params, "wc": 0.0} for layer, params in layer_params.items()}


def print_table(runs):
    print("\n" + " " * 11 + "test accuracy on          norms of the weights")
    print("wc       rates   spikes        " + "   ".join(f"{layer:>6}" for layer in LAYERS))
    for name, seeds in runs.items():
        for run in seeds:
            cells = "   ".join(f"{run.norms[layer][-1]:6.2f}" for layer in LAYERS)
            print(f"{name:7} {run.rates:6.1%}   {run.spikes:6.1%}        {cells}")


def loss_with_spikes(runs):
    """Return by how many points the accuracy falls from rates to spikes, on average."""
    return 100 * np.mean([run.rates - run.spikes for run in runs])


def check(runs):
    for seeds in runs.values():
        for run in seeds:
            assert np.isfinite(list(run.norms.values())).all(), "weights are not finite"
    without, decayed = (seeds[0].norms for seeds in runs.values())
    for layer in LAYERS:
        assert np.isclose(without[layer][0], decayed[layer][0]), "other weights at the start"


def check_findings(runs, layer_params):
    for without, decayed in zip(runs["without"], runs["with"]):
        for layer in LAYERS:
            if layer_params[layer]["wc"] > 0:
                smaller = decayed.norms[layer][-1] < without.norms[layer][-1]
                assert smaller, f"the weights of {layer} are not smaller with decay"
    more = loss_with_spikes(runs["without"]) > loss_with_spikes(runs["with"])
    assert more, "spikes do not cost more accuracy without decay"


def plot_norms(axes, runs, layer):
    for name, seeds in runs.items():
        for run in seeds:
            axes.plot(run.norms[layer], STYLES[name], linewidth=1)
    axes.set(xlabel="epoch")


def plot_accuracy(axes, runs):
    """Plot a line for every run, from its accuracy on rates to that with spikes."""
    for name, seeds in runs.items():
        for i, run in enumerate(seeds):
            label = f"{name} decay" if i == 0 else None
            accuracies = [100 * run.rates, 100 * run.spikes]
            axes.plot(accuracies, STYLES[name], marker="o", markersize=3, label=label)
    axes.set_xticks([0, 1], ["on rates", "with spikes"])
    axes.set(xlim=(-0.4, 1.4), ylim=(80, 100), ylabel="test accuracy (%)", title="(d) accuracy")


def save_figure(runs, layer_params):
    with nengo_wd.plotting.style():
        figure, (*panels, last) = plt.subplots(1, len(LAYERS) + 1, figsize=(7.2, 2.8))  # inches
        for letter, axes, layer in zip("abc", panels, LAYERS):
            plot_norms(axes, runs, layer)
            learning_rate, wc = layer_params[layer]["epsW"], layer_params[layer]["wc"]
            decay = f"decay {wc:g}" if wc else "never decays"
            axes.set(title=f"({letter}) {layer}\nlearning rate {learning_rate:g}\n{decay}")
            axes.set_ylim(0, 14)
        panels[0].set_ylabel("norm of the weights")
        plot_accuracy(last, runs)
        n_seeds = f"a line for each of {len(SEEDS)} initial weights"
        figure.legend(loc="outside upper center", ncols=2, handlelength=3, title=n_seeds)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    layer_params = read_layer_params()
    check_rule(layer_params)
    variants = {"without": without_decay(layer_params), "with": layer_params}
    runs = {name: [] for name in variants}
    for seed in progressbar.progressbar(SEEDS, prefix="Training: "):
        for name, params in variants.items():
            runs[name].append(experiment(params, seed))
    print_table(runs)
    check(runs)
    if not SHORT:
        check_findings(runs, layer_params)
    without, decayed = (loss_with_spikes(seeds) for seeds in runs.values())
    print(
        f"\nFrom rates to spikes, the accuracy falls by {without:.1f} points without decay and by "
        f"{decayed:.1f} with it."
    )
    save_figure(runs, layer_params)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
