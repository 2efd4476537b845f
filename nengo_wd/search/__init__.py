"""A search for strengths, with Optuna: resumable, on one machine or many."""

from nengo_wd.search.request import strengths
from nengo_wd.search.start import Start

__all__ = ["Start", "strengths"]
