import doctest
import importlib
import re
from pathlib import Path

import internals
import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION

import nengo_wd
from nengo_wd import nengo_dl

ROOT = Path(__file__).parent.parent
NAMES = dict(nengo=nengo, nengo_dl=nengo_dl, nengo_wd=nengo_wd, np=np, tf=tf)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATION_OF_PAGE = {"nengo_dl2.md": 2, "supported_stacks.md": GENERATION}  # the others: 3


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


@pytest.mark.parametrize("page", pages())
def test_code_in_pages(page, tmp_path, monkeypatch, capsys):
    """It runs, its own checks hold, and it prints what the page shows."""
    monkeypatch.chdir(tmp_path)  # where it may write files
    names = {"__name__": "page"}
    exec(compile("\n".join(blocks(page, "python")), str(page), "exec"), names)
    printed = capsys.readouterr().out
    assert names["nengo_dl"] is nengo_dl
    for shown in blocks(page, "text"):
        assert without_numbers(shown) in without_numbers(printed)


def without_numbers(text):
    """Put the same sign for each number, of any width: TensorFlows differ in them."""
    return " ".join(re.sub(r"\d[\d.]*", "#", text).split())


def test_reference_has_every_public_name():
    listed = re.findall(
        r"^   (\w+)(?:\.\w+)?$", (ROOT / "docs" / "api.rst").read_text(encoding="utf-8"), re.M
    )
    assert set(nengo_wd.__all__) - {"nengo_dl"} <= set(listed)
