"""The bridge to current TensorFlow, judged by NengoDL's own tests.

    python benchmarks/nengo_dl_tests.py
    python benchmarks/nengo_dl_tests.py --compiled
    python benchmarks/nengo_dl_tests.py --without-bridge --save FILE    # on TensorFlow 2.12.1

Runs the tests that NengoDL ships, and prints every test whose outcome differs from that in another
result: on TensorFlow 2.12.1, without the bridge, unless one is given. The exit status is 1 if a
test fails only here, and its cause is not known to lie outside the bridge. With ``--compiled``, XLA
compiles every simulator of the tests. What follows ``--`` goes to pytest.

Needs pytest below 8, pytest-rng and pytest-allclose.
"""

import argparse
import contextlib
import importlib
import json
import os
import pathlib
import platform
import sys
import tempfile
from importlib import metadata

import pytest

# NengoDL's tests compare to 1e-8 what oneDNN rounds otherwise where there are other sizes.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
RESULTS = pathlib.Path(__file__).with_name("nengo_dl_results")

# Nengo's tests run through NengoDL, and NengoDL's own packaging: nothing of TensorFlow's.
LEFT_OUT = ("test_nengo_tests.py", "test_setup.py")

# Failures that no bridge can do anything about.
EXPLAINED = {
    "test_version.py::test_nengo_version_check": "expects Nengo 3.2 or older",
    "test_neurons.py::test_merged_generic": "expects that Python runs AdaptiveLIF",
    "test_simulator.py::test_check_gradients_error": "expects that Triangle has no gradient",
}
PYTHON, NOISE = "Python functions can't be compiled", "expects NumPy's random numbers"
EXPLAINED_COMPILED = {
    **EXPLAINED,
    "test_converter.py::test_conv": "compares to 1e-8; windows round otherwise",
    "test_graph_optimizer.py::test_remove_reset_inc_functional": NOISE,
    "test_neurons.py::test_lif_deterministic": NOISE,
    "test_op_builders.py::test_merged_simpyfunc": PYTHON,
    "test_simulator.py::test_non_differentiable": PYTHON,
    "test_simulator.py::test_tf_seed": "XLA ignores the seed of an operation in a TensorNode",
}

# As NengoDL configures them; its wheel holds the tests without their settings.
SETTINGS = """
[pytest]
filterwarnings = always
nengo_simloader = nengo_dl.tests.make_test_sim
xfail_strict = true
markers =
    training: trains
    performance: compares with times measured on one machine
"""
OPTIONS = {
    "--device": {"default": None},
    "--dtype": {"default": "float32"},
    "--inference-only": {"action": "store_true"},
    "--unroll-simulation": {"default": 1, "type": int},
}


class Judge:
    """A pytest plugin: what NengoDL's tests expect of their configuration, and their outcomes."""

    library, folder, settings = "nengo_dl", "tests", SETTINGS
    names = ("nengo-dl", "nengo", "tensorflow", "numpy")  # whose versions matter

    def __init__(self):
        self.outcomes = {}
        self.stand_ins = []

    def pytest_collection(self):
        """Import every module of tests, so that all of its other tests run."""
        self.stand_ins = list(removed_names())
        for owner, name, stand_in in self.stand_ins:
            setattr(owner, name, stand_in)

    def pytest_collection_finish(self):
        """Run the tests without the stand-ins that their modules needed."""
        for owner, name, _ in self.stand_ins:
            delattr(owner, name)

    def pytest_addoption(self, parser):
        """Add the options that NengoDL's tests read."""
        for name, arguments in OPTIONS.items():
            parser.addoption(name, **arguments)

    def pytest_runtest_setup(self, item):
        """Start each test with a Keras of its own."""
        import tensorflow as tf

        if item.get_closest_marker("performance"):
            pytest.skip("needs the machine on which its times were measured")
        tf.keras.backend.clear_session()

    def pytest_runtest_logreport(self, report):
        """Keep the outcome of a test: its call, or whichever other phase went wrong."""
        if report.when == "call" or not report.passed:
            self.outcomes[report.nodeid] = outcome(report)

    def pytest_collectreport(self, report):
        """Keep the failure of a module that can't be imported."""
        if report.failed:
            self.outcomes[report.nodeid] = outcome(report)


def outcome(report):
    """Return "passed", or what went wrong in one line."""
    if report.passed:
        return report.outcome
    crash = getattr(report.longrepr, "reprcrash", None)
    if report.skipped or crash is None:
        return report.outcome
    return f"{report.outcome}: {crash.message.splitlines()[0][:160]}"


def oscillator(tau, frequency, n_neurons):
    """Return a network that oscillates, as Nengo had one up to version 4.0."""
    import nengo

    turn = tau * frequency
    with nengo.Network() as net:
        ensemble = nengo.Ensemble(n_neurons, 2)
        nengo.Connection(ensemble, ensemble, synapse=tau, transform=[[1, -turn], [turn, 1]])
    return net


def removed_names():
    """Yield the removed names that modules of tests import: owner, name and a stand-in."""
    import nengo

    if not hasattr(nengo.networks, "Oscillator"):  # until Nengo 4.0
        yield nengo.networks, "Oscillator", oscillator


def run_tests(judge, arguments):
    """Run the tests of the judge's library in this process and return the outcome of each."""
    package = pathlib.Path(importlib.import_module(judge.library).__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        settings = pathlib.Path(folder, "pytest.ini")
        settings.write_text(judge.settings, encoding="utf-8")
        ignored = [f"--ignore={package / 'tests' / name}" for name in LEFT_OUT]
        # The seeds of the tests come from their names, which are relative to the root.
        root = f"--rootdir={package.parent}"
        options = ["-c", str(settings), root, "-p", "no:cacheprovider", "-q", "--tb=short"]
        options.append("--continue-on-collection-errors")
        pytest.main([*options, *ignored, *arguments, str(package / judge.folder)], plugins=[judge])
    start = f"{package.name}/{judge.folder}/".replace("/./", "/")
    return {name.rpartition(start)[2]: found for name, found in judge.outcomes.items()}


# NengoDL starts a Python to look for a GPU, which must not start another one in its turn.
FIRST_THING = """
import os

del os.environ["PYTHONPATH"]
import nengo_wd
"""


@contextlib.contextmanager
def bridge():
    """Import nengo_wd here, and first thing in every Python that a test starts."""
    sys.path.insert(0, str(REPOSITORY))
    import nengo_wd  # noqa: F401

    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "sitecustomize.py").write_text(FIRST_THING, encoding="utf-8")
        before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, str(REPOSITORY), *before])
        yield


def compile_all():
    """Have XLA compile every simulator, as if its network had asked for it."""
    from nengo_wd import settings

    settings.is_jit_compiled = lambda network: True


def stack(names):
    """Return the versions that matter."""
    return {"python": platform.python_version(), **{n: metadata.version(n) for n in names}}


def report(found, expected, explained):
    """Print the outcomes, and return how many failures have no known cause."""
    print_result("\nresult with", found)
    print_result("compared with", expected)
    unexplained = 0
    for name, now, before in compare(found["tests"], expected["tests"]):
        cause = explained.get(name) if now.startswith("failed") else None
        print(f"{name}\n    was {before}\n    now {now}", f"\n    because {cause}" if cause else "")
        unexplained += now.startswith("failed") and cause is None
    print(f"{unexplained} failures to be explained")
    return unexplained


def print_result(title, result):
    """Print the stack of a result, and how many tests had each outcome."""
    print(f"{title}", ", ".join(f"{name} {version}" for name, version in result["stack"].items()))
    print("   ", summary(result["tests"]))


def summary(outcomes):
    """Return how many tests had each outcome."""
    kinds = [status.partition(":")[0] for status in outcomes.values()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds), reverse=True))


def compare(found, expected):
    """Yield the name and both outcomes of each test whose outcomes differ."""
    for name in sorted({*found, *expected}):
        now, before = found.get(name, "not there"), expected.get(name, "not there")
        if now.partition(":")[0] != before.partition(":")[0]:
            yield name, now, before


def command_line(description):
    """Return a parser of the options that both scripts take."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--without-bridge", action="store_true", help="the library alone")
    parser.add_argument("--save", metavar="FILE", help="where the result is to be written")
    parser.add_argument("arguments", nargs="*", help="for pytest, after --")
    return parser


def judged(options, judge, baseline, explained):
    """Run the tests as the command line says; return how many failures have no known cause."""
    with contextlib.nullcontext() if options.without_bridge else bridge():
        if getattr(options, "compiled", False):
            compile_all()
        tests = run_tests(judge, options.arguments)
        found = {"stack": stack(judge.names), "tests": tests}
    if options.save:
        pathlib.Path(options.save).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    expected = json.loads(pathlib.Path(baseline).read_text(encoding="utf-8"))
    if options.arguments:  # which may have left tests out
        expected["tests"] = {n: s for n, s in expected["tests"].items() if n in found["tests"]}
    return report(found, expected, explained)


def main():
    """Run the tests as the command line says."""
    parser = command_line(__doc__)
    parser.add_argument("--compiled", action="store_true", help="by XLA")
    baseline = RESULTS / "tf-2.12.1_nengo-4.1.0.json"
    parser.add_argument("--compare", metavar="FILE", default=baseline, help="a saved result")
    options = parser.parse_args()
    explained = EXPLAINED_COMPILED if options.compiled else EXPLAINED
    sys.exit(1 if judged(options, Judge(), options.compare, explained) else 0)


if __name__ == "__main__":
    main()
