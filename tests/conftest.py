"""What all tests have. TensorFlow is imported late: pytest-xdist's controller needs none."""

import gc
import os
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytest.register_assert_rewrite("by_hand")

LONGEST = {
    "test_docs.py",
    "test_distributed.py",
    "test_examples.py",
    "test_user_scripts.py",
    "test_bridge.py",
    "test_processes.py",
}
WITH_REFERENCES = {"test_references.py", "test_postgresql.py", "test_workers.py"}
AS_USERS_RUN_IT = {"test_docs.py", "test_user_scripts.py"}


@pytest.fixture(autouse=True)
def fresh_start():
    """Keep one test's layer names, graphs and random numbers out of the next one."""
    import tensorflow as tf
    from generations import seed

    tf.keras.backend.clear_session()
    seed(0)


@pytest.fixture(autouse=True)
def traced_once(request, monkeypatch):
    """Have Keras trace a step once. The second trace is for the variables that the first makes."""
    import tensorflow as tf
    from generations import GENERATION, after_making_variables

    if GENERATION == 3 and request.path.name not in AS_USERS_RUN_IT:
        for name in ("make_train_function", "make_test_function"):
            make = getattr(tf.keras.Model, name)
            monkeypatch.setattr(tf.keras.Model, name, after_making_variables(make))


@pytest.fixture
def rng(request):
    """Return random numbers of the test's own: the same ones in each run, whatever ran before."""
    return np.random.RandomState(zlib.crc32(request.node.name.encode()))


def pytest_addoption(parser):
    parser.addoption("--references", action="store_true", help="also what needs other packages")


def pytest_ignore_collect(collection_path, config):
    """Leave out what needs packages of the extra `references`, or a minute, unless asked for."""
    if collection_path.name in WITH_REFERENCES and not config.getoption("references", False):
        return True
    return None


def pytest_report_header():
    import tensorflow as tf

    from nengo_wd import nengo_dl

    return f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}"


def pytest_collection_modifyitems(config, items):
    """Leave out, by the marker `generation`, what only the other NengoDL has.

    The longest tests come first, so that no worker is left with one of them at the end.
    """
    left_out = [item for item in items if not _is_for_this_generation(item)]
    items[:] = [item for item in items if _is_for_this_generation(item)]
    items.sort(key=lambda item: item.path.name not in LONGEST)
    config.hook.pytest_deselected(items=left_out)
    gc.collect()
    gc.freeze()  # what TensorFlow's import made, which each full collection would walk through


def _is_for_this_generation(item):
    from generations import GENERATION

    marker = item.get_closest_marker("generation")
    return marker is None or marker.args[0] == GENERATION


# -- deselected tests in the closing line, where pytest-xdist's workers deselect them -------


def pytest_deselected(items):
    """Keep the names of the tests for the process that prints the closing line."""
    for item in items:
        workers_output = getattr(item.config, "workeroutput", {})
        workers_output.setdefault("deselected", []).append(item.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take the names from the first worker that ends: all of them leave out the same."""
    stats = node.config.pluginmanager.getplugin("terminalreporter").stats
    names = getattr(node, "workeroutput", {}).get("deselected", [])
    stats.setdefault("deselected", [SimpleNamespace(nodeid=name) for name in names])
