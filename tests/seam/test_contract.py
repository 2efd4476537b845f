"""The generations of NengoDL have the same topics, functions and signatures.

What one lacks is declared, in ``LACKING`` of its folder. Both are read and not imported, since each
of them can be imported only where it runs.
"""

import ast
from pathlib import Path

import pytest
from nengo.exceptions import SimulationError

import nengo_wd
from nengo_wd import _seam as seam

SEAM = Path(nengo_wd.__file__).parent / "_seam"
GENERATIONS = {int(path.name[len("nengo_dl") :]): path for path in SEAM.glob("nengo_dl*")}
FIRST, *OTHERS = sorted(GENERATIONS)
TOPICS = sorted(path.name for path in GENERATIONS[FIRST].glob("*.py"))


def lacking(generation):
    """Return what a generation declares to lack, as topics and names."""
    tree = ast.parse(source_of(generation, "__init__.py"))
    found = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    return {tuple(name.split(".")) for one in found for name in ast.literal_eval(one)}


def contract(source):
    """Return the public functions, classes and constants of a module, with their signatures."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = signature(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = "a class"
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.update((target.id, "a value") for target in targets if is_name(target))
    return {name: kind for name, kind in found.items() if not name.startswith("_")}


def signature(function):
    returned = None if function.returns is None else ast.dump(function.returns)
    return ast.dump(function.args), returned


def is_name(node):
    return isinstance(node, ast.Name)


def source_of(generation, topic):
    return (GENERATIONS[generation] / topic).read_text(encoding="utf-8")


def assert_functions_agree(one, other, lacking=()):
    """Check what the rest of the package calls; each generation may have values of its own."""
    one, other = contract(one), contract(other)
    functions = {name for found in (one, other) for name in found if found[name] != "a value"}
    functions -= set(lacking)
    assert {n: one.get(n) for n in functions} == {n: other.get(n) for n in functions}


def test_supported_generations_have_a_folder_each():
    assert OTHERS and sorted(GENERATIONS) == sorted(seam.SUPPORTED)


@pytest.mark.parametrize("generation", OTHERS)
def test_generations_have_the_same_topics(generation):
    topics = {path.name for path in GENERATIONS[generation].glob("*.py")}
    assert topics - set(TOPICS) == {f"{topic}.py" for topic in whole_topics(FIRST)}
    assert set(TOPICS) - topics == {f"{topic}.py" for topic in whole_topics(generation)}
    assert {f"{name}.py" for name in seam.__all__ if name != "nengo_dl"} == topics - {"__init__.py"}


def whole_topics(generation):
    """Return the topics of which a generation has no module, by what it declares."""
    topics = {topic for topic, _ in lacking(generation)}
    return {topic for topic in topics if not (GENERATIONS[generation] / f"{topic}.py").exists()}


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("generation", OTHERS)
def test_generations_have_the_same_functions_with_the_same_signatures(generation, topic):
    declared = {(f"{one}.py", name) for g in (FIRST, generation) for one, name in lacking(g)}
    names = [name for one, name in declared if one == topic]
    assert_functions_agree(source_of(FIRST, topic), source_of(generation, topic), names)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_what_a_generation_lacks_is_in_another_and_not_in_itself(generation):
    for topic, name in lacking(generation):
        path = GENERATIONS[generation] / f"{topic}.py"
        assert not path.exists() or name not in contract(path.read_text(encoding="utf-8"))
        others = [g for g in GENERATIONS if (topic, name) not in lacking(g)]
        assert any(name in contract(source_of(g, f"{topic}.py")) for g in others)


def test_what_is_lacking_raises_one_error():
    class Missing(seam.Lacking):
        reason = ("Something", "does something else")

        def __init__(self, sim):
            raise AssertionError("the first error is about the generation")

    match = "nengo_wd.Something needs NengoDL 3: NengoDL .* does something else; install NengoDL 3"
    for kind in (NotImplementedError, SimulationError):
        with pytest.raises(kind, match=match):
            Missing(None)


@pytest.mark.generation(2)
def test_all_that_is_declared_to_lack_raises_that_error():
    for topic, name in lacking(2):
        with pytest.raises(seam.LackingError, match="needs NengoDL 3"):
            getattr(getattr(seam, topic), name)(None)


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
    assert ("values", "fetch") in used and ("training", "OBJECTIVE_ARGUMENTS") in used
    for topic, name in used:
        for generation in GENERATIONS:
            if (topic, name) not in lacking(generation):
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
