"""Scripts as users of NengoDL write them run to their end with NengoDL from nengo_wd.

We wrote them, in the place of people who know Nengo, Keras or NengoSPA, and of nengo_wd nothing but
that NengoDL can be imported from it.
"""

import pytest
from scripts import SUPPORT, run_here, run_in_fresh_python

SCRIPTS = SUPPORT / "user_scripts"
IN_FRESH_PYTHON = {"from_nengo.py"}


@pytest.mark.slow
@pytest.mark.generation(3)
@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.glob("*.py")))
def test_script_runs_to_its_end(script, tmp_path, monkeypatch):
    source = (SCRIPTS / script).read_text(encoding="utf-8")
    (line,) = [line for line in source.splitlines() if "nengo_wd" in line]
    assert line == "from nengo_wd import nengo_dl"
    if script in IN_FRESH_PYTHON:
        ended = run_in_fresh_python(SCRIPTS / script, folder=tmp_path)
    else:
        ended = run_here(SCRIPTS / script, folder=tmp_path, monkeypatch=monkeypatch)
    assert ended.returncode == 0, ended.stderr
