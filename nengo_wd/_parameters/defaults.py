"""The default penalties of layers, which are there only where nobody said anything."""

from __future__ import annotations

import contextlib
from typing import FrozenSet, Iterator

import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd import settings
from nengo_wd._parameters.tensor_nodes import layers
from nengo_wd._seam import state
from nengo_wd.layers import defaults


def check_layers(sim: nengo_dl.Simulator) -> None:
    """Raise if the weights of a layer in a simulator are those of a later one."""
    for layer in seam.parameters.lost_layers(sim):
        raise ValidationError(
            f"{layer.name!r}, in a TensorNode, was built again by a later simulator, to "
            "which its weights belong now; use one simulator of its network at a time",
            attr="tensor_func",
            obj=layer,
        )


Nodes = FrozenSet[nengo_dl.TensorNode]


def replaced(sim: nengo_dl.Simulator) -> Nodes:
    """Return the TensorNodes whose settings take the place of default penalties, as they are now.

    Such a setting is a regularizer, None included, a weight decay or a target norm.
    """
    network = sim.model.toplevel
    configured = settings.is_configured(network)
    return frozenset(settings.said_of_nodes(network) if configured else ())


def settle(sim: nengo_dl.Simulator, without: Nodes | None = None) -> None:
    """Have the default penalties of all layers count, but of those in some TensorNodes.

    These are those in ``without``, or where that is None those whose penalties are `replaced`.
    """
    check_layers(sim)
    if not settings.is_configured(sim.model.toplevel):
        return
    without = state.of(sim).replaced = replaced(sim) if without is None else without
    _count(sim, without)


@contextlib.contextmanager
def as_set(sim: nengo_dl.Simulator) -> Iterator[None]:
    """Have default penalties count as settings say now, in the body.

    After it, they count as they did before, where an objective has fixed that.
    """
    kept = state.of(sim)
    is_fixed = kept.installed is not None or seam.losses.is_compiled(sim)
    before = kept.replaced
    settle(sim)
    try:
        yield
    finally:
        if is_fixed:
            settle(sim, before)


def _count(sim: nengo_dl.Simulator, without: Nodes) -> None:
    members = settings.members(sim.model.toplevel)
    nodes = [node for node in members if isinstance(node, nengo_dl.TensorNode)]
    taken = {id(layer) for node in without for layer in layers(node, sim)}
    for layer in (layer for node in nodes for layer in layers(node, sim)):
        for variable in defaults.variables(layer):
            seam.losses.count_default(sim, layer, variable, id(layer) not in taken)
