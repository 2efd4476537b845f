"""The generations of NengoDL have the same topics, functions and signatures.

Both are read and not imported, since each of them can be imported only where it runs.
"""

import ast
from pathlib import Path

import pytest

import nengo_wd
from nengo_wd import _seam as seam

SEAM = Path(nengo_wd.__file__).parent / "_seam"
GENERATIONS = {int(path.name[len("nengo_dl") :]): path for path in SEAM.glob("nengo_dl*")}
FIRST, *OTHERS = sorted(GENERATIONS)
TOPICS = sorted(path.name for path in GENERATIONS[FIRST].glob("*.py"))


def contract(source):
    """Return the public functions, classes and constants of a module, with their signatures."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = signature(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = "a class"
        elif isinstance(node, ast.Assign):
            found.update((target.id, "a value") for target in node.targets if is_name(target))
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


def signature(function):
    returned = None if function.returns is None else ast.dump(function.returns)
    return ast.dump(function.args), returned


def is_name(node):
    return isinstance(node, ast.Name)


def source_of(generation, topic):
    return (GENERATIONS[generation] / topic).read_text(encoding="utf-8")


def assert_functions_agree(one, other):
    """Check what the rest of the package calls; each generation may have values of its own."""
    one, other = contract(one), contract(other)
    functions = {name for found in (one, other) for name in found if found[name] != "a value"}
    assert {n: one.get(n) for n in functions} == {n: other.get(n) for n in functions}


def test_supported_generations_have_a_folder_each():
    assert OTHERS and sorted(GENERATIONS) == sorted(seam.SUPPORTED)


@pytest.mark.parametrize("generation", OTHERS)
def test_generations_have_the_same_topics(generation):
    assert sorted(path.name for path in GENERATIONS[generation].glob("*.py")) == TOPICS
    assert {f"{name}.py" for name in seam.__all__ if name != "nengo_dl"} < set(TOPICS)


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic != "converter.py"])
@pytest.mark.parametrize("generation", OTHERS)
def test_generations_have_the_same_functions_with_the_same_signatures(generation, topic):
    assert_functions_agree(source_of(FIRST, topic), source_of(generation, topic))


@pytest.mark.parametrize("generation", GENERATIONS)
def test_generations_have_a_converter(generation):
    """NengoDL 3 has the class itself, which needs no definition."""
    names = {"KerasConverter", "verifying_with"}
    assert set(contract(source_of(generation, "converter.py"))) == names


def used_by_the_package():
    """Yield the topics and names that modules outside of the seam ask it for."""
    for path in Path(nengo_wd.__file__).parent.rglob("*.py"):
        if SEAM not in path.parents:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
                    if is_name(node.value.value) and node.value.value.id in ("seam", "_seam"):
                        yield node.value.attr, node.attr


def test_both_generations_have_what_the_package_asks_for():
    used = set(used_by_the_package())
    assert ("values", "fetch") in used and ("objectives", "OBJECTIVE_ARGUMENTS") in used
    for topic, name in used:
        for generation in GENERATIONS:
            assert name in contract(source_of(generation, f"{topic}.py")), (topic, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda source: source.replace("def fetch(", "def _fetch("),
        lambda source: source.replace("def fetch(sim", "def fetch(simulator"),
        lambda source: source.replace("-> list[np.ndarray]:", "-> np.ndarray:"),
        lambda source: source.replace("def fetch(", "def peek():\n    pass\n\n\ndef fetch("),
    ],
)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_function_that_is_gone_or_changed_in_one_generation_is_found(generation, change):
    source = source_of(generation, "values.py")
    changed = change(source)
    assert changed != source
    for other in set(GENERATIONS) - {generation}:
        with pytest.raises(AssertionError):
            assert_functions_agree(changed, source_of(other, "values.py"))


@pytest.mark.parametrize("version", ["1.2.1", "99.0.0", "0.6.2.dev0"])
def test_another_generation_is_refused_with_what_to_install(version):
    with pytest.raises(ImportError, match=rf'NengoDL {version} is inst.*"nengo-dl>=3.6,<4"'):
        seam.generation(version)


@pytest.mark.parametrize("version, number", [("2.2.2", 2), ("3.6.0", 3), ("3.7.0.dev0", 3)])
def test_versions_of_a_generation(version, number):
    assert seam.generation(version) == number
