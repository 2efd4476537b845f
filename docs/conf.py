"""The documentation site: ``sphinx-build -W docs docs/_build/html``."""

import re
import runpy
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from PIL import Image
from sphinx.errors import SphinxError
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
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "plot_gallery": "False",
    "download_all_examples": False,
    "default_thumb_file": str(DOCS / "logo.svg"),
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
    "accuracy_for_energy": (0, 0.1, 0.4, 1),
    "cuda_convnet_layers": (0.268, 0.235, 0.505, 1),
    "decay_strength": (0.575, 0, 0.825, 0.52),
    "keras_to_spiking": (0, 0.07, 0.505, 1),
    "neurons_that_train_well": (0.62, 0.06, 1, 1),
    "on_loihi": (0.5, 0, 1, 1),
    "online_decay": (0.715, 0, 1, 1),
    "penalty_or_decay": (0.62, 0, 1, 0.498),
    "regularized_ensembles": (0, 0.12, 0.33, 1),
    "ridge_regression": (0.66, 0, 1, 1),
    "search_strengths": (0, 0, 0.36, 1),
    "smaller_network": (0, 0.1, 0.5, 1),
    "spiking_digits": (0.335, 0.1, 0.67, 1),
    "spiking_sequence": (0, 0, 0.53, 1),
    "zeros_and_norms": (0, 0.1, 0.37, 1),
}
RESULTS = """
What it prints
--------------

.. literalinclude:: /figures/{name}.txt
   :language: text

{figures}

The script
----------

"""


def make_thumbnails(app):
    """Put a panel of each example's figure where sphinx-gallery looks for thumbnails."""
    images = DOCS / "gallery" / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, edges in PANELS.items():
        figure = Image.open(FIGURES / f"{name}.png")
        box = [round(share * size) for share, size in zip(edges, figure.size * 2)]
        figure.crop(box).save(images / f"sphx_glr_{name}_001.png")


def show_results(app, page, source):
    """Show what an example printed and drew, between its description and its code."""
    folder, _, name = page.rpartition("/")
    if folder == "gallery" and name == "index":
        source[0] = re.sub(r"(sphx_glr_(\w+)_thumb\.png\n *:alt:)", thumbnail_text, source[0])
    elif folder == "gallery":
        figures = "\n\n".join(map(figure_text, sorted(FIGURES.glob(f"{name}*.png"))))
        description, start, code = source[0].partition(".. code-block:: Python\n")
        source[0] = description + RESULTS.format(name=name, figures=figures) + start + code


def thumbnail_text(match):
    """Return the options of a thumbnail, with what it shows."""
    return f"{match[1]} {ALTERNATIVES[match[2]]}"


def figure_text(path):
    """Return the directive that shows a figure."""
    return f".. image:: /figures/{path.name}\n   :alt: {ALTERNATIVES[path.stem]}"


def link_within_site(app, path, page, source):
    """Point links of the README to pages and figures of the site, and others to the repository."""
    text = PACKAGING["with_absolute_links"](source[0], REPOSITORY)
    source[0] = re.sub(f"{REPOSITORY}/(blob|raw)/main/docs/", "", text)


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
    app.connect("autodoc-process-signature", show_arguments)
    app.connect("build-finished", check_pages)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
