"""NengoDL on whichever TensorFlow is installed, mostly in a fresh Python."""

import collections
import importlib.util
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd._seam import bridge

VERSION = tuple(int(number) for number in tf.__version__.split(".")[:2])

needs_no_bridge = pytest.mark.skipif(VERSION >= (2, 13), reason="NengoDL needs the bridge here")
needs_bridge = pytest.mark.skipif(VERSION < (2, 13), reason="NengoDL needs no bridge here")
needs_tf_keras = pytest.mark.skipif(VERSION < (2, 16), reason="tf.keras is Keras 2 here anyway")


def run(code, **environment):
    """Run ``code`` in a fresh Python, which has none of this one's settings."""
    settings = (bridge.FLAG, "TF_CPP_MIN_LOG_LEVEL", "PYTHONWARNINGS")
    inherited = {name: value for name, value in os.environ.items() if name not in settings}
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=str(pathlib.Path(nengo_wd.__file__).parents[1]),
        env={**inherited, **environment},
    )
    assert ended.returncode == 0, ended.stderr
    return ended


def printed(code, **environment):
    """Return the words that ``code`` prints."""
    return run(code, **environment).stdout.split()


# -- one Keras ---------------------------------------------------------------------------


SORTED_IMPORTS = f"""
import json
import os
import subprocess
import sys

import nengo
import numpy as np
import tensorflow as tf

print("imported", file=sys.stderr, flush=True)
before = set(sys.modules)
finders, path = list(sys.meta_path), list(tf.__path__)
started, looked = [], []


class Recorded(subprocess.Popen):
    def __init__(self, args, *others, **kwargs):
        started.append(str(args))
        super().__init__(args, *others, **kwargs)


popen, subprocess.Popen = subprocess.Popen, Recorded
list_devices = tf.config.experimental.list_physical_devices
tf.config.experimental.list_physical_devices = looked.append

import nengo_wd
from nengo_wd import nengo_dl

subprocess.Popen, tf.config.experimental.list_physical_devices = popen, list_devices
facts = {{
    "pythons started": [args for args in started if "python" in args],
    "looked for": looked,
    "flag": os.environ.get({bridge.FLAG!r}),
    "finders": [type(finder).__name__ for finder in sys.meta_path if finder not in finders],
    "path": tf.__path__ != path,
    "keras": [name for name in set(sys.modules) - before if name.partition(".")[0] == "keras"],
}}
"""
AFTERWARDS = """
import importlib

import nengo_dl as afterwards
from tensorflow.keras.layers import Dense

facts["one nengo_dl"] = afterwards is nengo_dl is nengo_wd.nengo_dl
facts["one keras"] = Dense is tf.keras.layers.Dense
facts["layer"] = issubclass(nengo_wd.RegularizedDense, Dense)

import keras.layers

facts["old names"] = hasattr(keras.layers, "BatchNormalizationV1")
facts["stand-in"] = sys.modules["keras.layers"] is not keras.layers
"""


PATHS = """
tf_keras_folder = os.path.dirname(sys.modules["tf_keras"].__file__)
for name in ("keras", "keras.layers", "compat.v2.keras", "compat.v1.keras"):
    module = importlib.import_module("tensorflow." + name)
    facts["tensorflow." + name] = os.path.relpath(module.__file__, tf_keras_folder)

facts["layers of TensorFlow 1"] = tf.compat.v1.layers.Dense.__module__.partition(".")[0]
"""


@pytest.fixture(scope="module")
def facts():
    """Return what a fresh Python finds that has its imports as isort sorts them."""
    looked_at = AFTERWARDS if GENERATION == 3 else ""  # the other has no Keras to look at
    looked_at += PATHS if VERSION >= (2, 16) else ""
    code = f"{SORTED_IMPORTS}{looked_at}print(json.dumps(facts))"
    ended = run(code, TF_CPP_MIN_LOG_LEVEL="1")
    tensorflow_alone, _, _ = ended.stderr.partition("imported\n")
    return {**json.loads(ended.stdout), "said by tensorflow alone": tensorflow_alone}


@pytest.mark.slow
@pytest.mark.generation(3)
def test_imports_in_the_order_of_isort(facts):
    assert facts["one nengo_dl"] and facts["one keras"] and facts["layer"]


@pytest.mark.slow
@needs_bridge
def test_import_of_nengo_dl_that_failed_can_be_made_up_for():
    code = """
try:
    import nengo_dl
except ImportError as error:
    print(error.name.partition(".")[0])
from nengo_wd import nengo_dl
print(nengo_dl.Simulator.__name__)
"""
    assert printed(code) == ["keras", "Simulator"]


@pytest.mark.generation(3)
def test_one_keras_in_simulator_layers_and_callbacks():
    with nengo.Network() as net:
        nengo.Probe(nengo.Node([0.0]))
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        assert isinstance(sim.keras_model, tf.keras.Model)
        assert isinstance(sim.tensor_graph, tf.keras.layers.Layer)
    assert issubclass(nengo_dl.callbacks.NengoSummaries, tf.keras.callbacks.Callback)
    for name in ("losses", "metrics", "optimizers", "initializers"):
        assert getattr(tf, name).get is getattr(tf.keras, name).get


@pytest.mark.generation(3)
def test_converter_takes_a_model_of_tf_keras():
    source = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(2, 3, activation="relu")(source)
    x = tf.keras.layers.BatchNormalization()(x)
    x = tf.keras.layers.Dense(3)(tf.keras.layers.Flatten()(x))
    model = tf.keras.Model(source, x)
    converter = nengo_dl.Converter(model, allow_fallback=False, inference_only=True)
    images = np.random.RandomState(0).uniform(size=(2, 6, 6, 1)).astype(np.float32)
    with nengo_dl.Simulator(converter.net, minibatch_size=2, progress_bar=False) as sim:
        steps = {converter.inputs[source]: images.reshape((2, 1, 36))}
        found = sim.predict(steps, verbose=0)[converter.outputs[x]][:, 0]
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-5)


@pytest.mark.slow
@needs_tf_keras
def test_one_keras_wherever_tensorflow_has_it(facts):
    """Each path leads to the module of tf-keras that it leads to with the flag from the start."""
    path = os.path.join("api", "{}", "keras", "{}__init__.py")
    assert facts["tensorflow.keras"] == path.format("_v2", "")
    assert facts["tensorflow.keras.layers"] == path.format("_v2", "layers" + os.sep)
    assert facts["tensorflow.compat.v2.keras"] == path.format("_v2", "")
    assert facts["tensorflow.compat.v1.keras"] == path.format("_v1", "")
    assert facts["layers of TensorFlow 1"] == "tf_keras"


# -- nothing but what is missing -----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.generation(3)
@needs_no_bridge
def test_an_older_tensorflow_is_left_alone(facts):
    assert facts["flag"] is None
    assert not facts["finders"] and not facts["path"]


@pytest.mark.slow
@needs_bridge
def test_old_names_are_gone_after_the_import(facts):
    assert "keras.engine.functional" not in facts["keras"]
    assert not facts["stand-in"] and not facts["old names"]
    assert facts["finders"] == (["Watch"] if VERSION >= (2, 16) else [])


@pytest.mark.slow
@needs_tf_keras
def test_keras_3_under_its_own_name_stays_keras_3():
    code = """
import keras
import nengo_wd
import tensorflow as tf
from keras.layers import Dense

print(keras.__version__.partition(".")[0], Dense.__module__.partition(".")[0])
print(tf.keras.layers.Dense.__module__.partition(".")[0], keras.layers.Dense is Dense)
"""
    assert printed(code) == ["3", "keras", "tf_keras", "True"]


def test_nengo_dl_that_is_imported_already_is_left_alone():
    before = dict(sys.modules)
    with bridge.bridged():
        assert sys.modules == before


def test_stand_ins_go_where_the_import_fails():
    # in a package that is imported already, so that nothing else comes in with it
    stand_ins = {name: types.ModuleType(name) for name in ("nengo.layers", "nengo.nothing")}
    before = dict(sys.modules)
    with pytest.raises(ImportError, match="Anything"):
        with bridge.standing_in(stand_ins):
            import nengo.nothing  # noqa: F401
            from nengo.layers import Anything  # noqa: F401
    assert sys.modules == before


# -- Keras 3 -----------------------------------------------------------------------------

# Each import fails, and leaves everything as it was for the next one. Looking at tf.keras has
# Keras 3 handed out, so each way to do so has a fork of its own.
HANDED_OUT = {
    "tf.optimizers.Adam()": "",
    "from tensorflow.keras import layers": "",
    "import keras_spiking": "keras_spiking",
    "from optuna_integration import TFKerasPruningCallback": "optuna_integration",
}
REFUSALS = f"""
import json
import os
import sys

refusals = []


def refused():
    try:
        import nengo_wd
    except ImportError as error:
        refusals.append([str(error), os.environ.get({bridge.FLAG!r})])


os.environ[{bridge.FLAG!r}] = "0"
refused()
del os.environ[{bridge.FLAG!r}]
sys.modules["tf_keras"] = None
refused()
del sys.modules["tf_keras"]

import tensorflow as tf

for hand_out in {list(HANDED_OUT)}:
    if os.fork() == 0:
        exec(hand_out)
        refused()
        print(json.dumps([*refusals, tf.keras.__version__[0]]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.mark.slow
@needs_tf_keras
def test_keras_3_that_was_asked_for_or_handed_out_is_not_exchanged():
    lines = run(REFUSALS).stdout.splitlines()
    assert len(lines) == len(HANDED_OUT)
    for line, package in zip(lines, HANDED_OUT.values()):
        asked_for, missing, handed_out, version = json.loads(line)
        assert re.search(f"{bridge.FLAG}=0 .* Unset {bridge.FLAG}", asked_for[0])
        assert 'pip install "tf-keras~={}.{}.0"'.format(*VERSION) in missing[0]
        to = f" \\(to {package}\\)" if package else ""
        first = f"{package}, and before the" if package else "the"
        told = (
            f"already handed out Keras 3 as tf.keras{to}. Import nengo_wd before {first} first use"
        )
        assert re.search(told, handed_out[0])
        assert (asked_for[1], missing[1], handed_out[1], version) == ("0", None, None, "3")


@needs_bridge
def test_keras_3_in_the_place_of_keras_2_is_named(monkeypatch):
    monkeypatch.setattr(bridge, "IMPORTED", ("keras.engine.nothing",))
    with pytest.raises(ImportError, match=r"needs Keras 2.*nothing.*pip install \".*keras~=2\."):
        bridge.keras_2()


# -- the GPU -----------------------------------------------------------------------------
@pytest.mark.slow
def test_import_starts_no_python_and_looks_for_no_gpu(facts):
    assert facts["pythons started"] == [] and facts["looked for"] == []


@pytest.mark.slow
def test_gpu_is_found_as_by_the_python_that_nengo_dl_starts(monkeypatch):
    # NengoDL 2 starts whichever Python is called "python"
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    spec = importlib.util.find_spec("nengo_dl.utils")
    by_itself = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(by_itself)
    assert "tf_gpu_installed" in vars(by_itself)
    assert sys.modules["nengo_dl.utils"].tf_gpu_installed == by_itself.tf_gpu_installed


@pytest.mark.parametrize("devices", [[], ["/physical_device:GPU:0"]])
def test_gpu_is_looked_for_once_when_nengo_dl_asks(devices, monkeypatch):
    looked = []

    def list_devices(kind):
        looked.append(kind)
        return devices

    utils = sys.modules["nengo_dl.utils"]
    monkeypatch.setattr(utils, "tf_gpu_installed", None, raising=False)  # put back after the test
    del utils.tf_gpu_installed
    monkeypatch.setattr(tf.config.experimental, "list_physical_devices", list_devices)
    assert not hasattr(utils, "something_else") and looked == []
    assert utils.tf_gpu_installed is utils.tf_gpu_installed is bool(devices)
    assert looked == ["GPU"]


def test_other_calls_of_other_programs_go_through():
    call = subprocess.call
    with bridge.without_second_python():
        assert subprocess.call([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert subprocess.call is call


# -- what is said ------------------------------------------------------------------------

TRAINING = """
import sys

from nengo_wd import nengo_dl

print("imported", file=sys.stderr, flush=True)

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd

with nengo.Network(seed=0) as net:
    nengo_dl.configure_settings(lif_smoothing=0.02)  # or our advice is said
    source = nengo.Node([0.0])
    ensemble = nengo.Ensemble(10, 1)
    nengo.Connection(source, ensemble)
    probe = nengo.Probe(nengo_dl.tensor_layer(ensemble, nengo_wd.RegularizedDense(1)))
with nengo_dl.Simulator(net, progress_bar=False) as sim:
    sim.compile(tf.optimizers.Adam(), loss=nengo_wd.regularized_objective(sim, "mse"))
    sim.fit(np.zeros((1, 5, 1)), np.zeros((1, 5, 1)), verbose=0)
    sim.predict(np.zeros((1, 5, 1)), verbose=0)
"""

# TensorFlow's lines from below Python, which come without NengoDL as well.
LOGGED = re.compile(
    r"^([IWE]\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: [IWE] |WARNING: All log messages before "
    r"absl|To enable the following instructions)(.*)"
)


def said(text):
    """Count TensorFlow's log lines in ``text``, apart from all other lines."""
    matches = [(LOGGED.match(line), line) for line in text.splitlines()]
    logged = collections.Counter(match.group(2) for match, _ in matches if match)
    return logged, [line for match, line in matches if not match]


@pytest.mark.slow
@needs_bridge
def test_nothing_is_said_that_tensorflow_does_not_say_without_nengo_dl(facts):
    at_import, later = run(TRAINING).stderr.split("imported\n")
    logged, other = said(at_import)
    assert other == []
    assert not logged - said(facts["said by tensorflow alone"])[0]
    other = [line for line in said(later)[1] if "No GPU support detected" not in line]
    assert [line for line in other if line.strip() != "warnings.warn("] == []
