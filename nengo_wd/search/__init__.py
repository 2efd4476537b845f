"""A search for strengths with Optuna, on one machine or several, which can be continued."""

from nengo_wd.search.searching import Start, strengths

__all__ = ["Start", "strengths"]
