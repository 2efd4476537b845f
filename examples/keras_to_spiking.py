"""Converting a Keras model
========================

A convolutional network with L2 penalties, from Keras to spiking neurons.

A small Keras model learns scikit-learn's digits, images of 8 by 8 pixels. Each of its layers has an
L2 penalty of ``strength * sum(w ** 2)`` on its kernel. ``nengo_wd.Converter`` turns the model into
a native Nengo network. Kernels become the weights of connections, and regularizers become settings
on these connections. NengoDL continues the training. It minimizes the same loss as Keras: the
cross-entropy plus each penalty, once. Spiking neurons then take over, and see every image for 80
ms.

Run it with ``python keras_to_spiking.py``, on NengoDL 3. It takes seconds with ``--short``.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("keras_to_spiking.py needs NengoDL 3")

SHORT = "--short" in sys.argv  # takes seconds
SEED = 0
MINIBATCH_SIZE = 50
SPLITS = {"train_size": 1000, "test_size": 250 if SHORT else 750}  # multiples of the minibatch size
STRENGTH = 3e-3  # of the L2 penalties
LEARNING_RATE = 0.002
EPOCHS = 5 if SHORT else 20  # in Keras, and as many in NengoDL
LOSS = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
MAX_RATE = 100  # Hz, the firing rate of a neuron whose output is 1
SYNAPSE = 0.01  # seconds, the time constant of the filters on the spikes
N_STEPS = 80  # of 1 ms each, NengoDL's default
FIGURE = Path("figures/keras_to_spiking.png")


def load_splits():
    """Return images (n, 8, 8, 1), scaled to 0..1, and labels (n,), to train on and to test."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape((-1, 8, 8, 1)) / 16
    parts = train_test_split(images, labels, stratify=labels, random_state=SEED, **SPLITS)
    return parts[::2], parts[1::2]


def build_model():
    """Return a Keras model from images to logits."""
    l2 = tf.keras.regularizers.L2(STRENGTH)
    conv = {"kernel_size": 3, "activation": tf.nn.relu, "kernel_regularizer": l2}
    x = image = tf.keras.Input((8, 8, 1))
    x = tf.keras.layers.Conv2D(16, name="conv1", **conv)(x)
    x = tf.keras.layers.Conv2D(32, name="conv2", strides=2, **conv)(x)
    x = tf.keras.layers.Flatten()(x)
    x = tf.keras.layers.Dense(10, name="readout", kernel_regularizer=l2)(x)
    return tf.keras.Model(image, x)


def convert(model, **kwargs):
    """Return the network, its input and its probe; all weights are those of native objects."""
    # scaled even where neurons do not spike, so that spiking neurons can take the biases over
    kwargs.update(allow_fallback=False, scale_firing_rates=MAX_RATE)
    converter = nengo_wd.Converter(model, **kwargs)
    return converter.net, converter.inputs[model.input], converter.outputs[model.output]


def simulator(net):
    return nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, seed=SEED, progress_bar=False)


def over_time(images, n_steps=1):
    """Return the output of the input node: every image, constant for ``n_steps``."""
    return np.tile(images.reshape((len(images), 1, -1)), (1, n_steps, 1))


def recorder(penalty):
    """Return a callback; its ``curve`` has loss and penalty after every epoch."""
    callback = tf.keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: callback.curve.append((logs["loss"], penalty()))
    )
    callback.curve = []
    return callback


def in_keras(train, test):
    """Return the trained model, and how it does."""
    model = build_model()
    recorded = recorder(lambda: float(sum(model.losses)))
    model.compile(tf.optimizers.Adam(LEARNING_RATE), loss=LOSS)
    model.fit(*train, MINIBATCH_SIZE, EPOCHS, verbose=0, callbacks=[recorded])
    return model, SimpleNamespace(
        accuracy=[np.mean(model.predict(test[0], verbose=0).argmax(axis=-1) == test[1])],
        penalty=float(sum(model.losses)),
        norms=[np.linalg.norm(kernel) for kernel in model.get_weights()[::2]],
        loss=model.evaluate(*test, MINIBATCH_SIZE, verbose=0),
        curve=recorded.curve,
    )


def in_nengo(sim, net, node, probe, test, n_steps=1):
    """Return how a simulated network does: the accuracy at each time step, penalty and norms."""
    images, labels = test
    outputs = sim.predict({node: over_time(images, n_steps)}, verbose=0)[probe]
    regularized = [c for c in net.connections if net.config[c].regularizer is not None]
    return SimpleNamespace(
        accuracy=np.mean(outputs.argmax(axis=-1) == labels[:, None], axis=0),
        penalty=nengo_wd.regularization_loss(sim),
        norms=[np.linalg.norm(sim.data[connection].weights) for connection in regularized],
    )


def train_further(sim, node, probe, train, test):
    """Train in NengoDL; return the curve, and the loss on the test split beforehand."""
    train, test = (
        ({node: over_time(images)}, {probe: labels[:, None, None]})
        for images, labels in (train, test)
    )
    recorded = recorder(lambda: nengo_wd.regularization_loss(sim))
    objective = nengo_wd.regularized_objective(sim, {probe: LOSS})
    sim.compile(tf.optimizers.Adam(LEARNING_RATE), loss=objective)
    loss = sim.evaluate(*test, verbose=0)["loss"]
    sim.fit(*train, epochs=EPOCHS, verbose=0, callbacks=[recorded])
    return recorded.curve, loss


def experiment():
    """Return the results of every stage."""
    train, test = load_splits()
    model, keras = in_keras(train, test)
    net, node, probe = convert(model)
    with simulator(net) as sim:
        converted = in_nengo(sim, net, node, probe, test)
        curve, converted.loss = train_further(sim, node, probe, train, test)
        further = in_nengo(sim, net, node, probe, test)
        further.curve = curve
        params = sim.keras_model.get_weights()

    spiking = {tf.nn.relu: nengo.SpikingRectifiedLinear()}
    net, node, probe = convert(model, swap_activations=spiking, synapse=SYNAPSE)
    with simulator(net) as sim:
        sim.keras_model.set_weights(params)
        spikes = in_nengo(sim, net, node, probe, test, N_STEPS)
    names = ["Keras", "converted", "trained further", "with spikes"]
    return dict(zip(names, [keras, converted, further, spikes]))


def print_table(stages):
    print("\n" + " " * 38 + "norms of the kernels")
    print("stage            accuracy   penalty   conv1   conv2  readout")
    for name, stage in stages.items():
        norms = "   ".join(f"{norm:5.2f}" for norm in stage.norms)
        print(f"{name:15}  {stage.accuracy[-1]:8.1%}  {stage.penalty:8.4f}   {norms}")


def check(stages):
    keras, converted, further, spikes = stages.values()
    by_hand = STRENGTH * sum(np.square(further.norms))
    different = abs(converted.accuracy[-1] - keras.accuracy[-1]) * SPLITS["test_size"]
    assert close(converted.penalty, keras.penalty), "not the Keras model's own penalties"
    assert close(converted.loss, keras.loss), "not the Keras model's own loss"
    assert different < 1.5, "the converted model answers otherwise"  # rounding may break a tie
    assert close(further.penalty, by_hand), "the penalty is not that on the kernels"
    assert close(spikes.penalty, further.penalty), "the spiking network has other weights"
    for stage in stages.values():
        assert np.isfinite(stage.norms).all(), "weights are not finite"


def close(one, other):
    """Tell whether two numbers agree; sums in float32 are right to some 1e-6."""
    return np.isclose(one, other, rtol=1e-4, atol=0)


def check_findings(stages):
    keras, _, further, spikes = stages.values()
    assert further.accuracy[-1] > keras.accuracy[-1] - 0.02, "more training made it worse"
    assert spikes.accuracy[-1] > further.accuracy[-1] - 0.05, "spikes made it much worse"


def plot_losses(axes, keras, further):
    losses, penalties = np.transpose(keras.curve + further.curve)
    x = np.arange(1, 2 * EPOCHS + 1)
    axes.semilogy(x, losses, "k-")
    axes.semilogy(x, penalties, "C0--")
    axes.text(x[-1], losses[-1] * 1.15, "total", ha="right")
    axes.text(x[-1], penalties[-1] / 1.15, "penalties", ha="right", va="top", color="C0")
    axes.axvline(EPOCHS + 0.5, color="grey", linewidth=0.8)
    for side, name in [("right", "Keras "), ("left", " NengoDL")]:
        axes.text(EPOCHS + 0.5, losses[0], name, ha=side, va="center")
    axes.xaxis.get_major_locator().set_params(integer=True)
    title = "(a) training goes on after conversion"
    axes.set(title=title, xlabel="epoch", ylabel="training loss")


def plot_accuracy(axes, further, spikes):
    axes.plot(np.arange(1, N_STEPS + 1), 100 * spikes.accuracy, "C0-")
    rates = 100 * further.accuracy[-1]
    axes.axhline(rates, color="grey", linewidth=0.8, linestyle=":")
    axes.text(N_STEPS, rates + 1, "without spikes", ha="right", va="bottom")
    axes.set(title="(b) accuracy with spikes", xlabel="presentation time (ms)")
    axes.set(ylabel="accuracy (%)", ylim=(0, 108))


def save_figure(stages):
    keras, _, further, spikes = stages.values()
    with nengo_wd.plotting.style({"font.size": 10, "axes.titlesize": 12}):  # points
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3))  # inches
        plot_losses(left, keras, further)
        plot_accuracy(right, further, spikes)
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    tf.keras.utils.set_random_seed(SEED)
    stages = experiment()
    print_table(stages)
    check(stages)
    if not SHORT:
        check_findings(stages)
    losses = [stages[name].loss for name in ("Keras", "converted")]
    print("\nLoss on the test split, penalties included, when the model is converted: ", end="")
    print("{:.5f} in Keras, {:.5f} in NengoDL".format(*losses))
    save_figure(stages)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
