"""Which parameters are recorded, and under which names."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import norm
from generations import GENERATION, simulator, values
from nengo.exceptions import ValidationError
from networks import EveryParameter, readout_network

import nengo_wd
from nengo_wd import nengo_dl

LABEL = "same (1)" if GENERATION == 2 else "same"  # TensorFlow 2 takes no such names for layers
l2 = tf.keras.regularizers.l2


def everything(sim):
    return set(nengo_wd.WeightNorms(sim, objects=sim.model.toplevel).names)


def test_objects_classes_networks_and_layers_choose():
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2), label="source")
        with nengo.Network() as inner:
            nengo_wd.configure_settings()
            a = nengo.Ensemble(5, 1, label="a")
            loop = nengo.Connection(a, a, label="loop")
        layer = nengo_wd.RegularizedDense(2, name="layer")
        node = nengo_dl.tensor_layer(source, layer)
        out = nengo.Connection(a, node[0], label="out")
    with simulator(net) as sim:

        def chosen(objects):
            return nengo_wd.WeightNorms(sim, objects=objects).names

        of_layer = ["layer.kernel", "layer.bias"]
        assert chosen(loop) == ["loop.weights"]
        assert chosen([a, a.neurons]) == ["a.encoders", "a.biases"]
        assert chosen(inner) == ["loop.weights", "a.encoders", "a.biases"]
        assert {"loop.weights", "out.weights"} <= set(chosen(nengo.Connection))
        assert chosen(layer) == chosen(node) == chosen(nengo_dl.TensorNode) == of_layer
        assert chosen([out, inner, loop])[:2] == ["out.weights", "loop.weights"]
        assert everything(sim) >= {"loop.weights", "a.encoders", "a.biases", *of_layer}
        assert nengo_wd.WeightNorms(sim).names == ["layer.kernel"]  # the one with a regularizer

        for empty in ([], (), set()):
            with pytest.raises(ValidationError, match="contains no objects"):
                chosen(empty)
        for nothing in (
            source,
            nengo.Probe,
            nengo.Network(add_to_container=False),
            "loop",
            np.ones(2),
        ):
            with pytest.raises(ValidationError, match="stands for no parameter"):
                chosen([loop, nothing])


def test_regularized_and_decayed_parameters_are_the_default():
    model = EveryParameter()
    model.net.config[model.readout].regularizer = "l2"
    model.net.config[model.b].weight_decay = 0.1
    with model.net:
        layer = nengo_wd.RegularizedDense(2, bias_regularizer="l1", name="layer")
        nengo_dl.tensor_layer(model.image, layer)
    with simulator(model.net) as sim:
        recorded = nengo_wd.WeightNorms(sim).parameters
        objects = {p.obj for name, p in recorded.items() if not name.startswith("layer")}
        assert objects == {model.readout, model.b}
        assert {"layer.kernel", "layer.bias"} <= set(recorded)
        assert len(recorded) == 4


def test_a_setting_reaches_a_layer_inside_tensor_layer():
    net, _, _, _ = readout_network(strength=None)
    net.config[nengo_dl.TensorNode].regularizer = l2(0.5)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        assert nengo_wd.regularization_losses(sim) == {"readout.kernel": pytest.approx(3.0)}
        assert norms.penalties.tolist() == [[pytest.approx(3.0)]]


@pytest.mark.generation(3)
def test_layers_inside_a_layer_have_their_own_names():
    with nengo.Network(seed=0) as net:
        inner = [tf.keras.layers.Dense(3, kernel_regularizer="l2", name=name) for name in "ab"]
        nengo_dl.tensor_layer(nengo.Node(np.zeros(2)), tf.keras.Sequential(inner), shape_in=(2,))
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        losses = nengo_wd.regularization_losses(sim)
        assert dict(zip(norms.names, norms.penalties[0])) == pytest.approx(losses)
        assert list(losses) == ["a.kernel", "b.kernel"]


def test_names_are_those_of_the_losses():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(2))
        a, b = (nengo.Ensemble(5, 2, label="same") for _ in range(2))
        first = nengo_wd.RegularizedDense(3, kernel_regularizer=None, name=LABEL)
        second = nengo_wd.RegularizedDense(4, kernel_regularizer=l2(0.25), name=LABEL)
        free, penalized = (nengo_dl.tensor_layer(source, layer) for layer in (first, second))
        for ensemble in (a, b):
            nengo.Connection(source, ensemble)
    net.config[b].regularizer = l2(0.5)
    net.config[free].regularizer = l2(1.0)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=[a, b, free, penalized])
        norms.record()
        losses = nengo_wd.regularization_losses(sim)
        assert set(losses) == {"same.encoders", f"{LABEL}.kernel", f"{LABEL}.kernel_1"}
        recorded = dict(zip(norms.names, norms.penalties[0]))
        assert {name: x for name, x in recorded.items() if x} == pytest.approx(losses)
        by_object = {p.obj: name for name, p in norms.parameters.items() if "bias" not in name}
        assert by_object[b] == "same.encoders"  # a, which has no penalty, is the one with a number
        assert by_object[a] == "same.encoders_1"
        weights = values(sim, [second.kernel])[0]
        assert recorded[by_object[penalized]] == pytest.approx(0.25 * norm(weights) ** 2)
        assert nengo_wd.WeightNorms(sim, objects=b).names == ["same.encoders"]


def test_frozen_weights_with_a_penalty_are_recorded():
    net, _, layer, _ = readout_network()
    layer.trainable = False
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
        assert norms.names == list(nengo_wd.regularization_losses(sim)) == ["readout.kernel"]
        assert norms.penalties[0, 0] == norms.total_penalties[0] == pytest.approx(3)


def test_a_layer_stands_for_what_was_recorded_of_it_after_another_simulator():
    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
    with simulator(net):
        pass
    assert len(nengo_wd.plotting.norms(norms, layer).axes[0].lines) == 1


def test_each_node_of_a_shared_layer_stands_for_it():
    layer = nengo_wd.RegularizedDense(3, name="shared")
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(2))
        nodes = [nengo_dl.tensor_layer(source, layer) for _ in range(2)]
    with simulator(net) as sim:
        for node in nodes:
            names = nengo_wd.WeightNorms(sim, objects=node).names
            assert names == ["shared.kernel", "shared.bias"]
        assert nengo_wd.WeightNorms(sim).names == ["shared.kernel"]


def test_reason_for_nothing_to_record():
    with nengo.Network(seed=0) as net:
        a = nengo.Ensemble(5, 1)
        error = nengo.Node(size_in=1)
        learned = nengo.Connection(a, error, learning_rule_type=nengo.PES())
        nengo.Connection(error, learned.learning_rule)
    with nengo.Network():
        elsewhere = nengo.Ensemble(5, 1)
    reasons = {learned: "changed by a learning rule", elsewhere: "not in that network"}
    with simulator(net) as sim:
        for obj, reason in reasons.items():
            with pytest.raises(ValidationError, match=reason):
                nengo_wd.WeightNorms(sim, objects=obj)
