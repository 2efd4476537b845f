"""Objectives that have the penalties of a simulator."""

from __future__ import annotations

from typing import Any


class Penalized(dict):
    """An objective with penalties: the losses by probe, the simulator, and what it carries."""

    def __init__(self, sim: Any, losses: dict, carried: Any) -> None:
        super().__init__(losses)
        self.sim, self.carried = sim, carried
