"""The values of signals at a time step, in either generation of NengoDL."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


class Signals:
    """The values of signals at a time step.

    Parameters
    ----------
    graph : nengo_dl.tensor_graph.TensorGraph
        The graph whose time loop is being built.
    axis : int
        The axis of values along which signals lie side by side.
    **gathering
        What the generation needs to gather values, besides which ones.
    """

    def __init__(self, graph: Any, axis: int, **gathering: Any) -> None:
        self.signals, self.axis, self.gathering = graph.signals, axis, gathering

    def __contains__(self, signal: Any) -> bool:
        """Tell whether a signal has a value."""
        return signal in self.signals

    def gather(self, wanted: list) -> tf.Tensor:
        """Return the values of signals side by side, with one operation for each variable."""
        groups: list[list] = []
        for signal in (self.signals[one] for one in wanted):
            if groups and groups[-1][0].key == signal.key:
                groups[-1].append(signal)
            else:
                groups.append([signal])
        together = (self.signals.combine(group) for group in groups)
        values = [self.signals.gather(group, **self.gathering) for group in together]
        return values[0] if len(values) == 1 else tf.concat(values, self.axis)
