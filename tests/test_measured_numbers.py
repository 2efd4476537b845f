"""Every measured number on the pages is looked up, approximate, or an exception.

A number is taken for measured if a unit follows it, if it is in a table (but for the first column,
which names the row), or if it has a decimal point. Code, links, versions, strengths, rates and
other settings, such as "a decay of 0.1", are left out. A measured number has to be

- in the text of one of `QUOTES`, which are compared with what was printed; or
- marked: by "about" and the like, as one end of "2 to 3", or, in a table, by the word "approximate"
  in the paragraph above it; or
- one of `EXCEPTIONS`, with the reason.
"""

import re

import pytest
from quotes import PAGES, ROOT, quotes_on

UNIT = re.compile(
    r"\s?(?:%|percent\b|points?\b|events\b|microjoules\b|nJ\b|joules\b|seconds\b|s\b|minutes\b"
    r"|MB\b|MiB\b|kB\b|\+-|±)"
)
NUMBER = r"(?<![\w.,-])-?\d+(?:[.,]\d+)*(?:e-?\d+)?(?![\w.,]*\d)"
RANGE = rf"{NUMBER}\sto\s{NUMBER}|\bbetween\s{NUMBER}\sand\s{NUMBER}"
MARK = re.compile(
    r"\b(?:about|some|around|roughly|nearly|up\sto|at\s(?:most|least)|below|(?:less|more)\sthan"
    r"|within)\s$"
)
MARKED_TABLE = re.compile(r"\bapproximate\b|\boutputs\sare\snot\skept\b")
SETTING = re.compile(
    r"\b(?:rates?|strengths?|decays?|penalt(?:y|ies)|targets?)\s(?:of\s|from\s|is\s)?$"
)
VERSION = re.compile(
    r"\b(?:Python|TensorFlow|Nengo|NengoDL|NumPy|Keras\w*|nengo-loihi|snnTorch|torch|version)\s"
    r"(?:[\d.]+\s(?:to|and)\s|is\s|below\s|from\s|has\sto\sbe\s)?$"
)
VERSIONS = ["docs/supported_stacks.md", "docs/stability.md"]  # whose decimals are versions
TIMES = "time constants and durations that are set"
SET = "strengths, rates and decays that are set"
ASSERTED = "the code above the table asserts it"
EXCEPTIONS = {
    "docs/choosing_a_strength.md": {
        "The norm of the decoders is 0.0015.": "test_norms_with_the_defaults_of_nengo",
        "accuracy 93.1 % against 93.0 %": "of TensorFlow 2.12, as the page says",
        "with a norm of 0.001, move": "a case, not a result",
        "0.001 for encoders and biases and 0.01 for decoders": SET,
    },
    "docs/energy.md": {
        "| 8 * 10 * 5 = 400 | 10 * 80 = 800 | 75.6 nJ | 50 + 10: 516.0 nJ |": ASSERTED,
        "| 6 * 10 * 5 = 300 | 8 * 80 = 640 | 60.0 nJ | 50 + 10: 516.0 nJ |": ASSERTED,
        "| 6 * 10 * 5 = 300 | 6 * 80 = 480 | 47.0 nJ | 30 + 6: 309.6 nJ |": ASSERTED,
    },
    "docs/from_training_to_hardware.md": {
        "which are 3.6 of its 9.5 microjoules": "neurons times steps times the joules of an update",
    },
    "docs/native.md": {"their norm may be 0.001": "a case, not a result"},
    "docs/online_decay.md": {
        "| 0.1 s | 0.07 s |": TIMES,
        "| 1 s | 0.7 s |": TIMES,
        "| 10 s | 7 s |": TIMES,
        "| 100 s | 69 s |": TIMES,
        "| 17 minutes | 12 minutes |": TIMES,
        "For 8 seconds they learn `y = x**2`": TIMES,
        "For the next 8 seconds": TIMES,
        "For 8 seconds they learn `y = -x`": TIMES,
        "in the first 8 seconds after": TIMES,
        "For 5 seconds PES": TIMES,
        "its time constant of 5 seconds": TIMES,
        "over the first 32 seconds": TIMES,
        "a time constant of 0.1 s": TIMES,
    },
    "docs/proximal_steps.md": {"begin with 0.1 for Adam and with 0.002 for SGD": SET},
    "docs/supported_stacks.md": {
        "off by 3e-8": "one run on each of the stacks in its row",
        "| 17 in": "as in the table of the benchmarks, which is looked up",
    },
    "docs/tracking.md": {"80 kB for 5,000 channels": "16 bytes times 5,000"},
    "docs/benchmarks.md": {
        "a decay of 0.1 instead of 0.3": SET,
        "rises from 0.0003 to 100, and the learning rate falls from 0.02": SET,
    },
}


def masked(text):
    """Return the text with spaces in place of code and the targets of links."""
    code = r"^```[\s\S]*?^```|(?<=\n\n) {4}.*(?:\n+ {4}.*)*|`[^`]*`|\]\([^)]*\)"
    return re.sub(code, lambda found: re.sub(r"\S", " ", found[0]), text, flags=re.M)


def is_measured(page, text, number):
    """Tell whether a match of `NUMBER` in the masked text belongs to a result."""
    before = text[max(0, number.start() - 40) : number.start()]
    line = text[text.rfind("\n", 0, number.start()) + 1 : number.start()]
    if number[0].count(".") > 1 or VERSION.search(before):
        return False
    if UNIT.match(text, number.end()):
        return True
    if line.startswith("|"):
        return line.count("|") > 1 and bool(re.search(r"\|\s*(?:-?\d.*)?$", line))
    return "." in number[0] and page not in VERSIONS and not SETTING.search(before)


def is_marked(text, number):
    """Tell whether a number is approximate, an end of a range, or in a table that says so."""
    if MARK.search(text[max(0, number.start() - 20) : number.start()]):
        return True
    if any(start <= number.start() < end for start, end in spans(RANGE, text)):
        return True
    before = text[: number.start()]
    line = before[before.rfind("\n") + 1 :]
    above = before.rstrip("\n").rsplit("\n\n", 2)[-2:]
    return line.startswith("|") and bool(MARKED_TABLE.search(above[0]))


def spans(pattern, text):
    return [found.span() for found in re.finditer(pattern, text)]


def quoted(page, text):
    """Return where the page has the text of quotes and of exceptions."""
    quotes = [*quotes_on(page), *EXCEPTIONS.get(page, {})]
    return [span for quote in quotes for span in spans(as_pattern(quote), text)]


def as_pattern(quote):
    """Return a pattern of a text that may be broken into lines anywhere."""
    return r"\s+".join(map(re.escape, quote.split()))


def left_over(page, text):
    """Return what is measured and neither looked up nor marked nor an exception, with its place."""
    bare, places = masked(text), quoted(page, text)
    return [
        f"{number[0]}: {' '.join(text[max(0, number.start() - 30) : number.end() + 20].split())}"
        for number in re.finditer(NUMBER, bare)
        if is_measured(page, bare, number)
        and not is_marked(bare, number)
        and not any(start <= number.start() < end for start, end in places)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_measured_numbers_are_looked_up_or_marked(page):
    assert left_over(page, (ROOT / page).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES)
def test_a_number_without_a_source_is_found_on_every_page(page):
    text = (ROOT / page).read_text(encoding="utf-8") + "\n\nIt reads 87.65 % right.\n"
    (found,) = left_over(page, text)
    assert found.endswith("It reads 87.65 % right.")


@pytest.mark.parametrize(
    "text, found",
    [
        ("an accuracy of 87 %", ["87"]),
        ("an accuracy of about 87 %", []),
        ("an accuracy of 86 to 87 %", []),
        ("from 86 % to 87 %", ["86", "87"]),
        ("86.1 +- 0.4 %", ["86.1", "0.4"]),
        ("1,234 events for 5.9 microjoules", ["1,234", "5.9"]),
        ("takes 3 s or 4 minutes", ["3", "4"]),
        ("a norm of 1.5, at a decay of 0.1 and for 40 epochs", ["1.5"]),
        ("TensorFlow 2.12, Python 3.9 to 3.13 and NengoDL 3.6.0", []),
        ("as `0.87` or [here](page.md#87.65)\n\n    print(87.65)\n\nsays", []),
        ("```python\n87.65\n```\n\n```text\n12.5 %\n```\n\nis 12.5 %", ["12.5"]),
        ("| a | b |\n|---|---|\n| 1 | 23 |", ["23"]),
        ("These are approximate:\n\n| a | b |\n|---|---|\n| 1 | 23 |\n\nAnd 24 %", ["24"]),
    ],
)
def test_what_counts_as_measured_and_as_marked(text, found):
    assert [number.split(":")[0] for number in left_over("docs/page.md", text)] == found


@pytest.mark.parametrize("page", EXCEPTIONS)
def test_exceptions_are_needed(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    bare = masked(text)
    for fragment in EXCEPTIONS[page]:
        (start, end), *_ = spans(as_pattern(fragment), text)
        assert any(
            is_measured(page, bare, number) and start <= number.start() < end
            for number in re.finditer(NUMBER, bare)
        )
