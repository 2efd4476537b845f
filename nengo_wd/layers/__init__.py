"""Keras layers as TensorNodes: variables before the time loop, applied inside it."""

from nengo_wd.layers.regularized import (
    RegularizedConv1D,
    RegularizedConv2D,
    RegularizedConv3D,
    RegularizedDense,
)
from nengo_wd.layers.time_loop import TimeLoopLayer

__all__ = [
    "RegularizedConv1D",
    "RegularizedConv2D",
    "RegularizedConv3D",
    "RegularizedDense",
    "TimeLoopLayer",
]
