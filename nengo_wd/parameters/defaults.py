"""The default penalties of layers, which are there only where nobody said anything."""

from __future__ import annotations

import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import seam, settings
from nengo_wd.layers import defaults
from nengo_wd.parameters.tensor_nodes import layers


def check_layers(sim: nengo_dl.Simulator) -> None:
    """Raise if the weights of a layer in a simulator are those of a later one."""
    for layer in seam.parameters.lost_layers(sim):
        raise ValidationError(
            f"{layer.name!r}, in a TensorNode, was built again by a later simulator, to "
            "which its weights belong now; use one simulator of its network at a time",
            attr="tensor_func",
            obj=layer,
        )


def settle(sim: nengo_dl.Simulator) -> None:
    """Have the default penalty of a layer count where no setting takes its place, and only there.

    A setting of a TensorNode does if it is a regularizer, None included, a weight decay or a target
    norm.
    """
    check_layers(sim)
    network = sim.model.toplevel
    if not settings.is_configured(network):
        return
    nodes = [node for node in settings.members(network) if isinstance(node, nengo_dl.TensorNode)]
    said = settings.said_of_nodes(network)
    taken = {id(layer) for node in said for layer in layers(node, sim)}
    for layer in (layer for node in nodes for layer in layers(node, sim)):
        for variable in defaults.variables(layer):
            seam.losses.count_default(sim, layer, variable, id(layer) not in taken)
