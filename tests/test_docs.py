"""Code in docstrings and on the pages runs as it is written, and every page is on the site."""

import doctest
import importlib
import re
import runpy
from pathlib import Path

import internals
import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION
from printed import agrees
from scripts import WarmPython

import nengo_wd
from nengo_wd import nengo_dl

ROOT = Path(__file__).parent.parent
NAMES = dict(nengo=nengo, nengo_dl=nengo_dl, nengo_wd=nengo_wd, np=np, tf=tf)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATION_OF_PAGE = {"nengo_dl2.md": 2, "supported_stacks.md": GENERATION}  # the others: 3
NEEDED = {"from_training_to_hardware.md": ["nengo_loihi", "nengo_extras"]}


def test_docstrings():
    modules = [importlib.import_module(name) for name in internals.modules()]
    results = [doctest.testmod(module, globs=NAMES) for module in modules]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0


def blocks(page, language):
    """Return the page's code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def pages():
    """Yield the pages with code, each with the generation of NengoDL that its code is for."""
    for page in PAGES:
        if blocks(page, "python"):
            generation = pytest.mark.generation(GENERATION_OF_PAGE.get(page.name, 3))
            yield pytest.param(page, marks=generation, id=page.name)


@pytest.fixture(scope="module")
def python():
    """Return a Python that is not this one, which runs pages."""
    python = WarmPython()
    yield python
    python.close()


@pytest.mark.slow
@pytest.mark.parametrize("page", pages())
def test_code_in_pages(page, python, tmp_path):
    """It runs in a process of its own, its own checks hold, and it prints what the page shows."""
    for library in NEEDED.get(page.name, ()):
        pytest.importorskip(library)
    code = "\n".join(blocks(page, "python"))
    assert "from nengo_wd import nengo_dl\n" in code
    (tmp_path / "page.py").write_text(code, encoding="utf-8")
    ran = python.run(tmp_path / "page.py", folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    for shown in blocks(page, "text"):
        assert agrees(shown, ran.stdout), ran.stdout


@pytest.mark.parametrize(
    "shown, printed, expected",
    [
        ("error 0.104", "the error  0.1049 at last", True),
        ("error 0.104", "error 0.111", False),
        ("-1.5e-3", "-0.00152", True),
        ("1.5", "-1.5", False),
        ("39 of 41 trials", "39 of 41 trials", True),
        ("39 of 41 trials", "39 of 42 trials", False),
        ("0.00", "0.004", True),
        ("0", "0.6", False),
        ("norms [3.99 2.42]", "norms [4.02\n 2.4 ]", True),
        ("norms [3.99 2.42]", "rates [4.02 2.4]", False),
        ("a 1\n...\nd 4", "a 1\nb 2\nc 3\nd 4", True),
        ("a 1\nd 4", "a 1\nb 2\nc 3\nd 4", False),
        ("b 2\nb 3", "b 1\nb 2\nb 3", True),
    ],
)
def test_two_digits_of_what_is_shown_are_printed(shown, printed, expected):
    assert agrees(shown, printed) is expected


def test_readme_is_read_in_one_sitting():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


# -- the site ----------------------------------------------------------------------------


def test_pages_keep_all_their_lines():
    """A line that begins with % is a comment in MyST's Markdown, and one with 1) begins a list."""
    for page in [*PAGES, ROOT / "CHANGES.md", ROOT / "CONTRIBUTING.md"]:
        lost = re.findall(r"^ *(?:%|\d+\)).*", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert not lost, f"{page.name}: break the lines elsewhere"


def test_no_page_has_the_name_of_one_that_sphinx_writes():
    written = {"search", "genindex", "modindex", "py-modindex"}
    assert not written & {path.stem for path in (ROOT / "docs").glob("*.*")}


def test_a_page_that_is_not_the_one_that_was_written_is_found(tmp_path):
    """As one is that Sphinx writes over. The build of the site ends with an error then."""
    lost = runpy.run_path(str(ROOT / "docs" / "built_pages.py"))["lost"]
    written = {
        "energy": "<h1>Energy<a class='headerlink' href='#energy'>\u00b6</a></h1>",
        "which_way": "<h1><em>Which</em>\n way &amp; why?<a>#</a></h1><h2>Search</h2>",
        "search": "<title>Search</title><h1>Search</h1>Searching for strengths",
        "empty": "",
    }
    for name, html in written.items():
        (tmp_path / f"{name}.html").write_text(html, encoding="utf-8")
    titles = {
        "energy": "Energy",
        "which_way": "Which way & why?",
        "search": "Searching for strengths",
        "empty": "Empty",
        "missing": "Missing",
    }
    found = lost({tmp_path / f"{name}.html": title for name, title in titles.items()})
    assert [path.stem for path in found] == ["search", "empty", "missing"]


def test_reference_has_every_public_name():
    listed = re.findall(
        r"^   (\w+)(?:\.\w+)?$", (ROOT / "docs" / "api.rst").read_text(encoding="utf-8"), re.M
    )
    assert set(nengo_wd.__all__) - {"nengo_dl"} <= set(listed)
