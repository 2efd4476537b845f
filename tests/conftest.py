"""What all tests have. TensorFlow is imported late: pytest-xdist's controller needs none."""

import gc
import os
import zlib
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
pytest.register_assert_rewrite("by_hand")

WITH_REFERENCES = {"test_references.py", "test_postgresql.py"}
AS_USERS_RUN_IT = {"test_docs.py", "test_user_scripts.py"}


@pytest.fixture(autouse=True)
def fresh_start():
    """Keep one test's layer names, graphs and random numbers out of the next one."""
    import tensorflow as tf
    from generations import seed

    tf.keras.backend.clear_session()
    seed(0)


@pytest.fixture(autouse=True)
def short_traces(request, monkeypatch):
    """Have Keras trace a step once, and not at all where that costs more than the steps.

    With `--slow`, all is traced, as users have it.
    """
    from generations import GENERATION

    if GENERATION == 3 and request.path.name not in AS_USERS_RUN_IT:
        import untraced

        untraced.trace_once(monkeypatch)
        is_asked = request.config.getoption("slow") or request.config.getoption("compiled")
        if not (is_asked or request.node.get_closest_marker("traced")):
            untraced.run_eagerly_where_short(monkeypatch)


@pytest.fixture(autouse=True)
def compiled_by_xla(request, monkeypatch):
    """With `--compiled`, have XLA compile every simulator, as if its network had asked for it."""
    if request.config.getoption("compiled"):
        from nengo_wd import settings

        monkeypatch.setattr(settings, "is_jit_compiled", lambda network: True)


@pytest.fixture
def rng(request):
    """Return random numbers of the test's own: the same ones in each run, whatever ran before."""
    return np.random.RandomState(zlib.crc32(request.node.name.encode()))


def pytest_addoption(parser):
    parser.addoption("--references", action="store_true", help="also what needs other packages")
    parser.addoption("--compiled", action="store_true", help="XLA compiles all simulators")


def pytest_ignore_collect(collection_path, config):
    """Leave out what needs packages of the extra `references`, unless asked for."""
    if collection_path.name in WITH_REFERENCES and not config.getoption("references", False):
        return True
    return None


def pytest_report_header():
    import tensorflow as tf

    from nengo_wd import nengo_dl

    return f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}"


@pytest.hookimpl(trylast=True)  # after the tests that `-k` and `-m` leave out
def pytest_collection_modifyitems(config, items):
    """Leave out what only the other NengoDL has, and slow tests without `--slow`.

    Option and marker come from Nengo's plugin for pytest, which skips such tests one by one.
    The slow ones come first, so that no worker is left with one of them at the end.
    """
    own = [item for item in items if _is_for_this_generation(item)]
    slow = [item for item in own if item.get_closest_marker("slow")]
    fast = [item for item in own if not item.get_closest_marker("slow")]
    kept = slow + fast if config.getoption("slow") else fast
    config.n_slow = len(own) - len(kept)
    getattr(config, "workeroutput", {})["n_slow"] = config.n_slow
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    items[:] = kept
    gc.collect()
    gc.freeze()  # what TensorFlow's import made, which each full collection would walk through


def _is_for_this_generation(item):
    from generations import GENERATION

    marker = item.get_closest_marker("generation")
    return marker is None or marker.args[0] == GENERATION


def pytest_terminal_summary(terminalreporter, config):
    """Say how many slow tests were left out, and how to run them."""
    if getattr(config, "n_slow", 0):
        terminalreporter.write_line(
            f"{config.n_slow} slow tests were left out: `pytest --slow` runs them as well"
        )


# -- what pytest-xdist's workers left out, for the process that prints the summary -----------


def pytest_deselected(items):
    """Keep the names of the tests for the closing line."""
    for item in items:
        workers_output = getattr(item.config, "workeroutput", {})
        workers_output.setdefault("deselected", []).append(item.nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Take names and number from the first worker that ends: all of them leave out the same."""
    output = getattr(node, "workeroutput", {})
    stats = node.config.pluginmanager.getplugin("terminalreporter").stats
    names = output.get("deselected", [])
    stats.setdefault("deselected", [SimpleNamespace(nodeid=name) for name in names])
    node.config.n_slow = output.get("n_slow", getattr(node.config, "n_slow", 0))
