"""The values that parameters had before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from nengo_wd import seam
from nengo_wd.seam import state

if TYPE_CHECKING:
    from nengo_wd.parameters.parameter import Parameter


def variable(parameter: Parameter) -> tf.Variable:
    """Return the initial values of all that is in a parameter's variable, as a variable.

    Those of native parameters are from Nengo's builder. Those of a layer are its weights when
    they were first asked for, in whichever simulator.
    """
    kept = state.of(parameter.sim).initial
    key = id(parameter.variable)
    if key not in kept:
        kept[key] = _make(parameter)
    return kept[key]


def _make(parameter: Parameter) -> tf.Variable:
    built = seam.parameters.built_values(parameter.sim, parameter.variable)
    if built is not None:
        return seam.saving.keep_initial(parameter.sim, parameter.variable, built)[0]
    function = seam.parameters.function_of(parameter.obj)
    known, name = state.of_layer(function).initial, _name(function, parameter.variable)
    values = known.get(name)
    if values is None:
        (values,) = seam.values.fetch(parameter.sim, [parameter.variable])
    kept, known[name] = seam.saving.keep_initial(parameter.sim, parameter.variable, values)
    return kept


def _name(function: Any, variable: tf.Variable) -> tuple[str, int]:
    """Return a variable's name and its place among those of the same name in a function."""
    among = function.variables if isinstance(function, tf.Module) else vars(function).values()
    same = [v for v in among if getattr(v, "name", None) == variable.name]
    return variable.name, next(i for i, v in enumerate(same) if v is variable)
