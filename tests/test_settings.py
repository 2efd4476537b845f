"""Settings on classes and objects, and what is said where they are wrong."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, sgd, simulator, tensor_node, train
from nengo.exceptions import NetworkContextError, SimulationError, ValidationError
from networks import Ensembles, ThreeConnections

import nengo_wd
from nengo_wd import _parameters as parameters
from nengo_wd import nengo_dl, settings
from nengo_wd._checks import check_hyperparameter


@pytest.fixture
def model():
    return Ensembles()


def test_value_given_to_configure_settings_holds_for_connections_and_tensor_nodes():
    model = Ensembles(regularizer="l2")
    with simulator(model.net) as sim:
        expected = {"ab.weights", "bn.weights", "dense.kernel"}
        if GENERATION == 2:  # there, the plain connection has a weight of 1
            expected.add("source->a.weights")
        assert set(nengo_wd.regularization_losses(sim)) == expected


def test_inner_network_inherits_and_overrides():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l2(0.5))
        with nengo.Network() as inherits:
            nengo_wd.configure_settings()
            one = nengo.Connection(nengo.Ensemble(5, 1), nengo.Ensemble(5, 1), label="one")
        with nengo.Network():
            nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l2(0.25))
            two = nengo.Connection(nengo.Ensemble(5, 1), nengo.Ensemble(5, 1), label="two")
        with nengo.Network() as without:
            nengo_wd.configure_settings()
            without.config[nengo.Connection].regularizer = None
            nengo.Connection(nengo.Ensemble(5, 1), nengo.Ensemble(5, 1), label="three")
    assert inherits.config[nengo.Connection].regularizer is None
    with simulator(net) as sim:
        assert nengo_wd.regularization_losses(sim) == {
            "one.weights": pytest.approx(0.5 * np.sum(sim.data[one].weights ** 2), rel=1e-6),
            "two.weights": pytest.approx(0.25 * np.sum(sim.data[two].weights ** 2), rel=1e-6),
        }


# -- the table of settings ----------------------------------------------------------------


def network_with_a_layer():
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        layer = nengo_wd.RegularizedDense(3, name="layer")
        probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    (node,) = (node for node in net.nodes if isinstance(node, nengo_dl.TensorNode))
    return net, node, source, probe


@pytest.fixture
def rigidity(monkeypatch):
    """A setting that nothing knows but its row."""
    definition = settings.Definition(
        check_hyperparameter, "rigid_weights(...)", (nengo_dl.TensorNode,), True
    )
    monkeypatch.setitem(settings.SETTINGS, "rigidity", definition)


@pytest.mark.usefixtures("rigidity")
def test_a_row_is_a_setting():
    net, node, source, probe = network_with_a_layer()
    with pytest.raises(AttributeError, match="makes rigidity a setting of TensorNode$"):
        net.config[nengo.Connection].rigidity = 0.5
    with net:
        nengo_wd.configure_settings()
    with pytest.raises(AttributeError, match="rigidity"):
        net.config[nengo.Ensemble].rigidity = 0.5
    with pytest.raises(ValidationError, match="TensorNode.*'much' is not a rigidity"):
        net.config[node].rigidity = "much"
    with simulator(net) as sim:
        assert set(nengo_wd.regularization_losses(sim)) == {"layer.kernel"}  # the default
        net.config[nengo_dl.TensorNode].rigidity = 0.5
        assert not nengo_wd.regularization_losses(sim)
        ((kernel, value),) = parameters.with_setting(sim, "rigidity")
        assert (kernel.name, value) == ("layer.kernel", 0.5)
        assert nengo_wd.WeightNorms(sim).names == ["layer.kernel"]


@pytest.mark.usefixtures("rigidity")
def test_a_row_has_a_warning_where_nothing_uses_it():
    net, node, source, probe = network_with_a_layer()
    with net:
        nengo_wd.configure_settings()
    net.config[node].rigidity = 0.5
    data = {source: np.ones((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}
    loss = {probe: "mse" if GENERATION == 3 else nengo_dl.objectives.mse}
    with simulator(net) as sim:
        with pytest.warns(UserWarning, match=r"settings for rigidity.*nengo_wd.rigid_weights\("):
            train(sim, *data, loss, sgd(0.1))


def test_none_replaces_a_default_where_its_row_says_so(rigidity, monkeypatch):
    net, node, _, _ = network_with_a_layer()
    with net:
        nengo_wd.configure_settings()
    net.config[node].rigidity = None
    with simulator(net) as sim:
        assert nengo_wd.regularization_losses(sim)
        replaces = settings.SETTINGS["rigidity"]._replace(none_replaces=True)
        monkeypatch.setitem(settings.SETTINGS, "rigidity", replaces)
        assert not nengo_wd.regularization_losses(sim)


def test_a_row_that_is_not_for_small_weights_reaches_biases(rigidity, monkeypatch):
    every_rank = settings.SETTINGS["rigidity"]._replace(keeps_small=False)
    monkeypatch.setitem(settings.SETTINGS, "rigidity", every_rank)
    net, node, _, _ = network_with_a_layer()
    with net:
        nengo_wd.configure_settings()
    net.config[node].rigidity = 0.5
    with simulator(net) as sim:
        found = {parameter.name for parameter, _ in parameters.with_setting(sim, "rigidity")}
    assert found == {"layer.kernel", "layer.bias"}


# -- bad input ---------------------------------------------------------------------------


def complain(model, match):
    """Expect the same complaint from everything that reads the settings."""
    with simulator(model.net) as sim:
        for function in (
            nengo_wd.regularization_losses,
            lambda sim: nengo_wd.regularized_objective(sim, {model.probe: "mse"}),
        ):
            with pytest.raises(ValidationError, match=match):
                function(sim)


def test_setting_for_nothing_to_train(model):
    with model.net:
        silent = nengo.Ensemble(5, 1, neuron_type=nengo.Direct(), label="direct")
    model.config[silent.neurons].regularizer = "l2"
    complain(model, "direct.* has a regularizer, but it has no biases that could be trained")


def test_setting_for_a_tensor_node_without_weights(model):
    with model.net:
        node = tensor_node(relu, 2, 2)
    model.config[node].regularizer = "l2"
    complain(model, "TensorNode.* has a regularizer, but its function has no trainable weights")


def relu(t, x):
    return tf.nn.relu(x)


def test_setting_for_what_is_not_trained(model):
    with model.net:
        nengo_dl.configure_settings(trainable=None)
    model.config[model.conn].trainable = False
    model.config[model.conn].regularizer = "l2"
    complain(model, "Connection ab.*its weights are set not to be trainable")


def test_setting_for_what_a_learning_rule_owns(model):
    model.conn.learning_rule_type = nengo.PES()
    model.config[model.conn].regularizer = "l2"
    complain(model, "its weights are changed by a learning rule")


def test_setting_for_an_object_of_another_network(model):
    with nengo.Network():
        stranger = nengo.Ensemble(5, 1, label="stranger")
    model.config[stranger].regularizer = "l2"
    complain(model, "stranger.* is not in that network")


def test_regularizer_that_returns_the_wrong_shape(model):
    model.config[model.conn].regularizer = lambda w: tf.reduce_sum(w, axis=0)
    complain(model, r"ab\.weights has shape \(5,\), but must be a scalar")


@pytest.mark.parametrize("value", ["l3", tf.keras.regularizers.l2(-1.0), 0.5])
def test_value_that_is_no_regularizer(model, value):
    with pytest.raises(ValidationError, match="a.*regularizer|strength"):
        model.config[model.a].regularizer = value
    with pytest.raises(ValidationError, match="Connection.*regularizer|strength"):
        model.config[nengo.Connection].regularizer = value


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, "much", True])
@pytest.mark.parametrize("name", ["weight_decay", "learning_rate", "momentum"])
def test_value_that_is_no_rate(name, value):
    with pytest.raises(ValidationError, match=f"Connection.*({name}|finite)"):
        ThreeConnections().set(name, value)


def test_configure_settings_outside_of_a_network():
    with pytest.raises(NetworkContextError, match="within a network"):
        nengo_wd.configure_settings(regularizer="l2")


def remove_connection(model):
    model.net.connections.remove(model.conn)


def remove_ensemble(model):
    model.net.ensembles.remove(model.b)


def remove_node(model):
    model.net.nodes.remove(model.node)


@pytest.mark.parametrize("remove", [remove_connection, remove_ensemble, remove_node])
def test_object_that_is_removed_after_the_simulator_was_built(remove):
    model = Ensembles(regularizer="l2")
    with simulator(model.net) as sim:
        assert nengo_wd.regularization_losses(sim)
        remove(model)
        for asked in (
            lambda: nengo_wd.regularization_losses(sim),
            lambda: nengo_wd.regularized_objective(sim, {model.probe: "mse"}),
        ):
            with pytest.raises(ValidationError, match=".* was removed from .* simulator was built"):
                asked()


def test_object_that_is_added_after_the_simulator_was_built():
    model = Ensembles(regularizer="l2")
    with simulator(model.net) as sim:
        before = nengo_wd.regularization_losses(sim)
        with model.net:
            later = nengo.Connection(model.a, model.b, label="later")
        assert nengo_wd.regularization_losses(sim) == before
        model.config[later].regularizer = "l1"
        with pytest.raises(ValidationError, match="later.* was added after the simulator"):
            nengo_wd.regularization_losses(sim)


@pytest.mark.generation(2)
def test_nengo_dl_2_compiles_nothing():
    with nengo.Network() as net:
        nengo_wd.configure_settings(jit_compile=True)
        nengo.Probe(nengo.Ensemble(10, 1))
    with pytest.raises(SimulationError, match=r"jit_compile=True\) needs NengoDL 3"):
        simulator(net)
