"""How many batches a simulator has been trained on."""

from __future__ import annotations

import nengo_dl
import tensorflow as tf

from nengo_wd import _seam as seam


class StepCount:
    """How many batches a simulator has been trained on, with whichever optimizers."""

    def __init__(self, sim: nengo_dl.Simulator) -> None:
        self.sim = sim
        self._total = 0
        self._seen: dict[int, tuple[tf.Variable, int]] = {}  # by id, each counter and its count

    @property
    def last(self) -> int:
        """The count when it was last asked for."""
        return self._total

    def now(self) -> int:
        """Return the count, which goes on where an optimizer's own begins at zero again.

        It goes back with the optimizer's, where that was restored.
        """
        counter = seam.values.step_counter(self.sim)
        if counter is not None:
            count = int(seam.values.fetch(self.sim, [counter])[0])
            _, before = self._seen.get(id(counter), (counter, 0))
            self._total += count - before if count else 0
            self._seen[id(counter)] = counter, count
        return self._total
