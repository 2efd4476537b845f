"""What probes record at each time step."""

from __future__ import annotations

import functools
from typing import Any, Callable

import nengo_dl
import tensorflow as tf

AXIS = 1  # of neurons, in what is of shape (minibatch_size, size)


class Signals:
    """The values of signals at a time step."""

    def __init__(self, graph: Any) -> None:
        self.signals = graph.signals

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
        values = [self.signals.gather(self.signals.combine(group)) for group in groups]
        return values[0] if len(values) == 1 else tf.concat(values, AXIS)


def change(changed: Callable[[Any, list, Signals], list]) -> None:
    """Have ``changed(model, recorded, signals)`` return what probes record in the time loop."""
    graph = nengo_dl.tensor_graph.TensorGraph
    build = vars(graph)["_build_inner_loop"]

    @functools.wraps(build)
    def build_changed(graph: Any, loop_i: Any, update_probes: Callable, progress: Any) -> Any:
        def update(recorded: list, loop_i: Any) -> None:
            update_probes(changed(graph.model, recorded, Signals(graph)), loop_i)

        return build.__get__(graph, type(graph))(loop_i, update, progress)

    graph._build_inner_loop = build_changed
