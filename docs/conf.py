"""The documentation site: ``sphinx-build -W docs docs/_build/html``."""

import re
import runpy
from html import escape
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from PIL import Image
from sphinx.errors import SphinxError
from sphinx.util import inspect
from sphinx_gallery.sorting import ExplicitOrder

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
pygments_dark_style = "github-dark"
html_static_path = ["static"]
html_css_files = ["site.css"]

PACKAGING = runpy.run_path(str(DOCS.parent / "setup.py"), run_name="setup")
REPOSITORY = PACKAGING["repository"]()
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
    "footer_icons": [
        {
            "name": "nengo_wd on GitHub",
            "url": REPOSITORY,
            "html": (DOCS / "static" / "github.svg").read_text(encoding="utf-8"),
        }
    ],
}

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]

# What a reader copies is code: neither prompts, nor what a script printed.
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"
copybutton_exclude = ".linenos, .gp, .go"

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
EXAMPLES = [  # in the order in which the gallery shows them
    "accuracy_for_energy",
    "spiking_digits",
    "smaller_network",
    "on_loihi",
    "neurons_that_train_well",
    "keras_to_spiking",
    "spiking_sequence",
    "legendre_memory_unit",
    "zeros_and_norms",
    "search_strengths",
    "regularized_ensembles",
    "online_decay",
    "penalty_or_decay",
    "decay_strength",
    "cuda_convnet_layers",
    "ridge_regression",
    "forum_weight_decay",
    "regularization_losses",
    "custom_training_loop",
]
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "plot_gallery": "False",
    "download_all_examples": False,
    "within_subsection_order": ExplicitOrder([f"{name}.py" for name in EXAMPLES]),
    "thumbnail_size": (600, 420),
    "notebook_extensions": {},
    "show_signature": False,
    "write_computation_times": False,
}
# What each figure shows, for readers who can't see it.
ALTERNATIVES = {
    "accuracy_for_energy": "Accuracy with spikes over synaptic events, of networks of "
    "integrate-and-fire and of LIF neurons that were trained in six ways, and over time",
    "cuda_convnet_layers": "Norms of the weights of three layers over training, and the test "
    "accuracy on rates and with spikes, without and with weight decay",
    "decay_strength": "Norms of three kernels over training, and of their channels at the end, "
    "for three penalties",
    "decay_strength_histograms": "Histograms of the norms of the channels of three kernels, in "
    "five epochs",
    "keras_to_spiking": "Training loss and penalties before and after conversion, and the "
    "accuracy with spikes over time",
    "neurons_that_train_well": "The slope of LIF's firing rate as it comes and smoothed, and "
    "accuracies on rates and with spikes of networks of several neurons and gains",
    "on_loihi": "Accuracy over time in NengoDL and on the emulator, of a plain and of a "
    "regularized network, and the spikes of each neuron on the emulator over those in NengoDL",
    "online_decay": "Error and norm of the decoders over time, and that norm over ten minutes, "
    "with no decay, decay to zero and decay to the initial values",
    "penalty_or_decay": "Validation error and norm of the weights over learning rate and decay, "
    "in three ways of decay",
    "regularized_ensembles": "What the ensembles compute, their error and the norm of their "
    "decoders, without and with penalties",
    "ridge_regression": "Losses over training without and with decay, and the norm of the "
    "weights in three ways that agree",
    "search_strengths": "Validation error over the trials of a search, with the best so far, and "
    "over the strengths of kernels, biases and rates",
    "smaller_network": "Accuracy with spikes over the energy of an answer, of networks that were "
    "pruned and of others that were small from the start, and the neurons in their layers",
    "spiking_digits": "Weights of the first layer, norms of all layers' weights, and the accuracy "
    "with spikes, without and with weight decay",
    "spiking_sequence": "Accuracy on rates and with spikes while pixels arrive, of a network "
    "trained on rates and one trained with spikes",
    "zeros_and_norms": "Accuracy with spikes over the share of exact zeros, synaptic events and "
    "the norm of all kernels, with decay, L1 as a penalty and as steps, and target norms",
}
# The panel of a figure that its thumbnail shows: left, upper, right and lower edge, as shares.
PANELS = {
    "accuracy_for_energy": (0, 0.135, 0.335, 1),
    "cuda_convnet_layers": (0, 0.165, 0.262, 1),
    "decay_strength": (0, 0, 0.322, 0.515),
    "keras_to_spiking": (0, 0.07, 0.505, 1),
    "neurons_that_train_well": (0.62, 0.06, 1, 1),
    "on_loihi": (0.5, 0, 1, 1),
    "online_decay": (0.67, 0.11, 1, 1),
    "penalty_or_decay": (0, 0.505, 0.338, 1),
    "regularized_ensembles": (0, 0.12, 0.33, 1),
    "ridge_regression": (0.66, 0, 1, 1),
    "search_strengths": (0, 0, 0.226, 1),
    "smaller_network": (0, 0.1, 0.5, 1),
    "spiking_digits": (0.335, 0.1, 0.67, 1),
    "spiking_sequence": (0, 0, 0.53, 1),
    "zeros_and_norms": (0, 0.1, 0.367, 1),
}
SOURCES = {  # of pages that other files are included in
    "index": "README.md",
    "changes": "CHANGES.md",
    "contributing": "CONTRIBUTING.md",
    "gallery/index": "examples/README.rst",
}
RESULTS = """
What it prints
--------------

.. literalinclude:: /figures/{name}.txt
   :class: printed
   :language: text

{figures}

The script
----------

"""


def make_thumbnails(app):
    """Put thumbnails where sphinx-gallery looks for them: panels of figures, or what is printed."""
    images = DOCS / "gallery" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name in EXAMPLES:
        thumbnail = images / f"sphx_glr_{name}_001"
        if name in PANELS:
            figure = Image.open(FIGURES / f"{name}.png")
            box = [round(share * size) for share, size in zip(PANELS[name], figure.size * 2)]
            figure.crop(box).save(thumbnail.with_suffix(".png"))
        else:
            thumbnail.with_suffix(".svg").write_text(printed(name), encoding="utf-8")


def printed(name):
    """Return a picture of what an example prints, below the versions, as SVG."""
    text = (FIGURES / f"{name}.txt").read_text(encoding="utf-8")
    lines = text.split("\n\n", 1)[1].splitlines()[:-1]  # the last one is a long sentence
    size = 560 / 0.6 / max(map(len, lines))  # of a font whose characters are 0.6 wide
    top = 210 - size * 0.7 * (len(lines) - 2)
    rows = "".join(
        f'<text x="20" y="{top + 1.4 * size * i:.0f}" xml:space="preserve">{escape(line)}</text>'
        for i, line in enumerate(lines)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 420" width="600" height="420">'
        '<rect width="600" height="420" fill="white"/>'
        f'<g font-family="monospace" font-size="{size:.1f}">{rows}</g></svg>'
    )


def show_results(app, page, source):
    """Show what an example printed and drew, between its description and its code."""
    folder, _, name = page.rpartition("/")
    if folder == "gallery" and name == "index":
        source[0] = re.sub(r"(sphx_glr_(\w+)_thumb\.\w+\n *:alt:)", thumbnail_text, source[0])
    elif folder == "gallery":
        figures = "\n\n".join(map(figure_text, sorted(FIGURES.glob(f"{name}*.png"))))
        description, start, code = source[0].partition(".. code-block:: Python\n")
        source[0] = description + RESULTS.format(name=name, figures=figures) + start + code


def thumbnail_text(match):
    """Return the options of a thumbnail, with what it shows."""
    return f"{match[1]} {ALTERNATIVES.get(match[2], 'What the script prints')}"


def figure_text(path):
    """Return the directive that shows a figure."""
    return f".. image:: /figures/{path.name}\n   :alt: {ALTERNATIVES[path.stem]}"


def link_within_site(app, path, page, source):
    """Point links of the README to pages and figures of the site, and others to the repository."""
    text = PACKAGING["with_absolute_links"](source[0], REPOSITORY)
    text = re.sub(f"{REPOSITORY}/(blob|raw)/main/docs/", "", text)
    text = text.replace(f"{REPOSITORY}/blob/main/examples/README.rst", "gallery/index.rst")
    source[0] = re.sub(f"{REPOSITORY}/blob/main/examples/(\\w+)\\.py", r"gallery/\1.rst", text)


def lead_to_source(app, page, template, context, doctree):
    """Lead the links to view and to edit a page to the file that it is made of."""
    folder, _, name = page.rpartition("/")
    made_of = f"examples/{name}.py" if folder == "gallery" else ""
    made_of = SOURCES.get(page, made_of)
    if made_of:
        context["theme_source_view_link"] = f"{REPOSITORY}/blob/main/{made_of}"
        context["theme_source_edit_link"] = f"{REPOSITORY}/edit/main/{made_of}"
    elif folder:  # of the reference, which is made of docstrings
        context["page_source_suffix"] = ""


def show_arguments(app, what, name, obj, options, arguments, returned):
    """Show a layer's own arguments, in place of those of Keras' ``Layer.__new__``."""
    if what == "class" and arguments == "(*args, **kwargs)":
        signature = inspect.signature(obj.__init__, bound_method=True)
        arguments = inspect.stringify_signature(signature, show_annotation=False)
    return arguments, returned


def visit_math(writer, node):
    """Write a formula as MathML, which browsers show without a script from elsewhere."""
    formula = tex2mathml(node.astext(), isinstance(node, nodes.math_block))
    # Without this, of a norm or a mean, only the delimiter without a subscript is tall.
    writer.body.append(re.sub("<mo>(?=[‖⟨⟩]<)", '<mo stretchy="false">', formula))
    raise nodes.SkipNode


def check_pages(app, error):
    """Raise where a page that was built is not the one that was written."""
    if error is None and app.builder.format == "html":
        titles = app.env.titles.items()
        paths = {Path(app.builder.get_outfilename(page)): title.astext() for page, title in titles}
        lost = runpy.run_path(str(DOCS / "built_pages.py"))["lost"](paths)
        if lost:
            names = ", ".join(path.name for path in lost)
            raise SphinxError(f"{names}: the page has another title than what was written")


def setup(app):
    """Take part in the build; the thumbnails must be there before sphinx-gallery, at 500."""
    app.connect("builder-inited", make_thumbnails, priority=400)
    app.connect("source-read", show_results)
    app.connect("include-read", link_within_site)
    app.connect("html-page-context", lead_to_source)
    app.connect("autodoc-process-signature", show_arguments)
    app.connect("build-finished", check_pages)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
