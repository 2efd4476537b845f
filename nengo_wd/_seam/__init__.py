"""What differs between the generations of NengoDL; no other module asks which one runs.

Each generation is a package of the same topics: modules of the same names, with functions and
classes of the same names and signatures. The rest of the package calls them by topic:
``from nengo_wd import seam`` and ``seam.values.fetch(sim, variables)``. NengoDL itself is imported
here first of all, across the bridge to TensorFlow 2.13 and later.
"""

from typing import TYPE_CHECKING

from nengo_wd._seam.bridge import bridged

with bridged():
    import nengo_dl

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


_RUNNING = generation(nengo_dl.__version__)

# All generations have the same functions: mypy reads those of NengoDL 3.
if _RUNNING == 3 or TYPE_CHECKING:
    from nengo_wd._seam.nengo_dl3 import (
        activities,
        converter,
        distributed,
        layers,
        learning_rules,
        losses,
        objectives,
        optimizers,
        parameters,
        probes,
        saving,
        simulators,
        values,
    )
elif _RUNNING == 2:
    from nengo_wd._seam.nengo_dl2 import (
        activities,
        converter,
        distributed,
        layers,
        learning_rules,
        losses,
        objectives,
        optimizers,
        parameters,
        probes,
        saving,
        simulators,
        values,
    )

saving.mend()

__all__ = [
    "activities",
    "converter",
    "distributed",
    "layers",
    "learning_rules",
    "losses",
    "nengo_dl",
    "objectives",
    "optimizers",
    "parameters",
    "probes",
    "saving",
    "simulators",
    "values",
]
