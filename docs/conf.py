"""The documentation site: ``sphinx-build -W docs docs/_build/html``."""

import shutil
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import inspect

import nengo_wd

DOCS = Path(__file__).parent
FIGURES = DOCS / "figures"

project = "nengo_wd"
release = nengo_wd.__version__
copyright = "the nengo_wd authors"
exclude_patterns = ["_build"]
html_theme = "furo"
html_logo = html_favicon = "logo.svg"
html_title = f"nengo_wd {release}"
html_math_renderer = "mathml"

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
]

# Links to headings, as they work on GitHub.
myst_heading_anchors = 3

# Docstrings name what they refer to in single backticks; numpydoc gives the types.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [("py:obj", r"nengo(_dl)?\..*")]
autodoc_typehints = "none"
# Keras writes its docstrings in Markdown.
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False
templates_path = ["templates"]

# The examples train networks for minutes, so they don't run here: `run_examples.py` runs them,
# and what they printed and drew is shown.
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "plot_gallery": "False",
    "download_all_examples": False,
    "default_thumb_file": str(DOCS / "logo.svg"),
    "notebook_extensions": {},
    "show_signature": False,
    "write_computation_times": False,
}
RESULTS = """
What it prints
--------------

.. literalinclude:: /figures/{name}.txt
   :language: none

{figure}

The script
----------

"""


def lend_figures(app):
    """Put the examples' figures where sphinx-gallery looks for thumbnails."""
    images = DOCS / "gallery" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for figure in FIGURES.glob("*.png"):
        shutil.copy(figure, images / f"sphx_glr_{figure.stem}_001.png")


def show_results(app, page, source):
    """Show what an example printed and drew, between its description and its code."""
    folder, _, name = page.rpartition("/")
    if folder == "gallery" and name != "index":
        figures = sorted(path.name for path in FIGURES.glob(f"{name}*.png"))
        figure = "\n\n".join(f".. image:: /figures/{file}" for file in figures)
        description, start, code = source[0].partition(".. code-block:: Python\n")
        source[0] = description + RESULTS.format(name=name, figure=figure) + start + code


def show_arguments(app, what, name, obj, options, arguments, returned):
    """Show a layer's own arguments, in place of those of Keras' ``Layer.__new__``."""
    if what == "class" and arguments == "(*args, **kwargs)":
        signature = inspect.signature(obj.__init__, bound_method=True)
        arguments = inspect.stringify_signature(signature, show_annotation=False)
    return arguments, returned


def visit_math(writer, node):
    """Write a formula as MathML, which browsers show without a script from elsewhere."""
    writer.body.append(tex2mathml(node.astext(), isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app):
    """Take part in the build; the figures must be there before sphinx-gallery, at 500."""
    app.connect("builder-inited", lend_figures, priority=400)
    app.connect("source-read", show_results)
    app.connect("autodoc-process-signature", show_arguments)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
