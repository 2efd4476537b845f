"""The table of changes has all that the package changes in classes and modules of others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import run_in_fresh_python

from nengo_wd._seam import hooks


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    script = Path(__file__).with_name("changed.py")
    ran = run_in_fresh_python(script, folder=tmp_path_factory.mktemp("changed"))
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


def lasting():
    """Yield the places of the table that `install` changes with what is installed."""
    for change in (*hooks.WRAPPED, *hooks.COMPILING, *hooks.SET, *hooks.LATER):
        if hooks._is_needed(change):
            try:
                hooks._owner(change.place)
            except ModuleNotFoundError:
                continue
            yield change.place


def test_nothing_differs_but_what_the_table_has(found):
    assert found["number of places"] > 10_000
    assert found["after the import"] == sorted(lasting())


def test_a_change_that_is_not_in_the_table_is_found(found):
    names = {place.partition(":")[2] for place in found["outside of the table"]}
    assert names == {"Node.added_by_a_test", "Dense.build"}


def test_each_place_is_changed_once():
    lasting_ones = (*hooks.WRAPPED, *hooks.COMPILING, *hooks.SET, *hooks.LATER)
    places = [change.place for change in lasting_ones]
    assert len(set(places)) == len(places)
    temporary = [change.place for change in hooks.TEMPORARY]
    assert len(set(temporary)) == len(temporary)


@pytest.mark.parametrize("change", hooks.CHANGES)
def test_what_makes_a_change_is_where_the_table_says(change):
    assert change.why
    if hooks._is_needed(change):
        assert hooks._resolve(change.by) is not None
        for name in filter(None, (change.calls, change.only)):
            assert callable(hooks._resolve(name))


def test_a_change_for_the_time_of_a_block_is_taken_back():
    before = subprocess.call
    with pytest.raises(ArithmeticError):
        with hooks.replaced("subprocess:call", len):
            assert subprocess.call is len
            raise ArithmeticError
    assert subprocess.call is before


def test_a_change_for_the_time_of_a_block_has_to_be_in_the_table():
    with pytest.raises(KeyError, match="sys:path is not in the table"):
        with hooks.replaced("sys:path", []):
            pass
    assert sys.path


def test_installing_again_changes_nothing():
    before = {place: vars(hooks._owner(place)[0])[hooks._owner(place)[1]] for place in lasting()}
    hooks.install()
    for place, value in before.items():
        owner, name = hooks._owner(place)
        assert vars(owner)[name] is value
