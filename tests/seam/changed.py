"""Compare NengoDL and all that it uses before and after this package: run in a fresh Python.

Prints the places that differ after the import, and those that differ after changes of which the
table in `hooks` does not know.
"""

import contextlib
import importlib
import json
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OTHERS = (
    "nengo",
    "nengo_dl",
    "nengo_loihi",
    "keras",
    "tf_keras",
    "tensorflow",
    "tensorflow_core",
    "numpy",
)
OTHERS += ("subprocess", "warnings")


def bridge_alone():
    """Import NengoDL by the bridge, without the package around it."""
    folder = ROOT / "nengo_wd"
    for name, path in {"nengo_wd": folder, "nengo_wd._seam": folder / "_seam"}.items():
        package = sys.modules[name] = types.ModuleType(name)
        package.__path__ = [str(path)]
    with importlib.import_module("nengo_wd._seam.bridge").bridged():
        import nengo_dl  # noqa: F401
    sys.meta_path[:] = [one for one in sys.meta_path if type(one).__name__ != "Watch"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "nengo_wd"]:
        del sys.modules[name]


def snapshot():
    """Return the values of all attributes of modules and classes, by their places."""
    found = {}
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OTHERS and isinstance(module, types.ModuleType):
            take(found, name + ":", module, name)
    return found


def take(found, prefix, owner, module):
    for name, value in list(vars(owner).items()):
        if isinstance(value, types.ModuleType) and value.__name__ == f"{module}.{name}":
            continue  # a submodule, which may be imported later
        found[prefix + name] = value
        if isinstance(value, type) and value.__module__ == module:
            if value.__qualname__ == f"{prefix.partition(':')[2]}{name}":
                take(found, f"{prefix}{name}.", value, module)


def changed(before, after):
    """Return the places that differ, of the owners that were there before."""
    owners = {owner_of(place) for place in before}
    places = [place for place in after if owner_of(place) in owners]
    missing = object()
    differ = [place for place in places if before.get(place, missing) is not after[place]]
    gone = set(before) - set(after)
    return sorted(place for place in gone | set(differ) if not is_lazy(before.get(place)))


def is_lazy(value):
    """Tell whether TensorFlow has not loaded a module yet, which puts itself in its place."""
    return "Lazy" in type(value).__name__


def owner_of(place):
    return place.rpartition("." if "." in place.partition(":")[2] else ":")[0]


bridge_alone()
with contextlib.suppress(ImportError):  # it is not installed everywhere
    import nengo_loihi  # noqa: F401
before = snapshot()
import nengo  # noqa: E402
import tensorflow as tf  # noqa: E402

import nengo_wd  # noqa: E402, F401

after = snapshot()
found = {"number of places": len(before), "after the import": changed(before, after)}

build = tf.keras.layers.Dense.build
tf.keras.layers.Dense.build = lambda *args: build(*args)
nengo.Node.added_by_a_test = None
found["outside of the table"] = changed(after, snapshot())
print(json.dumps(found))
