"""Checks of the data that a network is shown, and of the targets for its probes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from nengo.exceptions import ValidationError


def check_data(data: Any, what: str = "data", owners: str = "Nodes") -> dict[Any, Any]:
    """Return data, or targets, as a dictionary, or raise."""
    is_mapping = isinstance(data, Mapping)
    if is_mapping and len(data):
        return dict(data)
    steps = "n_steps" if what == "data" else "1 or n_steps"
    raise ValidationError(
        f"{what} must be a dictionary from {owners} to arrays of shape (n_examples, {steps}, "
        f"size), and not {'empty' if is_mapping else type(data).__name__}",
        attr=what,
    )


def repeated(data: Mapping[Any, np.ndarray], n_steps: int | None) -> dict[Any, np.ndarray]:
    """Return data by Node, with single time steps repeated, or raise if the numbers differ.

    The arrays are views. If ``n_steps`` is None, all data stay as they are.
    """
    if n_steps is None:
        return dict(data)
    for node, values in data.items():
        if values.shape[1] not in (1, n_steps):
            raise ValidationError(
                f"the data for {node} have {values.shape[1]} time steps, and n_steps={n_steps}; "
                "leave n_steps out to show them as they are, or give data of one time step",
                attr="n_steps",
                obj=node,
            )
    shapes = {node: (len(values), int(n_steps), values.shape[2]) for node, values in data.items()}
    return {node: np.broadcast_to(values, shapes[node]) for node, values in data.items()}


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
    """Return the number of time steps in data for training; None if it is unknown."""
    if data is None or isinstance(data, int):
        return n_steps if data is None else data
    shown = getattr(data, "element_spec", data)
    shown = shown[0] if shown is not data and isinstance(shown, tuple) else shown
    arrays = list(shown.values()) if isinstance(shown, Mapping) else shown
    arrays = arrays if isinstance(arrays, (list, tuple)) else [arrays]
    shapes = [tuple(one.shape) for one in arrays if _rank(one) == 3]
    steps = [shape[1] for shape in shapes if shape[1] is not None]  # datasets may leave it open
    return min(steps, default=None)


def _rank(values: Any) -> int | None:
    """Return the number of axes; None if it is unknown, as in some datasets."""
    shape = getattr(values, "shape", ())
    return getattr(shape, "rank", None) if hasattr(shape, "rank") else len(shape)


def shown_data(network: Any, data: Mapping, nodes: Mapping) -> dict[Any, np.ndarray]:
    """Return data as arrays (examples, time steps, size) by Node, or raise.

    ``nodes`` has the network's input Nodes by all keys that ``data`` may have.
    """
    for obj in data:
        if obj not in nodes:
            raise ValidationError(
                f"there are data for {obj!r}, which is not an input Node of {network}; its input "
                f"Nodes are {', '.join(map(str, nodes))}",
                attr="data",
            )
    return {nodes[key]: _as_data(nodes[key], values) for key, values in data.items()}


def shown_targets(
    network: Any, targets: Any, probes: Mapping, shape: tuple[int, int]
) -> dict[Any, np.ndarray]:
    """Return targets as arrays (examples, 1 or time steps, size) by probe, or raise.

    ``probes`` has the probes by all keys that ``targets`` may have. ``shape`` has the examples and
    time steps that are shown. Targets for examples beyond the last full minibatch are left out.
    """
    targets = check_data(targets, "targets", "probes")
    for obj in targets:
        if obj not in probes:
            known = ", ".join(map(str, probes)) or "none"
            fault = f"there are targets for {obj!r}, which is not a probe of {network}"
            raise ValidationError(f"{fault}; its probes are {known}", attr="targets")
    return {probes[key]: _as_targets(probes[key], one, shape) for key, one in targets.items()}


def _as_targets(probe: Any, values: Any, shape: tuple[int, int]) -> np.ndarray:
    n_examples, n_steps = shape
    array = _as_numbers(probe, values, "targets")
    if array.ndim != 3 or array.shape[1] not in (1, n_steps) or len(array) < n_examples:
        steps = 1 if n_steps == 1 else f"1 or {n_steps}"
        fault = f"shape {array.shape}, but must have shape ({n_examples}, {steps}, size)"
        raise ValidationError(f"the targets for {probe} have {fault}", attr="targets", obj=probe)
    return array[:n_examples]


def _as_data(node: Any, values: Any) -> np.ndarray:
    array = _as_numbers(node, values, "data")
    if array.ndim != 3 or array.shape[2] != node.size_out:
        fault = f"but must have shape (examples, time steps, {node.size_out})"
    elif 0 in array.shape[:2]:
        fault = "without any example or time step; give one or more"
    else:
        return array
    fault = f"the data for {node} have shape {array.shape}, {fault}"
    raise ValidationError(fault, attr="data", obj=node)


def _as_numbers(obj: Any, values: Any, attr: str) -> np.ndarray:
    """Return the data or the targets for an object as an array of finite numbers, or raise."""
    what = f"the {attr} for {obj}"
    try:
        array = np.asarray(values)
    except ValueError as error:  # lists of different lengths
        fault = f"{what} can't be an array ({error})"
        raise ValidationError(fault, attr=attr, obj=obj) from error
    if array.dtype.kind not in "biuf":
        fault = f"{what} have dtype {array.dtype}, but must be an array of real numbers"
        raise ValidationError(fault, attr=attr, obj=obj)
    if not np.isfinite(array).all():
        raise ValidationError(f"{what} have NaN or infinite numbers", attr=attr, obj=obj)
    return array
