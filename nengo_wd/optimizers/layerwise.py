"""Learning rate, momentum and weight decay by object: CUDA-ConvNet's rule."""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Iterator

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _checks as checks
from nengo_wd import _seam as seam
from nengo_wd._checks import Hyperparameter, check_hyperparameter, check_momentum, is_number
from nengo_wd._parameters import with_setting
from nengo_wd._strengths import LiveArray, RowValues, numbers_now
from nengo_wd.optimizers import steps
from nengo_wd.optimizers.decay import check_decays, faults_of_decays
from nengo_wd.optimizers.steps import Fault, ObjectSetting, SetValues

Found = Dict[str, SetValues]  # the values of each setting


class LayerwiseSGD(seam.optimizers.RuleOptimizer):
    r"""Stochastic gradient descent with CUDA-ConvNet's rule, by object.

    .. math:: v \leftarrow \mu v - \epsilon g - \epsilon \lambda w, \qquad w \leftarrow w + v

    with the gradient :math:`g` of the loss, and the learning rate :math:`\epsilon` (epsW and epsB
    in CUDA-ConvNet's layer files), the momentum :math:`\mu` (momW, momB) and the weight decay
    :math:`\lambda` (wc) that are set for the object: ``net.config[obj].learning_rate``,
    ``momentum`` and ``weight_decay``. Without a setting, the optimizer's own values apply, and no
    decay. On a TensorNode, learning rate and momentum are for all variables of its layer, including
    biases, and the decay is for those of rank 2 or more.

    The decay goes through the momentum, like the gradient of :math:`\lambda \|w\|^2 / 2`. So it is
    not decoupled: `decoupled_weight_decay` and the ``weight_decay`` of Keras' SGD change weights by
    :math:`\epsilon \lambda w` at once. An L2 penalty of :math:`\lambda / 2` with Keras' SGD is the
    same as here.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    learning_rate : float, LearningRateSchedule or tf.Variable
        For all weights whose object has no ``learning_rate``. A variable is read at each step.
    momentum : float, LearningRateSchedule or tf.Variable
        For all weights whose object has no ``momentum``. You can change a number later, with
        ``optimizer.momentum = ...``; nothing is compiled again.
    name : str
        Name of the optimizer.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an object with one of the settings is not trained, for a learning rate, momentum or decay
        that is not a finite number, zero or above, for a momentum of one or more, and for a decay
        of one or more, times the learning rate. Schedules and variables are checked with their
        current values.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    References
    ----------
    Alex Krizhevsky, CUDA-ConvNet, 2012: the file of layer parameters, and the
    update rule in "ImageNet classification with deep convolutional neural networks" (with Ilya
    Sutskever and Geoffrey Hinton, NIPS 2012).
    """

    settings = ("learning_rate", "momentum", "weight_decay")

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        learning_rate: Hyperparameter = 0.01,
        momentum: Hyperparameter = 0.0,
        name: str = "LayerwiseSGD",
    ) -> None:
        checks.check_simulator(sim, trains=True)
        check_hyperparameter(learning_rate, "learning_rate", name)
        check_momentum(momentum, "momentum", name)
        super().__init__(sim, learning_rate, name)
        number = np.array(momentum if is_number(momentum) else np.nan, float)
        self._momentum, self._live = momentum, LiveArray(sim, number)
        found: Found = {name: with_setting(sim, name) for name in self.settings}
        rows = partial(RowValues, unset=np.nan)
        self._by_object = {name: ObjectSetting(sim, name, found[name], rows) for name in found}
        self._check_values(found)
        check_decays(self.faults(), stacklevel=3)

    @property
    def momentum(self) -> Hyperparameter:
        """The momentum of all weights whose object has none."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: Hyperparameter) -> None:
        checks.check_called_now()
        check_momentum(value, "momentum", type(self).__name__)
        if not (is_number(value) and is_number(self._momentum)):
            fault = f"a momentum of {self._momentum!r} can't become {value!r}"
            hint = "only a number can become another number; make the optimizer anew"
            raise ValidationError(f"{fault}: {hint}", attr="momentum", obj=self)
        self._momentum = value
        self._live.assign(np.array(value, float))

    update_settings = steps.update_settings

    def prepare_update(self) -> Callable[[], None]:
        """Return a function that applies the current settings; raise if one can't be used."""
        found = {name: setting.current_values() for name, setting in self._by_object.items()}
        self._check_values(found)
        check_decays(self.faults(found))

        def update() -> None:
            for name, setting in self._by_object.items():
                setting.update_values(found[name])

        return update

    def faults(self, found: Found | None = None) -> Iterator[Fault]:
        """Yield what is wrong with decays now, by default with those that the optimizer uses."""
        found = found or {name: setting.found for name, setting in self._by_object.items()}
        decays, default = found["weight_decay"], seam.optimizers.learning_rate(self)
        own = {parameter.key: rate for parameter, rate in found["learning_rate"]}
        rates = [own.get(parameter.key, default) for parameter, _ in decays]
        return faults_of_decays(self.sim, decays, rates, seam.optimizers.iteration(self.sim, self))

    def _check_values(self, found: Found) -> None:
        """Raise if a learning rate or momentum can't be used now."""
        step = seam.optimizers.iteration(self.sim, self)
        own = {"learning_rate": seam.optimizers.learning_rate(self), "momentum": self._momentum}
        for name, check in (("learning_rate", check_hyperparameter), ("momentum", check_momentum)):
            owned = [(str(parameter.obj), value) for parameter, value in found[name]]
            owners, values = zip(*owned, (type(self).__name__, own[name]))
            for owner, value in zip(owners, numbers_now(self.sim, list(values), step)):
                if value is not None:
                    check(value, name, owner)

    def increment(
        self, weights: Any, gradient: tf.Tensor, last: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """Return what to add to ``weights``, after ``last`` was added in the last step."""
        live = is_number(self._momentum)
        momentum = self._live.tensor() if live else checks.value_at(self._momentum, step)
        defaults = zip(self.settings, (rate, momentum, 0.0))
        found = [self.by_row(name, weights, default, step) for name, default in defaults]
        shape = [-1] + [1] * (weights.shape.rank - 1)
        rate, momentum, decay = (tf.reshape(v, shape) if v.shape.rank else v for v in found)
        return momentum * last - rate * (gradient + decay * weights)

    def by_row(self, name: str, variable: tf.Variable, default: Any, step: tf.Tensor) -> tf.Tensor:
        """Return a setting's value for each row of a variable, or ``default`` if none is set."""
        rows = self._by_object[name].by_variable.get(id(variable))
        default = tf.cast(default, variable.dtype.base_dtype)
        return default if rows is None else rows.tensor(step, default)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments without the simulator."""
        return {**super().get_config(), "momentum": self._momentum}
