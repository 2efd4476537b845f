"""Others of Nengo's family, which are imported after this package."""

import copy
import sys

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import sgd, simulator, values
from nengo.exceptions import ValidationError
from scripts import run_in_fresh_python

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd._seam import bridge, hooks

pytestmark = [
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:This version of `nengo_loihi` has not been tested"),
    pytest.mark.filterwarnings("ignore:NengoLoihi does not support initial values"),
]


# -- imports -----------------------------------------------------------------------------

IMPORTS = """
import sys
{first}
import nengo_wd
import keras_lmu, nengo_loihi, numpy
import tensorflow as tf

print(issubclass(keras_lmu.LMU, tf.keras.layers.Layer))
print([name for name in sys.modules if name.startswith("keras.src.engine")])
print(nengo_loihi.neurons.nengo_rates(nengo_loihi.LoihiLIF(), [1], [2], [3]).shape)
print(sum(type(finder).__name__ == "Watch" for finder in sys.meta_path) <= 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "import nengo_loihi"])
def test_names_of_keras_2_are_there_for_the_import_alone(first, tmp_path):
    for library in ("nengo_loihi", "keras_lmu"):
        pytest.importorskip(library)
    script = tmp_path / "script.py"
    script.write_text(IMPORTS.format(first=first), encoding="utf-8")
    ran = run_in_fresh_python(script, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    has_keras_2 = tf.keras.Model.__module__.startswith("keras.")  # under its old name
    engine = ["[]"] if not has_keras_2 else ran.stdout.splitlines()[1:2]
    assert ran.stdout.splitlines() == ["True", *engine, "(1, 1)", "True"]


def test_what_needs_no_help_is_found_by_others():
    assert hooks.Watch().find_spec("nengo_loihi.version") is None
    assert hooks.Watch().find_spec("keras_lmu") is None


def test_a_module_that_nobody_finds_stays_unfound(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [])
    assert hooks.Watch().find_spec(hooks.LMU) is None


# -- NumPy -------------------------------------------------------------------------------


@pytest.mark.skipif(np.__version__.startswith("1."), reason="NumPy 1 does so itself")
def test_arrays_are_copied_where_they_must_be():
    numbers = np.arange(3)
    assert bridge.NUMPY_1.array(numbers, copy=False, dtype=numbers.dtype) is numbers
    for kwargs in (dict(dtype=float, copy=False), dict(copy=True), {}):
        found = bridge.NUMPY_1.array(numbers, **kwargs)
        assert not np.shares_memory(found, numbers)
        np.testing.assert_array_equal(found, numbers)
    assert bridge.NUMPY_1.array(2, copy=False, ndmin=2).shape == (1, 1)


def test_arrays_of_bytes_can_be_written():
    found = bridge.NUMPY_1.fromstring(b"\x01\x00\x02", np.uint8)
    found += 1
    assert found.tolist() == [2, 1, 3]


@pytest.mark.parametrize("filter_data", ["filt", "filtfilt"])
def test_one_dimensional_data_are_filtered_as_a_column(filter_data, rng):
    data = rng.uniform(-1, 1, size=30)
    for synapse in (nengo.Lowpass(0.01), nengo.Alpha(0.02)):
        filtered = getattr(synapse, filter_data)
        expected = filtered(data[:, None], dt=0.002)[:, 0]
        for kwargs in ({}, {"axis": 0}, {"axis": -1}):
            np.testing.assert_array_equal(filtered(data, dt=0.002, **kwargs), expected)
        np.testing.assert_array_equal(filtered(data.tolist(), dt=0.002), expected)
        rows = filtered(np.array([data, -data]), dt=0.002, axis=1)
        np.testing.assert_allclose(rows, [expected, -expected], rtol=1e-9, atol=1e-12)
    with pytest.raises(np.exceptions.AxisError if hasattr(np, "exceptions") else np.AxisError):
        getattr(nengo.Lowpass(0.01), filter_data)(data, axis=2)


def test_an_emulated_chip_computes_what_nengo_does(rng):
    """Weights of neurons, an encoded connection, and rates, which all made arrays."""
    nengo_loihi = pytest.importorskip("nengo_loihi")
    with nengo.Network(seed=0) as net:
        source = nengo.Node([0.5])
        a, b = nengo.Ensemble(100, 1), nengo.Ensemble(100, 1)
        nengo.Connection(source, a)
        nengo.Connection(a, b)
        nengo.Connection(a.neurons, b.neurons, transform=1e-5 * rng.normal(size=(100, 100)))
        probe = nengo.Probe(b, synapse=0.05)
    with nengo_loihi.Simulator(net, progress_bar=False) as sim:
        sim.run(0.4)
    assert np.mean(sim.data[probe][-100:]) == pytest.approx(0.5, abs=0.1)


def test_weights_of_8_bits_are_those_of_the_chip(rng):
    """Each level has an integer of its own, in proportion; other weights are rounded."""
    nengo_loihi = pytest.importorskip("nengo_loihi")
    plain = (0.02 * rng.normal(size=(30, 40))).astype(np.float32)
    grid = nengo_wd.regularizers.TowardsGrid(1.0, bits=8)
    for weights, tolerance in ((np.array(grid.shrunk(plain, np.float32(1))), 1e-6), (plain, None)):
        with nengo.Network(seed=0) as net:
            pre, post = (
                nengo.Ensemble(n, 1, gain=np.ones(n), bias=np.ones(n)) for n in weights.shape[::-1]
            )
            nengo.Connection(pre.neurons, post.neurons, transform=weights)
        with nengo_loihi.Simulator(net, progress_bar=False) as sim:
            synapses = [synapse for block in sim.model.blocks for synapse in block.synapses]
        (on_chip,) = (np.squeeze(one.weights).T for one in synapses if one.n_axons == 40)
        fitted = np.sum(on_chip * weights) / np.sum(on_chip.astype(float) ** 2)
        farthest = np.max(np.abs(fitted * on_chip - weights)) / np.max(np.abs(weights))
        assert farthest < tolerance if tolerance else farthest > 1e-3


@pytest.mark.parametrize("target, tolerance", [("simreal", 0), ("sim", 0.05)])
def test_native_network_spikes_on_the_emulator_as_in_nengo_dl(target, tolerance, rng):
    """Without rounding each neuron has as many spikes; with 8 bits, all together almost have."""
    nengo_loihi = pytest.importorskip("nengo_loihi")
    pytest.importorskip("nengo_extras")
    values = rng.uniform(0, 1, size=12)
    with nengo.Network(seed=0) as net:
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([100])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        spiking = nengo_dl.Layer(nengo_loihi.LoihiSpikingRectifiedLinear(amplitude=0.01))
        x = nengo.Node(values)
        conv = nengo_wd.RegularizedConv2D
        layers = [
            conv(4, (4, 1), strides=(2, 1), input_shape=(12, 1, 1), bias_initializer="ones"),
            conv(6, (3, 1), strides=(2, 1), input_shape=(5, 1, 4), bias_initializer="ones"),
            nengo_wd.RegularizedDense(10, bias_initializer="ones"),
        ]
        probes = []
        for layer in layers:
            x = spiking(nengo_dl.Layer(layer)(x, synapse=0.005 if probes else None))
            probes.append(nengo.Probe(x))
    with simulator(net) as sim:
        sim.run_steps(100)
        expected = [np.count_nonzero(sim.data[probe], axis=0) for probe in probes]
        native = nengo_wd.native(sim)
    nengo_loihi.add_params(native.network)
    native.network.config[native.network.all_ensembles[0]].on_chip = False
    with nengo_loihi.Simulator(native.network, target=target, progress_bar=False) as sim:
        sim.run_steps(100)
        found = [np.count_nonzero(sim.data[native[probe]], axis=0) for probe in probes]
    for some, others in zip(found, expected):
        assert np.sum(others) > 20
        if tolerance:
            some, others = np.sum(some), np.sum(others)
        np.testing.assert_allclose(some, others, rtol=tolerance)


# -- Legendre memory units ---------------------------------------------------------------

STEPS, SIZE = 5, 2


def network(keras_lmu, regularizer):
    cell = tf.keras.layers.SimpleRNNCell(3)
    layer = keras_lmu.LMU(1, 4, STEPS, cell, kernel_regularizer=regularizer)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        source = nengo.Node(np.zeros(STEPS * SIZE))
        node = nengo_dl.TensorNode(
            layer, shape_in=(STEPS, SIZE), shape_out=(3,), pass_time=False, label="memory"
        )
        nengo.Connection(source, node, synapse=None)
        probe = nengo.Probe(node)
    return net, source, probe, layer


def kernel_of(layer):
    """Return the weights from the inputs to the memory, which the regularizer is for."""
    (kernel,) = (weight for weight in layer.weights if weight.shape == (SIZE, 1))
    return kernel


def test_memory_unit_is_counted_once_trained_and_saved(rng, tmp_path):
    keras_lmu = pytest.importorskip("keras_lmu")
    l2 = tf.keras.regularizers.l2(0.5)
    inputs = rng.uniform(-1, 1, size=(4, 1, STEPS * SIZE))
    zeros = np.zeros((4, 1, 3))
    net, source, probe, layer = network(keras_lmu, l2)
    with simulator(net, minibatch_size=4) as sim:
        (before,) = values(sim, [kernel_of(layer)])
        penalty = 0.5 * np.sum(before.astype(np.float64) ** 2)
        assert list(nengo_wd.regularization_losses(sim).values()) == pytest.approx([penalty])
        objective = nengo_wd.regularized_objective(sim, {probe: "mse"})
        sim.compile(sgd(0.0), loss=objective)
        predicted = sim.predict(inputs, verbose=0)[probe]
        total = sim.evaluate(inputs, {probe: zeros}, verbose=0)["loss"]
        assert total == pytest.approx(np.mean(predicted**2) + penalty, rel=1e-5)
        zero = nengo_wd.regularized_objective(sim, {probe: lambda one, other: 0 * other[..., 0]})
        sim.compile(sgd(0.125), loss=zero)
        sim.fit(inputs, {probe: zeros}, verbose=0)
        (after,) = values(sim, [kernel_of(layer)])
        np.testing.assert_allclose(after, before * (1 - 0.125), rtol=1e-6)
        sim.save_params(str(tmp_path / "memory"))
        trained = sim.predict(inputs, verbose=0)[probe]
    net, source, probe, layer = network(keras_lmu, copy.copy(l2))
    with simulator(net, minibatch_size=4) as sim:
        sim.load_params(str(tmp_path / "memory"))
        np.testing.assert_array_equal(sim.predict(inputs, verbose=0)[probe], trained)


def test_memory_unit_takes_proximal_steps():
    keras_lmu = pytest.importorskip("keras_lmu")
    net, source, probe, layer = network(keras_lmu, tf.keras.regularizers.l1(100.0))
    with simulator(net) as sim:
        sim.compile(nengo_wd.proximal_regularization(sim, sgd(0.125)), loss={probe: "mse"})
        sim.fit(np.zeros((1, 1, STEPS * SIZE)), {probe: np.zeros((1, 1, 3))}, verbose=0)
        assert not np.any(values(sim, [kernel_of(layer)])[0])


def test_settings_of_a_memory_unit_that_has_a_regularizer_are_refused():
    keras_lmu = pytest.importorskip("keras_lmu")
    net, source, probe, layer = network(keras_lmu, "l2")
    net.config[net.nodes[1]].regularizer = "l1"
    with simulator(net) as sim:
        with pytest.raises(ValidationError, match="memory"):
            nengo_wd.regularized_objective(sim, {probe: "mse"})
