"""Which neurons a device keeps that leaves out zeros: those that could ever spike."""

from __future__ import annotations

from typing import Any, Mapping

import nengo
import numpy as np

from nengo_wd.energy import fan_out
from nengo_wd.energy.flow import NEURONS, Flow, Place, Source


def neurons(flow: Flow, events: Mapping[Source, np.ndarray], biases: Any) -> dict[Source, Any]:
    """Return which elements of each source are kept, as arrays of bools.

    A neuron is left out if it has no event while the data is shown, and if no synapse leads to it
    from an input or from a neuron that is kept. What it gets is constant then, and too little.
    """
    kept = {one: np.ones(one.size, bool) for one in flow.sources}
    if any(isinstance(obj, nengo.Connection) for obj in flow.uncounted):
        return kept  # it is not known what these lead to
    kept.update({one: events[one] > 0 for one in flow.sources if one.neurons is not None})
    kept.update({one: np.zeros(one.size, bool) for one in biases})
    places: dict[Place, Source] = {
        (NEURONS, one.obj): one for one in kept if one.neurons is not None
    }
    leading = [
        (source, places[place], pattern)
        for source, reached in zip(flow.sources, fan_out.all_reached(flow, flow.sources))
        for place in places
        for pattern in reached.get(place, {}).values()
    ]
    while any([_reach(kept, *lead) for lead in leading]):
        pass  # what is reached reaches more
    return kept


def _reach(kept: dict[Source, Any], source: Source, end: Source, pattern: Any) -> bool:
    """Keep what a source reaches with the elements that are kept; tell whether that is more."""
    before = kept[end].sum()
    kept[end] |= pattern[:, kept[source]].getnnz(axis=1) > 0
    return kept[end].sum() > before
