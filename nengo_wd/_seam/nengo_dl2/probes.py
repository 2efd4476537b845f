"""What probes record at each time step."""

from __future__ import annotations

from typing import Any, Callable

import nengo_dl

from nengo_wd._seam import patches
from nengo_wd._seam.signals import Signals

AXIS = 0  # of neurons, in what is of shape (size, minibatch_size)


def change(changed: Callable[[Any, list, Signals], list]) -> None:
    """Have ``changed(model, recorded, signals)`` return what probes record in the time loop."""

    def around(build: Any) -> Callable:
        def build_changed(graph: Any, *args: Any, **kwargs: Any) -> Any:
            recorded, side_effects = build(graph, *args, **kwargs)
            signals = Signals(graph, AXIS, force_copy=True)
            return changed(graph.model, recorded, signals), side_effects

        return build_changed

    patches.wrap(nengo_dl.tensor_graph.TensorGraph, "build_step", "recorded", around)
