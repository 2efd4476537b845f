"""Defaults of a layer, distinct from equal arguments of the user: regularizers and dtype."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd.layers.refusals import refuse
from nengo_wd.regularizers import forms

SUFFIX = "_regularizer"
_KerasLayer: Any = object  # the mixin's attributes come from the layer that it is mixed into


class Default(str):
    """The name of a default, distinct from the same name given by a user.

    It looks like any other string, so that signatures and ``help`` show the default.
    """


class DefaultConfig(dict):
    """The configuration of a default regularizer, distinct from an equal one given by a user."""


def regularizer_arguments(given: dict[str, Any], owner: str) -> tuple[dict[str, Any], list[str]]:
    """Return the regularizers among a layer's arguments, and the names of the default ones."""
    asked = {attr: value for attr, value in given.items() if attr.endswith(SUFFIX)}
    by_default = [a for a, value in asked.items() if isinstance(value, (Default, DefaultConfig))]
    return {a: forms.as_regularizer(value, a, owner) for a, value in asked.items()}, by_default


def default_arguments(layer: Any) -> set[str]:
    """Return the names of the regularizer arguments that still have their default."""
    made = getattr(layer, "_default_regularizers", ())
    return {attr for attr, regularizer in made if getattr(layer, attr) is regularizer}


def variables_with_default(layer: Any) -> list[tf.Variable]:
    """Return the variables of a built layer that have a regularizer by default."""
    held = (getattr(layer, attr[: -len(SUFFIX)], None) for attr in default_arguments(layer))
    return [variable for variable in held if variable is not None]


class KeepsDefaults(_KerasLayer):
    """A mixin for layers whose configurations and copies keep defaults as defaults.

    A layer that is made without dtype takes on the dtype of its simulator.
    """

    _dtype_given: bool
    _default_dtype: str

    def _take_on_dtype(self) -> None:
        """Use the dtype of the simulator that is being built; raise if the user gave another."""
        simulated = seam.layers.simulation_dtype()
        dtype = simulated or tf.keras.backend.floatx()
        is_other = dtype != self._default_dtype or self.dtype is None
        if not self._dtype_given and (is_other or self._computes_in() != self.dtype):
            self._dtype = self._default_dtype = dtype
        own = self._computes_in()
        if simulated is not None and own != simulated:
            refuse(
                self,
                f"computes in {own}, but its simulator in {dtype}; make the layer without dtype, "
                "and it takes on the simulator's",
                "dtype",
            )

    def _computes_in(self) -> str | None:
        """Return the dtype of outputs; a mixed policy gives variables another one."""
        return getattr(self, "compute_dtype", self.dtype)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same layer again."""
        config = super().get_config()
        config.update((attr, DefaultConfig(config[attr])) for attr in default_arguments(self))
        return config if self._dtype_given else {**config, "dtype": None}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a copy of the layer."""
        return seam.layers.state_of(self)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        seam.layers.restore(self, kept)
