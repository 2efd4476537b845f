"""Objectives that have the penalties of a simulator."""

from __future__ import annotations

from typing import Any


class Penalized(dict):
    """An objective with penalties: the losses by probe, and the simulator that it is for."""

    def __init__(self, sim: Any, losses: dict) -> None:
        super().__init__(losses)
        self.sim = sim
