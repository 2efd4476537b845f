"""What is saved of a simulator of NengoDL 2: the variables of its graph."""

from __future__ import annotations

from typing import Any

import nengo_dl
import tensorflow as tf

from nengo_wd._seam import patches
from nengo_wd._seam.left_out import warning_of_initial_values
from nengo_wd._seam.nengo_dl2.values import state_variable


def mend() -> None:
    """Have ``save_params`` say what it leaves out."""
    simulator = nengo_dl.Simulator
    patches.wrap(simulator, "save_params", "initial values", warning_of_initial_values)


def keep_state(sim: nengo_dl.Simulator, optimizer: Any, step: Any) -> None:
    """Do nothing: what an optimizer of TensorFlow 1 returns as its variables has it all."""


def keep_initial(
    sim: nengo_dl.Simulator, variable: tf.Variable, values: Any
) -> tuple[tf.Variable, Any]:
    """Return a variable with the initial values of another one.

    Returned with it is what to give as ``values`` for the next simulator: the values, since
    a variable is of one simulator's graph.
    """
    return state_variable(sim, values), values
