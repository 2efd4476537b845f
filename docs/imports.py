"""Read which part of the package imports which, and draw it for the page on the architecture.

    python docs/imports.py

A part is a module or a folder of ``nengo_wd``. A part stands one floor above the highest of those
that it imports. Arrows that follow from others are left out of the picture.
"""

import ast
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "nengo_wd"
PICTURE = DOCS / "figures" / "imports.svg"
WIDTH, FLOOR, BOX = 760, 78, (138, 30)  # pixels


def modules():
    """Return the path of each module, by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def imports():
    """Return the modules of the package that each of its modules imports, by name."""
    known = modules()
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path, known):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in known else node.module


def parts():
    """Return the parts of the package that each part imports.

    The package's face is left out, and so is what only it imports.
    """
    found = {}
    for name, imported in imports().items():
        if name != PACKAGE.name:
            others = {part_of(other) for other in imported if other != PACKAGE.name}
            found.setdefault(part_of(name), set()).update(others - {part_of(name)})
    used = set().union(*found.values())
    return {part: others for part, others in found.items() if others or part in used}


def part_of(module):
    """Return the part that a module belongs to."""
    return module.split(".")[1]


def floors(imported):
    """Return the parts on each floor, the lowest first."""
    height = {}

    def of(part, above=()):
        if part in above:
            raise ValueError(f"parts import each other: {' -> '.join([*above, part])}")
        if part not in height:
            below = [of(other, (*above, part)) for other in imported[part]]
            height[part] = 1 + max(below, default=-1)
        return height[part]

    for part in imported:
        of(part)
    return [sorted(p for p in height if height[p] == i) for i in range(1 + max(height.values()))]


def direct(imported):
    """Return the imports that do not follow from others."""

    def below(part):
        return imported[part].union(*(below(other) for other in imported[part]))

    return {
        part: others - set().union(*(below(other) for other in others))
        for part, others in imported.items()
    }


def picture():
    """Return the picture as SVG."""
    imported = parts()
    rows = floors(imported)
    place = {}
    for i, row in enumerate(rows):
        for j, part in enumerate(row):
            place[part] = (WIDTH * (j + 0.5) / len(row), FLOOR * (len(rows) - i - 0.5))
    drawn = [_arrow(place[p], place[other]) for p, o in direct(imported).items() for other in o]
    drawn = sorted(drawn) + [_box(part, *place[part]) for part in sorted(place)]
    size = f'viewBox="0 0 {WIDTH} {FLOOR * len(rows)}" width="{WIDTH}"'
    style = 'font-family="sans-serif" font-size="13" text-anchor="middle"'
    return "\n".join(
        [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', MARKER, *drawn, "</svg>\n"]
    )


MARKER = (
    '<rect width="100%" height="100%" fill="#fff"/><defs><marker id="tip" viewBox="0 0 8 8" '
    'refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    '<path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>'
)


def _arrow(start, end):
    """Return an arrow from the lower edge of one box to the upper edge of another."""
    (x0, y0), (x1, y1) = start, end
    y0, y1 = y0 + BOX[1] / 2, y1 - BOX[1] / 2
    bend = (y1 - y0) / 2
    aside = BOX[0] if y1 - y0 > FLOOR else 0  # around the boxes on the floors between
    path = (
        f"M{x0:.0f} {y0:.0f}C{x0 + aside:.0f} {y0 + bend:.0f} "
        f"{x1 + aside:.0f} {y1 - bend:.0f} {x1:.0f} {y1:.0f}"
    )
    return f'<path d="{path}" fill="none" stroke="#777" marker-end="url(#tip)"/>'


def _box(part, x, y):
    width, height = BOX
    label = f"{part}/" if (PACKAGE / part).is_dir() else part
    rect = f'x="{x - width / 2:.0f}" y="{y - height / 2:.0f}" width="{width}" height="{height}"'
    return (
        f'<rect {rect} rx="5" fill="#e8f1f8" stroke="#0072b2"/>'
        f'<text x="{x:.0f}" y="{y + 4.5:.0f}">{label}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
