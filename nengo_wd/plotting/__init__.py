"""Figures of weight norms over training, by channel and of several runs, of energy; their look."""

from nengo_wd.plotting.channels import histograms
from nengo_wd.plotting.energies import energy
from nengo_wd.plotting.figures import style
from nengo_wd.plotting.runs import compare
from nengo_wd.plotting.training import norms

__all__ = ["compare", "energy", "histograms", "norms", "style"]
