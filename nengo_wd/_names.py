"""Names that TensorFlow gives to variables, and takes for scopes."""

from __future__ import annotations

import re

import tensorflow as tf


def variable_name(variable: tf.Variable) -> str:
    """Return the last part of a variable's name, such as ``"kernel"``."""
    return variable.name.split("/")[-1].split(":")[0]


def scope(name: str) -> str:
    """Return ``name`` with "_" for each character that TensorFlow refuses in a scope."""
    valid = re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name)
    return valid if re.match(r"[A-Za-z0-9.]", valid) else f"layer{valid}"
