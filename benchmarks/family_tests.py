"""The bridge to today's stack, judged by the tests of nengo-loihi or KerasLMU.

    python benchmarks/family_tests.py --library nengo_loihi
    python benchmarks/family_tests.py --library keras_lmu
    python benchmarks/family_tests.py --library nengo_loihi --without-bridge --save FILE

Runs the tests that the library ships, those of nengo-loihi on its emulator. It prints every test
whose outcome differs from that on the stack that the library was made for. The exit status is 1 if
a test fails only here, and its cause is not known to lie outside the bridge. What follows ``--``
goes to pytest.

Needs what `nengo_dl_tests` needs, pytest-plt, and nengo-extras for tests of nengo-loihi.
"""

import sys
import types

import pytest
from nengo_dl_tests import RESULTS, Judge, command_line, judged


class JudgeOfLoihi(Judge):
    """What nengo-loihi's tests expect of their configuration, which its wheel lacks."""

    library, folder = "nengo_loihi", "."
    names = ("nengo-loihi", "nengo", "numpy")
    settings = """
[pytest]
nengo_simloader = nengo_loihi.tests.make_test_sim
markers =
    target_sim: on the emulator alone
    target_loihi: on hardware alone
    hang: never ends on hardware
    requires_multichip_snips: on large boards alone
"""

    def pytest_configure(self):
        """Make the emulator raise where it would warn, and check all that is built."""
        import nengo
        import nengo_loihi
        from nengo_loihi.builder.builder import Model, ValidationLevel
        from nengo_loihi.emulator import EmulatorInterface

        if not hasattr(nengo._vendor, "npconv2d"):  # until Nengo 3.2
            package, module = types.ModuleType("npconv2d"), nengo.builder.transforms
            nengo._vendor.npconv2d, package.conv2d = package, module
            sys.modules["nengo._vendor.npconv2d"] = package
            sys.modules["nengo._vendor.npconv2d.conv2d"] = module
        nengo.rc["decoder_cache"]["enabled"] = "False"  # that of another NumPy can't be read
        EmulatorInterface.strict = True
        Model.default_validation_level = ValidationLevel.FULL
        nengo_loihi.set_defaults()

    def pytest_addoption(self, parser):
        """Add the option that nengo-loihi's tests read."""
        parser.addoption("--target", default="sim")

    def pytest_runtest_setup(self, item):
        """Leave out what needs hardware."""
        if item.get_closest_marker("target_loihi"):
            pytest.skip("needs hardware")


class JudgeOfLMU(Judge):
    """What KerasLMU's tests expect of their configuration."""

    library = "keras_lmu"
    names = ("keras-lmu", "tensorflow", "numpy")
    settings = "[pytest]\n"


def main():
    """Run the tests as the command line says."""
    judges = {judge.library: judge for judge in (JudgeOfLoihi, JudgeOfLMU)}
    parser = command_line(__doc__)
    parser.add_argument("--library", required=True, choices=judges)
    options = parser.parse_args()
    library, baseline = options.library, RESULTS / f"{options.library}.json"
    failures = judged(options, judges[library](), baseline, {})
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
