"""What optimizers that are bound to one simulator refuse: copies, and a second decay."""

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


class DecayedBySettings(Bound):
    """A mixin for Keras optimizers: those that decay by settings refuse Keras' ways to decay.

    Attributes
    ----------
    decays_by_settings : bool
        Whether settings of objects say what the optimizer decays.
    """

    decays_by_settings: bool = True

    @property
    def weight_decay(self) -> Any:
        """The decay of all variables by Keras itself, beside that of settings."""
        return vars(self).get("weight_decay")

    @weight_decay.setter
    def weight_decay(self, value: Any) -> None:
        if value:
            self._check_no_settings(f"weight_decay={value!r} would decay them once more")
        vars(self)["weight_decay"] = value

    def exclude_from_weight_decay(self, *args: Any, **kwargs: Any) -> None:
        """Leave out variables of Keras' decay; raise where settings say what decays."""
        self._check_no_settings("exclude_from_weight_decay would leave out none")
        super().exclude_from_weight_decay(*args, **kwargs)  # type: ignore[misc]

    def _check_no_settings(self, what: str) -> None:
        if self.decays_by_settings:
            raise ValidationError(
                f"{type(self).__name__} decays weights by the settings of objects, and {what}; "
                "change net.config[...].weight_decay of objects, and have the optimizer take it "
                "on, by update_settings()",
                attr="weight_decay",
                obj=self,
            )
