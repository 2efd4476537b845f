"""A layer's default penalty is there only where nobody said anything."""

import copy
import inspect

import nengo
import pytest
import tensorflow as tf
from generations import GENERATION, sgd, simulator, tensor_node, values
from nengo.exceptions import ValidationError
from networks import connected

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.layers import defaults

l1, l2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2
DEFAULT, GIVEN = 0.01 * 6, 2.0 * 6  # of six weights that are all one


def layer_of(**kwargs):
    return nengo_wd.RegularizedDense(3, kernel_initializer="ones", name="readout", **kwargs)


def minimized(sim):
    """Return the penalties that are added to the loss."""
    if GENERATION == 3:
        return sim.keras_model.losses
    return sim.tensor_graph.graph.get_collection("regularization_losses")


def network_with(layer, node=None, by_class=None, decay=None, target=None):
    """Return a network of one layer, with settings as lists of one value where they are made."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        obj = tensor_node(layer, 2, 3)
        source, probe = connected(obj, 2)
        for configured, value in ((nengo_dl.TensorNode, by_class), (obj, node)):
            if value is not None:
                net.config[configured].regularizer = value[0]
        net.config[obj].weight_decay = decay
        net.config[obj].target_norm = target
    return net, source, probe


def penalties(layer, **settings):
    """Return the penalties that are reported, recorded and minimized, which must agree."""
    net, source, probe = network_with(layer, **settings)
    with simulator(net) as sim:
        losses = nengo_wd.regularization_losses(sim)
        norms = nengo_wd.WeightNorms(sim, objects=layer)
        norms.record()
        nengo_wd.regularized_objective(sim, {probe: "mse"})
        total = sum(values(sim, minimized(sim)))
    assert total == pytest.approx(sum(losses.values()), rel=1e-6)
    assert norms.total_penalties[0] == pytest.approx(total, rel=1e-6)
    assert dict(zip(norms.names, norms.penalties[0])) == pytest.approx(
        {**dict.fromkeys(norms.names, 0), **losses}
    )
    return losses


@pytest.mark.filterwarnings("ignore:.*trained without its settings for (weight_decay|target_norm)")
@pytest.mark.parametrize(
    "layer, settings, expected",
    [
        ({}, {}, DEFAULT),
        ({}, {"by_class": [l1(5.0)]}, 30),
        ({}, {"by_class": [None]}, None),
        ({}, {"node": [l1(5.0)]}, 30),
        ({}, {"node": [None]}, None),
        ({}, {"node": [None], "by_class": [l1(5.0)]}, None),
        ({}, {"decay": 0.1}, None),
        ({}, {"target": 0.1}, None),
        ({"kernel_regularizer": l2(2.0)}, {"by_class": [l1(5.0)]}, GIVEN),
        ({"kernel_regularizer": l2(2.0)}, {"by_class": [None]}, GIVEN),
        ({"kernel_regularizer": l2(2.0)}, {"decay": 0.1}, GIVEN),
        ({"kernel_regularizer": l2(2.0)}, {"target": 0.1}, GIVEN),
        ({"kernel_regularizer": "l2"}, {"by_class": [l1(5.0)]}, DEFAULT),
        ({"kernel_regularizer": None}, {}, None),
        ({"kernel_regularizer": None}, {"by_class": [l1(5.0)]}, 30),
        ({"kernel_regularizer": None}, {"node": [l1(5.0)]}, 30),
    ],
)
def test_what_holds(layer, settings, expected):
    found = penalties(layer_of(**layer), **settings)
    assert found == ({} if expected is None else {"readout.kernel": pytest.approx(expected)})


def test_bias_keeps_its_own_regularizer_beside_a_setting_on_the_node():
    layer = layer_of(bias_regularizer=l1(2.0), bias_initializer="ones")
    net, _, _ = network_with(layer, node=[l1(5.0)])
    with simulator(net) as sim:
        losses = nengo_wd.regularization_losses(sim)
    assert losses == {"readout.kernel": pytest.approx(30), "readout.bias": pytest.approx(6)}


@pytest.mark.parametrize("setting", ["l1", None])
def test_regularizers_of_a_layer_and_of_its_node(setting):
    net, _, probe = network_with(layer_of(kernel_regularizer="l2"), node=[setting])
    with simulator(net) as sim:
        for asked in (
            lambda: nengo_wd.regularization_losses(sim),
            lambda: nengo_wd.regularized_objective(sim, {probe: "mse"}),
            lambda: nengo_wd.WeightNorms(sim),
        ):
            with pytest.raises(ValidationError, match="layer 'readout' was given.*TensorNode"):
                asked()


def test_settings_that_change_after_the_simulator_was_made():
    net, _, _ = network_with(layer_of())
    (node,) = (node for node in net.nodes if isinstance(node, nengo_dl.TensorNode))
    with simulator(net) as sim:
        for regularizer, expected in (("l1", 0.06), (None, None), (l1(5.0), 30)):
            net.config[node].regularizer = regularizer
            losses = nengo_wd.regularization_losses(sim)
            assert losses == (
                {} if expected is None else {"readout.kernel": pytest.approx(expected)}
            )
        del net.config[node].regularizer
        assert nengo_wd.regularization_losses(sim) == {"readout.kernel": pytest.approx(DEFAULT)}


@pytest.mark.generation(3)
def test_model_has_no_default_penalty_where_a_setting_takes_its_place():
    net, _, _ = network_with(layer_of(), node=[None])
    with simulator(net) as sim:
        assert sim.keras_model.losses == []


@pytest.mark.parametrize(
    "make",
    [
        nengo_wd.RegularizedDense,
        nengo_wd.RegularizedConv1D,
        nengo_wd.RegularizedConv2D,
        nengo_wd.RegularizedConv3D,
    ],
)
def test_default_is_kept_by_configurations_and_copies(make):
    arguments = (3,) if make is nengo_wd.RegularizedDense else (3, 2)
    layer, given = make(*arguments), make(*arguments, kernel_regularizer="l2")
    again = make.from_config(layer.get_config())
    copies = [again] if GENERATION == 2 else [again, copy.deepcopy(layer)]  # Keras' locks
    for one in copies:
        assert defaults.default_arguments(one) == {"kernel_regularizer"}
        assert one.get_config() == layer.get_config()
        assert one.kernel_regularizer.get_config() == given.kernel_regularizer.get_config()
    assert not defaults.default_arguments(make.from_config(given.get_config()))
    layer.kernel_regularizer = l1(1.0)  # says something
    assert not defaults.default_arguments(layer)


def test_signatures_show_the_default():
    for make in (nengo_wd.RegularizedDense, nengo_wd.RegularizedConv2D):
        parameter = inspect.signature(make.__init__).parameters["kernel_regularizer"]
        assert parameter.default == "l2" and str(parameter).endswith("= 'l2'")


def test_penalty_and_decay_both_hold():
    net, _, _ = network_with(layer_of(kernel_regularizer=l2(2.0)), decay=0.1)
    with simulator(net) as sim:
        assert nengo_wd.regularization_losses(sim) == {"readout.kernel": pytest.approx(GIVEN)}
        nengo_wd.decoupled_weight_decay(sim, sgd(0.1))
