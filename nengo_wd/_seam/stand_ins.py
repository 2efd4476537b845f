"""Layers as they were in a simulator, after a later simulator has built them again.

A layer has the weights of one simulator only: the last one that was made with it. The simulators
before get stand-ins, which share the weights and penalties that the layer had.
"""

from __future__ import annotations

import copy
from typing import Any

import tensorflow as tf

ORIGINAL = "_nengo_wd_original"


def stand_in(layer: Any) -> Any:
    """Return a copy of a layer, and of the layers in it, with the same weights and penalties.

    None is returned for a Keras model, which can't be copied so.
    """
    parts = _parts(layer)
    if any(isinstance(part, tf.keras.Model) for part in parts):
        return None
    copies = {id(part): object.__new__(type(part)) for part in parts}
    for part in parts:
        held = {name: _replaced(value, copies) for name, value in vars(part).items()}
        vars(copies[id(part)]).update(held, **{ORIGINAL: original(part)})
    return copies[id(layer)]


def original(layer: Any) -> Any:
    """Return the layer that a stand-in stands for, and any other as it is."""
    return getattr(layer, "__dict__", {}).get(ORIGINAL, layer)


def _parts(layer: Any) -> list[Any]:
    """Return a layer and all layers in it."""
    return [layer, *(one for one in layer.submodules if isinstance(one, tf.keras.layers.Layer))]


def _replaced(value: Any, copies: dict[int, Any]) -> Any:
    """Return a value, or a copy of a container, with copies in the place of layers."""
    if id(value) in copies:
        return copies[id(value)]
    if hasattr(value, "_replace"):  # a named tuple, such as a reference that checkpoints follow
        return value._replace(**{k: _replaced(getattr(value, k), copies) for k in value._fields})
    if not isinstance(value, (list, dict)):
        return value
    copied = copy.copy(value)
    for key in range(len(value)) if isinstance(value, list) else list(value):
        new = _replaced(value[key], copies)
        if new is not value[key]:
            copied[key] = new
    return copied
