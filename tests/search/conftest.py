"""What all tests of a search have, which needs Optuna: on NengoDL 3 alone."""

import pytest
from generations import GENERATION

collect_ignore_glob = ["test_*.py"] if GENERATION == 2 else []


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """Run each test in a working folder of its own, where the file of a search will be."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
