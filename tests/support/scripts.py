"""Python files, run as a user would run them."""

import contextlib
import io
import json
import os
import pathlib
import runpy
import subprocess
import sys
from types import SimpleNamespace

import nengo_wd
from nengo_wd._seam import bridge

ROOT = pathlib.Path(nengo_wd.__file__).parents[1]
SUPPORT = pathlib.Path(__file__).parent  # with the scripts that tests run
STREAMS = ("stdout", "stderr")  # the files in which a warm Python leaves what a script printed


def run_in_fresh_python(script, *arguments, folder):
    """Run a script in a Python of its own, in ``folder``."""
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        cwd=str(folder),
        env=environment(),
    )


class WarmPython:
    """A Python that runs each script in a fork of its own, and imports TensorFlow once for all."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "warm_python.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            universal_newlines=True,
        )

    def run(self, script, folder):
        """Run a script, in ``folder``."""
        print(json.dumps([str(script), str(folder)]), file=self._process.stdin, flush=True)
        status = self._process.stdout.readline()
        stdout, stderr = ((folder / name).read_text(encoding="utf-8") for name in STREAMS)
        return SimpleNamespace(returncode=int(status), stdout=stdout, stderr=stderr)

    def close(self):
        self._process.communicate()


def environment():
    """Return the environment variables of a Python of its own, with this package.

    What this package sets for its own process, and so for those that it starts, is left out.
    """
    inherited = {name: value for name, value in os.environ.items() if name != bridge.FLAG}
    return {**inherited, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": str(ROOT)}


def run_here(script, *arguments, folder, monkeypatch):
    """Run a script in this Python, which saves the seconds that importing TensorFlow takes.

    As far as the script can tell, it is alone: it has its own arguments, working directory and
    ``__main__``, and the fixture `fresh_start` leaves it no layers of others.
    """
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    monkeypatch.syspath_prepend(str(script.parent))
    stdout, returncode, stderr = io.StringIO(), 0, ""
    with contextlib.redirect_stdout(stdout):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as stop:  # as Python itself ends: a message means that it failed
            returncode, stderr = (stop.code or 0, "") if _is_status(stop.code) else (1, stop.code)
    return SimpleNamespace(returncode=returncode, stdout=stdout.getvalue(), stderr=stderr)


def _is_status(code):
    return code is None or isinstance(code, int)
