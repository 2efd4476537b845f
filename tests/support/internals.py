"""What the tests use of the package's inside, so that it is named in one place."""

import pathlib

import tensorflow as tf
from generations import GENERATION, n_operations

import nengo_wd
from nengo_wd import _seam as seam
from nengo_wd._penalties import Terms, penalties_of_settings

GENERATION_OF_MODULE = {  # of the code in the docstrings of a module or a folder; the others: both
    "nengo_wd.converter": 3,
    "nengo_wd.distributed": 3,
    "nengo_wd.energy": 3,
    "nengo_wd.networks": 3,
    "nengo_wd.optimizers": 3,
    "nengo_wd.recording.spike_validation": 3,
    "nengo_wd.search": 3,
    "nengo_wd._seam.nengo_dl2": 2,
    "nengo_wd._seam.nengo_dl3": 3,
}


def modules():
    """Yield the names of the modules whose code is for this generation of NengoDL."""
    folder = pathlib.Path(nengo_wd.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        inside = (name + ".").startswith
        only_for = [number for of, number in GENERATION_OF_MODULE.items() if inside(of + ".")]
        if only_for in ([], [GENERATION]):
            yield name


def n_operations_of_penalties(sim):
    """Return how many operations the penalties that are settings have, all on one variable."""
    (expression,) = Terms(sim, penalties_of_settings(sim), live=False).expressions
    return n_operations(sim, expression)


def n_operations_of_record(sim, norms):
    """Return how many operations a record has."""
    norms._measure()
    return n_operations(sim, norms._measure.packed)


def without_xla(monkeypatch):
    """Have compiled functions fail, as on platforms without XLA."""
    kind = type(tf.function(lambda: None))
    call = kind.__call__

    def called(function, *args, **kwargs):
        if function._jit_compile:
            raise tf.errors.UnimplementedError(None, None, "no XLA")
        return call(function, *args, **kwargs)

    monkeypatch.setattr(kind, "__call__", called)
    monkeypatch.setattr(seam.values, "_has_xla", seam.values._has_xla.__wrapped__)  # not kept


XLA = [True, False] if GENERATION == 3 else [True]  # NengoDL 2 has nothing compiled
