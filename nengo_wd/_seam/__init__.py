"""What differs between the generations of NengoDL; no other module asks which one runs.

Each generation is a package with the same topics: modules with the same functions and classes. The
rest of the package calls them by topic: ``from nengo_wd import _seam as seam`` and
``seam.values.fetch(sim, variables)``. NengoDL is first imported here, with the bridge's help.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nengo_wd._seam.bridge import bridged, watch_imports

with bridged():
    import nengo_dl

# isort: split
from nengo.exceptions import SimulationError

watch_imports()

SUPPORTED = (2, 3)
INSTALL = 'install NengoDL 3 with: pip install "nengo-dl>=3.6,<4"'


def generation(version: str) -> int:
    """Return the generation of a version of NengoDL; raise an error that says what to install."""
    number = int(version.partition(".")[0])
    if number not in SUPPORTED:
        raise ImportError(
            f"nengo_wd runs on NengoDL {' and '.join(map(str, SUPPORTED))}, but NengoDL {version} "
            f"is installed; {INSTALL}"
        )
    return number


class LackingError(NotImplementedError, SimulationError):
    """The error for something that the running generation lacks."""


class Lacking:
    """Replaces a class or function that the running generation lacks: calling it raises."""

    reason: tuple[str, str]  # what needs it, and what NengoDL does instead
    converters: dict = {}  # `nengo_dl.Converter` has them

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        what, why = cls.reason
        raise LackingError(
            f"nengo_wd.{what} needs NengoDL 3: NengoDL {nengo_dl.__version__} {why}; {INSTALL}"
        )


# All generations have the same functions: mypy reads those of NengoDL 3.
if generation(nengo_dl.__version__) == 3 or TYPE_CHECKING:
    from nengo_wd._seam.nengo_dl3 import (
        activities,
        compiled,
        distributed,
        layers,
        optimizers,
        simulators,
        training,
        values,
    )
else:
    from nengo_wd._seam.nengo_dl2 import (
        LACKING,
        activities,
        layers,
        optimizers,
        simulators,
        training,
        values,
    )

    compiled, distributed = SimpleNamespace(), SimpleNamespace()
    for _name, _reason in LACKING.items():
        _topic, _, _attribute = _name.partition(".")
        setattr(globals()[_topic], _attribute, type(_attribute, (Lacking,), {"reason": _reason}))

__all__ = [
    "activities",
    "compiled",
    "distributed",
    "layers",
    "nengo_dl",
    "optimizers",
    "simulators",
    "training",
    "values",
]
