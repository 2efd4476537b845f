"""Settings on neurons that are trained for their spikes: what is refused, and what is said."""

import warnings

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, outputs, outputs_in_training, sgd, simulator, train
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd._shown import number_of_steps

BOTH = pytest.mark.parametrize(
    "name, value", [("spike_noise", 0.02), ("spiking_aware_training", True)]
)


class Network:
    """Two ensembles, of neurons that spike unless said otherwise."""

    def __init__(self, first=None, second=None, **settings):
        with nengo.Network(seed=0, label="net") as self.net:
            nengo_wd.configure_settings()
            nengo_dl.configure_settings(trainable=None, **settings)
            self.source = nengo.Node(np.zeros(1), label="source")
            self.a, self.b = (
                nengo.Ensemble(5, 1, neuron_type=kind or nengo.LIF(), label=label)
                for label, kind in (("first", first), ("second", second))
            )
            self.conn = nengo.Connection(self.source, self.a, synapse=None)
            nengo.Connection(self.a, self.b, synapse=None)
            self.probe = nengo.Probe(self.b, label="probe")
        self.config = self.net.config

    def train(self, sim, n_steps=4, epochs=1, optimizer=None):
        inputs = {self.source: np.zeros((1, n_steps, 1))}
        targets = {self.probe: np.zeros((1, n_steps, 1))}
        loss = {self.probe: "mse" if GENERATION == 3 else nengo_dl.objectives.mse}
        train(sim, inputs, targets, loss, sgd(0.0), epochs)


@pytest.fixture
def model():
    return Network()


def said(run, *args, **kwargs):
    """Return the warnings about neurons."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(*args, **kwargs)
    words = ("spike_noise", "spiking_aware_training", "one time step of data")
    return [str(w.message) for w in caught if any(word in str(w.message) for word in words)]


# -- values --------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 0.0, -0.01, np.nan, np.inf, "20 ms", True, [0.02], 1e39])
def test_time_constants_that_are_refused(model, value):
    with pytest.raises(ValidationError, match="first.*spike_noise"):
        model.config[model.a.neurons].spike_noise = value
    with pytest.raises(ValidationError, match="spike_noise"):
        model.config[nengo.ensemble.Neurons].spike_noise = value


@pytest.mark.parametrize("value", [1, 0, "yes", 0.5])
def test_switches_that_are_refused(model, value):
    with pytest.raises(ValidationError, match="first.*spiking_aware_training=.* True or False"):
        model.config[model.a.neurons].spiking_aware_training = value


@BOTH
@pytest.mark.parametrize("of", ["probe", "conn", "a"])
def test_objects_that_have_no_such_setting(model, name, value, of):
    match = f"makes {name} a setting of Neurons"
    with pytest.raises(AttributeError, match=match):
        setattr(model.config[getattr(model, of)], name, value)


# -- neurons -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("neuron_type", [nengo.LIFRate(), nengo.Direct()])
def test_neurons_without_spikes_are_refused_by_name(name, value, neuron_type):
    model = Network(first=neuron_type)
    setattr(model.config[model.a.neurons], name, value)
    kind = type(neuron_type).__name__
    match = f"first.* has a {name}, but its neurons, {kind}.*, have no spikes"
    with pytest.raises(ValidationError, match=match):
        simulator(model.net)


@BOTH
def test_settings_of_classes_are_about_neurons_that_spike(name, value):
    model = Network(first=nengo.LIFRate())
    setattr(model.config[nengo.ensemble.Neurons], name, value)
    with simulator(model.net) as sim:
        assert not said(model.train, sim)
    none = Network(nengo.LIFRate(), nengo.RectifiedLinear())
    setattr(none.config[nengo.ensemble.Neurons], name, value)
    with pytest.raises(ValidationError, match=f"first.* has a {name}, but .* have no spikes"):
        simulator(none.net)


class OwnNeurons(nengo.LIF):
    """Neurons that NengoDL has no TensorFlow builder for."""


@BOTH
@pytest.mark.filterwarnings("ignore:.*does not have a native TensorFlow implementation")
def test_neurons_that_run_in_python_are_refused_by_name(name, value):
    model = Network(second=OwnNeurons())
    setattr(model.config[nengo.ensemble.Neurons], name, value)
    match = (
        "second.* can't be trained for spikes: NengoDL has no TensorFlow builder for .*OwnNeurons"
    )
    with pytest.raises(ValidationError, match=match):
        simulator(model.net)


@BOTH
@pytest.mark.generation(3)
def test_settings_that_are_made_later_are_checked_by_compile(name, value):
    model = Network(first=nengo.LIFRate())
    with simulator(model.net) as sim:
        setattr(model.config[model.a.neurons], name, value)
        with pytest.raises(ValidationError, match=f"first.* has a {name}"):
            sim.compile(sgd(0.1), loss={model.probe: "mse"})


@BOTH
def test_networks_that_are_not_trained_say_nothing(model, name, value):
    setattr(model.config[nengo.ensemble.Neurons], name, value)

    def predict():
        with simulator(model.net) as sim:
            outputs(sim, {model.source: np.zeros((1, 1, 1))}, [model.probe])

    assert not said(predict)
    with model.net:
        nengo_dl.configure_settings(inference_only=True)
    assert not said(predict)


# -- warnings ------------------------------------------------------------------------------


@BOTH
def test_settings_that_were_changed_since_count_from_a_compilation_on(model, name, value):
    with simulator(model.net) as sim:
        if GENERATION == 3:
            sim.compile(sgd(0.0), loss={model.probe: "mse"})
        setattr(model.config[nengo.ensemble.Neurons], name, value)
        data = {model.source: np.zeros((1, 4, 1))}, {model.probe: np.zeros((1, 4, 1))}

        def fit():
            if GENERATION == 3:
                sim.fit(*data, verbose=0)
            else:
                model.train(sim)

        remedy = "call sim.compile once more" if GENERATION == 3 else "make the simulator anew"
        (message,) = said(fit)
        assert f"trained without its settings for {name}: {remedy}" in message
        if GENERATION == 3:
            assert not said(fit)  # once
            assert not said(model.train, sim)


def test_noise_where_spikes_are_is_said(model):
    model.config[nengo.ensemble.Neurons].spike_noise = 0.02
    model.config[model.b.neurons].spiking_aware_training = True
    with simulator(model.net) as sim:
        (message,) = said(model.train, sim)
    assert "settings for spike_noise: " in message and "second" in message


def test_a_single_step_with_spikes_is_said(model):
    model.config[model.b.neurons].spiking_aware_training = True
    with simulator(model.net) as sim:
        (message,) = said(model.train, sim, n_steps=1)
        assert "one time step of data" in message
        assert not said(model.train, sim)
    model.config[model.b.neurons].spiking_aware_training = False
    model.config[model.b.neurons].spike_noise = 0.02
    with simulator(model.net) as sim:
        assert not said(model.train, sim, n_steps=1)


@pytest.mark.generation(3)
def test_a_single_step_of_a_dataset_is_said(model):
    model.config[model.b.neurons].spiking_aware_training = True
    ones = {"source": tf.ones((2, 1, 1)), "n_steps": tf.ones((2, 1), tf.int32)}
    data = tf.data.Dataset.from_tensor_slices((ones, {"probe": tf.ones((2, 1, 1))})).batch(1)
    with simulator(model.net) as sim:
        sim.compile(sgd(0.0), loss={model.probe: "mse"})
        (message,) = said(sim.fit, data, verbose=0)
    assert "one time step of data" in message


@pytest.mark.generation(3)
@pytest.mark.parametrize(
    "shapes, n_steps",
    [
        ([(2, None, 1), (2, 4, 1)], 4),
        ([(2, None, 1), (2, None, 1)], None),
        ([None, (2, 1, 1), (2, 7)], 1),
        ([None], None),
    ],
)
def test_datasets_may_leave_shapes_open(shapes, n_steps):
    class Dataset:
        element_spec = {i: tf.TensorSpec(shape, tf.float32) for i, shape in enumerate(shapes)}, {}

    assert number_of_steps(Dataset()) == n_steps


# -- gradients that are checked, and networks that grow ------------------------------------


@BOTH
@pytest.mark.generation(3)
@pytest.mark.traced
@pytest.mark.slow
def test_gradients_are_checked_of_rates(model, name, value):
    """Noise differs from call to call, and spikes have no slope."""
    with model.net:
        nengo_dl.configure_settings(dtype="float64")
    setattr(model.config[nengo.ensemble.Neurons], name, value)
    with simulator(model.net) as sim:
        sim.check_gradients()
        (expected,) = outputs_in_training(sim, {model.source: np.ones((1, 4, 1))}, [model.probe])
    setattr(model.config[nengo.ensemble.Neurons], name, None)
    with simulator(model.net) as sim:
        (plain,) = outputs_in_training(sim, {model.source: np.ones((1, 4, 1))}, [model.probe])
    assert np.abs(expected - plain).max() > 0  # so the setting counts again after the check


@BOTH
@pytest.mark.generation(3)
def test_ensembles_that_are_made_later_are_left_out(model, name, value):
    setattr(model.config[nengo.ensemble.Neurons], name, value)
    with simulator(model.net) as sim:
        with model.net:
            nengo.Ensemble(3, 1, label="later")
        sim.compile(sgd(0.0), loss={model.probe: "mse"})
        assert not said(model.train, sim)
