"""NengoDL 2 trains on one device."""

from __future__ import annotations

from typing import Any

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import SimulationError

AVAILABLE = False


class ReplicatedSimulator(nengo_dl.Simulator):
    """What NengoDL 2 does not have."""

    closed = None

    def __init__(
        self, network: nengo.Network | None, strategy: Any, minibatch_size: int, **kwargs: Any
    ) -> None:
        raise SimulationError(
            f"NengoDL {nengo_dl.__version__} trains on one device; install NengoDL 3 for a "
            f'{type(self).__name__}, with: pip install "nengo-dl>=3.6,<4"'
        )


def scope(sim: nengo_dl.Simulator) -> Any:
    """Return the context in which variables for a simulator are made."""
    return sim.tensor_graph.graph.as_default()


def writes(sim: nengo_dl.Simulator) -> bool:
    """Tell whether a simulator writes files."""
    return True


def over_replicas(tensor: tf.Tensor) -> tf.Tensor:
    """Return what all replicas have of a minibatch: that of the one that there is."""
    return tensor


def of_all_replicas(variable: tf.Variable) -> tf.Variable:
    """Return the variable that a replica's is a copy of: itself."""
    return variable
