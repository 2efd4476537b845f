"""A Python that imports what scripts need once, and runs each script in a fork of itself.

It reads a line of JSON for each: the path of the script, and the folder to run it in, where it
leaves what the script printed in the files ``stdout`` and ``stderr``. It prints the exit status.
TensorFlow is first used in the forks, as it has to be.
"""

import gc
import json
import os
import runpy
import sys
import traceback

import matplotlib.pyplot  # noqa: F401
import nengo  # noqa: F401

import nengo_wd  # noqa: F401
from nengo_wd import nengo_dl  # noqa: F401


def run(script, folder):
    """Run a script as Python would, and end."""
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv, sys.path[0] = [script], os.path.dirname(script)
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


gc.collect()
gc.freeze()  # what was imported, which a fork would copy where it is looked through
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(*json.loads(line))
    print(os.waitpid(child, 0)[1], flush=True)
