"""The result of `pruned` and `native`: the new network, and the new object for each old one."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo
import nengo_dl
import numpy as np
from nengo.solvers import NoSolver
from nengo.transforms import SparseMatrix

from nengo_wd import _parameters as parameters
from nengo_wd._checks import frame
from nengo_wd.energy.flow import NEURONS, OUTPUT, Flow, Place, Weighs, is_direct
from nengo_wd.energy.network_energy import name_of
from nengo_wd.networks.copies import Copy, tensor_nodes
from nengo_wd.networks.elements import size_of
from nengo_wd.networks.layouts import Layouts


class MadeNetwork:
    """A network made from a simulator's network, with its trained weights.

    ``made[obj]`` is the new object for an old one: a Node, an Ensemble, its neurons, a Connection
    or a Probe. For one that was left out, this raises a ``KeyError``; check with ``obj in made``.

    Attributes
    ----------
    network : nengo.Network
        The new network. It has the settings, labels and seeds of the old one; a native network has
        no settings of NengoDL and of this package.
    kept : dict of {nengo.Ensemble or nengo_dl.TensorNode: np.ndarray}
        The indices of the remaining neurons of each ensemble, and of the remaining elements of each
        TensorNode's output.
    changes : dict of {nengo.Probe: float} or None
        How much the outputs with spikes differ on the data: the root mean square of the difference
        over that of the old outputs. Probes of neurons are left out if some of their neurons went.
        None without data.
    """

    def __init__(self, copied: Copy, layouts: Layouts | Whole, removed: set[Any]) -> None:
        self.network: nengo.Network = copied.network
        self.changes: dict[nengo.Probe, float] | None = None
        network = copied.sim.model.toplevel
        self._removed = removed
        self._new = {one: copied[one] for one in network.all_objects}
        self.kept = {one: layouts.left((NEURONS, one)) for one in network.all_ensembles}
        self.kept.update((one, layouts.left((OUTPUT, one))) for one in tensor_nodes(network))
        self.rows = _rows(copied, layouts, removed)

    def __getitem__(self, obj: Any) -> Any:
        owner = getattr(obj, "ensemble", obj)
        if owner in self._removed:
            raise KeyError(f"{obj} was left out of the new network: none of it reaches a probe")
        if owner not in self._new:
            raise KeyError(f"{obj} is not in the network of the simulator")
        return self._new[owner] if owner is obj else self._new[owner].neurons

    def __contains__(self, obj: Any) -> bool:
        owner = getattr(obj, "ensemble", obj)
        return owner in self._new and owner not in self._removed

    def to_frame(self) -> Any:
        """Return a table of what remains, as a ``pandas.DataFrame`` with a row for each object.

        The columns are name, neurons, neurons_left, synapses, synapses_left, parameters,
        parameters_left, and note: why neurons are left that nothing needs.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return frame(self.rows)


class Whole(NamedTuple):
    """Layouts that leave the whole network."""

    notes: dict[Any, str]

    @staticmethod
    def left(place: Place) -> np.ndarray:
        """Return all elements of a place."""
        return np.arange(size_of(place))


def _rows(copied: Copy, layouts: Any, removed: set[Any]) -> list[dict[str, Any]]:
    sim = copied.sim
    network, synapses = sim.model.toplevel, _synapses(sim, layouts, removed)
    objects = (*tensor_nodes(network), *network.all_ensembles, *network.all_connections)
    rows = []
    for name, obj in parameters.unique_names((name_of(one), one) for one in objects).items():
        is_ensemble, n_built = isinstance(obj, nengo.Ensemble), _n_built(sim, obj)
        before, after = synapses.get(obj, (0, 0))
        n_left = n_built if isinstance(layouts, Whole) else _n_parameters(copied[obj])
        rows.append(
            {
                "name": name,
                "neurons": obj.n_neurons if is_ensemble else 0,
                "neurons_left": len(layouts.left((NEURONS, obj))) if is_ensemble else 0,
                "synapses": before,
                "synapses_left": after,
                "parameters": n_built,
                "parameters_left": 0 if obj in removed else n_left,
                "note": layouts.notes.get(obj, ""),
            }
        )
    return rows


def _synapses(
    sim: nengo_dl.Simulator, layouts: Any, removed: set[Any]
) -> dict[Any, tuple[int, int]]:
    """Return the number of synapses of each object, and of those that remain."""
    found: dict[Any, tuple[int, int]] = {}
    for start, edges in Flow(sim).edges.items():
        for edge in (edge for edge in edges if edge.weighs is not Weighs.NOTHING):
            left = edge.pattern
            if not isinstance(layouts, Whole):
                left = left[layouts.left(edge.end)][:, layouts.left(start)]
            before, after = found.get(edge.obj, (0, 0))
            after += 0 if edge.obj in removed else left.nnz
            found[edge.obj] = before + edge.pattern.nnz, after
    return found


def _n_built(sim: nengo_dl.Simulator, obj: Any) -> int:
    """Return how many weights and biases an object has in a simulator."""
    if isinstance(obj, nengo.Connection):
        weights = sim.model.params[obj].weights
        is_sparse = hasattr(weights, "nnz") or isinstance(weights, SparseMatrix)
        values = weights.data if is_sparse else weights
        return 0 if values is None else int(np.size(values))
    if isinstance(obj, nengo.Ensemble):
        return _n_parameters(obj)
    return _n_in_layer(parameters.layers(obj, sim)[0])


def _n_in_layer(layer: Any) -> int:
    return sum(int(np.prod(one.shape)) for one in getattr(layer, "weights", []))


def _n_parameters(obj: Any) -> int:
    """Return how many weights and biases an object of a new network has."""
    if isinstance(obj, nengo.Ensemble):
        return 0 if is_direct(obj) else obj.n_neurons * (obj.dimensions + 1)
    if isinstance(obj, nengo_dl.TensorNode):
        return _n_in_layer(obj.tensor_func)
    if isinstance(obj.solver, NoSolver) and obj.solver.values is not None:
        return obj.solver.values.size
    init: Any = getattr(obj.transform, "init", ())
    return int(np.size(init.data if isinstance(obj.transform, nengo.Sparse) else init))
