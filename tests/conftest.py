import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402
from generations import GENERATION  # noqa: E402

from nengo_wd import nengo_dl  # noqa: E402


@pytest.fixture(autouse=True)
def fresh_keras():
    """Keep one test's layer names and graphs out of the next one."""
    tf.keras.backend.clear_session()


def pytest_addoption(parser):
    parser.addoption("--references", action="store_true", help="also compare with other libraries")


def pytest_ignore_collect(path, config):
    """Leave out what needs other libraries, unless it is asked for."""
    return (
        path.basename == "test_references.py" and not config.getoption("references", False) or None
    )


def pytest_report_header():
    return f"nengo-dl {nengo_dl.__version__}, tensorflow {tf.__version__}"


def pytest_collection_modifyitems(items):
    """Leave out, by the marker `generation`, what only the other NengoDL has."""
    for item in list(items):
        marker = item.get_closest_marker("generation")
        if marker is not None and marker.args[0] != GENERATION:
            items.remove(item)
