"""What probes record at each time step."""

from __future__ import annotations

import functools
from typing import Any, Callable

import nengo_dl

from nengo_wd.seam.signals import Signals

AXIS = 0  # of neurons, in what is of shape (size, minibatch_size)


def change(changed: Callable[[Any, list, Signals], list]) -> None:
    """Have ``changed(model, recorded, signals)`` return what probes record in the time loop."""
    graph = nengo_dl.tensor_graph.TensorGraph
    build = vars(graph)["build_step"]

    @functools.wraps(build)
    def build_changed(graph: Any, *args: Any, **kwargs: Any) -> Any:
        recorded, side_effects = build(graph, *args, **kwargs)
        return changed(graph.model, recorded, Signals(graph, AXIS, force_copy=True)), side_effects

    graph.build_step = build_changed
