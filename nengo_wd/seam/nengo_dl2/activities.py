"""What signals of a network do: NengoDL 2 makes its graph once, and shows what probes are on."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

import nengo
import nengo_dl
import numpy as np


def inputs(
    sim: nengo_dl.Simulator, data: Any, n_steps: int | None
) -> tuple[dict[nengo.Node, np.ndarray], set[nengo.Node], tuple[int, int]]:
    """Raise, because nothing can be measured."""
    raise NotImplementedError(
        "Energy needs NengoDL 3: the graph of a simulator of NengoDL 2 is finished, and shows of "
        "neurons only what probes are on"
    )


def means(
    sim: nengo_dl.Simulator,
    values: Mapping[nengo.Node, np.ndarray],
    shape: tuple[int, int],
    measures: Sequence[tuple[Any, Callable]],
) -> list[np.ndarray]:
    """Raise, because nothing can be measured."""
    raise NotImplementedError("Energy needs NengoDL 3")
