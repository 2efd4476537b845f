"""How long ``import nengo_wd`` takes, beside the packages that it imports.

    python benchmarks/import_time.py [--rounds 20]

Each import runs in a fresh Python, in turn with the other. The table gives the least of its
seconds, which is the round that the rest of the machine disturbed least, and the ratios of them.
"""

import argparse
import subprocess
import sys

import nengo
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

TIMED = """
import time

start = time.perf_counter()
import {}

print(time.perf_counter() - start)
"""


def seconds(imported):
    """Return how long a fresh Python takes to import modules."""
    command = [sys.executable, "-c", TIMED.format(imported)]
    return float(subprocess.check_output(command, stderr=subprocess.DEVNULL))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    keras = tf.keras.Model.__module__.partition(".")[0]  # which package Keras 2 is in
    below = ", ".join(dict.fromkeys(["tensorflow", keras, nengo.__name__]))
    imports = (below, nengo_wd.__name__)
    rounds = [[seconds(imported) for imported in imports] for _ in range(options.rounds)]
    least = [min(column) for column in zip(*rounds)]
    print(f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}, {options.rounds} rounds")
    print("\n| imported | seconds | ratio |\n|---|---|---|")
    for imported, value in zip(imports, least):
        print(f"| `{imported}` | {value:.2f} | {value / least[0]:.2f} |")


if __name__ == "__main__":
    main()
