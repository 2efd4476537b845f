"""Figures of weight norms, over training, by output channel and of several runs; and their look."""

from nengo_wd.plotting.channels import histograms
from nengo_wd.plotting.figures import style
from nengo_wd.plotting.runs import compare
from nengo_wd.plotting.training import norms

__all__ = ["compare", "histograms", "norms", "style"]
