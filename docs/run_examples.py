"""Run the examples in full, and keep for the gallery what they print and draw.

    python docs/run_examples.py [NAME ...]

They run in this folder, and so save their figures to docs/figures. What they print goes beside
them, below the versions that it was printed with. All of them take minutes; with names, such as
``spiking_digits``, only those run.

Each example checks what it found, and ends with an error where a page would show something else.
Nothing is kept of it then. Short runs, which the tests take, leave these checks out.
"""

import argparse
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NAMES = sorted(path.stem for path in (DOCS.parent / "examples").glob("*.py"))
PACKAGES = ("nengo-dl", "tensorflow", "nengo", "numpy")


def stack():
    """Return a line that names the versions of Python and packages."""
    versions = [f"{package} {metadata.version(package)}" for package in PACKAGES]
    return f"On Python {platform.python_version()}, {', '.join(versions)}:\n\n"


def run(name):
    """Run an example, and keep what it prints."""
    command = [sys.executable, f"../examples/{name}.py"]
    print(f"$ {' '.join(command[1:])}", flush=True)
    printed = subprocess.run(command, cwd=DOCS, stdout=subprocess.PIPE, check=True).stdout
    (DOCS / "figures" / f"{name}.txt").write_bytes(stack().encode() + printed)


def main():
    """Run the examples that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    for name in parser.parse_args().names or NAMES:
        run(name)


if __name__ == "__main__":
    main()
