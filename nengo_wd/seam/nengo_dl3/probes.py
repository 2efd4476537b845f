"""What probes record at each time step."""

from __future__ import annotations

import functools
from typing import Any, Callable

import nengo_dl
import numpy as np
import tensorflow as tf


def change(changed: Callable[[Any, list, Callable], list]) -> None:
    """Have ``changed(model, recorded, gather)`` return what probes record in the time loop."""
    graph = nengo_dl.tensor_graph.TensorGraph
    build = vars(graph)["_build_inner_loop"]

    @functools.wraps(build)
    def build_changed(graph: Any, loop_i: Any, update_probes: Callable, progress: Any) -> Any:
        def gather(signal: Any, rows: np.ndarray) -> Any:
            if signal not in graph.signals:
                return None
            value = graph.signals.gather(graph.signals[signal])
            return tf.gather(value, rows, axis=1)  # of shape (minibatch_size, size)

        def update(recorded: list, loop_i: Any) -> None:
            update_probes(changed(graph.model, recorded, gather), loop_i)

        return build.__get__(graph, type(graph))(loop_i, update, progress)

    graph._build_inner_loop = build_changed
