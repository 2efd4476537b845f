"""The converter of Keras models."""

from __future__ import annotations

import nengo_dl

KerasConverter = nengo_dl.Converter
