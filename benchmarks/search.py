"""What a trial of a search costs with a simulator that is used again, and with one built anew.

    python benchmarks/search.py [--epochs 20] [--rounds 5]

The network and the data are those of ``examples/search_strengths.py``. Bare epochs are what the
epochs take within one long training: the median, times the number of epochs. A trial that uses a
simulator again puts it back to its start, assigns strengths and trains. A trial that builds anew
makes the network, the simulators and the objective, compiles, trains and closes. They take turns.
Seconds are those of the CPU, which other work on the machine disturbs less than the wall clock;
the table has medians over the rounds after the first, also of how the peak of memory grows.
"""

import argparse
import functools
import resource
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
import search_strengths as example  # noqa: E402

STRENGTHS = dict.fromkeys(example.GROUPS, 1e-4)


class Clock(tf.keras.callbacks.Callback):
    """Notes when epochs end."""

    def __init__(self):
        super().__init__()
        self.times = []

    def on_epoch_end(self, epoch, logs=None):
        """Note the time."""
        self.times.append(time.process_time())


def anew():
    """Run a trial with simulators of its own."""
    classifier = example.Classifier()
    classifier.train(STRENGTHS)
    classifier.sim.close()
    classifier.spiking.close()


def measured(run):
    """Return the seconds that a call takes, and by how many MB the peak of memory grows."""
    memory, begun = peak(), time.process_time()
    run()
    return time.process_time() - begun, peak() - memory


def peak():
    """Return the peak of this process's memory (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def bare_epochs(classifier):
    """Return what all epochs take by the median of those in a training."""
    clock = Clock()
    classifier.train(STRENGTHS, callbacks=[clock])
    return example.EPOCHS * np.median(np.diff(clock.times))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    example.EPOCHS = options.epochs
    example.load_splits = functools.lru_cache(maxsize=None)(example.load_splits)
    classifier = example.Classifier()
    again = functools.partial(classifier.train, STRENGTHS)
    first, _ = measured(again)
    print(f"the first trial: {first:.2f} s\n")
    rounds = []
    for _ in range(options.rounds + 1):
        rounds.append((bare_epochs(classifier), *measured(again), *measured(anew)))
    bare, seconds, memory, seconds_anew, memory_anew = np.median(rounds[1:], axis=0)
    print("a trial of", options.epochs, "epochs      seconds  times bare epochs  growth (MB)")
    print(f"bare epochs             {bare:8.2f}")
    print(f"simulator used again    {seconds:8.2f}  {seconds / bare:17.2f}  {memory:11.1f}")
    print(
        f"simulators built anew   {seconds_anew:8.2f}  {seconds_anew / bare:17.2f}"
        f"  {memory_anew:11.1f}"
    )


if __name__ == "__main__":
    main()
