"""A convolutional network with L2 penalties, from Keras to spiking neurons.

A small Keras model learns scikit-learn's digits, images of 8 by 8 pixels. Each of its layers has
an L2 penalty of ``strength * sum(w ** 2)`` on its kernel. ``nengo_wd.Converter`` turns the model
into a native Nengo network: kernels become the weights of connections, regularizers settings on
them. So NengoDL goes on with the training, and minimizes what Keras did: the cross-entropy plus
each penalty, once.

Then spiking neurons take over from rectified linear units, and every image is shown for 80 ms.
Filters between the layers smooth the spikes: the longer, the better the answers in the end, and
the later.

Run it with ``python keras_to_spiking.py``, on NengoDL 3. With ``--short`` it takes seconds.
"""

import argparse
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import matplotlib
import nengo
import numpy as np
import progressbar
import tensorflow as tf
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import nengo_wd
from nengo_wd import nengo_dl

SEED = 0
MINIBATCH_SIZE = 50
SPLITS = {"train_size": 1000, "test_size": 750}  # multiples of the minibatch size
STRENGTH = 1e-3  # of the L2 penalties
MAX_RATE = 100  # Hz, the firing rate of a neuron whose output is 1
N_STEPS = 80  # of 1 ms each, NengoDL's default, for which spiking neurons see an image
LEARNING_RATE = 0.002
SYNAPSE = 10  # ms, the time constant of the filters
STYLES = {  # by time constant; told apart by colour-blind readers, and in grey
    30: {"color": "#D55E00", "linestyle": "--"},
    SYNAPSE: {"color": "#0072B2", "linestyle": "-"},
    3: {"color": "#E69F00", "linestyle": ":"},
}
RC_PARAMS = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
LOSS = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="where to save")
    parser.add_argument("--short", action="store_true", help="a run of seconds, for tests")
    args = parser.parse_args()
    args.epochs = 8 if args.short else 20  # in Keras, and as many in NengoDL
    args.synapses = [SYNAPSE] if args.short else list(STYLES)
    return args


def load_splits():
    """Return images (n, 8, 8, 1), scaled to 0..1, and labels (n,): to train on, and to test."""
    images, labels = load_digits(return_X_y=True)
    images = images.reshape((-1, 8, 8, 1)) / 16
    parts = train_test_split(images, labels, stratify=labels, random_state=SEED, **SPLITS)
    return parts[::2], parts[1::2]


def build_model():
    """Return a Keras model from images to logits."""
    l2 = tf.keras.regularizers.L2(STRENGTH)
    inputs = x = tf.keras.Input((8, 8, 1), name="image")
    for name, filters, strides in [("conv1", 16, 1), ("conv2", 32, 2)]:
        x = tf.keras.layers.Conv2D(
            filters, 3, strides, activation=tf.nn.relu, kernel_regularizer=l2, name=name
        )(x)
    x = tf.keras.layers.Flatten()(x)
    return tf.keras.Model(
        inputs, tf.keras.layers.Dense(10, kernel_regularizer=l2, name="readout")(x)
    )


def convert(model, **kwargs):
    """Return network, input node and probe; all weights are those of native Nengo objects.

    Rectified linear units are scaled as spiking neurons are, so that the parameters of the
    one network are also right for the other.
    """
    converter = nengo_wd.Converter(
        model, allow_fallback=False, scale_firing_rates=MAX_RATE, **kwargs
    )
    return converter.net, converter.inputs[model.input], converter.outputs[model.output]


def simulator(net):
    return nengo_dl.Simulator(net, minibatch_size=MINIBATCH_SIZE, progress_bar=False, seed=SEED)


def over_time(images, n_steps):
    """Return what the input node puts out: every image, constant for ``n_steps``."""
    return np.tile(images.reshape((len(images), 1, -1)), (1, n_steps, 1))


def record(curve, penalty, bar):
    """Return a callback that adds loss and penalty to ``curve`` after every epoch."""

    def on_epoch_end(epoch, logs):
        curve.append((logs["loss"], penalty()))
        bar.increment()

    return [tf.keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)]


def result(answers, labels, penalty, weights):
    return SimpleNamespace(
        accuracy=np.mean(answers == labels, axis=0),
        penalty=penalty,
        norms=[np.linalg.norm(w) for w in weights],
    )


def result_in_keras(model, images, labels):
    answers = model.predict(images, verbose=0).argmax(axis=-1)
    weights = [layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")]
    return result(answers, labels, float(sum(model.losses)), weights)


def result_in_nengo(sim, net, node, probe, images, labels, n_steps=1):
    """Return the result after each time step."""
    outputs = sim.predict({node: over_time(images, n_steps)}, verbose=0)[probe]
    kernels = [c for c in net.connections if net.config[c].regularizer is not None]
    weights = [sim.data[kernel].weights for kernel in kernels]
    penalty = nengo_wd.regularization_loss(sim)
    return result(outputs.argmax(axis=-1), labels[:, None], penalty, weights)


def train_in_keras(model, train, test, epochs, bar):
    """Return loss and penalty after each epoch, the result, and the loss on the test split."""
    curve = []
    callbacks = record(curve, lambda: float(sum(model.losses)), bar)
    model.compile(tf.optimizers.Adam(LEARNING_RATE), loss=LOSS)
    model.fit(*train, MINIBATCH_SIZE, epochs, verbose=0, callbacks=callbacks)
    loss = model.evaluate(*test, MINIBATCH_SIZE, verbose=0)
    return curve, result_in_keras(model, *test), loss


def train_in_nengo(sim, node, probe, train, test, epochs, bar):
    """Return loss and penalty after each epoch, and the loss on the test split before."""

    def data(images, labels):
        return {node: over_time(images, 1)}, {probe: labels[:, None, None]}

    curve = []
    callbacks = record(curve, lambda: nengo_wd.regularization_loss(sim), bar)
    objective = nengo_wd.regularized_objective(sim, {probe: LOSS})
    sim.compile(tf.optimizers.Adam(LEARNING_RATE), loss=objective)
    loss = sim.evaluate(*data(*test), verbose=0)["loss"]
    sim.fit(*data(*train), epochs=epochs, verbose=0, callbacks=callbacks)
    return curve, loss


def run_with_spikes(model, synapse, params, test):
    """Return the result of a spiking network with these parameters, at each time step."""
    spiking = {tf.nn.relu: nengo.SpikingRectifiedLinear()}
    objects = convert(model, swap_activations=spiking, synapse=synapse / 1000)
    with simulator(objects[0]) as sim:
        sim.load_params(params)
        return result_in_nengo(sim, *objects, *test, N_STEPS)


def experiment(args, bar):
    """Return curves and losses of Keras and NengoDL, and the results of every stage."""
    train, test = load_splits()
    tf.keras.utils.set_random_seed(SEED)
    model = build_model()
    in_keras, trained, loss_in_keras = train_in_keras(model, train, test, args.epochs, bar)
    results = {"Keras": trained}
    objects = convert(model)
    with simulator(objects[0]) as sim, TemporaryDirectory() as folder:
        results["converted"] = result_in_nengo(sim, *objects, *test)
        in_nengo, loss = train_in_nengo(sim, *objects[1:], train, test, args.epochs, bar)
        results["trained further"] = result_in_nengo(sim, *objects, *test)
        params = Path(folder) / "params"
        sim.save_params(params)
        spiking = {tau: run_with_spikes(model, tau, params, test) for tau in args.synapses}
    results["with spikes"] = spiking[SYNAPSE]
    return (in_keras, in_nengo), (loss_in_keras, loss), results, spiking


def last(accuracy):
    """Return the accuracy after the last time step; without time, the accuracy."""
    return np.ravel(accuracy)[-1]


def print_table(results):
    print("\n" + " " * 39 + "norms of the kernels")
    print("stage            accuracy   penalty   conv1   conv2   readout")
    for name, run in results.items():
        norms = "   ".join(f"{norm:5.2f}" for norm in run.norms)
        print(f"{name:15}  {last(run.accuracy):8.1%}  {run.penalty:8.4f}   {norms}")


def check(results, losses):
    keras, converted, further, spiking = results.values()
    by_hand = STRENGTH * sum(np.square(further.norms))
    assert abs(converted.penalty - keras.penalty) < 1e-6, "not the Keras model's own penalties"
    assert np.isclose(*losses, rtol=1e-5), "NengoDL does not minimize what Keras does"
    assert last(converted.accuracy) == keras.accuracy, "converted, the model answers otherwise"
    assert np.isclose(further.penalty, by_hand), "the penalty is not that of the kernels"
    assert np.isclose(spiking.penalty, further.penalty), "the spiking network has other weights"
    assert last(further.accuracy) > keras.accuracy - 0.02, "training further made it worse"
    assert last(spiking.accuracy) > last(further.accuracy) - 0.05, "spikes made it much worse"


def plot_losses(axes, curves):
    epochs = len(curves[0])
    losses, penalties = np.concatenate(curves).T
    x = np.arange(1, 2 * epochs + 1)
    axes.semilogy(x, losses, color="black", label="training loss, with penalties")
    axes.semilogy(x, penalties, color="#0072B2", linestyle="--", label="penalties")
    axes.axvline(epochs + 0.5, color="grey", linewidth=0.8)
    for side, name in [("right", "Keras "), ("left", " NengoDL")]:
        axes.text(epochs + 0.5, losses[0], name, ha=side, va="center")
    axes.legend(loc="upper right", bbox_to_anchor=(1, 0.9))
    axes.set(title="(a) training goes on after conversion", xlabel="epoch", ylabel="loss")


def plot_accuracy(axes, results, spiking):
    time = np.arange(1, N_STEPS + 1)  # ms
    for tau, run in spiking.items():
        axes.plot(time, 100 * run.accuracy, **STYLES[tau], label=f"{tau} ms")
    rates = 100 * last(results["trained further"].accuracy)
    axes.axhline(rates, color="grey", linewidth=0.8)
    axes.text(time[-1], rates + 1, "without spikes", ha="right", va="bottom")
    axes.legend(title="filters of", loc="lower right")
    axes.set(title="(b) accuracy with spikes", xlabel="presentation time (ms)")
    axes.set(ylabel="accuracy (%)", ylim=(0, 108))


def save_figure(curves, results, spiking, folder):
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=(6.4, 2.6), dpi=300, layout="constrained")  # inches
        left, right = figure.subplots(1, 2)
        plot_losses(left, curves)
        plot_accuracy(right, results, spiking)
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / "keras_to_spiking.png")
    return folder / "keras_to_spiking.png"


def main():
    if not hasattr(nengo_dl.Simulator, "fit"):
        raise SystemExit(f"keras_to_spiking.py needs NengoDL 3; this is {nengo_dl.__version__}")
    warnings.filterwarnings("ignore", "No GPU support detected")
    args = arguments()
    with progressbar.ProgressBar(max_value=2 * args.epochs, prefix="Training: ") as bar:
        curves, losses, results, spiking = experiment(args, bar)
    print_table(results)
    check(results, losses)
    print(
        f"\nOn the test split, the loss with penalties is {losses[0]:.5f} in Keras, and "
        f"{losses[1]:.5f} in NengoDL once converted."
    )
    print(f"Figure saved to {save_figure(curves, results, spiking, args.figures)}")


if __name__ == "__main__":
    main()
