"""Which rows of which variable belong to which Nengo object."""

from __future__ import annotations

from typing import Any, Iterable, Iterator

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError
from nengo.transforms import SparseMatrix

from nengo_wd import channels, config, names, seam
from nengo_wd.channels import Channels
from nengo_wd.layer_penalties import variable_penalties

KINDS = {  # the trainable parameter of each class, and the signal that holds it
    nengo.Connection: ("weights", "weights"),
    nengo.Ensemble: ("encoders", "encoders"),
    nengo.ensemble.Neurons: ("biases", "bias"),
}

MIN_RANK = {"learning_rate": 1, "momentum": 1}  # of a TensorNode's variables with the setting


class Parameter:
    """One trainable parameter of one object in one simulator.

    Attributes
    ----------
    sim : nengo_dl.Simulator
        The simulator.
    obj : nengo.Connection, nengo.Ensemble, nengo.ensemble.Neurons or nengo_dl.TensorNode
        The object.
    name : str
        Label of the object and kind of the parameter, such as ``"readout.weights"``.
    variable : tf.Variable
        The variable that holds the values, with those of other objects where NengoDL
        merges them.
    rows : np.ndarray of int
        Which rows of ``variable``, along its first axis, belong to the parameter.
    shape : tuple of int
        Shape of the parameter: ``(size_out, size_in)`` for the weights of a connection,
        ``(n_neurons, dimensions)`` for encoders, ``(n_neurons,)`` for biases, that of
        the variable for a layer; ``(n_nonzero,)`` for sparse weights.
    channels : Channels
        Which output channel each of the weights belongs to.
    layer : callable or None
        The layer that made the variable: the function of the TensorNode, or a layer in it;
        None for native parameters.
    """

    def __init__(
        self,
        sim: nengo_dl.Simulator,
        obj: Any,
        name: str,
        variable: tf.Variable,
        rows: np.ndarray,
        shape: tuple[int, ...],
        initial: np.ndarray | None,
        channels: Channels,
        layer: Any = None,
    ) -> None:
        self.sim, self.obj, self.name = sim, obj, name
        self.variable, self.rows, self.shape = variable, rows, shape
        self.channels, self.layer, self._initial = channels, layer, initial

    def __repr__(self) -> str:
        return f"<Parameter {self.name}, shape {self.shape}>"

    @property
    def value(self) -> np.ndarray:
        """The current value, of shape ``shape``."""
        return values([self])[0]

    @property
    def initial(self) -> np.ndarray:
        """The value before training, of shape ``shape``.

        For a layer, this is the value that it has when first asked for.
        """
        if self._initial is None:
            seen = vars(self.sim).setdefault("_nengo_wd_initial", {})
            if self.key not in seen:
                seen[self.key] = self.value
            self._initial = seen[self.key]
        dtype = self.variable.dtype.base_dtype.as_numpy_dtype
        return np.reshape(self._initial, self.shape).astype(dtype)

    @property
    def key(self) -> tuple[int, int]:
        """What tells the parameter from every other one in its simulator."""
        return id(self.variable), int(self.rows[0])

    @property
    def n_channels(self) -> int:
        """How many output channels the parameter has."""
        sizes = [int(self.variable.shape[axis]) for axis in self.channels.axes]
        return self.channels.n_groups * int(np.prod(sizes))

    def gather(self) -> tf.Tensor:
        """Return a tensor of shape ``shape`` with the value."""
        first, last = self.rows[0], self.rows[-1]
        if np.array_equal(self.rows, np.arange(first, last + 1)):
            rows = self.variable[first : last + 1]
        else:
            rows = tf.gather(self.variable, self.rows)
        return tf.reshape(rows, self.shape)


def values(parameters: Iterable[Parameter]) -> list[np.ndarray]:
    """Return the current value of each parameter, fetching each variable once."""
    parameters = list(parameters)
    if not parameters:
        return []
    variables = {id(parameter.variable): parameter.variable for parameter in parameters}
    fetched = seam.fetch(parameters[0].sim, list(variables.values()))
    by_variable = dict(zip(variables, fetched))
    return [np.reshape(by_variable[id(p.variable)][p.rows], p.shape) for p in parameters]


def with_setting(sim: nengo_dl.Simulator, name: str) -> list[tuple[Parameter, Any]]:
    """Return each parameter for whose object a setting was made, with the setting's value.

    Raises
    ------
    nengo.exceptions.ValidationError
        If a setting on an object itself has nothing to work on, or TensorNodes that share
        a layer have different settings.
    """
    found: dict[tuple[int, int], tuple[Parameter, Any]] = {}
    if sim.model.toplevel is None:
        return []
    for setting in config.look_up(sim.model.toplevel, name):
        if isinstance(setting.obj, nengo.Probe):
            continue  # has activity, and no parameters
        parameters = list(of(sim, setting.obj, MIN_RANK.get(name, 2)))
        if setting.own and not parameters and not sim.tensor_graph.inference_only:
            raise ValidationError(
                f"{setting.obj} has a {name}, but {why_none(sim, setting.obj)}",
                attr=name,
                obj=setting.obj,
            )
        for parameter in parameters:
            other, value = found.setdefault(parameter.key, (parameter, setting.value))
            if not _same(value, setting.value):
                raise ValidationError(
                    f"{parameter.name} is shared by {other.obj} and {setting.obj}, which have "
                    f"different settings for {name}; give both the same",
                    attr=name,
                    obj=setting.obj,
                )
    return list(found.values())


def of(
    sim: nengo_dl.Simulator, obj: Any, min_rank: int = 2, frozen: bool = False
) -> Iterator[Parameter]:
    """Yield the trainable parameters of an object; none where it has nothing to train.

    Of a TensorNode, they are the variables of ``min_rank`` or more; with ``frozen`` also those
    that are penalized but not trained.
    """
    if isinstance(obj, nengo_dl.TensorNode):
        for variable in _variables(obj, frozen):
            if variable.shape.rank >= min_rank:
                yield _of_layer(sim, obj, variable)
    elif isinstance(obj, tuple(KINDS)) and why_none(sim, obj) is None:
        yield _of_signal(sim, obj)


def _of_signal(sim: nengo_dl.Simulator, obj: Any) -> Parameter:
    kind, signal = _signal(sim, obj)
    variable, rows, shape = seam.base_rows(sim, signal)
    name = f"{names.of_object(obj)}.{kind}"
    by_channel = channels.of_signal(signal, len(rows))
    return Parameter(sim, obj, name, variable, rows, shape, _initial_value(signal), by_channel)


def _of_layer(sim: nengo_dl.Simulator, node: nengo_dl.TensorNode, variable: Any) -> Parameter:
    if not seam.in_graph(sim, variable):
        raise ValidationError(
            f"{node} was built again by a later simulator, to which its weights belong now; "
            "use one simulator of its network at a time",
            attr="tensor_func",
            obj=node,
        )
    layer = _owner(node, variable)
    label = getattr(layer, "name", None) or names.of_object(node)
    shape = tuple(variable.shape.as_list())
    return Parameter(
        sim,
        node,
        f"{label}.{names.of_variable(variable)}",
        variable,
        rows=np.arange(shape[0]),
        shape=shape,
        initial=None,
        channels=channels.of_layer(layer, variable),
        layer=layer,
    )


def _owner(node: nengo_dl.TensorNode, variable: tf.Variable) -> Any:
    """Return the layer that made a variable: a TensorNode's function, or one inside it."""
    func, *inner = layers(node)
    own = ("_trainable_weights", "_non_trainable_weights")
    for layer in inner:
        if any(variable is weight for name in own for weight in getattr(layer, name, ())):
            return layer
    return func


def layers(holder: Any) -> list[Any]:
    """Return a layer or a TensorNode's function, and the layers in it."""
    func = seam.function_of(holder) if isinstance(holder, nengo_dl.TensorNode) else holder
    return [func, *(func.submodules if isinstance(func, tf.Module) else ())]


def _variables(node: nengo_dl.TensorNode, frozen: bool = False) -> list[tf.Variable]:
    """Return the trainable variables of a TensorNode's function.

    With ``frozen``, also those that are penalized but not trained.
    """
    func, *inner = layers(node)
    if not isinstance(func, tf.Module):  # which every Keras layer is
        held = getattr(func, "__dict__", {}).values()
        return [v for v in held if isinstance(v, tf.Variable) and v.trainable]
    wanted = {id(variable) for variable in func.trainable_variables}
    if frozen:
        wanted.update(*(variable_penalties(layer) for layer in (func, *inner)))
    return [variable for variable in func.variables if id(variable) in wanted]


def is_current(sim: nengo_dl.Simulator, obj: Any) -> bool:
    """Tell that an object's weights are those of ``sim``, not of a later simulator."""
    return not isinstance(obj, nengo_dl.TensorNode) or all(
        seam.in_graph(sim, variable) for variable in _variables(obj)
    )


def _signal(sim: nengo_dl.Simulator, obj: Any) -> tuple[str, Any]:
    """Return kind and signal of an object's trainable parameter; None if it has no signal."""
    kind, key = next(KINDS[c] for c in type(obj).__mro__ if c in KINDS)
    return kind, sim.model.sig.get(obj, {}).get(key)


def why_none(sim: nengo_dl.Simulator, obj: Any) -> str | None:
    """Say why an object has nothing to train, or return None if it has something."""
    if isinstance(obj, nengo_dl.TensorNode):
        return "its function has no trainable weights of rank 2 or more"
    kind, signal = _signal(sim, obj)
    if signal is None or signal not in sim.tensor_graph.signals:
        return f"it has no {kind} that could be trained"
    if signal.minibatched:
        return f"its {kind} are changed by a learning rule, not by training"
    if not signal.trainable and not sim.tensor_graph.inference_only:
        return f"its {kind} are set not to be trainable"
    return None


def _initial_value(signal: Any) -> np.ndarray:
    """Return the value that the builder gave a signal; its data only, where it is sparse."""
    value = signal.initial_value
    if not signal.sparse:
        return value
    return value.data if isinstance(value, SparseMatrix) else value.tocoo().data


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and one.get_config() == other.get_config()
    except (AttributeError, NotImplementedError):  # no configuration to compare
        return bool(one == other)
