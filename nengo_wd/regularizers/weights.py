"""Formulas of regularizers of weights, and the proximal maps of sums over elements."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Sequence

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd._checks import LARGEST_FLOAT32, as_strength, is_whole
from nengo_wd._groups import SIDES, AlongAxes, Groups, current_sides


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
    solution is a better guess than zero. Use it as a setting for Nengo objects, not as an argument
    of layers, because a layer does not know its initial weights. For a native parameter, the
    initial value :math:`w^0` is the one from Nengo's builder, whatever you loaded since. For a
    layer's weights, it is their value when you first ask for a penalty or objective, and later
    simulators of the network use the same. Checkpoints of NengoDL 3 contain the initial values, so
    a resumed training pulls towards the same ones.

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


class _DefaultAxis(int):
    """The axis that holds if none is given; it looks like any other number."""


AXIS = _DefaultAxis(0)


class GroupLasso(tf.keras.regularizers.Regularizer):
    r"""Drive whole groups of weights to zero: whole neurons, or whole connections.

    .. math:: R(w) = a \sum_g c_g \sqrt{n_g} \, \|w_g\|_2

    where group :math:`g` has :math:`n_g` weights :math:`w_g` and the cost :math:`c_g`, 1 by
    default.

    Parameters
    ----------
    strength : float or tf.Variable
        The strength :math:`a`.
    axis : int, tuple of int or None
        The axis along which the groups lie: each index along it is a group, made of the weights
        along all other axes. With None, all weights are one group.
    groups : {"inputs", "outputs"}, optional
        What the groups are, instead of ``axis``. "inputs" groups all weights that read the same
        input: a neuron, an element or a channel. "outputs" groups all weights that enter the same
        output: a neuron, an element, a unit or a filter. For encoders, an output is a neuron, and
        an input is a dimension. Biases have only outputs: each bias is a group.
    costs : array_like of float, optional
        The cost :math:`c_g` of each group, zero or above: one number for each index along ``axis``,
        or for each input or output. For several axes, they are in row-major order.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an argument has a wrong type or value, or if both ``axis`` and ``groups`` are given. With
        an objective or optimizer, if the weights have no such axis, if it is not known which
        weights an input or output has, and if there are more or fewer costs than groups.

    Notes
    -----
    At zero, where the norm has no gradient, the gradient is taken to be zero.

    With ``groups``, the axes depend on the owner of the weights: the object with the setting, the
    layer in a TensorNode, or `nengo_wd.Converter`. Keras' kernels have inputs along axis -2 and
    outputs along axis -1; transposed convolutions have them the other way around. Full weights,
    decoders and encoders have outputs along axis 0 and inputs along axis 1. A Keras model outside a
    simulator passes bare weights, and the regularizer then assumes a kernel with axes -2 and -1.
    There, give ``axis`` for a transposed convolution, and for one with several groups of channels.
    In layers with gates, such as LSTM, a unit has several outputs, so only "inputs" works. For
    ``EinsumDense`` and locally connected layers, neither works.

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
    >>> lasso = nengo_wd.regularizers.GroupLasso(0.1, groups="outputs", costs=[2.0, 1.0])
    >>> round(float(tf.keras.backend.get_value(lasso(weights))), 4)
    1.4142
    """

    __module__ = "nengo_wd.regularizers"

    groups: str | None = None  # older pickles have neither
    costs: tuple[float, ...] | None = None

    def __init__(
        self, strength: Any = 0.01, axis: Any = AXIS, groups: str | None = None, costs: Any = None
    ) -> None:
        self.strength = as_strength(strength, "strength", "GroupLasso")
        by_default = None if groups is not None else 0
        self.axis: Any = by_default if axis is AXIS else axis
        self.groups, self.costs = groups, None if costs is None else _as_costs(costs)
        if not all(is_whole(one, -np.inf) for one in self._axes_of_groups()):
            fault = f"GroupLasso: axis={axis!r} is not an axis"
            hint = "give an integer, a tuple of integers or None"
            raise ValidationError(f"{fault}; {hint}", attr="axis")
        if groups is not None:
            _check_groups(groups, axis)

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights``, a scalar."""
        weights = tf.convert_to_tensor(weights)
        groups = self.groups_in(weights.shape.as_list())
        # the square root has no finite gradient at zero
        squares = tf.maximum(groups.sums(_squares(weights)), np.finfo(np.float64).tiny)
        norms = tf.cast(tf.sqrt(squares), weights.dtype)
        strength = tf.cast(self.strength, norms.dtype)
        return strength * tf.reduce_sum(self._factors(groups, weights) * norms)

    def shrunk(self, weights: tf.Tensor, by: Any) -> tf.Tensor:
        r"""Return weights whose groups are shorter by a length times :math:`c_g \sqrt{n_g}`.

        .. math:: w_g \max(0, 1 - b \, c_g \sqrt{n_g} / \|w_g\|_2)

        That is the proximal step of the regularizer with strength one, and exactly zero for each
        group that is no longer than that. The strength does not matter.
        """
        groups = self.groups_in(weights.shape.as_list())
        norms = tf.cast(tf.sqrt(groups.sums(_squares(weights))), weights.dtype)
        length = by * self._factors(groups, weights)
        nothing = tf.cast(length <= 0, weights.dtype)  # the factor is then 1, at all norms
        factors = tf.where(norms > length, 1 - length / norms, nothing * tf.ones_like(norms))
        return weights * groups.over_weights(factors)

    def groups_in(self, shape: Sequence[Any]) -> Groups:
        """Return the groups in weights of a shape: those that are penalized now, if it matters."""
        side, rank = self.groups, len(shape)
        found = self._along_axes(rank) if side is None else current_sides().groups(side, shape)
        if self.costs is not None and found.n_groups(shape) != len(self.costs):
            raise ValidationError(
                f"GroupLasso has {len(self.costs)} costs, but {current_sides().what}, of shape "
                f"{tuple(shape)}, have {found.n_groups(shape)} groups; give a cost for each",
                attr="costs",
                obj=self,
            )
        return found

    def _factors(self, groups: Groups, weights: tf.Tensor) -> tf.Tensor:
        r"""Return :math:`c_g \sqrt{n_g}` of each group, or one for all."""
        roots = tf.sqrt(groups.sizes(weights))
        if self.costs is None:
            return roots
        costs = groups.by_group(np.array(self.costs), weights.shape.as_list())
        return tf.cast(costs, weights.dtype) * roots

    def _along_axes(self, rank: int) -> AlongAxes:
        along = self._axes_of_groups()
        if any(not -rank <= axis < rank for axis in along):
            message = f"GroupLasso along axis {self.axis} does not fit weights of rank {rank}"
            raise ValidationError(message, attr="axis", obj=self)
        return AlongAxes(tuple(sorted({axis % rank for axis in along})), rank)

    def _axes_of_groups(self) -> list[Any]:
        if self.axis is None:
            return []
        return list(self.axis) if isinstance(self.axis, (list, tuple, np.ndarray)) else [self.axis]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        config = {"strength": self.strength}
        config.update({"axis": self.axis} if self.groups is None else {"groups": self.groups})
        return config if self.costs is None else {**config, "costs": list(self.costs)}


def _check_groups(groups: Any, axis: Any) -> None:
    """Raise unless ``groups`` is a side, with no axis beside it."""
    if not isinstance(groups, str) or groups not in SIDES:
        raise ValidationError(
            f'GroupLasso: groups={groups!r} is neither "inputs" nor "outputs"', attr="groups"
        )
    if axis is not AXIS:
        fault = f"GroupLasso: axis={axis!r} and groups={groups!r} both say what the groups are"
        hint = "leave one of them out"
        raise ValidationError(f"{fault}; {hint}", attr="groups")


def _as_costs(costs: Any) -> tuple[float, ...]:
    """Return the costs of groups as numbers, or raise."""
    try:
        array = np.asarray(costs)
        is_real = array.dtype.kind in "iuf" and array.ndim > 0
    except ValueError:  # of lists that have different lengths
        is_real = False
    if not is_real or not np.all((array >= 0) & (array <= LARGEST_FLOAT32)):
        raise ValidationError(
            f"GroupLasso: costs={costs!r} must be finite numbers, zero or above, one for each "
            "group",
            attr="costs",
        )
    return tuple(map(float, array.ravel()))


def _squares(weights: tf.Tensor) -> tf.Tensor:
    """Return squares in float64: in float32, those of 1e20 and of 1e-25 are lost."""
    return tf.square(tf.cast(weights, tf.float64))
