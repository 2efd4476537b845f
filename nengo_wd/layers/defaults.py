"""Regularizers that a layer has by default, and those that it was given."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nengo_wd.regularizers import lookup

SUFFIX = "_regularizer"


class Default(str):
    """The name of a default, told from the same name where a user gives it.

    It looks like any other string, so that signatures and ``help`` show the default.
    """


class DefaultConfig(dict):
    """The configuration of a default regularizer, told from an equal one that a user gives."""


def looked_up(given: dict[str, Any], owner: str) -> tuple[dict[str, Any], list[str]]:
    """Return the regularizers among a layer's arguments, and the names of those by default."""
    asked = {attr: value for attr, value in given.items() if attr.endswith(SUFFIX)}
    by_default = [a for a, value in asked.items() if isinstance(value, (Default, DefaultConfig))]
    return {attr: lookup.get(value, attr, owner) for attr, value in asked.items()}, by_default


def arguments(layer: Any) -> set[str]:
    """Return the arguments for regularizers that hold by default: nobody gave or changed them."""
    made = getattr(layer, "_default_regularizers", ())
    return {attr for attr, regularizer in made if getattr(layer, attr) is regularizer}


def variables(layer: Any) -> list[tf.Variable]:
    """Return the variables of a built layer that have a regularizer by default."""
    held = (getattr(layer, attr[: -len(SUFFIX)], None) for attr in arguments(layer))
    return [variable for variable in held if variable is not None]
