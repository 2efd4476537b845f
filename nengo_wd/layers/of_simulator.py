"""What a layer has of the simulator that it is in: its dtype, and what a copy must not share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam

if TYPE_CHECKING:  # the mixin's attributes come from the layer that it is mixed into
    from typing import Any as _KerasLayer
else:
    _KerasLayer = object


class OfSimulator(_KerasLayer):
    """A mixin for layers that take on the dtype of their simulator, and can be copied."""

    _dtype_given: bool
    _default_dtype: str

    def _take_on_dtype(self) -> None:
        """Use the simulator's dtype, unless the user gave one."""
        dtype = seam.layers.simulation_dtype() or tf.keras.backend.floatx()
        is_other = dtype != self._default_dtype or self.dtype is None
        if not self._dtype_given and (is_other or self._computes_in() != self.dtype):
            self._dtype = self._default_dtype = dtype

    def _computes_in(self) -> str | None:
        """Return the dtype of outputs, which is not that of variables under a mixed policy."""
        return getattr(self, "compute_dtype", self.dtype)

    def _check_dtype(self) -> None:
        """Raise if the layer has another dtype than the simulator that is being built."""
        dtype, own = seam.layers.simulation_dtype(), self._computes_in()
        if dtype is not None and own != dtype:
            raise ValidationError(
                f"layer {self.name!r} computes in {own}, but its simulator in {dtype}; make the "
                "layer without dtype, and it takes on the simulator's",
                attr="dtype",
                obj=self,
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same layer again."""
        config = super().get_config()
        if not self._dtype_given:
            config["dtype"] = None
        return config

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy of the layer has."""
        return seam.layers.state_of(self)

    def __setstate__(self, kept: dict[str, Any]) -> None:
        seam.layers.restore(self, kept)
