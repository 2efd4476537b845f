"""The converter of Keras models, which NengoDL 2 does not have."""

from __future__ import annotations

from typing import Any


class KerasConverter:
    """Stands for NengoDL 3's converter."""

    converters: dict = {}

    def __init__(self, model: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "nengo_wd.Converter needs NengoDL 3; NengoDL 2 has no converter of Keras models"
        )
