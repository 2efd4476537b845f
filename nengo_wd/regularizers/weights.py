"""Formulas of regularizers of weights, and the proximal maps of sums over elements."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import as_strength, is_whole


class Elementwise(NamedTuple):
    """A regularizer that sums a function of each element of the weights."""

    degree: int  # of the function: f(c w) = c ** degree * f(w), for c above zero
    of_tensor: Callable[[tf.Tensor], tf.Tensor]
    of_array: Callable[[np.ndarray], np.ndarray]
    # from weights and the size of a step to the weights after it
    proximal_map: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


# By the names that Keras gives their strengths, in the order of their proximal steps.
ELEMENTWISE = {
    "l1": Elementwise(1, tf.abs, np.abs, lambda w, s: tf.sign(w) * tf.nn.relu(tf.abs(w) - s)),
    "l2": Elementwise(2, tf.square, np.square, lambda w, s: w / (1 + 2 * s)),
}


def proximal_steps(weights: tf.Tensor, sizes: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return weights after the proximal steps that have a size, one after the other."""
    for name, regularizer in ELEMENTWISE.items():
        weights = regularizer.proximal_map(weights, sizes[name]) if name in sizes else weights
    return weights


class TowardsInitial(tf.keras.regularizers.Regularizer):
    r"""Pull weights towards their initial values, instead of to zero.

    .. math:: R(w) = a \sum_i |w_i - w_i^0| + b \sum_i (w_i - w_i^0)^2

    For decoders and connection weights that the Neural Engineering Framework solved for, the
    solution is a better guess than zero. It is a setting for Nengo objects, not an argument of
    layers, since a layer does not know its initial weights. The initial value :math:`w^0` of a
    native parameter is the one that Nengo's builder gave it, whatever was loaded since. That of a
    layer's weights is their value when a penalty or objective is first asked for, also in later
    simulators of the network. Checkpoints of NengoDL 3 hold the initial values, so that a resumed
    training pulls towards the same ones.

    Parameters
    ----------
    l1 : float or tf.Variable
        Strength :math:`a` of the distance.
    l2 : float or tf.Variable
        Strength :math:`b` of the squared distance.

    References
    ----------
    Xuhong Li, Yves Grandvalet and Franck Davoine, "Explicit inductive bias for transfer
    learning with convolutional networks", ICML 2018, which calls the squared distance L2-SP.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(regularizer=nengo_wd.regularizers.TowardsInitial(l2=0.1))
    ...     readout = nengo.Connection(nengo.Ensemble(10, 1), nengo.Node(size_in=1))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     nengo_wd.regularization_loss(sim)
    0.0
    """

    __module__ = "nengo_wd.regularizers"  # by which configurations and pickles name it

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


class GroupLasso(tf.keras.regularizers.Regularizer):
    r"""Drive whole groups of weights to zero: whole neurons, or whole connections.

    .. math:: R(w) = a \sum_g \sqrt{n_g} \, \|w_g\|_2

    with the weights :math:`w_g` of each of the groups, :math:`n_g` in number.

    Parameters
    ----------
    strength : float or tf.Variable
        The strength :math:`a`.
    axis : int, tuple of int or None
        The axis along which the groups lie: each index along it is a group, made of the weights
        along all other axes. Of decoders or full weights, of shape ``(size_out, size_in)``,
        ``axis=1`` silences whole presynaptic neurons and ``axis=0`` whole outputs; of encoders, of
        shape ``(n_neurons, dimensions)``, ``axis=0`` makes a group of each neuron. With None, all
        weights are one group.

    Notes
    -----
    At zero, where the norm has no gradient, the gradient is taken to be zero.

    References
    ----------
    Ming Yuan and Yi Lin, "Model selection and estimation in regression with grouped variables",
    Journal of the Royal Statistical Society B 68, 2006.

    Examples
    --------
    >>> weights = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    >>> penalty = nengo_wd.regularizers.GroupLasso(0.1, axis=1)(weights)
    >>> round(float(tf.keras.backend.get_value(penalty)), 4)  # 0.1 * sqrt(2) * 5
    0.7071
    """

    __module__ = "nengo_wd.regularizers"

    def __init__(self, strength: Any = 0.01, axis: Any = 0) -> None:
        self.strength = as_strength(strength, "strength", "GroupLasso")
        self.axis = axis
        axes = self._axes_of_groups()
        if not all(is_whole(one, -np.inf) for one in axes):
            raise ValidationError(
                f"GroupLasso: axis={axis!r} is no axis; give an integer, a tuple of integers or "
                "None",
                attr="axis",
            )

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights``, a scalar."""
        weights = tf.convert_to_tensor(weights)
        within = self.within(len(weights.shape))
        size = _size(weights, within)
        # the square root has no finite gradient at zero
        squares = tf.maximum(_sum_of_squares(weights, within), np.finfo(np.float64).tiny)
        norms = tf.cast(tf.sqrt(squares), weights.dtype)
        strength = tf.cast(self.strength, norms.dtype)
        return strength * tf.sqrt(size) * tf.reduce_sum(norms)

    def shrunk(self, weights: tf.Tensor, by: Any) -> tf.Tensor:
        r"""Return weights whose groups are shorter by a length times :math:`\sqrt{n_g}`.

        .. math:: w_g \max(0, 1 - b \sqrt{n_g} / \|w_g\|_2)

        That is the proximal step of the regularizer with strength one, and exactly zero for each
        group that is no longer than that. The strength does not matter.
        """
        within = self.within(len(weights.shape))
        squares = _sum_of_squares(weights, within, keepdims=True)
        norms = tf.cast(tf.sqrt(squares), weights.dtype)
        length = by * tf.sqrt(_size(weights, within))
        nothing = tf.cast(length <= 0, weights.dtype)  # the factor is then 1, at all norms
        factors = tf.where(norms > length, 1 - length / norms, nothing * tf.ones_like(norms))
        return weights * factors

    def within(self, rank: int) -> list[int]:
        """Return the axes over which a group extends, in weights of ``rank``."""
        along = self._axes_of_groups()
        if any(not -rank <= axis < rank for axis in along):
            raise ValidationError(
                f"GroupLasso along axis {self.axis} does not fit weights of rank {rank}",
                attr="axis",
                obj=self,
            )
        return [axis for axis in range(rank) if axis not in {a % rank for a in along}]

    def _axes_of_groups(self) -> list[Any]:
        if self.axis is None:
            return []
        return list(self.axis) if isinstance(self.axis, (list, tuple, np.ndarray)) else [self.axis]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        return {"strength": self.strength, "axis": self.axis}


def _sum_of_squares(weights: tf.Tensor, axes: list[int], **kwargs: Any) -> tf.Tensor:
    """Return sums of squares in float64: in float32, those of 1e20 and of 1e-25 are lost."""
    return tf.reduce_sum(tf.square(tf.cast(weights, tf.float64)), axis=axes, **kwargs)


def _size(weights: tf.Tensor, axes: list[int]) -> tf.Tensor:
    """Return how many elements ``weights`` have along ``axes``, in their dtype."""
    shape = weights.shape.as_list()
    if all(shape[axis] is not None for axis in axes):
        return tf.cast(np.prod([shape[axis] for axis in axes]), weights.dtype)
    # the examples and time steps of what a probe records are known only when it is run
    return tf.cast(tf.reduce_prod(tf.gather(tf.shape(weights), axes)), weights.dtype)
