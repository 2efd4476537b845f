"""Each example runs as a user would run it; its own checks are in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from generations import GENERATION

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWN = {  # the arguments of each script, and how its last line begins
    "cuda_convnet_layers.py": (["--short"], "Figure saved"),
    "custom_training_loop.py": ([], "The loop and sim.fit reach the same weights."),
    "decay_strength.py": (["--short"], "Figures saved"),
    "forum_weight_decay.py": ([], "The norm fell at every step"),
    "keras_to_spiking.py": (["--short"], "Figure saved"),
    "penalty_or_decay.py": (["--short"], "Figure saved"),
    "regularization_losses.py": ([], "The simulator's regularization losses equal"),
    "regularized_ensembles.py": (["--short"], "Figure saved"),
    "ridge_regression.py": (["--short"], "Figure saved"),
    "spiking_digits.py": (["--short"], "Figure saved"),
}
ONLY_NENGO_DL_3 = {
    "cuda_convnet_layers.py",
    "custom_training_loop.py",
    "decay_strength.py",
    "keras_to_spiking.py",
    "penalty_or_decay.py",
    "spiking_digits.py",
}


@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_example(script, tmp_path):
    arguments, last_line = SHOWN[script]
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        capture_output=True,
        text=True,
        cwd=str(tmp_path),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    if GENERATION == 2 and script in ONLY_NENGO_DL_3:
        assert ran.returncode == 1
        assert ran.stderr.splitlines()[-1].startswith(f"{script} needs NengoDL 3")
    else:
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[-1].startswith(last_line)
