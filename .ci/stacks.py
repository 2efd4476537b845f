"""Test the package on the stacks that it supports, each in a fresh virtual environment.

    .ci/run            the README's test command, lint and types, and the stacks that CI covers
    .ci/run --all      every supported stack

Each stack gets a fresh copy of the repository and a virtual environment of its own. What is run
is printed. A stack that can't be set up fails.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import List, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("nengo-dl", "tensorflow", "tf_keras", "nengo", "numpy")


class Stack(NamedTuple):
    """A Python, and the commands that set up a stack on it and test it."""

    name: str
    python: str
    commands: List[str]
    in_ci: bool = True


def readme_commands():
    """Return the commands of the README's quick start: the main job, the tests, and the site."""
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"```sh\n(.*)\n```", readme)
    assert len(commands) == 2, "the README must have two sh blocks of one line each"
    site = re.findall(r"^    (.*sphinx-build.*)$", readme, re.MULTILINE)
    assert len(site) == 1, "the README must have one line that builds the documentation"
    return commands + site


def variant(command, **replacements):
    """Return a command with parts replaced, each of which it must have."""
    for old, new in replacements.values():
        assert old in command, f"{old} is not in the README's command {command}"
        command = command.replace(old, new)
    return command


def tests_on(python, tensorflow=None):
    """Return the README's test command for another Python, or for a named TensorFlow."""
    replacements = {"python": ("python3.11", f"python{python}")}
    if tensorflow is not None:
        replacements["tensorflow"] = ("'.[tests]'", f"'.[tests]' tensorflow=={tensorflow}")
    return variant(TESTS, **replacements)


def tests_without_isolation(python):
    """Return the README's test command with what NengoDL needs on Python 3.12 and later."""
    return variant(
        tests_on(python),
        install=(
            "pip install",
            "pip install 'setuptools<81' && .venv/bin/pip install --no-build-isolation",
        ),
    )


MAIN_JOB, TESTS, SITE = readme_commands()
CHECKS = [
    ".venv/bin/pip install -q '.[lint]'",
    ".venv/bin/ruff check .",
    ".venv/bin/ruff format --check .",
    ".venv/bin/mypy",
    ".venv/bin/pip install -q '.[references]'",
    ".venv/bin/pytest -q --references tests/test_references.py",
]
STACKS = [
    Stack("what pip chooses: the main job", "3.11", [MAIN_JOB]),
    Stack("what pip chooses: tests, lint, types and references", "3.11", [TESTS, *CHECKS]),
    Stack("what pip chooses: the documentation", "3.11", [SITE]),
    Stack("NengoDL 2", "3.7", [tests_on("3.7")]),
    Stack("the newest of everything", "3.13", [tests_without_isolation("3.13")]),
    Stack("NengoDL's own TensorFlow", "3.11", [tests_on("3.11", "2.12.1")], in_ci=False),
    Stack("the last TensorFlow of Keras 2", "3.11", [tests_on("3.11", "2.15.1")], in_ci=False),
]


def copy_repository(target):
    """Copy the files that git tracks, as a clone would have them."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=str(ROOT))
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(ROOT / name), str(target / name))


def environment(python):
    """Return environment variables with which ``pythonX.Y`` is found, with pyenv's help."""
    variables = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    if shutil.which("pyenv"):
        versions = subprocess.check_output(["pyenv", "versions", "--bare"]).decode().split()
        found = [version for version in versions if version.startswith(python + ".")]
        if found:
            variables["PYENV_VERSION"] = found[-1]
    return variables


def run(command, folder, variables):
    """Run a shell command, printed first, and return whether it succeeded."""
    print(f"$ {command}", flush=True)
    return subprocess.call(["bash", "-c", command], cwd=str(folder), env=variables) == 0


def installed(folder):
    """Return the versions of the packages that the stack ended with."""
    listed = subprocess.check_output([".venv/bin/pip", "list", "--format=freeze"], cwd=str(folder))
    versions = dict(line.split("==") for line in listed.decode().split() if "==" in line)
    return [versions.get(package, "none") for package in PACKAGES]


def test(stack):
    """Set a stack up and test it; return the row of the table, and whether all passed."""
    print(f"\n=== {stack.name}, Python {stack.python}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        copy_repository(Path(folder))
        variables = environment(stack.python)
        passed = all(run(command, folder, variables) for command in stack.commands)
        versions = installed(folder) if passed else ["failed"] * len(PACKAGES)
    return [stack.python, *versions], passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every supported stack")
    options = parser.parse_args()
    results = [test(stack) for stack in STACKS if options.all or stack.in_ci]
    print("\n| Python | " + " | ".join(PACKAGES) + " |")
    print("|---" * (len(PACKAGES) + 1) + "|")
    for row in dict.fromkeys(tuple(row) for row, _ in results):
        print("| " + " | ".join(row) + " |")
    sys.exit(not all(passed for _, passed in results))


if __name__ == "__main__":
    main()
