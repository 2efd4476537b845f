"""What Nengo's config says where this package's settings are asked of it in vain.

Nengo answers with an error of its own, which names neither this package nor what to do. The hint
is added to that, and nothing else is changed.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable

import nengo
import tensorflow as tf
from nengo.config import ClassParams
from nengo.exceptions import ConfigError

from nengo_wd._seam import patches
from nengo_wd.settings import SETTINGS


def install() -> None:
    """Add the hints to Nengo's errors."""
    for cls, name, kind, hint in (
        (ClassParams, "get_param", AttributeError, _of_setting),
        (nengo.Config, "__getitem__", ConfigError, _of_object),
    ):
        patches.wrap(cls, name, "hints", functools.partial(_explained, kind=kind, hint=hint))


def _explained(method: Callable, kind: type[Exception], hint: Callable) -> Callable:
    """Return a method whose errors of a kind have a hint, where there is one."""

    def explained(self: Any, key: Any) -> Any:
        try:
            return method(self, key)
        except kind as error:
            found = hint(self, key)
            if found is None:
                raise
            raise kind(f"{error}; {found}") from None

    return explained


def _of_setting(params: ClassParams, name: str) -> str | None:
    """Say how to have a setting of this package."""
    if name not in SETTINGS:
        return None
    classes = SETTINGS[name].classes
    if issubclass(params._configures, nengo.Probe) and nengo.Probe not in classes:
        return f"a Probe has no {name}, because what it records is not trained"
    return (
        "nengo_wd.configure_settings(), called in the network's with block, makes "
        f"{name} a setting of {', '.join(c.__name__ for c in classes)}"
    )


def _of_object(config: nengo.Config, key: Any) -> str | None:
    """Say where settings of a layer, or of a part of an object, belong."""
    key_class = key if inspect.isclass(key) else type(key)
    if issubclass(key_class, tf.keras.layers.Layer):
        name = key.__name__ if key_class is key else repr(key.name)
        return f"settings of the layer {name} belong to its TensorNode: net.config[tensor_node]"
    if isinstance(key, nengo.base.ObjView):
        return f"settings belong to the whole object: net.config[...] of {key.obj}, not {key}"
    return None
