"""What ``save_params`` leaves out of what this package keeps for a simulator."""

from __future__ import annotations

import warnings
from typing import Any, Callable

from nengo_wd._seam import state


def warning_of_initial_values(save_params: Any) -> Callable:
    """Return a method that warns if the simulator has initial values that it does not save."""

    def save_and_warn(sim: Any, *args: Any, **kwargs: Any) -> Any:
        saved = save_params.__get__(sim, type(sim))(*args, **kwargs)
        # NengoDL 2 has itself save its state alone, again and again
        if kwargs.get("include_global", True) and state.of(sim).initial:
            warnings.warn(
                f"save_params of the simulator of {sim.model.toplevel} leaves out the initial "
                "values that TowardsInitial pulls weights towards; a checkpoint of "
                "sim.keras_model (NengoDL 3) holds them",
                stacklevel=2,
            )
        return saved

    return save_and_warn
