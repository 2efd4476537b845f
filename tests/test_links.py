"""Links and figures of the README also work where it is shown apart from the repository."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md"))]
IN_REPOSITORY = re.compile(
    r"https://(?:github\.com/nengo-wd/nengo_wd/blob|raw\.githubusercontent\.com/nengo-wd/nengo_wd)"
    r"/main/([^)#\s]+)"
)


def test_links_of_the_readme_are_absolute_and_lead_to_files():
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)]*)\)|^\[.*\]: (.*)", readme, re.M)
    assert links
    for link in map("".join, links):
        assert link.startswith("https://"), link
    for path in IN_REPOSITORY.findall(readme):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_figures_have_a_text_for_readers_who_cannot_see_them(page):
    for alternative in re.findall(r"!\[([^\]]*)\]\(", page.read_text()):
        assert len(alternative) > 20, alternative
