"""Figures of weight norms, firing rates, runs, energy and searches; and their look."""

from nengo_wd.plotting.figures import style
from nengo_wd.plotting.result_figures import energy, rates, search
from nengo_wd.plotting.weight_figures import compare, histograms, norms

__all__ = ["compare", "energy", "histograms", "norms", "rates", "search", "style"]
