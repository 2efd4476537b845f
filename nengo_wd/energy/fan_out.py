"""How many synapses leave each neuron: those that its spikes come to, in which object."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, Tuple

import numpy as np

from nengo_wd.energy import patterns
from nengo_wd.energy.flow import NEURONS, Edge, Flow, Place, Source, Weighs, out_edges

Label = Tuple[Any, bool]  # the object that synapses belong to, and whether it has weights
Reached = Dict[Label, patterns.Pattern]  # from the elements of a source to those of a place


def of_sources(flow: Flow, sources: Iterable[Source]) -> Iterator[dict[Any, np.ndarray]]:
    """Yield the synapses that leave each element of a source, by the object they belong to.

    Linear things between a source and the places where values end (neurons, what is not linear, and
    what nothing leaves) act as one: an element has one synapse for each element that it comes to
    there. The synapses belong to the last object with a matrix of weights on the way.
    """
    ends = _ends(flow)
    for reached in all_reached(flow, sources):
        yield _counted(reached, ends)


def all_reached(flow: Flow, sources: Iterable[Source]) -> Iterator[dict[Place, Reached]]:
    """Yield what each source comes to, at each place."""
    edges, ends = out_edges(flow), _ends(flow)
    return (_all_reached(edges, source, ends) for source in sources)


def _ends(flow: Flow) -> set[Place]:
    """Return the places where values end."""
    edges = out_edges(flow)
    ends = {source.place for source in flow.sources}
    ends.update(edge.end for edge in flow.edges if edge.end not in edges)
    ends.update(edge.end for edge in flow.edges if edge.end[0] == NEURONS)
    return ends


def _counted(reached: dict[Place, Reached], ends: set[Place]) -> dict[Any, np.ndarray]:
    """Count the synapses at the ends, by the object they belong to."""
    found: dict[Any, np.ndarray] = {}
    for place in ends.intersection(reached):
        for (obj, weighs), pattern in reached[place].items():
            if weighs or place[0] == NEURONS:  # else values are read as they are
                found[obj] = found.get(obj, 0) + pattern.getnnz(axis=0)
    return found


def _all_reached(
    edges: dict[Place, list[Edge]], source: Source, ends: set[Place]
) -> dict[Place, Reached]:
    """Return what a source comes to, at each place."""
    reached: dict[Place, Reached] = {}
    start: Reached = {(None, False): patterns.identity(source.size)}
    leaving = [(edge, start) for edge in edges.get(source.place, [])]
    while leaving:
        edge, arriving = leaving.pop(0)
        has_grown = _add(reached.setdefault(edge.end, {}), _through(edge, arriving))
        if has_grown and edge.end not in ends:
            leaving += [(after, reached[edge.end]) for after in edges[edge.end]]
    return reached


def _add(reached: Reached, more: Reached) -> bool:
    """Add what comes to a place on one way; tell whether anything is new."""
    before = _n_synapses(reached)
    for label, pattern in more.items():
        if not pattern.nnz:
            continue  # nothing comes this way
        reached[label] = patterns.merged([pattern, *([reached[label]] if label in reached else [])])
    return _n_synapses(reached) > before


def _n_synapses(reached: Reached) -> int:
    return sum(pattern.nnz for pattern in reached.values())


def _through(edge: Edge, arriving: Reached) -> Reached:
    """Return what comes out at the end of an edge."""
    if edge.weighs is Weighs.ALL:
        together = patterns.merged([*arriving.values()])
        return {(edge.obj, True): patterns.composed(edge.pattern, together)}
    through: Reached = {}
    for label, pattern in arriving.items():
        _add(through, {_label(edge, *label): patterns.composed(edge.pattern, pattern)})
    return through


def _label(edge: Edge, obj: Any, weighs: bool) -> Label:
    """Return what synapses belong to after an edge without a matrix of its own."""
    if edge.weighs is Weighs.NOTHING or weighs:
        return (edge.obj if obj is None else obj), weighs
    is_factor = edge.weighs is Weighs.EACH
    return (edge.obj if is_factor or obj is None else obj), True
