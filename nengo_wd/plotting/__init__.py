"""Figures of weight norms, firing rates, runs, energy and searches; and their look."""

from nengo_wd.plotting.channels import histograms
from nengo_wd.plotting.energies import energy
from nengo_wd.plotting.figures import style
from nengo_wd.plotting.firing_rates import rates
from nengo_wd.plotting.runs import compare
from nengo_wd.plotting.searches import search
from nengo_wd.plotting.training import norms

__all__ = ["compare", "energy", "histograms", "norms", "rates", "search", "style"]
