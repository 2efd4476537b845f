"""Checks of the data that a network is shown."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from nengo.exceptions import ValidationError


def warn_of_one_step(network: Any, n_steps: int, stacklevel: int) -> None:
    """Warn if spikes are counted over a single time step."""
    if n_steps == 1:
        warnings.warn(
            f"{network} is shown one time step of data, in which few neurons spike at all; show "
            "each example for as many time steps as when the network is used",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


def number_of_steps(data: Any, n_steps: int | None = None) -> int | None:
    """Return how many time steps there are in data for training; None if they don't tell."""
    if data is None or isinstance(data, int):
        return n_steps if data is None else data
    shown = getattr(data, "element_spec", data)
    shown = shown[0] if shown is not data and isinstance(shown, tuple) else shown
    arrays = list(shown.values()) if isinstance(shown, Mapping) else shown
    arrays = arrays if isinstance(arrays, (list, tuple)) else [arrays]
    steps = [one.shape[1] for one in arrays if len(getattr(one, "shape", ())) == 3]
    return min(steps, default=None)


def shown_data(network: Any, data: Mapping, nodes: Mapping) -> dict[Any, np.ndarray]:
    """Return data as arrays by Node, of shape (examples, time steps, size), or raise.

    The keys of ``data`` are among those of ``nodes``, which has the input Nodes of the network.
    """
    for obj in data:
        if obj not in nodes:
            raise ValidationError(
                f"there are data for {obj!r}, which is not an input Node of {network}; its input "
                f"Nodes are {', '.join(map(str, nodes))}",
                attr="data",
            )
    return {nodes[key]: _as_array(nodes[key], values) for key, values in data.items()}


def _as_array(node: Any, values: Any) -> np.ndarray:
    """Return the data for a Node as an array of (examples, time steps, size), or raise."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # of lists that have different lengths
        raise ValidationError(
            f"the data for {node} can't be an array ({error})", attr="data", obj=node
        ) from error
    if array.dtype.kind not in "biuf":
        problem = f"has dtype {array.dtype}, but must be an array of real numbers"
    elif array.ndim != 3 or array.shape[2] != node.size_out:
        problem = (
            f"has shape {array.shape}, but must have shape (examples, time steps, {node.size_out})"
        )
    elif 0 in array.shape[:2]:
        problem = f"has shape {array.shape}, without any example or time step; give one or more"
    elif not np.isfinite(array).all():
        problem = "has NaN or infinite numbers"
    else:
        return array
    raise ValidationError(f"the data for {node} {problem}", attr="data", obj=node)
