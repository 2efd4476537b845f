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
    build = vars(graph)["build_step"]

    @functools.wraps(build)
    def build_changed(graph: Any, *args: Any, **kwargs: Any) -> Any:
        def gather(signal: Any, rows: np.ndarray) -> Any:
            if signal not in graph.signals:
                return None
            value = graph.signals.gather(graph.signals[signal], force_copy=True)
            return tf.gather(value, rows)  # of shape (size, minibatch_size)

        recorded, side_effects = build(graph, *args, **kwargs)
        return changed(graph.model, recorded, gather), side_effects

    graph.build_step = build_changed
