"""What is bound to one simulator, and so can't be copied."""

from __future__ import annotations

from typing import Any

from nengo.exceptions import ValidationError


class Bound:
    """A mixin for optimizers: copying and pickling them raise an error that says what to do."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Raise an error: a copy would change the weights, and the state, of the original."""
        raise ValidationError(
            f"{type(self).__name__} is bound to its simulator, and can't be copied or pickled; "
            "make another one for the simulator that it is to train",
            attr="optimizer",
        )
