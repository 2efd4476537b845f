"""A search for strengths
======================

Strengths by group of parameters, found by a search that you can stop and resume.

A network of three convolutions and a dense layer, with integrate-and-fire neurons in between,
classifies the signals of MNIST-1D, which its package generates. NengoDL trains the network for a
single time step, on firing rates and without filters. Every signal is then shown for 50 ms: the
neurons spike, with a filter of 5 ms on the way to each layer and one of 20 ms on the output. The
largest output is the answer. Three groups have penalties, each with its own strength:

- kernels: ``strength * sum(w ** 2)``;
- biases: the same;
- rates: ``strength * mean(rate)``, in Hz, of the neurons after each convolution.

``nengo_wd.search.strengths`` searches for the strengths with the lowest error on a validation
split, with spikes. It checks the error every few epochs, and prunes hopeless trials. All strengths
are variables, so one simulator can run all trials: ``nengo_wd.search.Start`` resets it.

A second search, with as many trials, looks for one strength for all groups. Both winners are then
trained from several initial weights that the searches did not see, and compared on the test split.

The searches are stored in ``search_strengths_by_group.db`` and ``search_strengths_one_for_all.db``.
If you stop the script and run it again, it continues. Look at a search in a browser, with ``pip
install optuna-dashboard`` and ``optuna-dashboard sqlite:///search_strengths_by_group.db``.

Run it with ``python search_strengths.py``, on NengoDL 3. It takes about 5 minutes, because XLA
compiles the time loop, and less than one with ``--short``.
"""

import functools
import sys
from pathlib import Path

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("search_strengths.py needs NengoDL 3")

import optuna
from mnist1d.data import get_dataset_args, make_dataset
from optuna_integration import TFKerasPruningCallback

SHORT = "--short" in sys.argv  # takes seconds
SIZES = {
    "train": 1000 if SHORT else 3500,
    "validation": 100 if SHORT else 500,
    "test": 100 if SHORT else 1000,
}
GROUPS = ("kernels", "biases", "rates")
RANGE = (1e-6, 1e-1)  # of each strength
N_TRIALS = 2 if SHORT else 75
EPOCHS = 2 if SHORT else 30
EVERY = 1 if SHORT else 10  # epochs between looks at the error with spikes
SEEDS = [1] if SHORT else [1, 2, 3, 4, 5]  # of initial weights, for the comparison
LEARNING_RATE = 5e-3  # at the beginning; it falls to zero as a cosine does
MINIBATCH_SIZE = 100
CHANNELS = 25  # of each convolution
KERNEL_SIZES = [5] if SHORT else [5, 3, 3]
MAX_RATE = 100  # Hz, the firing rate of a neuron whose input is 1
N_STEPS = 10 if SHORT else 50  # of 1 ms each, NengoDL's default: how long a signal is shown
SYNAPSE, READOUT = 0.005, 0.02  # seconds: time constants of filters, between layers and at the end
CHANCE = 90.0  # the error (%) of a guess
FIGURE = Path("figures/search_strengths.png")


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


def build(neuron_type, synapse):
    """Return the network; its node, layers, probes and strengths are its attributes."""
    l2 = tf.keras.regularizers.l2(1.0)
    with nengo.Network(seed=0) as net:
        # each signal starts from rest; the layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        neurons = nengo_dl.Layer(neuron_type(amplitude=1 / MAX_RATE))

        # variables, so that nothing need be built or compiled again to change them
        net.strengths = {name: tf.Variable(0.0, trainable=False) for name in GROUPS}
        penalties = {
            "kernel_regularizer": nengo_wd.regularizers.Scheduled(l2, net.strengths["kernels"]),
            "bias_regularizer": nengo_wd.regularizers.Scheduled(l2, net.strengths["biases"]),
        }
        few_spikes = nengo_wd.regularizers.FiringRates(maximum=0, l1=net.strengths["rates"])
        nengo_wd.configure_settings(jit_compile=True)

        net.signal = x = nengo.Node(np.zeros(40))
        net.layers, shape = [], (40, 1)
        for i, kernel_size in enumerate(KERNEL_SIZES):
            conv = nengo_wd.RegularizedConv1D(
                CHANNELS,
                kernel_size,
                strides=2,
                input_shape=shape,
                kernel_initializer="he_uniform",
                **penalties,
            )
            x = neurons(nengo_dl.Layer(conv)(x, synapse=synapse if i else None))
            net.config[nengo.Probe(x)].regularizer = few_spikes
            net.layers.append(conv)
            shape = conv.compute_output_shape((1, *shape))[1:]
        net.layers.append(nengo_wd.RegularizedDense(10, **penalties))
        output = nengo_dl.Layer(net.layers[-1])(x, synapse=synapse)
        net.output = nengo.Probe(output)
        net.readout = nengo.Probe(output, synapse=READOUT)
    return net


def adam():
    n_steps = EPOCHS * SIZES["train"] // MINIBATCH_SIZE
    return tf.optimizers.Adam(tf.optimizers.schedules.CosineDecay(LEARNING_RATE, n_steps))


def crossentropy():
    return tf.losses.SparseCategoricalCrossentropy(from_logits=True)


class Classifier:
    """Two simulators, one that trains on rates and one that tests with spikes; and the data."""

    def __init__(self):
        self.splits = load_splits()
        tf.keras.utils.set_random_seed(0)  # also for the order of signals, in each training
        self.net = build(nengo.RectifiedLinear, synapse=None)
        self.sim = self._simulator(self.net, MINIBATCH_SIZE)
        objective = nengo_wd.regularized_objective(self.sim, {self.net.output: crossentropy()})
        self.sim.compile(adam(), loss=objective, steps_per_execution=5)
        self.start = nengo_wd.search.Start(self.sim)
        self.spiking_net = build(nengo.SpikingRectifiedLinear, SYNAPSE)
        self.spiking = self._simulator(self.spiking_net, SIZES["validation"])

    def _simulator(self, net, minibatch_size):
        return nengo_dl.Simulator(net, minibatch_size=minibatch_size, progress_bar=False)

    def train(self, strengths, callbacks=(), seed=None):
        """Train from the start, or from other initial weights, with strengths by group."""
        self.start.restore()
        if seed is not None:
            tf.keras.utils.set_random_seed(seed)
            for layer in self.net.layers:
                kernel, bias = layer.get_weights()
                draw = type(layer.kernel_initializer)(seed)
                layer.set_weights([draw(kernel.shape), np.zeros_like(bias)])
        for name, variable in self.net.strengths.items():
            variable.assign(strengths[name])
        signals, labels = self.splits["train"]
        inputs, targets = {self.net.signal: signals[:, None]}, labels[:, None, None]
        self.sim.fit(
            inputs, {self.net.output: targets}, epochs=EPOCHS, verbose=0, callbacks=list(callbacks)
        )

    def error(self, split):
        """Return the percentage of wrong answers, with spikes."""
        for layer, trained in zip(self.spiking_net.layers, self.net.layers):
            layer.set_weights(trained.get_weights())
        signals, labels = self.splits[split]
        shown = np.tile(signals[:, None], (1, N_STEPS, 1))  # constant over time
        outputs = self.spiking.predict({self.spiking_net.signal: shown}, verbose=0)
        return 100 * np.mean(outputs[self.spiking_net.readout][:, -1].argmax(-1) != labels)


class ErrorWithSpikes(tf.keras.callbacks.Callback):
    """Adds the validation error with spikes to the metrics of each epoch."""

    def __init__(self, classifier):
        super().__init__()
        self.classifier, self.error = classifier, CHANCE

    def on_epoch_end(self, epoch, logs=None):
        """Measure the error, if it is time to; otherwise show the last one."""
        if (epoch + 1) % EVERY == 0:
            self.error = self.classifier.error("validation")
        logs["error"] = self.error


@functools.lru_cache(maxsize=None)
def classifier():
    """Return the classifier for all trials of this process."""
    return Classifier()


def train(strengths, trial):
    """Return the validation error of a training with strengths by group."""
    error = ErrorWithSpikes(classifier())
    pruning = TFKerasPruningCallback(trial, "error")  # which ends a training that is hopeless
    classifier().train(strengths, callbacks=[error, pruning])
    return error.error


def train_with_one(strengths, trial):
    """Return the validation error of a training with the same strength for all groups."""
    return train(same_for_all(strengths), trial)


def same_for_all(strengths):
    return {name: strengths["all groups"] for name in GROUPS}


def search(train, names, name):
    """Return a study, and print what it cost."""
    study = nengo_wd.search.strengths(
        train,
        {name: RANGE for name in names},
        N_TRIALS,
        name=f"search_strengths_{name}{'_short' if SHORT else ''}",
        seed=0,
        pruner=optuna.pruners.MedianPruner(n_warmup_steps=EVERY, interval_steps=EVERY),
    )
    print_search(study, name.replace("_", " "))
    return study


def print_search(study, name):
    states = [trial.state.name for trial in study.trials]
    minutes = sum(trial.duration.total_seconds() for trial in study.trials) / 60
    epochs = sum(len(trial.intermediate_values) for trial in study.trials)
    print(f"\n{name}: {len(states)} trials, {states.count('PRUNED')} of them pruned")
    print(f"  {epochs} epochs instead of {EPOCHS * len(states)}, {minutes:.1f} minutes")
    best = ", ".join(f"{name} {value:.1e}" for name, value in study.best_params.items())
    print(f"  best: {best}; validation error {study.best_value:.1f} %")


def compare(ways):
    """Return the test errors of each way, one for each seed, printed seed by seed."""
    print("\nTest error (%) with spikes, from other initial weights")
    print("seed  " + "  ".join(f"{way:>11}" for way in ways))
    errors = {way: [] for way in ways}
    for seed in SEEDS:
        for way, strengths in ways.items():
            classifier().train(strengths, seed=seed)
            errors[way].append(classifier().error("test"))
        print(f"{seed:4}  " + "  ".join(f"{errors[way][-1]:11.1f}" for way in ways), flush=True)
    return {way: np.array(found) for way, found in errors.items()}


def mean_and_error(values):
    """Return the mean over seeds and its standard error."""
    deviation = np.std(values, ddof=min(1, len(values) - 1))
    return np.mean(values), deviation / np.sqrt(len(values))


def check(studies):
    """Raise if a search did not do what it was asked to do."""
    for study in studies:
        assert len(study.trials) >= N_TRIALS, "there are too few trials"
        finished = [trial.value for trial in study.trials if trial.state.name == "COMPLETE"]
        assert study.best_value == min(finished), "the best trial is not that of the least error"
        for name, strength in study.best_params.items():
            assert RANGE[0] <= strength <= RANGE[1], f"{name} is out of its range"


def check_findings(errors):
    """Raise if the test contradicts what the search found."""
    for way in ("one for all", "by group"):
        gain, error = mean_and_error(errors["none"] - errors[way])
        assert gain > 2 * error, f"{way} is no better than none"


def main():
    groups = search(train, GROUPS, "by_group")
    one = search(train_with_one, ["all groups"], "one_for_all")
    check([groups, one])
    errors = compare(
        {
            "none": dict.fromkeys(GROUPS, 0.0),
            "one for all": same_for_all(one.best_params),
            "by group": groups.best_params,
        }
    )
    if not SHORT:
        check_findings(errors)
    print()
    for way, found in errors.items():
        print("{:11} {:5.1f} +- {:3.1f}".format(way, *mean_and_error(found)))
    gain, error = mean_and_error(errors["one for all"] - errors["by group"])
    print(
        f"\nStrengths by group make {gain:.1f} +- {error:.1f} points less error than one for all "
        "(mean over seeds,\nwith its standard error)."
    )
    FIGURE.parent.mkdir(exist_ok=True)
    figure = nengo_wd.plotting.search(groups)
    figure.axes[0].set_ylabel("validation error with spikes (%)")
    figure.savefig(FIGURE)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
