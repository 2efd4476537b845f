"""One simulator on many devices."""

import pytest
from scripts import SUPPORT, run_in_fresh_python

pytestmark = pytest.mark.generation(3)

CHECKS = (
    "adam_with_decay_penalties_and_rates",
    "layerwise_with_constrained_norms",
    "proximal_steps_with_percentiles",
    "legacy_optimizer_and_penalty_of_the_whole_minibatch",
    "decay_of_large_weights",
    "proximal_steps_of_large_weights",
    "constrained_norms_of_large_weights",
    "layerwise_with_large_weights",
    "optimizers_without_variables",
    "inputs_of_all_kinds",
    "frozen_parameters",
    "refusals",
)


@pytest.fixture(scope="module")
def differences(tmp_path_factory):
    """Return how far two logical CPUs are from one, by the name of the check.

    They have to be set up before TensorFlow starts its devices.
    """
    folder = tmp_path_factory.mktemp("two_replicas")
    ran = run_in_fresh_python(SUPPORT / "two_replicas.py", str(folder), folder=folder)
    assert ran.returncode == 0, ran.stderr
    return dict(line.split(" ", 1) for line in ran.stdout.splitlines() if " " in line)


@pytest.mark.parametrize("check", CHECKS)
def test_two_replicas_do_what_one_device_does(differences, check):
    """In float64, of what is rounded in another order."""
    assert not differences[check].startswith("failed"), differences[check].replace("|", "\n")
    assert float(differences[check]) < 1e-9
