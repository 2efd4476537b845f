"""What weights of few bits cost: rounded after training, and trained onto a grid.

    python benchmarks/bits.py [--bits 3 4] [--seeds 5 6 ... 12] [--decay 0.3] [--split test]

The network is that of the example "Accuracy for energy": three convolutions of spiking neurons on
MNIST-1D, trained on rates, with targets of rates and with decay. It is trained on from there in the
same way, without a grid, and with `TowardsGrid` and proximal steps whose strength rises. The table
gives the accuracy on rates, in percent, with the weights as they are, with kernels rounded by their
largest weight, with kernels rounded to the values that fit them best, and with those that ended on
the grid; and how much less that is than with the weights as they are. Strengths, learning rate and
decay were chosen on the validation split, with other seeds than these.
"""

import argparse
import pathlib
import sys

import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import Scheduled, TowardsGrid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "examples"))
import accuracy_for_energy as signals  # noqa: E402

RATE_TARGETS = 4e-3  # per Hz
FIRST, FURTHER = (40, 5e-3), (40, 2e-2)  # epochs, and the learning rate from which they fall
WEAKEST, STRONGEST = 0.0003, 100.0


class Rising(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A strength that rises by the same factor at each step."""

    def __init__(self, n_steps):
        self.n_steps = n_steps

    def __call__(self, step):
        """Return the strength at a training step."""
        along = tf.cast(step, tf.float32) / self.n_steps
        return WEAKEST * (STRONGEST / WEAKEST) ** along


class Trainer:
    """Trains a network on rates, with Adam, and with a grid of some bits, if they are given."""

    def __init__(self, splits, decay, epochs, learning_rate, bits=None):
        self.splits, self.epochs = splits, epochs
        net = signals.NEURONS["integrate-and-fire"], None
        self.net = signals.build(*net, learning_phase=True)
        self.net.strength.assign(RATE_TARGETS)
        self.net.decay.assign(decay)
        n_steps = epochs * len(splits["train"][0]) // 100
        if bits is not None:
            grid = Scheduled(TowardsGrid(1.0, bits), Rising(n_steps))
            self.net.config[nengo_dl.TensorNode].regularizer = grid
        self.sim = nengo_dl.Simulator(self.net, minibatch_size=100, progress_bar=False)
        falling = tf.optimizers.schedules.CosineDecay(learning_rate, n_steps)
        optimizer = nengo_wd.regularized_optimizer(
            self.sim, tf.optimizers.Adam(falling), proximal=bits is not None
        )
        loss = {self.net.output: signals.CROSSENTROPY}
        self.sim.compile(optimizer, loss=nengo_wd.regularized_objective(self.sim, loss))
        self.start = nengo_wd.search.Start(self.sim)

    def fit(self, weights):
        """Train from these weights, and return the new ones."""
        self.start.restore()
        signals.set_weights(self.net, weights)
        inputs, labels = self.splits["train"]
        data = {self.net.signal: inputs[:, None]}, {self.net.output: labels[:, None, None]}
        self.sim.fit(*data, epochs=self.epochs, verbose=0)
        return signals.weights_of(self.net)

    def accuracy(self, weights, split):
        """Return the percentage of right answers, on rates."""
        signals.set_weights(self.net, weights)
        inputs, labels = self.splits[split]
        outputs = self.sim.predict({self.net.signal: inputs[:, None]}, verbose=0)[self.net.output]
        return 100 * np.mean(outputs[:, 0].argmax(axis=-1) == labels)


def rounded(kernel, bits):
    """Return the kernel, rounded to the grid of its largest weight."""
    distance = np.max(np.abs(kernel)) / (2 ** (bits - 1) - 1)
    return distance * np.round(kernel / distance)


def with_kernels(change, weights, bits):
    """Return the weights of all layers with other kernels."""
    return [[change(kernel, bits), *others] for kernel, *others in weights]


def fitted(kernel, bits):
    return TowardsGrid(bits=bits).nearest(tf.constant(kernel)).numpy()


def accuracies(options):
    """Return accuracies of each kind of weights, of shape (bits, seeds, kinds)."""
    splits = signals.load_splits()
    first, further, *grids = (
        Trainer(splits, options.decay, *training)
        for training in (FIRST, FURTHER, *((*FURTHER, bits) for bits in options.bits))
    )
    found = np.zeros((len(options.bits), len(options.seeds), 4))
    for i, seed in enumerate(options.seeds):
        tf.keras.utils.set_random_seed(seed)
        weights = first.fit(signals.draw(first.net.layers, seed))
        plain = further.fit(weights)
        for row, bits, grid in zip(found, options.bits, grids):
            on_grid = grid.fit(weights)
            for kernel, *_ in on_grid:
                np.testing.assert_allclose(rounded(kernel, bits), kernel, rtol=1e-5)
            kinds = with_kernels(rounded, plain, bits), with_kernels(fitted, plain, bits)
            row[i] = [further.accuracy(one, options.split) for one in (plain, *kinds, on_grid)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, nargs="+", default=[3, 4])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5, 13)))
    parser.add_argument("--decay", type=float, default=0.3)
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    options = parser.parse_args()
    found = accuracies(options)
    kinds = "as trained", "rounded by the largest", "rounded to fit", "trained onto a grid"
    print(f"| bits | {' | '.join(kinds)} | less |")
    print("|---" * 6 + "|")
    for bits, rows in zip(options.bits, found):
        rows = np.hstack([rows, rows[:, :1] - rows[:, -1:]])
        errors = rows.std(axis=0, ddof=min(1, len(rows) - 1)) / np.sqrt(len(rows))
        cells = [f"{mean:.1f} ± {error:.1f}" for mean, error in zip(rows.mean(axis=0), errors)]
        print(f"| {bits} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
