"""What users may give, as types: regularizers, rates and objectives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Sequence, Union

if TYPE_CHECKING:
    from typing import Protocol

    class Assignable(Protocol):
        """A ``tf.Variable``, which TensorFlow has no type for."""

        def assign(self, value: Any) -> Any:
            """Give the variable another value."""

else:
    Assignable = Any


# The name of a Keras regularizer, its configuration, or what computes a scalar from a tensor.
Regularizer = Union[str, Dict[str, Any], Callable[[Any], Any]]

# A number, a schedule of the training step, or a variable.
Rate = Union[float, Callable[[Any], Any], "Assignable"]

# The name of a Keras loss, a Keras loss, or a function.
Loss = Union[str, Callable[..., Any], None]

# One loss for all probes, one for each probe, or some by probe.
Objective = Union[Loss, Sequence[Loss], Mapping[Any, Loss]]
