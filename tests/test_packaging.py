"""What package indexes show of the project."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SETUP = runpy.run_path(str(ROOT / "setup.py"), run_name="setup")


@pytest.mark.parametrize(
    "relative, absolute",
    [
        ("[guide](docs/a.md#b)", "[guide](URL/blob/main/docs/a.md#b)"),
        ("![norms](docs/a.png)", "![norms](URL/raw/main/docs/a.png)"),
        ("[![norms](a.svg)](docs/a.md)", "[![norms](URL/raw/main/a.svg)](URL/blob/main/docs/a.md)"),
        ("[a]: docs/a.md", "[a]: URL/blob/main/docs/a.md"),
        ('<img src="a.png" alt="">', '<img src="URL/raw/main/a.png" alt="">'),
        ('<a href="LICENSE">', '<a href="URL/blob/main/LICENSE">'),
        ("[here](#here), [there](https://there)", "[here](#here), [there](https://there)"),
        ("```python\nlayers[0](x)\n```\n", "```python\nlayers[0](x)\n```\n"),
    ],
)
def test_relative_links_lead_to_the_repository(relative, absolute):
    assert SETUP["with_absolute_links"](relative, "URL") == absolute


def test_links_of_the_long_description_lead_to_files_of_the_repository():
    text = SETUP["long_description"]()
    targets = SETUP["LINK"].findall(SETUP["CODE"].sub("", text))
    assert all(re.match("#|https://", target) for target in targets)
    here = re.compile(f"{SETUP['repository']()}/(?:blob|raw)/main/([^#]+)")
    files = [match.group(1) for match in map(here.match, targets) if match]
    assert "LICENSE" in files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_address_is_that_of_setup_cfg_everywhere():
    address = SETUP["repository"]()
    owner = address.rsplit("/", 2)[1]
    for path in [*ROOT.glob("*.*"), *ROOT.glob("docs/*.*"), *ROOT.glob("nengo_wd/**/*.py")]:
        if path.suffix in {".cff", ".cfg", ".md", ".py", ".rst", ".toml"}:
            text = path.read_text(encoding="utf-8")
            assert set(re.findall(rf"https://github.com/{owner}/\w+", text)) <= {address}, path


def test_the_version_is_in_the_changelog_and_the_citation():
    """With the same date, so that a release can't leave out one of the three."""
    version = runpy.run_path(str(ROOT / "nengo_wd" / "version.py"))["__version__"]
    changes = (ROOT / "CHANGES.md").read_text(encoding="utf-8")
    newest, date = re.search(r"^## (\S+) \((.*)\)$", changes, re.MULTILINE).groups()
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert newest == version
    assert f"version: {version}\ndate-released: {date}\n" in citation
