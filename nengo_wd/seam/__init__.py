"""What differs between the generations of NengoDL; no other module asks which one runs.

Each generation has a module with the same functions, and the rest of the package calls
them here: ``from nengo_wd import seam`` and ``seam.penalties(sim)``. NengoDL itself is
imported here first of all, across the bridge to TensorFlow 2.13 and later.
"""

from nengo_wd.seam.bridge import bridged

with bridged():
    import nengo_dl

if nengo_dl.__version__.startswith("2."):
    from nengo_wd.seam.nengo_dl2 import *  # noqa: F403
else:
    from nengo_wd.seam.nengo_dl3 import *  # noqa: F403
