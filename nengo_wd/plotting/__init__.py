"""Figures of weight norms, firing rates, gaps to spikes, runs, energy and searches; their look."""

from nengo_wd.plotting.figures import style
from nengo_wd.plotting.result_figures import energy, rates, search, spike_gap
from nengo_wd.plotting.weight_figures import compare, histograms, norms

__all__ = ["compare", "energy", "histograms", "norms", "rates", "search", "spike_gap", "style"]
