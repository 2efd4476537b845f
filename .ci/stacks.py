"""Test the package on the stacks that it supports, each in a fresh virtual environment.

    .ci/run            the README's commands on the Pythons that CI covers, and the checks
    .ci/run --all      every supported stack

Each stack gets a fresh copy of the repository and a virtual environment of its own. Two stacks run
side by side, because pip and Python alone leave a core idle; `--jobs` takes another number. What
is run is printed, with the stack in front. A stack that can't be set up fails.

The newest and the oldest Python run the slow tests as well.

The README's commands run as for a new user: `python3` is the stack's Python, and pip has no cache,
no local packages and no configuration, but the registry and the certificates of this machine.
"""

import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("nengo-dl", "tensorflow", "tf_keras", "nengo", "numpy")
LINES_OF_FAILURES = 60  # pytest's short summary, and what it says of a single test before

# What a new user's pip has of this machine's settings: how to reach the registry.
REACHING = ("PIP_CERT", "PIP_DEFAULT_TIMEOUT", "PIP_INDEX_URL", "PIP_PROXY")
NEW_USER = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1"}


class Stack(NamedTuple):
    """A Python, and the commands that set up a stack on it and test it."""

    name: str
    python: str
    commands: List[str]
    in_ci: bool = True
    as_new_user: bool = True

    def __str__(self):
        return f"{self.python} {self.name}"

    @property
    def is_slow(self):
        """Whether it runs the slow tests."""
        return ALL_TESTS in self.commands


def readme_commands():
    """Return the commands of the README's quick start: the main job, the tests, and the site."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"```sh\n(.*)\n```", readme)
    assert len(commands) == 2, "the README must have two sh blocks of one line each"
    site = re.findall(r"^    (.*sphinx-build.*)$", readme, re.MULTILINE)
    assert len(site) == 1, "the README must have one line that builds the documentation"
    return commands + site


def tests_with(tensorflow):
    """Return the README's test command with a TensorFlow named."""
    assert "'.[tests]'" in TESTS, f"'.[tests]' is not in the README's command {TESTS}"
    return TESTS.replace("'.[tests]'", f"'.[tests]' tensorflow=={tensorflow}")


MAIN_JOB, TESTS, SITE = readme_commands()
SET_UP, _, PYTEST = TESTS.rpartition(" && ")
assert "pytest" in PYTEST, f"the README's command {TESTS} must end with the tests"
ALL_TESTS = f"{TESTS} --slow"

CHECKS = [
    SET_UP,
    ".venv/bin/pip install -q --no-build-isolation -e '.[lint]'",
    ".venv/bin/ruff check .",
    ".venv/bin/ruff format --check .",
    ".venv/bin/mypy",
]
RELEASE = [
    ".venv/bin/pip install -q --no-build-isolation -e '.[release]'",
    ".venv/bin/python -m build --no-isolation > build.log || (cat build.log; exit 1)",
    ".venv/bin/twine check --strict dist/*",
    "tar -xzf dist/*.tar.gz && cd nengo_wd-*/"
    " && ../.venv/bin/python -m pytest -q tests/test_docs.py tests/test_packaging.py",
]
# From the registry alone, PyTorch comes with gigabytes for GPUs: here this machine's pip may
# take another.
REFERENCES = [
    ".venv/bin/pip install -q --no-build-isolation -e '.[references]'",
    ".venv/bin/pytest -q --references tests/test_references.py tests/search/test_postgresql.py",
]
STACKS = [
    Stack("main job, tests", "3.10", [MAIN_JOB, TESTS]),
    Stack("main job", "3.12", [MAIN_JOB]),  # tests: 3.10 and 3.13, the stacks on either side
    Stack("all tests, main job", "3.13", [ALL_TESTS, MAIN_JOB]),
    Stack("documentation", "3.11", [SITE]),
    Stack("checks", "3.11", [*CHECKS, *RELEASE, *REFERENCES], as_new_user=False),
    Stack("all tests, NengoDL 2", "3.7", [ALL_TESTS]),
    Stack("tests", "3.12", [TESTS], in_ci=False),
    Stack("main job, tests", "3.11", [MAIN_JOB, TESTS], in_ci=False),
    Stack("main job, tests", "3.9", [MAIN_JOB, TESTS], in_ci=False),
    Stack("tests, NengoDL's own TensorFlow", "3.11", [tests_with("2.12.1")], in_ci=False),
    Stack("tests, last TensorFlow of Keras 2", "3.11", [tests_with("2.15.1")], in_ci=False),
]


def copy_repository(target):
    """Copy the files that git tracks, as a clone would have them."""
    listed = subprocess.check_output(["git", "ls-files", "-z"], cwd=str(ROOT))
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(ROOT / name), str(target / name))


def find_python(version):
    """Return the path of a Python ``X.Y``, found with pyenv's help, or None."""
    variables = dict(os.environ)
    if shutil.which("pyenv"):
        versions = subprocess.check_output(["pyenv", "versions", "--bare"]).decode().split()
        found = [name for name in versions if name.startswith(version + ".")]
        if found:
            variables["PYENV_VERSION"] = found[-1]
    command = [f"python{version}", "-c", "import sys; print(sys.executable)"]
    try:
        return subprocess.check_output(command, env=variables).decode().strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def name_python3(python, folder):
    """Put a ``python3`` into a folder that runs another Python.

    It is a script, because a link has venv look for the standard library beside the link.
    """
    folder.mkdir()
    script = folder / "python3"
    script.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n', encoding="utf-8")
    script.chmod(0o755)


def environment(folder, as_new_user):
    """Return environment variables with the ``python3`` of a folder, as a new user has them."""
    variables = dict(os.environ)
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYENV_VERSION"):
        variables.pop(name, None)
    variables["PATH"] = os.pathsep.join([str(folder), variables["PATH"]])
    if not as_new_user:
        return variables
    special = [name for name in variables if name.startswith("PIP_") and name not in REACHING]
    for name in special:
        del variables[name]
    return {**variables, **NEW_USER}


def say(stack, line):
    """Print a line of a stack."""
    print(f"{stack} | {line}\n", end="", flush=True)  # one write, which other stacks don't split


def run(stack, command, folder, variables):
    """Run a shell command of a stack, printed first; return None, or its end where it failed."""
    say(stack, f"$ {command}")
    end = collections.deque(maxlen=LINES_OF_FAILURES)
    start = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", command],
        cwd=str(folder),
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    for line in process.stdout:
        end.append(line.decode(errors="replace").rstrip())
        say(stack, end[-1])
    passed = process.wait() == 0
    say(stack, f"--- {'passed' if passed else 'FAILED'} after {time.monotonic() - start:.0f} s")
    return None if passed else [f"$ {command}", *end]


def installed(folder):
    """Return the versions of the packages that the stack ended with."""
    listed = subprocess.check_output([".venv/bin/pip", "list", "--format=freeze"], cwd=str(folder))
    versions = dict(line.split("==") for line in listed.decode().split() if "==" in line)
    return [versions.get(package, "none") for package in PACKAGES]


def versions(row):
    """Return a row of the table as numbers, to sort it."""
    return [[int(number) for number in re.findall(r"\d+", cell)] for cell in row]


def test(stack):
    """Set a stack up and test it; return the row of the table, and the lines of what failed."""
    failed = [stack.python, *["failed"] * len(PACKAGES)]
    python = find_python(stack.python)
    if python is None:
        reason = f"--- FAILED: there is no Python {stack.python}"
        say(stack, reason)
        return failed, [reason]
    with tempfile.TemporaryDirectory() as folder:
        clone, commands = Path(folder) / "nengo_wd", Path(folder) / "bin"
        clone.mkdir()
        copy_repository(clone)
        name_python3(python, commands)
        variables = environment(commands, stack.as_new_user)
        for command in stack.commands:
            failure = run(stack, command, clone, variables)
            if failure:
                return failed, failure
        return [stack.python, *installed(clone)], []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="every supported stack")
    parser.add_argument("--jobs", type=int, default=2, help="how many stacks run side by side")
    options = parser.parse_args()
    start = time.monotonic()
    stacks = [stack for stack in STACKS if options.all or stack.in_ci]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        longest_first = sorted(stacks, key=lambda stack: not stack.is_slow)
        tested = {str(stack): pool.submit(test, stack) for stack in longest_first}
    results = [tested[str(stack)].result() for stack in stacks]
    print(f"\n{time.monotonic() - start:.0f} s")
    print("\n| Python | " + " | ".join(PACKAGES) + " |")
    print("|---" * (len(PACKAGES) + 1) + "|")
    for row in sorted({tuple(row) for row, _ in results}, key=versions):
        print("| " + " | ".join(row) + " |")
    failures = [(stack, failure) for stack, (_, failure) in zip(stacks, results) if failure]
    for stack, failure in failures:  # once more at the end, where one looks for them
        print(f"\nFAILED: {stack}")
        print("\n".join(failure))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
