"""A search for strengths, with Optuna: resumable, on one machine or many."""

from nengo_wd.search.searching import Start, strengths

__all__ = ["Start", "strengths"]
