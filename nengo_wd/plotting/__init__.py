"""Figures of norms, rates, gaps to spikes, runs, energy, searches, what is left; their look."""

from nengo_wd.plotting.figures import style
from nengo_wd.plotting.network_figures import pruned
from nengo_wd.plotting.result_figures import energy, rates, search, spike_gap
from nengo_wd.plotting.weight_figures import compare, histograms, norms

__all__ = [
    "compare",
    "energy",
    "histograms",
    "norms",
    "pruned",
    "rates",
    "search",
    "spike_gap",
    "style",
]
