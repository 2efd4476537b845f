"""What the package changes in others' classes is changed once, also where modules are reloaded."""

import json

import pytest
from scripts import SUPPORT, run_in_fresh_python

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return what a fresh Python finds: here, the other tests would have classes of before."""
    ran = run_in_fresh_python(SUPPORT / "reloaded.py", folder=tmp_path_factory.mktemp("reloaded"))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def test_each_method_is_wrapped_as_often_as_before(found):
    before = found.pop("before")
    expected = {"ClassParams.get_param", "Config.__getitem__", "Simulator.__init__"}
    expected |= {"Simulator.save_params"}  # in both generations
    assert expected < set(before)
    after = {name: depths for name, depths in found.items() if isinstance(depths, dict)}
    assert after and all(depths == before for depths in after.values())
    assert set(before.values()) == {1}


def test_graphs_and_simulators_are_remembered(found):
    assert found["kept"] == [True, True]


def test_nothing_is_said_twice(found):
    assert found["of reload"] == []
    assert len(found["trained"]) == 1 and "settings for regularizer" in found["trained"][0]
    (asked,) = found["asked"]
    assert asked.count("nengo_wd.configure_settings()") == 1
