"""The converter of Keras models, which NengoDL 2 does not have."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator


class KerasConverter:
    """Stands for NengoDL 3's converter."""

    converters: dict = {}

    def __init__(self, model: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "nengo_wd.Converter needs NengoDL 3; NengoDL 2 has no converter of Keras models"
        )


@contextlib.contextmanager
def verifying_with(simulator: Any) -> Iterator[None]:
    """Stand for what NengoDL 3's converter verifies with."""
    yield
