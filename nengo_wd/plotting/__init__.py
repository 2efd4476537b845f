"""Figures of weight norms and firing rates: over training, by channel, of runs; and their look."""

from nengo_wd.plotting.channels import histograms
from nengo_wd.plotting.figures import style
from nengo_wd.plotting.firing_rates import rates
from nengo_wd.plotting.runs import compare
from nengo_wd.plotting.training import norms

__all__ = ["compare", "histograms", "norms", "rates", "style"]
