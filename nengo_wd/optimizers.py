"""Weight decay as a step of the optimizer, and learning rates and momenta by object."""

from __future__ import annotations

import numbers
from typing import Any, Callable

import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import parameters, seam
from nengo_wd.config import check_rate
from nengo_wd.objectives import check_simulator
from nengo_wd.parameters import Parameter


class RowValues:
    """One setting of all objects in a variable, as a value for each row of the variable.

    Numbers are kept in a TensorFlow variable, so that they can be changed without building
    anything anew. Schedules and the user's own variables are evaluated at every step.
    """

    def __init__(self, sim: nengo_dl.Simulator, variable: tf.Variable) -> None:
        self.sim, self.variable = sim, variable
        self.dtype = variable.dtype.base_dtype
        zeros = np.zeros(int(variable.shape[0]), self.dtype.as_numpy_dtype)
        self.numbers = seam.state_variable(sim, zeros)
        self.is_set = seam.state_variable(sim, zeros)
        self.symbolic: list[tuple[Any, np.ndarray]] = []

    def take(self, settings: list[tuple[Parameter, Any]]) -> None:
        """Take on the settings of the objects in the variable."""
        values, is_set = (np.zeros(self.numbers.shape.as_list()) for _ in range(2))
        symbolic = []
        for parameter, value in settings:
            is_set[parameter.rows] = 1
            if isinstance(value, numbers.Real):
                values[parameter.rows] = value
            else:
                where = np.zeros_like(values)
                where[parameter.rows] = 1
                symbolic.append((value, where))
        seam.assign(self.sim, self.numbers, values)
        seam.assign(self.sim, self.is_set, is_set)
        self.symbolic = symbolic

    def tensor(self, step: tf.Tensor, default: Any = None) -> tf.Tensor:
        """Return the values at a training step, in a shape that fits the variable's."""
        values = tf.convert_to_tensor(self.numbers)
        for value, where in self.symbolic:
            now = tf.cast(value(step) if callable(value) else value, self.dtype)
            values += now * where.astype(self.dtype.as_numpy_dtype)
        if default is not None:
            values += (1 - self.is_set) * tf.cast(default, self.dtype)
        return tf.reshape(values, [-1] + [1] * (self.variable.shape.rank - 1))


class Setting:
    """One setting of all objects in a simulator, by variable."""

    def __init__(self, sim: nengo_dl.Simulator, name: str) -> None:
        self.sim, self.name = sim, name
        if sim.tensor_graph.inference_only:
            raise ValidationError(
                f"{sim.model.toplevel} is for inference only, and its weights are not trained",
                attr="inference_only",
            )
        self.by_variable: dict[int, RowValues] = {}
        found = self._read()
        for key, settings in found.items():
            self.by_variable[key] = RowValues(sim, settings[0][0].variable)
        self._take(found)

    def update(self) -> None:
        """Take on the settings as they are now, without building anything anew."""
        found = self._read()
        new = [s[0][0].name for key, s in found.items() if key not in self.by_variable]
        if new or self._symbolic(found) != self._symbolic(self.found):
            raise ValidationError(
                f"{', '.join(new) or 'a schedule or variable'} was not among the settings for "
                f"{self.name} when the optimizer was made; make the optimizer anew",
                attr=self.name,
            )
        self._take(found)

    def _read(self) -> dict[int, list]:
        found: dict[int, list] = {}
        for parameter, value in parameters.with_setting(self.sim, self.name):
            found.setdefault(id(parameter.variable), []).append((parameter, value))
        return found

    def _take(self, found: dict[int, list]) -> None:
        for key, rows in self.by_variable.items():
            rows.take(found.get(key, []))
        self.found = found

    @staticmethod
    def _symbolic(found: dict[int, list]) -> list:
        """Return the rows and ids of the values that are built into the training step."""
        return [
            (parameter.key, id(value))
            for settings in found.values()
            for parameter, value in settings
            if not isinstance(value, numbers.Real)
        ]


class DecayStep:
    """Multiply each row of the weights by one minus its decay, before the gradient step."""

    def __init__(self, setting: Setting, scale_by_learning_rate: bool) -> None:
        self.setting, self.scale = setting, scale_by_learning_rate
        self._check()

    def __call__(self, variables: list, learning_rate: Callable, step: tf.Tensor) -> list[Any]:
        """Decay those of ``variables`` that have settings.

        ``learning_rate`` returns the learning rate of this step.
        """
        by_variable = self.setting.by_variable
        rows = [by_variable[id(v)] for v in variables if id(v) in by_variable]
        return [self._decay(values, learning_rate, step) for values in rows]

    def update(self) -> None:
        """Take on the settings as they are now."""
        self.setting.update()
        self._check()

    def _decay(self, rows: RowValues, learning_rate: Callable, step: tf.Tensor) -> Any:
        decay = rows.tensor(step)
        if self.scale:
            decay *= tf.cast(learning_rate(), decay.dtype)
        return seam.multiply(rows.variable, 1 - decay)

    def _check(self) -> None:
        """Raise for numbers that would take all of the weights at once, or more."""
        for settings in self.setting.found.values():
            for parameter, value in settings:
                if not self.scale and isinstance(value, numbers.Real) and float(value) >= 1:
                    raise ValidationError(
                        f"the weight_decay {value} of {parameter.obj} is not scaled by the "
                        "learning rate, and so would take all of the weights, or more; it must "
                        "be below 1",
                        attr="weight_decay",
                        obj=parameter.obj,
                    )


def decoupled_weight_decay(
    sim: nengo_dl.Simulator, optimizer: Any, scale_by_learning_rate: bool = True
) -> Any:
    r"""Return an optimizer that also decays the weights that have a ``weight_decay``.

    At every step, before the update of the optimizer,

    .. math:: w \leftarrow w - \eta \lambda w

    with the learning rate :math:`\eta` and the decay :math:`\lambda` that was set for the
    object, as in PyTorch's and Keras' AdamW, and in the same compiled step. Weights of
    other objects, also in the same TensorFlow variable, are left as they are.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open. The setting ``weight_decay`` in the config
        of its network says what to decay; see `configure_settings`.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        What the simulator takes; in NengoDL 3 also an optimizer's name.
    scale_by_learning_rate : bool
        With False, weights are decayed by :math:`w \leftarrow w - \lambda w`,
        whatever the learning rate.

    Returns
    -------
    optimizer
        For ``sim.compile(optimizer)`` (NengoDL 3: the same object, extended) or
        ``sim.train(data, optimizer)`` (NengoDL 2). Its method ``update_weight_decay()``
        takes on settings that were changed after this call; a training that was compiled
        need not be compiled again.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``optimizer`` is a class, is no optimizer, or decays already; if nothing in the
        network has a ``weight_decay``; if an object with one is not trained; and for a
        number of 1 or more without scaling by the learning rate. What a schedule or
        variable will be is not checked.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    References
    ----------
    Ilya Loshchilov and Frank Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(weight_decay=1e-2)
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, kernel_regularizer=None)
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     optimizer = tf.keras.optimizers.Adam(1e-3)
    ...     sim.compile(nengo_wd.decoupled_weight_decay(sim, optimizer), loss={probe: "mse"})
    """
    check_simulator(sim)
    optimizer = seam.check_optimizer(optimizer)
    _check_no_decay(optimizer)
    setting = Setting(sim, "weight_decay")
    if not setting.by_variable:
        raise ValidationError(
            f"nothing in {sim.model.toplevel} has a weight_decay; set one with "
            "nengo_wd.configure_settings, or in the network's config",
            attr="weight_decay",
        )
    return seam.with_step_before(sim, optimizer, DecayStep(setting, scale_by_learning_rate))


def _check_no_decay(optimizer: Any) -> None:
    """Raise if an optimizer, or one that it wraps, decays weights already."""
    inner = getattr(optimizer, "inner_optimizer", None)  # of Keras' loss scaling
    if inner is not None:
        _check_no_decay(inner)
    decay = getattr(optimizer, "weight_decay", None) or getattr(optimizer, "_weight_decay", None)
    if decay or seam.has_step_before(optimizer):
        raise ValidationError(
            f"{type(optimizer).__name__} decays weights already"
            f"{f', with weight_decay={decay}' if decay else ''}; decay by one of the two",
            attr="weight_decay",
            obj=optimizer,
        )


class LayerwiseSGD(seam.RuleOptimizer):
    r"""Stochastic gradient descent with CUDA-ConvNet's rule, by object.

    .. math:: v \leftarrow \mu v - \epsilon g - \epsilon \lambda w, \qquad w \leftarrow w + v

    with the gradient :math:`g` of the loss, and the learning rate :math:`\epsilon` (epsW and
    epsB in CUDA-ConvNet's layer files), the momentum :math:`\mu` (momW, momB) and the weight
    decay :math:`\lambda` (wc) that were set for the object: ``net.config[obj].learning_rate``,
    ``momentum`` and ``weight_decay``. Where nothing was set, the optimizer's own values hold,
    and no decay. On a TensorNode, learning rate and momentum are for all variables of its
    layer, biases included, and the decay is for those of rank 2 or more.

    The decay goes through the momentum here: it is a gradient like any other, that of
    :math:`\lambda \|w\|^2 / 2`. So it is not decoupled, and differs from
    `decoupled_weight_decay`, which changes weights by :math:`\epsilon \lambda w` at once. It
    is what Keras' SGD does with an L2 penalty of :math:`\lambda / 2`; the
    ``weight_decay`` of Keras' SGD is the decoupled one.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    learning_rate : float or LearningRateSchedule
        For all weights whose object has no ``learning_rate`` of its own.
    momentum : float
        For all weights whose object has no ``momentum`` of its own.
    name : str
        Name of the optimizer.

    Raises
    ------
    nengo.exceptions.ValidationError
        If an object with one of the settings is not trained, and for a learning rate or
        momentum that is no number, negative or not finite.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    References
    ----------
    Alex Krizhevsky, CUDA-ConvNet, 2012: the file of layer parameters, and the
    update rule in "ImageNet classification with deep convolutional neural networks" (with Ilya
    Sutskever and Geoffrey Hinton, NIPS 2012).
    """

    SETTINGS = ("learning_rate", "momentum", "weight_decay")

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        name: str = "LayerwiseSGD",
    ) -> None:
        check_simulator(sim)
        check_rate(learning_rate, "learning_rate", name)
        check_rate(momentum, "momentum", name)
        super().__init__(sim, learning_rate, name)
        self.momentum = momentum
        self._settings = {setting: Setting(sim, setting) for setting in self.SETTINGS}

    def update_settings(self) -> None:
        """Take on the settings as they are now; what was compiled need not be compiled again."""
        for setting in self._settings.values():
            setting.update()

    def increment(
        self, weights: Any, gradient: tf.Tensor, last: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """Return what to add to ``weights``, after ``last`` was added in the last step."""
        defaults = {"learning_rate": rate, "momentum": self.momentum, "weight_decay": 0.0}
        rate, momentum, decay = (
            self._values(name, weights, default, step) for name, default in defaults.items()
        )
        return momentum * last - rate * (gradient + decay * weights)

    def _values(self, name: str, variable: tf.Variable, default: Any, step: tf.Tensor) -> Any:
        rows = self._settings[name].by_variable.get(id(variable))
        if rows is None:
            return tf.cast(default, variable.dtype.base_dtype)
        return rows.tensor(step, default)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, the simulator left out."""
        return {**super().get_config(), "momentum": self.momentum}
