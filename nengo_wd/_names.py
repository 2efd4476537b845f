"""Names that TensorFlow gives to variables, and takes for scopes."""

from __future__ import annotations

import collections
import re
from typing import Any, Iterable

import nengo
import tensorflow as tf


def of_object(obj: Any) -> str:
    """Return the label of an object, or one made of its class or of the ends it connects."""
    if isinstance(obj, nengo.ensemble.Neurons):
        return of_object(obj.ensemble)
    if getattr(obj, "label", None) is not None:
        return obj.label
    if isinstance(obj, nengo.Connection):
        return f"{of_object(obj.pre_obj)}->{of_object(obj.post_obj)}"
    return type(obj).__name__.lower()


def variable_name(variable: tf.Variable) -> str:
    """Return the last part of a variable's name, such as ``"kernel"``."""
    return variable.name.split("/")[-1].split(":")[0]


def scope(name: str) -> str:
    """Return ``name`` with "_" for each character that TensorFlow refuses in a scope."""
    valid = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return valid if re.match(r"[A-Za-z0-9.]", valid) else f"layer{valid}"


def unique(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Tell names that occur twice apart, as TensorFlow does: a, a_1, a_2."""
    found: dict[str, Any] = {}
    counts: dict[str, int] = collections.Counter()
    for name, value in named:
        candidate = name
        while candidate in found:
            counts[name] += 1
            candidate = f"{name}_{counts[name]}"
        found[candidate] = value
    return found


of_variable = variable_name  # the old name
