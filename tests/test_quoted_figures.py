"""Figures that the pages quote are those that the examples printed, which `quotes` looks up.

Whatever was measured with an older TensorFlow has no kept output, and is listed in `NOT_KEPT`.
"""

import re

import pytest
from generations import simulator
from quotes import CHOOSING, PAGES, QUOTES, ROOT, quotes_on

import nengo_wd

NOT_KEPT = ["(`spiking_digits.py`, TensorFlow 2.12)"]


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("page, sentence, measured", QUOTES, ids=[quote[1] for quote in QUOTES])
def test_page_quotes_what_was_printed(page, sentence, measured):
    values = measured()
    assert len(values) == sentence.count("{")
    assert sentence.format(*values) in flat((ROOT / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_every_result_of_an_example_is_looked_up(page):
    quotes = quotes_on(page)
    blocks = re.split(r"\n\s*\n|\n(?=- )|\n(?=\|)", (ROOT / page).read_text(encoding="utf-8"))
    for block in map(flat, blocks):
        named = re.search(r"`(examples/)?\w+\.py`", block)
        if named and re.search(r"\d ?(%|points)|norms? of \d", block):
            kept_elsewhere = any(text in block for text in NOT_KEPT)
            assert kept_elsewhere or any(quote in block for quote in quotes), block


@pytest.mark.generation(3)
def test_norms_with_the_defaults_of_nengo():
    """Build the network of the page again: its norms before training are in no kept output."""
    code = re.search(
        r"```python\n(.*?)with nengo_dl",
        (ROOT / "docs/native.md").read_text(encoding="utf-8"),
        re.S,
    )
    names = {}
    exec(code[1], names)
    with simulator(names["net"]) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=[names[obj] for obj in ("a", "b", "readout")])
        norms.record()
    first, second, decoders = norms.norms[0]
    page = flat((ROOT / CHOOSING).read_text(encoding="utf-8"))
    assert f"are {first:.0f} and {second:.0f}. The norm of the decoders is {decoders:.4f}." in page
    assert f"{(first / decoders) ** 2 / 1e9:.0e}" == "4e+01"
    assert "penalizes the first encoders 40 billion times as much" in page
