import doctest
import re
from pathlib import Path

import nengo
import numpy as np
import pytest
import tensorflow as tf

import nengo_wd
from nengo_wd import config, converter, layers, nengo_dl, objectives, regularizers

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "module",
    [
        config,
        pytest.param(converter, marks=pytest.mark.generation(3)),
        layers,
        objectives,
        regularizers,
    ],
)
def test_docstrings(module):
    names = dict(nengo=nengo, nengo_dl=nengo_dl, nengo_wd=nengo_wd, np=np, tf=tf)
    failed, tried = doctest.testmod(module, globs=names)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("README.md", marks=pytest.mark.generation(3)),
        pytest.param("docs/layers.md", marks=pytest.mark.generation(3)),
        pytest.param("docs/objectives.md", marks=pytest.mark.generation(3)),
        pytest.param("docs/native.md", marks=pytest.mark.generation(3)),
        pytest.param("docs/penalty_or_decay.md", marks=pytest.mark.generation(3)),
        "docs/supported_stacks.md",
        pytest.param("docs/nengo_dl2.md", marks=pytest.mark.generation(2)),
    ],
)
def test_code_in_pages(page):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "page"})
