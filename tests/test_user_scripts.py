"""Scripts of people who know nothing of nengo_wd but that NengoDL can be imported from it."""

import os
import pathlib
import subprocess
import sys

import pytest

import nengo_wd

SCRIPTS = pathlib.Path(__file__).with_name("third_party")


@pytest.mark.generation(3)
@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_script_runs_to_its_end(script):
    source = (SCRIPTS / script).read_text()
    (line,) = [line for line in source.splitlines() if "nengo_wd" in line]
    assert line == "from nengo_wd import nengo_dl"
    repository = str(pathlib.Path(nengo_wd.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, str(SCRIPTS / script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": repository},
    )
    assert ended.returncode == 0, ended.stderr
