"""The bridge from NengoDL 3.6 to current TensorFlow, Nengo and NumPy, and a faster import.

NengoDL 3.6 needs Keras 2, and imports names that moved in TensorFlow 2.13. Since TensorFlow 2.16,
``tf.keras`` is Keras 3. Keras 2 is a separate package, tf-keras, which TensorFlow uses on request.
Every NengoDL starts a second Python at its import, to look for a GPU. The bridge prevents that.

Nengo 4 changed the shape of the passthrough of a `nengo.LinearFilter`, which NengoDL asserts.
Nengo's copy of SciPy's matrix exponential, for filters of many dimensions, uses names that NumPy 2
removed. Nengo's filters of one-dimensional data use an array as a number, which NumPy 2.4 refuses.

Two libraries of Nengo's family need help when they are imported later: nengo-loihi was written for
NumPy 1, and KerasLMU looks for Keras 2 where Keras 3 is now. `hooks` lists all these changes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any, Callable, Iterator

import numpy as np

# NengoDL does this before it imports TensorFlow, which happens here now.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import tensorflow as tf  # noqa: E402

from nengo_wd._seam import hooks  # noqa: E402

FLAG = "TF_USE_LEGACY_KERAS"
IMPORTED = ("keras.engine.functional", "keras.layers")  # what nengo_dl.compat imports by name
# What KerasLMU imports, from the places in TensorFlow 2.13 to 2.15.
OF_LMU = ("keras.src.engine.base_layer", "keras.src.layers.rnn.dropout_rnn_cell_mixin")
OWN = ("keras", "tf_keras", "tensorflow")  # these import Keras 3 in any case
# TensorFlow chooses a Keras when one of these is first used.
CHOSEN = ("keras", "losses", "metrics", "optimizers", "initializers")
UNTESTED = r"This version of NengoDL has not been tested with your Nengo version \(4\."


@contextlib.contextmanager
def bridged() -> Iterator[None]:
    """Help the body to import NengoDL, or raise an ImportError if TensorFlow can't use Keras 2."""
    if "nengo_dl" in sys.modules:
        yield
        return
    version = tuple(map(int, minor().split(".")))
    if version >= (2, 16):
        choose_keras_2()
    with contextlib.ExitStack() as helps:
        helps.enter_context(without_second_python())
        if version >= (2, 13):
            helps.enter_context(standing_in(keras_2()))
            helps.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", UNTESTED, UserWarning, r"nengo_dl\.version")
        yield
    del vars(sys.modules["nengo_dl.utils"])["tf_gpu_installed"]


def minor() -> str:
    """Return TensorFlow's major and minor version, which its packages share."""
    return ".".join(tf.__version__.split(".")[:2])


def choose_keras_2() -> None:
    """Make TensorFlow use tf-keras by an environment variable, as users do."""
    if os.environ.get(FLAG, "") not in ("", "1", "true", "True"):
        raise ImportError(
            f"NengoDL needs Keras 2, but the environment variable {FLAG}={os.environ[FLAG]} keeps "
            f"TensorFlow {tf.__version__} from using it. Unset {FLAG}, or set it to 1."
        )
    if any(is_keras_3(vars(tf).get(name)) for name in CHOSEN):
        packages = ", ".join(users_of_keras_3())
        raise ImportError(
            "NengoDL needs Keras 2, but TensorFlow has already handed out Keras 3 as tf.keras"
            f"{packages and f' (to {packages})'}. Import nengo_wd before "
            f"{packages and f'{packages}, and before '}the first use of tf.keras (also as "
            "tensorflow.keras, tf.losses or tf.optimizers), or set the environment variable "
            f"{FLAG}=1."
        )
    tf_keras = import_tf_keras()
    os.environ[FLAG] = "1"
    # `import tensorflow.keras` uses a path that TensorFlow made when it was imported.
    folder = os.path.dirname(str(tf_keras.__file__))
    for package, version in ((tf, "_v2"), (tf.compat.v2, "_v2"), (tf.compat.v1, "_v1")):
        path = os.path.join(folder, "api", version)
        if path not in package.__path__:
            package.__path__.insert(0, path)


def import_tf_keras() -> ModuleType:
    """Return the package that has Keras 2 for TensorFlow 2.16 and later."""
    try:
        return import_module("tf_keras")
    except Exception as error:  # a tf-keras that does not fit may raise anything
        raise ImportError(
            f"NengoDL needs Keras 2, which for TensorFlow {tf.__version__} is the package tf-keras "
            f"{minor()}, which could not be imported ({error}). Install it with: "
            f'pip install "tf-keras~={minor()}.0"'
        ) from error


def is_keras_3(value: Any) -> bool:
    """Tell whether a class or module is from Keras 3; a lazy module is not before it loads."""
    if isinstance(value, type):
        return str(value.__module__).partition(".")[0] == "keras"
    file = vars(value).get("__file__") if isinstance(value, ModuleType) else None
    return "_tf_keras" in (file or "").split(os.sep)


def users_of_keras_3() -> list[str]:
    """Return the packages with an attribute from Keras 3."""
    script = sys.modules.get("__main__")  # which has another name as well
    found = {
        name.partition(".")[0]
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType) and module is not script
        if any(map(is_keras_3, list(vars(module).values())))
    }
    return sorted(found.difference(OWN))


def keras_2(names: tuple[str, ...] = ()) -> dict[str, ModuleType]:
    """Return modules of TensorFlow's Keras 2, by the names by which others import them."""
    keras = tf.keras.Model.__module__.partition(".")[0]
    places = {name: re.sub(r"^keras(\.src)?", f"{keras}.src", name) for name in names or IMPORTED}
    try:
        return {name: import_module(place) for name, place in places.items()}
    except ImportError as error:
        raise ImportError(
            f"NengoDL needs Keras 2, but the tf.keras of TensorFlow {tf.__version__} is another "
            f'Keras ({error}). Install it with: pip install "{keras}~={minor()}.0"'
        ) from error


@contextlib.contextmanager
def standing_in(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let only the body import ``modules`` by these names."""
    before = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        sys.modules.update(before)
        for name in modules.keys() - before.keys():
            del sys.modules[name]


def find_helped(watch: Any, name: str, path: Any, target: Any) -> Any:
    """Return the spec of a module that gets help when it is imported; None if there is none."""
    others = [finder for finder in sys.meta_path if finder is not watch]
    specs = (finder.find_spec(name, path, target) for finder in others)
    spec: Any = next(filter(None, specs), None)
    if spec is not None:
        spec.loader.exec_module = functools.partial(execute_helped, spec.loader.exec_module)
    return spec


def execute_helped(execute: Callable, module: ModuleType) -> None:
    """Execute a module, which finds Keras 2 where it expects it, and make changes in LATER."""
    moved = module.__name__ == hooks.LMU and "tf_keras" in sys.modules
    with standing_in(keras_2(OF_LMU) if moved else {}):
        execute(module)
    hooks.install()


def watch_imports() -> None:
    """Help modules that are imported later, even if this module is reloaded."""
    watched = any(type(finder).__name__ == hooks.Watch.__name__ for finder in sys.meta_path)
    if os.environ.get(FLAG) and not watched:  # only then there is Keras 3 or NumPy 2
        sys.meta_path.insert(0, hooks.Watch())


@contextlib.contextmanager
def without_second_python() -> Iterator[None]:
    """Keep NengoDL's import from starting a second Python to look for a GPU, which takes long.

    Looking in this process would fix which GPUs are visible, so `look_for_gpu` does it later.
    """
    call = subprocess.call

    def call_of_others(*args: Any, **kwargs: Any) -> int:
        caller = sys._getframe(1).f_globals.get("__name__")
        return 1 if caller == "nengo_dl.utils" else call(*args, **kwargs)

    with hooks.replaced("subprocess:call", call_of_others):
        yield


def look_for_gpu(name: str) -> bool:
    """Find NengoDL's ``tf_gpu_installed`` when the first simulator asks, which sets up devices."""
    if name != "tf_gpu_installed":
        raise AttributeError(f"module 'nengo_dl.utils' has no attribute {name!r}")
    found = bool(tf.config.experimental.list_physical_devices("GPU"))
    vars(sys.modules["nengo_dl.utils"])[name] = found
    return found


NO_ORDER: list = []  # no parameter of a copied TensorNode is set first


def build_filter(build_pre: Callable, builder: Any, signals: Any, config: Any) -> None:
    """Build filters with a passthrough ``D`` of the shape ``(1,)``."""
    init = import_module("nengo").LinearFilter.Step.__init__

    def init_flat(step: Any, *matrices: Any) -> None:
        init(step, *matrices)
        step.D = np.ravel(step.D)

    with hooks.replaced("nengo.synapses:LinearFilter.Step.__init__", init_flat):
        build_pre(signals, config)


def filter_data(
    filt: Callable, synapse: Any, x: Any, dt: Any = None, axis: int = 0, *args: Any, **kwargs: Any
) -> Any:
    """Filter one-dimensional data as a column, because a step returns an array, not a number."""
    if np.ndim(x) != 1:
        return filt(x, dt, axis, *args, **kwargs)
    return filt(np.asarray(x)[:, None], dt, max(axis, 0), *args, **kwargs)[:, 0]


# Names that NumPy removed or changed, and functions that do the same.
REMOVED = {
    "array": lambda *args, copy=True, **kwargs: np.array(*args, copy=copy or None, **kwargs),
    "fromstring": lambda data, dtype: np.frombuffer(data, dtype).copy(),
    "find_common_type": lambda arrays, scalars: np.result_type(*arrays, *scalars),
    "in1d": lambda one, other: np.isin(np.ravel(one), other),
}
NUMPY_1 = ModuleType("numpy")  # for modules that were written for NumPy 1
vars(NUMPY_1).update({**vars(np), **REMOVED})
