"""What setup.cfg can't say: the README with links that work where package indexes show it."""

import configparser
import pathlib
import re

ROOT = pathlib.Path(__file__).parent
CODE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)
LINK = re.compile(
    r'(?<=\]\()[^)\s]+|(?<=\]: )\S+|(?<=href=")[^"]+|(?<=src=")[^"]+|(?<=srcset=")[^"]+'
)
NOT_RELATIVE = re.compile(r"#|[a-z]+:")
IMAGES = (".gif", ".jpg", ".png", ".svg")


def with_absolute_links(text, url):
    """Return Markdown whose relative links lead to the repository at ``url``."""

    def absolute(match):
        target = match.group()
        if NOT_RELATIVE.match(target):
            return target
        return f"{url}/{'raw' if target.endswith(IMAGES) else 'blob'}/main/{target}"

    parts = CODE.split(text)  # code at the odd places
    return "".join(p if i % 2 else LINK.sub(absolute, p) for i, p in enumerate(parts))


def repository():
    """Return the address of the repository."""
    config = configparser.ConfigParser()
    config.read(str(ROOT / "setup.cfg"))
    return config["metadata"]["url"]


def long_description():
    """Return the README for package indexes."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return with_absolute_links(readme, repository())


if __name__ == "__main__":
    from setuptools import setup

    setup(long_description=long_description())
