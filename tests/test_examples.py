"""Each example runs to its end; its own checks are in it.

What a short run checks holds on any processor. What the full one finds, which rounding may decide
in a short one, is checked where the kept outputs are renewed, by ``docs/run_examples.py``.
"""

import ast
import re
from pathlib import Path

import pytest
from generations import GENERATION
from scripts import run_here, run_in_fresh_python

EXAMPLES = Path(__file__).parent.parent / "examples"
SHOWN = {  # the arguments of each script, and how its last line begins
    "accuracy_for_energy.py": (["--short"], "Figure saved"),
    "cuda_convnet_layers.py": (["--short"], "Figure saved"),
    "custom_training_loop.py": ([], "The loop and sim.fit reach the same weights."),
    "decay_strength.py": (["--short"], "Figures saved"),
    "forum_weight_decay.py": ([], "The norm fell at every step"),
    "keras_to_spiking.py": (["--short"], "Figure saved"),
    "legendre_memory_unit.py": (["--short"], "regularized "),
    "neurons_that_train_well.py": (["--short"], "Figure saved"),
    "on_loihi.py": (["--short"], "Figure saved"),
    "online_decay.py": (["--short"], "Figure saved"),
    "penalty_or_decay.py": (["--short"], "Figure saved"),
    "regularization_losses.py": ([], "The simulator's regularization losses equal"),
    "regularized_ensembles.py": (["--short"], "Figure saved"),
    "ridge_regression.py": (["--short"], "Figure saved"),
    "search_strengths.py": (["--short"], "Figure saved"),
    "smaller_network.py": (["--short"], "Figure saved"),
    "spiking_digits.py": (["--short"], "Figure saved"),
    "spiking_sequence.py": (["--short"], "Figure saved"),
    "zeros_and_norms.py": (["--short"], "Figure saved"),
}
ONLY_NENGO_DL_3 = {
    "accuracy_for_energy.py",
    "cuda_convnet_layers.py",
    "custom_training_loop.py",
    "decay_strength.py",
    "keras_to_spiking.py",
    "legendre_memory_unit.py",
    "neurons_that_train_well.py",
    "on_loihi.py",
    "penalty_or_decay.py",
    "search_strengths.py",
    "smaller_network.py",
    "spiking_digits.py",
    "spiking_sequence.py",
    "zeros_and_norms.py",
}
NEEDED = {"legendre_memory_unit.py": ["keras_lmu"], "on_loihi.py": ["nengo_loihi", "nengo_extras"]}
IN_FRESH_PYTHON = {"regularization_losses.py"}  # on either generation
if GENERATION == 2:
    IN_FRESH_PYTHON.add("custom_training_loop.py")  # which says why it does not run


@pytest.mark.slow
@pytest.mark.traced  # as users run it
@pytest.mark.parametrize("script", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_example(script, tmp_path, monkeypatch):
    arguments, last_line = SHOWN[script]
    for library in NEEDED.get(script, ()) if GENERATION == 3 else ():
        pytest.importorskip(library)
    if script in IN_FRESH_PYTHON:
        ran = run_in_fresh_python(EXAMPLES / script, *arguments, folder=tmp_path)
    else:
        ran = run_here(EXAMPLES / script, *arguments, folder=tmp_path, monkeypatch=monkeypatch)
    if GENERATION == 2 and script in ONLY_NENGO_DL_3:
        assert ran.returncode == 1
        assert ran.stderr.splitlines()[-1].startswith(f"{script} needs NengoDL 3")
    else:
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines()[-1].startswith(last_line)


@pytest.mark.parametrize("script", SHOWN)
def test_each_run_checks_something_and_full_runs_what_they_find(script):
    source = (EXAMPLES / script).read_text(encoding="utf-8")
    functions = {one.name: one for one in ast.parse(source).body if hasattr(one, "name")}
    main = source[source.index("\ndef main():") :]
    always = re.sub(r"    if not SHORT:\n        check_findings\(.*\)\n", "", main)
    assert ("check_findings" in functions) == (always != main) == ("--short" in source)
    assert "check_findings" not in always and ("assert " in always or "    check(" in always)
    for name in {"check", "check_findings"} & set(functions):
        assert any(isinstance(node, ast.Assert) for node in ast.walk(functions[name]))
