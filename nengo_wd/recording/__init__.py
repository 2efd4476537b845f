"""What is recorded of weights while they are trained."""

from nengo_wd.recording.callback import WeightNorms
from nengo_wd.recording.history import History

__all__ = ["History", "WeightNorms"]
