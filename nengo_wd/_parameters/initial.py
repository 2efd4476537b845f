"""The values that parameters had before training."""

from __future__ import annotations

from typing import Any

import nengo_dl
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._seam import state


def of_variable(sim: nengo_dl.Simulator, obj: Any, variable: tf.Variable) -> tf.Variable:
    """Return the initial values of all that is in a variable of an object, as a variable.

    Those of native parameters are from Nengo's builder. Those of a layer are its weights when
    they were first asked for, in whichever simulator.
    """
    kept = state.of(sim).initial
    if id(variable) not in kept:
        kept[id(variable)] = _make(sim, obj, variable)
    return kept[id(variable)]


def _make(sim: nengo_dl.Simulator, obj: Any, variable: tf.Variable) -> tf.Variable:
    built = seam.parameters.built_values(sim, variable)
    if built is not None:
        return seam.saving.keep_initial(sim, variable, built)[0]
    function = seam.parameters.function_of(obj)
    known, name = state.of_layer(function).initial, _name(function, variable)
    values = known.get(name)
    if values is None:
        (values,) = seam.values.fetch(sim, [variable])
    kept, known[name] = seam.saving.keep_initial(sim, variable, values)
    return kept


def _name(function: Any, variable: tf.Variable) -> tuple[str, int]:
    """Return a variable's name and its place among those of the same name in a function."""
    among = function.variables if isinstance(function, tf.Module) else vars(function).values()
    same = [v for v in among if getattr(v, "name", None) == variable.name]
    return variable.name, next(i for i, v in enumerate(same) if v is variable)
