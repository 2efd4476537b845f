"""Look for pages of the built site that are not those that were written.

Sphinx writes pages of its own, such as `search`, over those of a guide, and says nothing of it.
"""

import html
import re

HEADING = re.compile(r"<h1\b[^>]*>(.*?)</h1>", re.DOTALL)
LINK_TO_ITSELF = re.compile(r"<a\b[^>]*>[^<]*</a>\s*$")
TAG = re.compile(r"<[^>]+>")


def lost(titles):
    """Return those of the paths whose page is not there, or has another title."""
    return [path for path, title in titles.items() if heading(path) != flat(title)]


def heading(path):
    """Return the first heading of a page, or None."""
    found = HEADING.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    return found and flat(html.unescape(TAG.sub("", LINK_TO_ITSELF.sub("", found.group(1)))))


def flat(text):
    """Return a text with single spaces for any white space."""
    return " ".join(text.split())
