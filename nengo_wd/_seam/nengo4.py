"""What NengoDL 3 and Nengo 4 lack to work together, on NumPy 2 as well.

Nengo 4 gives the passthrough of a `nengo.LinearFilter` another shape than NengoDL asserts. And
Nengo's copy of SciPy's matrix exponential, for filters of many dimensions, uses names that NumPy 2
removed. Both are mended where they are, and nowhere else.
"""

from __future__ import annotations

import contextlib
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Iterator

import numpy as np

from nengo_wd._seam import patches

# Names of NumPy that are gone, with what does the same.
REMOVED = {
    "find_common_type": lambda arrays, scalars: np.result_type(*arrays, *scalars),
    "in1d": lambda one, other: np.isin(np.ravel(one), other),
}
COPIED = ("linalg_interface", "linalg_expm", "linalg_onenormest")  # from SciPy


def mend() -> None:
    """Mend NengoDL, which is imported already, and Nengo, where they need it."""
    builder = sys.modules["nengo_dl.process_builders"].LinearFilterBuilder
    if hasattr(builder, "build_pre"):  # not in NengoDL 2, which is for Nengo 3
        patches.wrap(builder, "build_pre", "flat passthrough", with_flat_passthrough)
    if not all(hasattr(np, name) for name in REMOVED):
        lend_removed_names()


def with_flat_passthrough(build_pre: Any) -> Any:
    """Return a method that builds filters whose passthrough ``D`` has the shape ``(1,)``."""

    def build_flat(self: Any, signals: Any, config: Any) -> None:
        with flat_passthrough():
            build_pre(self, signals, config)

    return build_flat


@contextlib.contextmanager
def flat_passthrough() -> Iterator[None]:
    """Have Nengo make the steps of filters with a flat passthrough, in the body alone."""
    step = import_module("nengo").LinearFilter.Step
    init = step.__init__

    def init_flat(self: Any, *matrices: Any) -> None:
        init(self, *matrices)
        self.D = np.ravel(self.D)

    step.__init__ = init_flat
    try:
        yield
    finally:
        step.__init__ = init


class WithRemovedNames(ModuleType):
    """NumPy with names that NumPy 2 removed, for modules that were written for NumPy 1."""

    def __getattr__(self, name: str) -> Any:
        return REMOVED[name] if name in REMOVED else getattr(np, name)


def lend_removed_names() -> None:
    """Give removed names to Nengo's copies of SciPy's modules."""
    for name in COPIED:
        with contextlib.suppress(ImportError):  # of a Nengo that has none
            module = import_module(f"nengo._vendor.scipy.sparse.{name}")
            module.np = WithRemovedNames("numpy")  # type: ignore[attr-defined]
