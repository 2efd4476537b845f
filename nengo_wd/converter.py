"""Keras models with regularizers as native Nengo networks."""

from __future__ import annotations

import collections
import functools
import warnings
from typing import Any

import nengo
import nengo_dl
import numpy as np
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd import layers
from nengo_wd._checks import check_keras_2
from nengo_wd._objectives import regularized_objective
from nengo_wd._seam import hooks
from nengo_wd._seam.keras2 import flat_layers, n_added_losses
from nengo_wd.regularizers.moved import BIAS, DENSE, rescaled, transformed
from nengo_wd.settings import SETTINGS, configure_settings

_Base: Any = seam.layers.KerasConverter


class Converter(_Base):
    """Convert a Keras model to a Nengo network, and its regularizers to settings.

    It works like ``nengo_dl.Converter``, with the same arguments and attributes, except for
    regularizers. NengoDL's converter puts a dense or convolutional layer with a regularizer into a
    TensorNode, or refuses it. This one turns the weights into native Nengo objects, as it does
    without a regularizer, and the regularizers into settings:
    ``net.config[connection].regularizer`` for the kernel, the same on neurons or on a connection
    for the bias, and on a new probe for the layer's activity. Training with `regularized_objective`
    then minimizes the same loss as the Keras model.

    Settings on classes leave out connections that are biases. Set these one by one, in the config
    of the network that they belong to.

    Parameters
    ----------
    model : tf.keras.Model
        The model, with its weights.
    **kwargs
        Any other argument of ``nengo_dl.Converter``. With ``scale_firing_rates``, regularizers
        apply to the unscaled biases, and converted networks can exchange parameters only if they
        have the same scale. With ``split_shared_weights``, every copy of a layer has its penalties.

    Raises
    ------
    TypeError
        With ``allow_fallback=False``, if a layer can't be converted, or ``add_loss`` has added a
        loss to the model or to a layer.
    nengo.exceptions.ValidationError
        If ``model`` is not a model of Keras 2, or has no input shape yet.
    NotImplementedError
        In NengoDL 2, which has no converter.

    Warns
    -----
    UserWarning
        If ``add_loss`` has added a loss: it stays with the Keras model, and is not carried over.

    Examples
    --------
    >>> inputs = tf.keras.Input((4,))
    >>> outputs = tf.keras.layers.Dense(3, kernel_regularizer="l2", name="readout")(inputs)
    >>> model = tf.keras.Model(inputs, outputs)
    >>> converter = nengo_wd.Converter(model)
    >>> with nengo_dl.Simulator(converter.net, progress_bar=False) as sim:
    ...     nengo_wd.regularization_loss(sim) - float(sum(model.losses)) < 1e-6
    True
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        _check_model(model)
        self._activities: list[tuple] = []
        super().__init__(model, **kwargs)
        for activity in self._activities:  # after the probes of the model's outputs
            _probe_activity(*activity)
        for network in (self.net, *self.net.all_networks):
            _leave_out_biases(network)
        self._check_losses(kwargs.get("allow_fallback", True))

    def verify(self, training: bool = False, *args: Any, **kwargs: Any) -> bool:
        """Compare the network with the model, as NengoDL does; in training with all penalties."""
        probes = [self.outputs[output] for output in self.model.outputs]
        simulator = functools.partial(_Penalized, probes)
        with hooks.replaced("nengo_dl.converter:Simulator", simulator):
            return super().verify(training, *args, **kwargs)

    def _check_losses(self, allow_fallback: bool) -> None:
        """Raise or warn if ``add_loss`` has added a loss that the network lacks."""
        nodes = (n for n in self.net.all_nodes if isinstance(n, nengo_dl.TensorNode))
        copies = (layer for node in nodes for layer in parameters.layers(node))
        kept = {getattr(copy, "name", None): n_added_losses(copy) for copy in copies}
        flat = flat_layers(self.model)
        lost = [one.name for one in flat if n_added_losses(one) > kept.get(one.name, 0)]
        if lost:
            fault = f"the losses of {', '.join(map(repr, lost))} from add_loss are not carried over"
            why = "because they use the Keras model's weights and outputs"
            hint = "make each a regularizer of a layer, or add it to the objective"
            message = f"{fault}, {why}; {hint}"
            if not allow_fallback:
                raise TypeError(message)
            warnings.warn(message, UserWarning, stacklevel=3)

    def get_converter(self, layer: tf.keras.layers.Layer) -> Any:
        """Return the layer's converter, which notes outputs that have an activity regularizer."""
        is_new = layer not in self._layer_converters
        converter = super().get_converter(layer)
        convert = converter.convert

        def convert_and_note(node_id: int) -> Any:
            output, shape = convert(node_id), converter.output_shape(node_id)
            self._activities.append((nengo.Network.context[-1], output, layer, shape))
            return output

        # not the public attribute: Keras' wrappers return the inner layer's
        if is_new and getattr(layer, "_activity_regularizer", None) is not None:
            converter.convert = convert_and_note
        return converter


def _probe_activity(network: nengo.Network, output: Any, layer: Any, shape: tuple) -> None:
    """Make the layer's activity regularizer a setting of a probe of its output."""
    with network:
        configure_settings()
        probe = nengo.Probe(output, label=f"{layer.name}.activity")
    network.config[probe].regularizer = transformed(
        layer.activity_regularizer, lambda activity: tf.reshape(activity, (-1, *shape))
    )


def _leave_out_biases(network: nengo.Network) -> None:
    """Exclude the connections that are biases from the settings of classes."""
    biases = [connection for connection in network.connections if _is_bias(connection)]
    if biases:
        with network:
            configure_settings()
    for connection in biases:
        for name, definition in SETTINGS.items():
            if definition.keeps_small and name not in network.config[connection]:
                setattr(network.config[connection], name, None)


def _is_bias(connection: nengo.Connection) -> bool:
    """Tell whether a connection comes from a constant that NengoDL made for biases."""
    constant = getattr(connection.pre_obj, "output", None)
    return isinstance(constant, np.ndarray) and str(connection.pre_obj.label).endswith(".bias")


class _Penalized(nengo_dl.Simulator):
    """NengoDL's simulator, with losses of some probes only, and the penalties."""

    def __init__(self, probes: list[nengo.Probe], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._probes_with_loss = probes

    def compile(self, *args: Any, loss: Any, **kwargs: Any) -> None:
        """Compile with the loss of these probes and the penalties."""
        loss = regularized_objective(self, {probe: loss for probe in self._probes_with_loss})
        super().compile(*args, loss=loss, **kwargs)

    def fit(self, x: Any, y: Any, **kwargs: Any) -> Any:
        """Train with the targets ``y`` of the probes."""
        return super().fit(x, dict(zip(self._probes_with_loss, y)), **kwargs)


def _check_model(model: Any) -> None:
    """Raise unless ``model`` is a model of Keras 2 with an input shape."""
    if not isinstance(model, tf.keras.Model):
        check_keras_2(model, "model", "Converter")
        raise ValidationError(f"{model!r} can't be converted; give a tf.keras.Model", attr="model")
    if isinstance(model, tf.keras.Sequential) and not model.inputs:
        fault = f"the model {model.name!r} has no input shape yet, so it can't be converted"
        hint = "give its first layer one, or call model.build(input_shape)"
        raise ValidationError(f"{fault}; {hint}", attr="model")


class CarriesRegularizers:
    """A mixin for NengoDL's layer converters that makes regularizers of weights settings."""

    layer: Any
    converter: Any
    kernel: Any

    def convert(self, node_id: int) -> Any:
        """Convert the layer, and make its regularizers settings of the new objects."""
        network = nengo.Network.context[-1]
        n_before = len(network.connections)
        output = super().convert(node_id)  # type: ignore[misc]
        configure_settings()
        self._set_regularizer(network, self.kernel, self.layer.kernel_regularizer)
        biases = [new for new in network.connections[n_before:] if _is_bias(new)]
        for connection in biases:
            connection.label = f"{self.layer.name}.bias"
        if self.layer.use_bias:
            holder = biases[0] if biases else output  # the neurons
            self._set_regularizer(network, holder, self.layer.bias_regularizer)
        return output

    def add_connection(self, *args: Any, **kwargs: Any) -> nengo.Connection:
        """Keep the connection that holds the kernel, which is the trainable one."""
        connection = super().add_connection(*args, **kwargs)  # type: ignore[misc]
        if kwargs.get("trainable", False):
            self.kernel = connection
            connection.label = f"{self.layer.name}.kernel"
        return connection

    def _set_regularizer(self, network: nengo.Network, obj: Any, regularizer: Any) -> None:
        """Set the regularizer of a Keras weight for the object that holds the weight."""
        if regularizer is None:
            return
        if isinstance(obj, nengo.ensemble.Neurons):
            scale = self.converter.scale_firing_rates
            scale = scale.get(self.layer) if isinstance(scale, dict) else scale
            regularizer = rescaled(regularizer, 1.0 if scale is None else scale)
        elif obj is not self.kernel:
            regularizer = transformed(regularizer, lambda w: tf.reshape(w, [-1]), BIAS)
        elif isinstance(self.layer, tf.keras.layers.Dense):
            regularizer = transformed(regularizer, tf.transpose, DENSE)
        network.config[obj].regularizer = regularizer


# Our converters for layers that NengoDL refuses to regularize; its registry has the others.
_CARRYING = {}
for _layer, _base in _Base.converters.items():
    _refused = _base.unsupported_training_args
    if "kernel_regularizer" in _refused:
        _others = [arg for arg in _refused if not str(arg).endswith("_regularizer")]
        _attributes = {"unsupported_training_args": _others, "__doc__": _base.__doc__}
        _bases = (CarriesRegularizers, _base)
        _CARRYING[_layer] = type(f"Regularized{_base.__name__}", _bases, _attributes)
Converter.converters = collections.ChainMap(_CARRYING, _Base.converters)

# Our layers are converted like Keras' layers. NengoDL 2 converts none.
for _name in ("Dense", "Conv1D", "Conv2D", "Conv3D"):
    _theirs = Converter.converters.get(getattr(tf.keras.layers, _name))
    if _theirs is not None:
        Converter.register(getattr(layers, f"Regularized{_name}"))(_theirs)
