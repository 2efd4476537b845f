"""The regularizer that pulls weights towards their initial values."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import as_strength


class TowardsInitial(tf.keras.regularizers.Regularizer):
    r"""Pull weights towards their initial values, instead of to zero.

    .. math:: R(w) = a \sum_i |w_i - w_i^0| + b \sum_i (w_i - w_i^0)^2

    For decoders and connection weights that the Neural Engineering Framework solved for,
    zero is no better a guess than any other; the solution is. It is a setting for Nengo
    objects, not an argument of layers, since a layer does not know its initial weights.
    The initial value :math:`w^0` of a native parameter is the one that Nengo's builder gave
    it, whatever was loaded since; that of a layer's weights is the one that they have when a
    penalty or objective is first asked for, and it stays so in later simulators of the network.
    Checkpoints of NengoDL 3 hold the initial values, so that a resumed training pulls towards
    the same ones.

    Parameters
    ----------
    l1 : float or tf.Variable
        Strength :math:`a` of the distance.
    l2 : float or tf.Variable
        Strength :math:`b` of the squared distance.

    References
    ----------
    Xuhong Li, Yves Grandvalet and Franck Davoine, "Explicit inductive bias for transfer
    learning with convolutional networks", ICML 2018, where the squared distance is
    called L2-SP.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(regularizer=nengo_wd.regularizers.TowardsInitial(l2=0.1))
    ...     readout = nengo.Connection(nengo.Ensemble(10, 1), nengo.Node(size_in=1))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     nengo_wd.regularization_loss(sim)
    0.0
    """

    def __init__(self, l1: Any = 0.0, l2: Any = 0.0) -> None:
        self.l1 = as_strength(l1, "l1", "TowardsInitial")
        self.l2 = as_strength(l2, "l2", "TowardsInitial")

    def __call__(self, weights: Any) -> Any:
        """Raise a ValidationError: only a setting knows the initial weights."""
        raise ValidationError(
            "TowardsInitial is a setting for Nengo objects, as in "
            "net.config[connection].regularizer; a layer does not know its initial weights, "
            "so set it on the layer's TensorNode",
            attr="regularizer",
            obj=self,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        return {"l1": self.l1, "l2": self.l2}
