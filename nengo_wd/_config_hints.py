"""What Nengo's config adds to its errors about settings of this package.

Nengo's own error names neither this package nor what to do. Nothing else is changed.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable

import nengo
import tensorflow as tf
from nengo.config import ClassParams
from nengo.exceptions import ConfigError

from nengo_wd.settings import SETTINGS


def get_param(get: Callable, params: ClassParams, name: str) -> Any:
    """Explain Nengo's error about a setting that it does not know."""
    try:
        return get(name)
    except AttributeError as error:
        hint = _of_setting(params, name)
        if hint is None:
            raise
        raise AttributeError(f"{error}; {hint}") from None


def get_item(get: Callable, config: nengo.Config, key: Any) -> Any:
    """Explain Nengo's error about an object that can't have settings."""
    try:
        return get(key)
    except ConfigError as error:
        hint = _of_object(key)
        if hint is None:
            raise
        raise ConfigError(f"{error}; {hint}") from None


def _of_setting(params: ClassParams, name: str) -> str | None:
    """Say how to get a setting of this package."""
    if name not in SETTINGS:
        return None
    if issubclass(params._configures, nengo.Probe) and nengo.Probe not in SETTINGS[name].classes:
        return f"a Probe has no {name}, because what it records is not trained"
    return (
        "nengo_wd.configure_settings(), called in the network's with block, makes "
        f"{name} a setting of {', '.join(c.__name__ for c in SETTINGS[name].classes)}"
    )


def _of_object(key: Any) -> str | None:
    """Say where settings of a layer, or of a part of an object, belong."""
    key_class = key if inspect.isclass(key) else type(key)
    if issubclass(key_class, tf.keras.layers.Layer):
        name = key.__name__ if key_class is key else repr(key.name)
        return f"settings of the layer {name} belong to its TensorNode: net.config[tensor_node]"
    if isinstance(key, nengo.base.ObjView):
        return f"settings belong to the whole object: net.config[...] of {key.obj}, not {key}"
    return None
