"""One training on several machines: here two processes."""

import pytest
from scripts import SUPPORT, run_in_fresh_python

pytestmark = pytest.mark.generation(3)


@pytest.mark.slow
@pytest.mark.parametrize("check", ["two_workers", "killed_worker"])
def test_two_workers_do_what_one_device_does(check, tmp_path):
    ran = run_in_fresh_python(SUPPORT / "workers.py", str(tmp_path), check, folder=tmp_path)
    name, _, result = ran.stdout.strip().partition(" ")
    assert name == check and not result.startswith("failed"), result + ran.stderr
    assert float(result) < 1e-9
