"""The bridge from NengoDL 3.6 to current TensorFlow, Nengo and NumPy, and a faster import.

NengoDL 3.6 needs Keras 2, and imports a few names of it from where they were up to TensorFlow
2.12. TensorFlow 2.13 to 2.15 has them elsewhere. Since TensorFlow 2.16, ``tf.keras`` is Keras 3,
and Keras 2 a package of its own, tf-keras, which TensorFlow uses if it is asked to.

Every NengoDL starts a second Python at its import, to look for a GPU. Here it starts none.

Nengo 4 gives the passthrough of a `nengo.LinearFilter` another shape than NengoDL asserts. Nengo's
copy of SciPy's matrix exponential, for filters of many dimensions, uses names that NumPy 2 removed.
And Nengo's filters of one-dimensional data take an array for a number, as NumPy 2.4 no longer does.
The table in `hooks` says where these changes are.

Two libraries of Nengo's family get help when they are imported later: nengo-loihi, which was
written for NumPy 1, and KerasLMU, which looks for Keras 2 where Keras 3 is now.
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

# As NengoDL does before it imports TensorFlow, which happens here now.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")

import tensorflow as tf  # noqa: E402

from nengo_wd._seam import hooks  # noqa: E402

FLAG = "TF_USE_LEGACY_KERAS"

# The modules that NengoDL (in nengo_dl.compat alone) imports from Keras by name.
IMPORTED = ("keras.engine.functional", "keras.layers")

OWN = ("keras", "tf_keras", "tensorflow")  # these import Keras 3 in any case

# Those that KerasLMU's module imports, from where TensorFlow 2.13 to 2.15 has them.
OF_LMU = ("keras.src.engine.base_layer", "keras.src.layers.rnn.dropout_rnn_cell_mixin")

# What TensorFlow takes from the Keras that it chooses when one of them is first used.
CHOSEN = ("keras", "losses", "metrics", "optimizers", "initializers")

UNTESTED = r"This version of NengoDL has not been tested with your Nengo version \(4\."


@contextlib.contextmanager
def bridged() -> Iterator[None]:
    """Let NengoDL be imported in the body, with the help that it needs on this TensorFlow.

    Raise an ImportError, with what to do, if this TensorFlow can't use Keras 2.
    """
    version = tuple(int(number) for number in minor().split("."))
    if "nengo_dl" in sys.modules:
        yield
        return
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
    """Return TensorFlow's version as its packages share it."""
    return ".".join(tf.__version__.split(".")[:2])


def choose_keras_2() -> None:
    """Have TensorFlow use tf-keras, as its users do: by an environment variable."""
    if os.environ.get(FLAG, "") not in ("", "1", "true", "True"):
        raise ImportError(
            f"NengoDL needs Keras 2, but the environment variable {FLAG}={os.environ[FLAG]} keeps "
            f"TensorFlow {tf.__version__} from using it. Unset {FLAG}, or set it to 1."
        )
    if any(is_keras_3(vars(tf).get(name)) for name in CHOSEN):
        packages = ", ".join(users_of_keras_3())
        raise ImportError(
            "NengoDL needs Keras 2, but TensorFlow has handed out Keras 3 as tf.keras already"
            f"{packages and f' (to {packages})'}. Import nengo_wd before "
            f"{packages and f'{packages}, and before '}the first use of tf.keras (also as "
            "tensorflow.keras, tf.losses or tf.optimizers), or set the environment variable "
            f"{FLAG}=1."
        )
    tf_keras = import_tf_keras()
    os.environ[FLAG] = "1"
    # `import tensorflow.keras` goes by a path that TensorFlow made when it was imported.
    api = os.path.join(os.path.dirname(str(tf_keras.__file__)), "api")
    for package, version in ((tf, "_v2"), (tf.compat.v2, "_v2"), (tf.compat.v1, "_v1")):
        path = os.path.join(api, version)
        if path not in package.__path__:
            package.__path__.insert(0, path)


def import_tf_keras() -> ModuleType:
    """Return the package that has Keras 2 for TensorFlow 2.16 and later."""
    try:
        return import_module("tf_keras")
    except Exception as error:  # whatever a tf-keras raises that does not fit
        raise ImportError(
            f"NengoDL needs Keras 2, which for TensorFlow {tf.__version__} is the package "
            f"tf-keras {minor()}, and that could not be imported ({error}). Install it with: "
            f'pip install "tf-keras~={minor()}.0"'
        ) from error


def is_keras_3(value: Any) -> bool:
    """Tell whether a class or module is of Keras 3; a lazy module that was not loaded is not."""
    if isinstance(value, type):
        return str(value.__module__).partition(".")[0] == "keras"
    file = vars(value).get("__file__") if isinstance(value, ModuleType) else None
    return "_tf_keras" in (file or "").split(os.sep)


def users_of_keras_3() -> list[str]:
    """Return the packages that have something of Keras 3 among their names."""
    script = sys.modules.get("__main__")  # which has another name as well
    modules = [(name.partition(".")[0], module) for name, module in sys.modules.items()]
    return sorted(
        {
            package
            for package, module in modules
            if isinstance(module, ModuleType) and package not in OWN and module is not script
            if any(map(is_keras_3, list(vars(module).values())))
        }
    )


def keras_2(names: tuple[str, ...] = ()) -> dict[str, ModuleType]:
    """Return the modules of TensorFlow's Keras 2, by the names that others have for them."""
    keras = tf.keras.Model.__module__.partition(".")[0]
    places = {name: re.sub(r"^keras(\.src)?", f"{keras}.src", name) for name in names or IMPORTED}
    try:
        return {name: import_module(place) for name, place in places.items()}
    except ImportError as error:
        raise ImportError(
            f"NengoDL needs Keras 2, but the tf.keras of TensorFlow {tf.__version__} is of another "
            f'Keras ({error}). Install it with: pip install "{keras}~={minor()}.0"'
        ) from error


@contextlib.contextmanager
def standing_in(modules: dict[str, ModuleType]) -> Iterator[None]:
    """Let the body, and nothing after it, import ``modules`` by these names."""
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def find_helped(watch: Any, name: str, path: Any, target: Any) -> Any:
    """Return where a module is whose import needs help, and have it helped; None if it is not."""
    others = [finder for finder in sys.meta_path if finder is not watch]
    found = (finder.find_spec(name, path, target) for finder in others)
    spec: Any = next(filter(None, found), None)
    if spec is not None:
        spec.loader.exec_module = functools.partial(execute_helped, spec.loader.exec_module)
    return spec


def execute_helped(execute: Callable, module: ModuleType) -> None:
    """Execute a module that finds Keras 2 where it looks for it, and change what is LATER."""
    moved = module.__name__ == hooks.LMU and "tf_keras" in sys.modules
    with standing_in(keras_2(OF_LMU) if moved else {}):
        execute(module)
    hooks.install()


def watch_imports() -> None:
    """Help what is imported from now on, also if this module is reloaded."""
    watched = any(type(finder).__name__ == hooks.Watch.__name__ for finder in sys.meta_path)
    if os.environ.get(FLAG) and not watched:  # else there is neither Keras 3 nor NumPy 2
        sys.meta_path.insert(0, hooks.Watch())


@contextlib.contextmanager
def without_second_python() -> Iterator[None]:
    """Keep NengoDL from starting a second Python at its import, to look for a GPU.

    That takes as long as importing TensorFlow. In this process, looking would fix which GPUs are
    visible, so nothing is looked for before NengoDL asks.
    """
    call = subprocess.call

    def call_of_others(*args: Any, **kwargs: Any) -> int:
        caller = sys._getframe(1).f_globals.get("__name__")
        return 1 if caller == "nengo_dl.utils" else call(*args, **kwargs)

    with hooks.replaced("subprocess:call", call_of_others):
        yield


def look_for_gpu(name: str) -> bool:
    """Find NengoDL's ``tf_gpu_installed`` by this TensorFlow at its first use.

    That is when the first simulator is made, which sets up TensorFlow's devices anyway.
    """
    if name != "tf_gpu_installed":
        raise AttributeError(f"module 'nengo_dl.utils' has no attribute {name!r}")
    found = bool(tf.config.experimental.list_physical_devices("GPU"))
    vars(sys.modules["nengo_dl.utils"])[name] = found
    return found


NO_ORDER: list = []  # the parameters of a copied TensorNode that are set first: none


def build_filter(build_pre: Callable, builder: Any, signals: Any, config: Any) -> None:
    """Build filters whose passthrough ``D`` has the shape ``(1,)``."""
    place = "nengo.synapses:LinearFilter.Step.__init__"
    init = import_module("nengo").LinearFilter.Step.__init__

    def init_flat(step: Any, *matrices: Any) -> None:
        init(step, *matrices)
        step.D = np.ravel(step.D)

    with hooks.replaced(place, init_flat):
        build_pre(signals, config)


def filter_data(
    filt: Callable, synapse: Any, x: Any, dt: Any = None, axis: int = 0, *args: Any, **kwargs: Any
) -> Any:
    """Filter one-dimensional data as a column: a step returns an array, which is not a number."""
    if np.ndim(x) != 1:
        return filt(x, dt, axis, *args, **kwargs)
    return filt(np.asarray(x)[:, None], dt, max(axis, 0), *args, **kwargs)[:, 0]


# Names of NumPy that are gone or do otherwise, with what does the same.
REMOVED = {
    "array": lambda *args, copy=True, **kwargs: np.array(*args, copy=copy or None, **kwargs),
    "fromstring": lambda data, dtype: np.frombuffer(data, dtype).copy(),
    "find_common_type": lambda arrays, scalars: np.result_type(*arrays, *scalars),
    "in1d": lambda one, other: np.isin(np.ravel(one), other),
}
NUMPY_1 = ModuleType("numpy")  # for modules that were written for NumPy 1
vars(NUMPY_1).update({**vars(np), **REMOVED})
