"""Figures of norms, firing rates, gaps to spikes, energy, pruned networks and searches."""

from nengo_wd.plotting.figures import style
from nengo_wd.plotting.result_figures import energy, rates, search, spike_gap
from nengo_wd.plotting.weight_figures import compare, histograms, norms, pruned

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
