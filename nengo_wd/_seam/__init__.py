"""What differs between the generations of NengoDL; no other module asks which one runs.

Each generation is a package of the same topics: modules of the same names, with functions and
classes of the same names and signatures. The rest of the package calls them by topic:
``from nengo_wd import _seam as seam`` and ``seam.values.fetch(sim, variables)``. NengoDL itself is
imported here first of all, across the bridge to current TensorFlow.
"""

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nengo_wd._seam.bridge import bridged

with bridged():
    import nengo_dl

# isort: split
from nengo.exceptions import SimulationError

SUPPORTED = (2, 3)


def generation(version: str) -> int:
    """Return the generation that a version of NengoDL belongs to.

    Raises
    ------
    ImportError
        If this package knows no such generation, with what to install.
    """
    number = int(version.partition(".")[0])
    known = " and ".join(map(str, SUPPORTED))
    if number not in SUPPORTED:
        raise ImportError(
            f"nengo_wd runs on NengoDL {known}, but NengoDL {version} is installed; install "
            'NengoDL 3 with: pip install "nengo-dl>=3.6,<4"'
        )
    return number


class Lacking(NotImplementedError, SimulationError):
    """What is raised for that which the running generation lacks."""


def _lacking(what: str, why: str) -> type:
    """Return what stands for a class or a function: to make or call it raises an error."""

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        raise Lacking(
            f"nengo_wd.{what} needs NengoDL 3: NengoDL {nengo_dl.__version__} {why}; install "
            'NengoDL 3, with: pip install "nengo-dl>=3.6,<4"'
        )

    return type(what, (), {"__new__": __new__, "converters": {}})


# All generations have the same functions: mypy reads those of NengoDL 3.
if generation(nengo_dl.__version__) == 3 or TYPE_CHECKING:
    from nengo_wd._seam.nengo_dl3 import (
        activities,
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

    distributed = SimpleNamespace()
    for _name, _reason in LACKING.items():
        _topic, _, _attribute = _name.partition(".")
        setattr(globals()[_topic], _attribute, _lacking(*_reason))

__all__ = [
    "activities",
    "distributed",
    "layers",
    "nengo_dl",
    "optimizers",
    "simulators",
    "training",
    "values",
]
