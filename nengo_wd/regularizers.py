"""Regularizers, and what makes one fit to be used."""

from __future__ import annotations

import numbers
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

STRENGTHS = ("l1", "l2", "factor", "strength")  # what Keras' regularizers and ours call theirs


def get(regularizer: Any, attr: str, owner: str) -> Any:
    """Return the regularizer that ``regularizer`` stands for.

    Parameters
    ----------
    regularizer : str, dict, callable or None
        What Keras takes: a name, a configuration, a regularizer or any callable from
        a tensor to a scalar tensor.
    attr : str
        The argument or setting that holds it, for errors.
    owner : str
        The object that it was given to, for errors.

    Returns
    -------
    regularizer : callable or None
        The regularizer, or None where None was given.

    Raises
    ------
    nengo.exceptions.ValidationError
        If no regularizer has that name, or a strength is negative, infinite or NaN.
    """
    try:
        if isinstance(regularizer, type):
            raise TypeError(f"{regularizer} is a class, not an instance")
        found = tf.keras.regularizers.get(regularizer)
        if isinstance(found, str):  # Keras 2.13 and later give an unknown name back
            raise ValueError(found)
    except (ValueError, TypeError) as error:
        raise ValidationError(
            f"{owner}: {regularizer!r} is no regularizer that Keras knows; give 'l1', 'l2', "
            "'l1_l2', one of tf.keras.regularizers, or a callable from a tensor to a scalar",
            attr=attr,
        ) from error
    for strength in STRENGTHS:
        check_strength(getattr(found, strength, None), strength, attr, owner)
    return found


def check_strength(value: Any, name: str, attr: str, owner: str) -> None:
    """Raise a ValidationError unless ``value`` is a strength: finite and not negative."""
    is_number = isinstance(value, (numbers.Real, np.ndarray))  # Keras makes them 0-d arrays
    if is_number and not np.all(np.isfinite(value) & (np.asarray(value) >= 0)):
        raise ValidationError(
            f"{owner}: the strength {name}={value} must be a finite number, zero or above",
            attr=attr,
        )


def check_penalty(name: str, penalty: Any) -> tf.Tensor:
    """Return ``penalty`` as a tensor, or raise a ValidationError if it is not a scalar."""
    number = (numbers.Real, np.ndarray, np.generic)
    if not tf.is_tensor(penalty) and not isinstance(penalty, number):
        raise ValidationError(
            f"the penalty {name} is {penalty!r}, but must be a scalar tensor; have its "
            "regularizer return one",
            attr="regularizer",
        )
    penalty = tf.convert_to_tensor(penalty)
    if penalty.shape.rank not in (0, None):
        raise ValidationError(
            f"the penalty {name} has shape {tuple(penalty.shape.as_list())}, but must be a scalar; "
            "reduce what its regularizer returns, with tf.reduce_sum for example",
            attr="regularizer",
        )
    return penalty


class RowForm(NamedTuple):
    """A regularizer that is a sum over the elements of the weights, by its strengths."""

    l1: float
    l2: float
    towards_initial: bool = False


def row_form(regularizer: Any) -> RowForm | None:
    """Return the strengths of a regularizer that is a sum over elements; None for others.

    Keras' subclasses are left out: they may compute anything.
    """
    if type(regularizer) is TowardsInitial:
        return RowForm(regularizer.l1, regularizer.l2, towards_initial=True)
    if type(regularizer) in _KERAS_L1_L2:
        l1, l2 = (float(getattr(regularizer, norm, 0)) for norm in ("l1", "l2"))
        return RowForm(l1, l2)
    return None


_KERAS_L1_L2 = {
    type(make(1.0))
    for make in (tf.keras.regularizers.l1, tf.keras.regularizers.l2, tf.keras.regularizers.l1_l2)
}


def of_transformed(regularizer: Any, transform: Callable) -> Any:
    """Return the regularizer that applies ``regularizer`` to the transformed weights.

    ``transform`` moves elements about, and so changes nothing for a sum over elements.
    """
    if row_form(regularizer) is not None:
        return regularizer
    return lambda weights: regularizer(transform(weights))


def of_scaled(regularizer: Any, scale: float) -> Any:
    """Return the regularizer that applies ``regularizer`` to the weights over ``scale``."""
    form = row_form(regularizer)
    if form is None:
        return lambda weights: regularizer(weights / scale)
    return tf.keras.regularizers.l1_l2(form.l1 / scale, form.l2 / scale**2)


class TowardsInitial(tf.keras.regularizers.Regularizer):
    r"""Pull weights towards their initial values, instead of to zero.

    .. math:: R(w) = a \sum_i |w_i - w_i^0| + b \sum_i (w_i - w_i^0)^2

    For decoders and connection weights that the Neural Engineering Framework solved for,
    zero is no better a guess than any other; the solution is. It is a setting for Nengo
    objects, not an argument of layers, since a layer does not know its initial weights.
    The initial value :math:`w^0` of a native parameter is the one that Nengo's builder gave
    it, whatever was loaded since; that of a layer's weights is the one that they have when a
    penalty or objective is first asked for.

    Parameters
    ----------
    l1 : float
        Strength :math:`a` of the distance.
    l2 : float
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

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = float(l1), float(l2)

    def __call__(self, weights: Any) -> Any:
        """Raise a ValidationError: only a setting knows the initial weights."""
        raise ValidationError(
            "TowardsInitial is a setting for Nengo objects, as in "
            "net.config[connection].regularizer; a layer does not know its initial weights, "
            "so set it on the layer's TensorNode",
            attr="regularizer",
            obj=self,
        )

    def get_config(self) -> dict[str, float]:
        """Return the arguments that make the same regularizer again."""
        return {"l1": self.l1, "l2": self.l2}


class GroupLasso(tf.keras.regularizers.Regularizer):
    r"""Drive whole groups of weights to zero: whole neurons, or whole connections.

    .. math:: R(w) = a \sum_g \sqrt{n_g} \, \|w_g\|_2

    with the weights :math:`w_g` of each of the groups, :math:`n_g` in number.

    Parameters
    ----------
    strength : float
        The strength :math:`a`.
    axis : int, tuple of int or None
        The axis along which the groups lie: each index along it is a group, made
        of the weights along all other axes. Of decoders or full weights, of shape
        ``(size_out, size_in)``, ``axis=1`` silences whole presynaptic neurons and
        ``axis=0`` whole outputs; of encoders, of shape ``(n_neurons, dimensions)``,
        ``axis=0`` makes a group of each neuron. With None, all weights are one group.

    Notes
    -----
    At zero, where the norm has no gradient, the gradient is taken to be zero.

    References
    ----------
    Ming Yuan and Yi Lin, "Model selection and estimation in regression with grouped
    variables", Journal of the Royal Statistical Society B 68, 2006.

    Examples
    --------
    >>> weights = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    >>> penalty = nengo_wd.regularizers.GroupLasso(0.1, axis=1)(weights)
    >>> round(float(tf.keras.backend.get_value(penalty)), 4)  # 0.1 * sqrt(2) * 5
    0.7071
    """

    def __init__(self, strength: float = 0.01, axis: Any = 0) -> None:
        self.strength = float(strength)
        self.axis = axis

    def __call__(self, weights: Any) -> tf.Tensor:
        """Return the penalty on ``weights``, a scalar."""
        weights = tf.convert_to_tensor(weights)
        within = self._within(len(weights.shape))
        size = np.prod([int(weights.shape[axis]) for axis in within])
        squares = tf.reduce_sum(tf.square(weights), axis=within)
        # the square root has no finite gradient at zero
        tiny = np.finfo(weights.dtype.as_numpy_dtype).tiny
        norms = tf.sqrt(tf.maximum(squares, tiny))
        return self.strength * np.sqrt(float(size)) * tf.reduce_sum(norms)

    def _within(self, rank: int) -> list[int]:
        """Return the axes over which a group extends, in weights of ``rank``."""
        along = () if self.axis is None else np.atleast_1d(self.axis)
        if any(not -rank <= axis < rank for axis in along):
            raise ValidationError(
                f"GroupLasso along axis {self.axis} does not fit weights of rank {rank}",
                attr="axis",
                obj=self,
            )
        return [axis for axis in range(rank) if axis not in {a % rank for a in along}]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make the same regularizer again."""
        return {"strength": self.strength, "axis": self.axis}
