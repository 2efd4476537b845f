"""What probes record at each time step."""

from __future__ import annotations

from typing import Any, Callable

import nengo_dl

from nengo_wd._seam import patches
from nengo_wd._seam.signals import Signals

AXIS = 1  # of neurons, in what is of shape (minibatch_size, size)


def change(changed: Callable[[Any, list, Signals], list]) -> None:
    """Have ``changed(model, recorded, signals)`` return what probes record in the time loop."""

    def around(build: Any) -> Callable:
        def build_changed(graph: Any, loop_i: Any, update_probes: Callable, progress: Any) -> Any:
            def update(recorded: list, loop_i: Any) -> None:
                update_probes(changed(graph.model, recorded, Signals(graph, AXIS)), loop_i)

            return build.__get__(graph, type(graph))(loop_i, update, progress)

        return build_changed

    graph = nengo_dl.tensor_graph.TensorGraph
    patches.wrap(graph, "_build_inner_loop", "recorded", around)
