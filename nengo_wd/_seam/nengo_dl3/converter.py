"""The converter of Keras models."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import nengo_dl

KerasConverter = nengo_dl.Converter


@contextlib.contextmanager
def verifying_with(simulator: Any) -> Iterator[None]:
    """Have NengoDL's converter make its simulators by ``simulator``."""
    original = nengo_dl.converter.Simulator
    nengo_dl.converter.Simulator = simulator
    try:
        yield
    finally:
        nengo_dl.converter.Simulator = original
