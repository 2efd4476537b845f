"""Builders of NengoDL 3's operators, for what it leaves to Python, and for XLA."""

import tensorflow as tf
from tensorflow.python.ops import control_flow_util


def is_compiling() -> bool:
    """Tell whether XLA compiles what is being traced."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
