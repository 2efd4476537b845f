"""What the page on the architecture says of the package's parts."""

import ast
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
IMPORTS = runpy.run_path(str(ROOT / "docs" / "imports.py"))
MODULES = IMPORTS["modules"]()
LONGEST_MODULE, LONGEST_CLASS = 300, 150  # lines


def test_modules_import_each_other_in_no_circle():
    IMPORTS["floors"](IMPORTS["imports"]())  # which raises, with the circle


def test_parts_import_each_other_in_no_circle():
    IMPORTS["floors"](IMPORTS["parts"]())


def test_a_circle_is_found():
    with pytest.raises(ValueError, match="a -> b -> a"):
        IMPORTS["floors"]({"a": {"b"}, "b": {"a"}})


def test_data_flow_one_way():
    floors = IMPORTS["floors"](IMPORTS["parts"]())
    height = {part: i for i, row in enumerate(floors) for part in row}
    way = ["_seam", "settings", "_parameters", "_strengths", "_penalties", "recording", "plotting"]
    assert [height[part] for part in way] == sorted({height[part] for part in way})
    assert height["_strengths"] < height["optimizers"]


def test_the_picture_is_drawn_from_the_imports():
    kept = IMPORTS["PICTURE"].read_text(encoding="utf-8")
    assert kept == IMPORTS["picture"](), "run python docs/imports.py"


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_classes_are_short(module):
    source = MODULES[module].read_text(encoding="utf-8")
    lines = source.splitlines()
    assert len(lines) <= LONGEST_MODULE
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    for one in classes:
        assert _last_line(one) - one.lineno < LONGEST_CLASS, one.name


def _last_line(node):
    """Return the last line of a class; Python 3.7 does not say it."""
    return max(getattr(child, "lineno", 0) for child in ast.walk(node))


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("nengo_wd._seam")])
def test_the_seam_alone_knows_the_generation(module):
    source = MODULES[module].read_text(encoding="utf-8")
    assert "nengo_dl.__version__" not in source
    assert "nengo_dl2" not in source and "nengo_dl3" not in source


def test_packages_show_public_names_only():
    import nengo_wd

    shown = {name for name in vars(nengo_wd.regularizers) if not name.startswith("_")}
    submodules = {path.stem for path in Path(nengo_wd.regularizers.__file__).parent.glob("*.py")}
    assert shown - submodules == set(nengo_wd.regularizers.__all__)


def opened_as_text(source):
    """Yield the lines of code in which a file is opened as text, without an encoding."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and "encoding" not in {one.arg for one in node.keywords}:
            name = getattr(node.func, "id", None) or f".{getattr(node.func, 'attr', '')}"
            modes = [getattr(one, "value", getattr(one, "s", None)) for one in node.args[1:2]]
            if name in ("open", ".read_text", ".write_text") and "b" not in str(modes):
                yield node.lineno


@pytest.mark.parametrize("folder", ["nengo_wd", "examples", "docs", "benchmarks", ".ci", "tests"])
def test_files_have_an_encoding(folder):
    """Text is UTF-8, whatever a machine prefers."""
    paths = (ROOT / folder).rglob("*.py")
    found = {str(p): list(opened_as_text(p.read_text(encoding="utf-8"))) for p in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}
