"""Events, synapses and joules, against spikes that probes recorded and fan-outs by hand.

A fan-out is worked out with Keras layers or arrays of ones, to which one-hot inputs are given.
"""

import pickle
import warnings

import nengo
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from generations import simulator, use_dtype
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = pytest.mark.generation(3)
keras = tf.keras.layers
AMPLITUDE, STEPS, EXAMPLES = 0.1, 30, 4


def fan_out(layer, shape):
    """Count, for each element of an input, the elements of the output that it can change."""
    size = int(np.prod(shape))
    outputs = layer(tf.reshape(tf.eye(size), (-1, *shape))).numpy()
    return np.count_nonzero(outputs.reshape(size, -1), axis=1)


def ones(cls, *args, **kwargs):
    return cls(*args, kernel_initializer="ones", use_bias=False, **kwargs)


def spikes(recorded, amplitude=AMPLITUDE, dt=0.001):
    """Count the spikes of each neuron, on the mean of the examples."""
    return np.abs(recorded).astype(float).sum(axis=1).mean(axis=0) * dt / amplitude


def neurons(size, neuron_type=None, **kwargs):
    """Return neurons that fire at many rates."""
    rng = np.random.RandomState(size)
    return nengo.Ensemble(
        size,
        1,
        neuron_type=neuron_type or nengo.LIF(amplitude=AMPLITUDE),
        gain=rng.uniform(0.5, 3, size=size),
        bias=rng.uniform(0, 3, size=size),
        **kwargs,
    )


def frame_of(sim, *args, **kwargs):
    frame = nengo_wd.Energy(sim, *args, **kwargs).to_frame()
    return frame.set_index("name")


# -- what leaves one population, in every way --------------------------------------------


class Fan:
    """48 neurons (an image of 4 x 6 with 2 channels), and all kinds of synapses that leave them."""

    SHAPE = (4, 6, 2)
    CONV_2D = {
        "strided": dict(strides=2, padding="valid"),
        "padded": dict(strides=1, padding="same"),
        "both": dict(strides=(2, 3), padding="same"),
    }

    def __init__(self):
        self.by_hand = {}
        with nengo.Network(seed=0) as self.net:
            self.source = nengo.Node(np.zeros(48), label="source")
            self.a = neurons(48, label="a")
            nengo.Connection(self.source, self.a.neurons, synapse=None, label="input")
            self.by_hand["input"] = None
            self.add_layers()
            self.add_transforms()
            self.add_views()
            self.probe = nengo.Probe(self.a.neurons)
        rng = np.random.RandomState(0)
        self.data = {self.source: rng.uniform(0, 2, (EXAMPLES, STEPS, 48))}

    def simulator(self):
        return simulator(self.net, minibatch_size=2)

    def add_layers(self):
        for name, kwargs in self.CONV_2D.items():
            layer = nengo_wd.RegularizedConv2D(
                3, 3, **kwargs, input_shape=self.SHAPE, name=name, activation=None
            )
            nengo_dl.Layer(layer)(self.a.neurons)
            self.by_hand[name] = fan_out(ones(keras.Conv2D, 3, 3, **kwargs), self.SHAPE)
        nengo_dl.Layer(nengo_wd.RegularizedDense(7, name="dense"))(self.a.neurons)
        self.by_hand["dense"] = np.full(48, 7)
        conv_1d = dict(filters=2, kernel_size=3, dilation_rate=2, padding="causal")
        layer = nengo_wd.RegularizedConv1D(**conv_1d, input_shape=(24, 2), name="causal")
        nengo_dl.Layer(layer)(self.a.neurons)
        self.by_hand["causal"] = fan_out(ones(keras.Conv1D, **conv_1d), (24, 2))
        layer = nengo_wd.RegularizedConv3D(2, 2, strides=2, input_shape=(4, 3, 2, 2), name="three")
        nengo_dl.Layer(layer)(self.a.neurons)
        self.by_hand["three"] = fan_out(ones(keras.Conv3D, 2, 2, strides=2), (4, 3, 2, 2))
        self.add_chain()

    def add_chain(self):
        """Add a convolution, a pool and a dense layer, which act as one."""
        conv = nengo_wd.RegularizedConv2D(3, 2, input_shape=self.SHAPE, name="first")
        pool = nengo_dl.TensorNode(
            keras.AveragePooling2D(2), shape_in=(3, 5, 3), pass_time=False, label="pool"
        )
        last = nengo_wd.RegularizedConv1D(2, 2, input_shape=(2, 3), name="last")
        x = nengo_dl.Layer(conv)(self.a.neurons)
        nengo.Connection(x, pool, synapse=None)
        nengo_dl.Layer(last)(pool)
        chain = [
            ones(keras.Conv2D, 3, 2),
            keras.AveragePooling2D(2),
            keras.Reshape((2, 3)),
            ones(keras.Conv1D, 2, 2),
        ]
        self.by_hand["last"] = fan_out(tf.keras.Sequential(chain), self.SHAPE)

    def add_transforms(self):
        for name, kwargs in self.CONV_2D.items():
            strides = tuple(np.broadcast_to(kwargs["strides"], 2))
            transform = nengo.Convolution(
                5, self.SHAPE, strides=strides, padding=kwargs["padding"], kernel_size=(3, 3)
            )
            self.add(f"native {name}", transform, transform.size_out)
            self.by_hand[f"native {name}"] = fan_out(ones(keras.Conv2D, 5, 3, **kwargs), self.SHAPE)
        mask = np.random.RandomState(1).uniform(size=(9, 48)) < 0.2
        sparse = nengo.Sparse((9, 48), init=scipy.sparse.coo_matrix(mask.astype(float)))
        self.add("sparse", sparse, 9)
        self.by_hand["sparse"] = mask.sum(axis=0)
        self.add("matrix", np.eye(3, 48), 3)
        self.by_hand["matrix"] = np.full(48, 3)
        self.add("factor", 2.0, 48)
        self.by_hand["factor"] = np.ones(48)

    def add(self, label, transform, size):
        end = nengo.Node(size_in=size)
        nengo.Connection(self.a.neurons, end, transform=transform, label=label)

    def add_views(self):
        """Add decoders and encoders, recurrent synapses, slices and Nodes in between."""
        nengo.Connection(self.a.neurons, self.a.neurons, transform=np.zeros((48, 48)), label="loop")
        self.by_hand["loop"] = np.full(48, 48)
        nengo.Connection(
            self.a.neurons[4:20:2], self.a.neurons[[1, 3]], transform=np.zeros((2, 8)), label="view"
        )
        self.by_hand["view"] = np.where(np.isin(np.arange(48), np.arange(4, 20, 2)), 2, 0)
        b = nengo.Ensemble(10, 3, label="b")
        nengo.Connection(self.a, b[1], label="decoded")
        self.by_hand["decoded"] = np.full(48, 10)
        solver = nengo.solvers.LstsqL2(weights=True)
        nengo.Connection(self.a, b[0], solver=solver, label="weights")
        self.by_hand["weights"] = np.full(48, 10)
        with nengo.Network():
            relay, other = nengo.Node(size_in=4, label="relay"), nengo.Node(size_in=2)
            c = neurons(3, label="c")
        nengo.Connection(self.a.neurons[:4], relay, synapse=None, label="to relay")
        nengo.Connection(relay[[0, 2]], other, synapse=None)
        nengo.Connection(other, c.neurons, transform=np.ones((3, 2)), label="from relay")
        self.by_hand["from relay"] = np.where(np.isin(np.arange(48), [0, 2]), 3, 0)


@pytest.fixture(scope="module")
def fan():
    model = Fan()
    with model.simulator() as sim:
        before = sim.predict(model.data, verbose=0)[model.probe]
        model.energy = nengo_wd.Energy(sim, model.data)
        after = sim.predict(model.data, verbose=0)[model.probe]
    model.frame = model.energy.to_frame().set_index("name")
    np.testing.assert_array_equal(before, after)
    model.spikes = spikes(before)
    assert 0 < model.spikes.min() + 1 and len(np.unique(model.spikes)) > 5
    return model


def test_events_of_every_kind_of_synapse(fan):
    for name, fan_out_by_hand in fan.by_hand.items():
        if fan_out_by_hand is not None:
            row = fan.frame.loc[name]
            assert row.synapses == fan_out_by_hand.sum(), name
            assert row.events == pytest.approx(fan.spikes @ fan_out_by_hand, rel=1e-6), name


def test_no_other_synapses_are_counted(fan):
    with_synapses = fan.frame.index[fan.frame.synapses > 0]
    assert set(with_synapses) == set(fan.by_hand)


def test_rows_are_in_the_order_of_the_connections(fan):
    with_synapses = [name for name in fan.frame.index if name in fan.by_hand]
    inner = ["loop", "view", "weights", "decoded"]  # which end in neurons of this network
    layers = ["strided", "padded", "both", "dense", "causal", "three"]
    transforms = ["native strided", "native padded", "native both", "sparse", "matrix", "factor"]
    assert set(with_synapses[1:]) == {*inner, *layers, *transforms, "from relay", "last"}
    for group in (layers, transforms):
        assert [name for name in with_synapses if name in group] == group


def test_neurons_and_their_updates(fan):
    with_neurons = fan.frame[fan.frame.neurons > 0]
    assert dict(with_neurons.neurons) == {"a": 48, "b": 10, "c": 3}
    assert dict(with_neurons.updates) == {"a": 48 * STEPS, "b": 10 * STEPS, "c": 3 * STEPS}


def test_an_input_has_an_event_at_each_step_with_a_value(fan):
    assert fan.frame.loc["input"].synapses == 48
    assert fan.frame.loc["input"].events == np.count_nonzero(fan.data[fan.source]) / EXAMPLES


# -- joules ------------------------------------------------------------------------------


class Small:
    """Two populations of neurons with layers in between, in float64 or float32."""

    def __init__(self, dtype="float32", **kwargs):
        with nengo.Network(seed=0) as self.net:
            use_dtype(dtype)
            self.source = nengo.Node(np.zeros(4), label="source")
            self.hidden = nengo_wd.RegularizedDense(
                6, kernel_initializer="ones", bias_initializer="ones", name="hidden"
            )
            self.a, self.b = neurons(6, label="a", **kwargs), neurons(5, label="b")
            x = nengo_dl.Layer(self.hidden)(self.source)
            nengo.Connection(x, self.a.neurons, synapse=None)
            self.conn = nengo.Connection(
                self.a.neurons, self.b.neurons, transform=np.ones((5, 6)), label="ab"
            )
            self.probes = [nengo.Probe(self.a.neurons), nengo.Probe(self.b.neurons)]
        self.data = {self.source: np.ones((2, 20, 4))}


def test_joules(monkeypatch):
    model = Small()
    monkeypatch.setattr(nengo_wd.energy.devices, "devices", dict(nengo_wd.energy.devices.devices))
    with simulator(model.net) as sim:
        energy = nengo_wd.Energy(sim, model.data, passes=3)
        recorded = sim.predict(model.data, verbose=0)[model.probes[0]]
    events = 5 * spikes(recorded).sum()
    by_inputs = 4 * 6 * 20
    assert events > 0
    on_loihi = events * 27.1e-12 + (6 + 5) * 20 * 81e-12
    assert energy.total("loihi", inputs=False) == pytest.approx(on_loihi)
    assert energy.total("loihi") == pytest.approx(on_loihi + by_inputs * 27.1e-12)
    on_cpu = 3 * (5 * 6 + 11) * 8.6e-9  # whatever the spikes
    assert energy.total("cpu", inputs=False) == pytest.approx(on_cpu)
    assert energy.total("cpu") == pytest.approx(on_cpu + 3 * 4 * 6 * 8.6e-9)
    nengo_wd.Energy.register_device("mine", 1.0, 0.0, spiking=True)
    assert energy.total("mine") == pytest.approx(events + by_inputs)
    frame = energy.to_frame(inputs=False).set_index("name")
    assert frame.joules_mine.sum() == pytest.approx(events)
    assert frame.joules_loihi["a"] == pytest.approx(6 * 20 * 81e-12)
    assert (energy.n_examples, energy.n_steps) == (2, 20)


def test_joules_of_each_neuron():
    """Their updates, and what their spikes cost at the synapses that leave them."""
    model = Small()
    with simulator(model.net) as sim:
        energy = nengo_wd.Energy(sim, model.data, passes=3)
        recorded = sim.predict(model.data, verbose=0)
    a, b = (spikes(recorded[probe]) for probe in model.probes)
    on_loihi, on_cpu = energy.by_neuron("loihi"), energy.by_neuron("cpu")
    assert list(on_loihi) == list(on_cpu) == ["a", "b"]
    assert len(np.unique(a)) > 1 and b.shape == (5,)
    np.testing.assert_allclose(on_loihi["a"], 20 * 81e-12 + 5 * a * 27.1e-12, rtol=1e-6)
    np.testing.assert_allclose(on_loihi["b"], np.full(5, 20 * 81e-12), rtol=1e-6)
    np.testing.assert_allclose(on_cpu["a"], np.full(6, 3 * (1 + 5) * 8.6e-9), rtol=1e-6)
    np.testing.assert_allclose(on_cpu["b"], np.full(5, 3 * 8.6e-9), rtol=1e-6)
    with pytest.raises(ValidationError, match="'brain' is not a device"):
        energy.by_neuron("brain")


def test_neurons_add_up_to_the_total(fan):
    for device in ("loihi", "spinnaker2", "cpu"):
        joules = fan.energy.by_neuron(device)
        assert {name: len(one) for name, one in joules.items()} == {"a": 48, "b": 10, "c": 3}
        total = sum(one.sum() for one in joules.values())
        assert total == pytest.approx(fan.energy.total(device, inputs=False), rel=1e-9)


def test_copies_need_no_simulator():
    model = Small()
    with simulator(model.net) as sim:
        energy = nengo_wd.Energy(sim, model.data)
    copy = pickle.loads(pickle.dumps(energy))
    assert copy.to_frame().equals(energy.to_frame())


# -- neurons -----------------------------------------------------------------------------


def kinds_of_neurons():
    """Return types of neurons, with their amplitudes."""
    return {
        "several in a step": (nengo.SpikingRectifiedLinear(amplitude=2), 2),
        "negative": (nengo_dl.neurons.SpikingLeakyReLU(amplitude=0.1), 0.1),
        "adaptive": (nengo.AdaptiveLIF(amplitude=0.5), 0.5),
        "without amplitude": (nengo.Izhikevich(), 1),
        "of rates": (nengo.RegularSpiking(nengo.LIFRate(), amplitude=0.25), 0.25),
    }


@pytest.mark.filterwarnings("ignore:.*native TensorFlow implementation")
def test_kinds_of_neurons():
    kinds = kinds_of_neurons()
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        source = nengo.Node([2.0])
        for label, (neuron_type, _) in kinds.items():
            a = neurons(6, neuron_type, label=label)
            a.gain, a.bias = np.linspace(-1000, 2000, 6), np.linspace(1, 10, 6)
            nengo.Connection(source, a.neurons, transform=np.ones((6, 1)), synapse=None)
            nengo.Connection(a.neurons, nengo.Node(size_in=5), transform=np.ones((5, 6)))
        probes = [nengo.Probe(ensemble.neurons) for ensemble in net.ensembles]
    with simulator(net) as sim:
        recorded = sim.predict(n_steps=20, verbose=0)
        frame = frame_of(sim, n_steps=20)
    for probe, (label, (_, amplitude)) in zip(probes, kinds.items()):
        by_hand = 5 * spikes(recorded[probe], amplitude).sum()
        assert frame.loc[f"{label}->node"].events == pytest.approx(by_hand, rel=1e-6)
        assert by_hand > 0
    assert recorded[probes[0]].max() > 2 * 2 / 0.001 and recorded[probes[1]].min() < 0


def test_neurons_without_spikes_send_values():
    with pytest.warns(UserWarning, match=r"'b'.* do not spike \(RectifiedLinear\)"):
        with nengo.Network(seed=0) as net:
            a = neurons(4, label="a")
            b = neurons(3, nengo.RectifiedLinear(), label="b")
            nengo.Connection(a.neurons, b.neurons, transform=np.zeros((3, 4)))
            nengo.Connection(b.neurons, a.neurons, transform=np.zeros((4, 3)), label="back")
        b.bias = [1, -1, 2]
        with simulator(net) as sim:
            frame = frame_of(sim, n_steps=10)
    assert frame.loc["back"].events == 2 * 4 * 10
    assert "without spikes" in frame.loc["b"].note


def test_layers_with_an_activation():
    with nengo.Network(seed=0) as net:
        a = neurons(4, label="a")
        layer = nengo_wd.RegularizedDense(3, activation="relu", name="relu")
        x = nengo_dl.Layer(layer)(a.neurons)
        nengo_dl.Layer(nengo_wd.RegularizedDense(2, name="readout"))(x)
        probe = nengo.Probe(x)
    with simulator(net) as sim:
        with pytest.warns(UserWarning, match="do not spike"):
            frame = frame_of(sim, n_steps=10)
        values = sim.predict(n_steps=10, verbose=0)[probe]
    assert tuple(frame.loc["relu"][["neurons", "synapses"]]) == (3, 12)
    assert frame.loc["readout"].events == 2 * np.count_nonzero(values)


# -- weights -----------------------------------------------------------------------------


def test_weights_that_are_zero_now():
    model = Small()
    kernel = np.ones((4, 6))
    kernel[1:3, :4] = 0
    with simulator(model.net) as sim:
        model.hidden.kernel.assign(kernel)
        with simulator(model.net):  # in which the layer is built again
            model.hidden.kernel.assign(np.ones((4, 6)))
            energy = nengo_wd.Energy(sim, model.data, skip_zeros=True)
            recorded = sim.predict(model.data, verbose=0)[model.probes[0]]
    frame = energy.to_frame().set_index("name")
    assert frame.loc["hidden"].synapses == np.count_nonzero(kernel)
    assert frame.loc["ab"].events == pytest.approx(5 * spikes(recorded).sum(), rel=1e-6)


def test_zeros_of_native_objects(rng):
    dense = (rng.uniform(size=(5, 6)) < 0.4).astype(float)
    kernel = (rng.uniform(size=(2, 2, 3)) < 0.4).astype(float)
    sparse = scipy.sparse.coo_matrix(([1.0, 0.0], ([0, 1], [2, 3])), (5, 6))
    with nengo.Network(seed=0) as net:
        a = neurons(6, label="a")
        a.bias = np.full(6, 9.0)  # which fire by themselves
        transforms = {
            "dense": dense,
            "convolution": nengo.Convolution(
                3, (3, 2), kernel_size=(2,), strides=(1,), init=kernel
            ),
            "sparse": nengo.Sparse((5, 6), init=sparse),
            "factors": np.array([1.0, 0, 2, 0, 0, 3]),
        }
        for label, transform in transforms.items():
            end = nengo.Node(size_in=getattr(transform, "size_out", 6 if label == "factors" else 5))
            nengo.Connection(a.neurons, end, transform=transform, label=label)
    with simulator(net) as sim:
        counted = frame_of(sim, n_steps=40).synapses
        without = frame_of(sim, n_steps=40, skip_zeros=True).synapses
    assert dict(counted[counted > 0]) == dict(dense=30, convolution=24, sparse=2, factors=6)
    in_convolution = 2 * np.count_nonzero(kernel)  # at two places
    expected = dict(dense=dense.sum(), convolution=in_convolution, sparse=1, factors=3)
    assert dict(without[without > 0]) == expected


class Zeros:
    """Neurons that nothing reaches, of which one fires by itself, in two populations."""

    def __init__(self):
        self.first = np.array([[3.0, 0], [0, 0], [5, 0], [0, 0]])
        self.second = np.array([[0.0, 1, 0, 0], [1e-4, 0, 0, 0], [0, 0, 0, 0]])
        with nengo.Network(seed=0) as self.net:
            self.source = nengo.Node(np.zeros(2), label="source")
            kwargs = dict(neuron_type=nengo.SpikingRectifiedLinear(amplitude=0.5))
            a = nengo.Ensemble(4, 1, gain=np.full(4, 90.0), bias=[90, -9, -9, 90], **kwargs)
            b = nengo.Ensemble(3, 1, gain=np.ones(3), bias=[-1, -1, -1], **kwargs)
            a.label, b.label = "a", "b"
            nengo.Connection(self.source, a.neurons, transform=90 * self.first, label="input")
            nengo.Connection(a.neurons, b.neurons, transform=self.second, label="ab")
            self.probe = nengo.Probe(a.neurons)
        self.data = {self.source: np.ones((2, 40, 2))}


def test_zeros_by_device():
    """Neuromorphic devices leave out zeros and neurons that never fire, and others do not."""
    model = Zeros()
    with simulator(model.net) as sim:
        fired = spikes(sim.predict(model.data, verbose=0)[model.probe], 0.5)
        full = nengo_wd.Energy(sim, model.data, passes=2)
        without = nengo_wd.Energy(sim, model.data, skip_zeros=True, passes=2)
    assert [one > 0 for one in fired] == [True, False, True, True]
    shown = without.to_frame().set_index("name")
    assert dict(shown.neurons) == {"input": 0, "a": 3, "ab": 0, "b": 1}
    assert dict(shown.synapses) == {"input": 2, "a": 0, "ab": 1, "b": 0}
    on_loihi = (2 * 40 + fired[0]) * 27.1e-12 + (3 + 1) * 40 * 81e-12
    assert without.total("loihi") == pytest.approx(on_loihi)
    on_loihi = (2 * 4 * 40 + 3 * fired.sum()) * 27.1e-12 + 7 * 40 * 81e-12
    assert full.total("loihi") == pytest.approx(on_loihi)
    for energy in (full, without):
        assert energy.total("cpu") == pytest.approx(2 * (8 + 12 + 7) * 8.6e-9)
        assert energy.by_neuron("cpu")["a"] == pytest.approx(np.full(4, 2 * 4 * 8.6e-9))
    update, event = 40 * 81e-12, 27.1e-12
    joules = [update + fired[0] * event, 0, update, update]  # synapses are left out, and a neuron
    assert without.by_neuron("loihi")["a"] == pytest.approx(np.array(joules))
    assert without.by_neuron("loihi")["b"] == pytest.approx(np.array([0, update, 0]))


def test_neurons_that_nothing_reads_or_reaches_are_billed_until_they_are_gone():
    """Of six neurons, five fire ten times; one of them is read at zero, and one not at all."""
    with nengo.Network() as net:
        kind = nengo.SpikingRectifiedLinear()
        bias = [125] * 5 + [0]  # Hz
        a = nengo.Ensemble(6, 1, neuron_type=kind, gain=np.ones(6), bias=bias, label="a")
        readout = nengo.Node(size_in=2)
        weights = np.array([[1, 2, 3, 0, 4], [5, 6, 7, 0, 8]])
        places = [0, 1, 2, 3, 5]
        nengo.Connection(a.neurons[places], readout, transform=weights, synapse=None)
        nengo.Probe(readout)
    with simulator(net) as sim:
        energies = [nengo_wd.Energy(sim, n_steps=80, skip_zeros=skip) for skip in (False, True)]
        smaller = nengo_wd.pruned(sim).network
    with simulator(smaller) as sim:
        energies.append(nengo_wd.Energy(sim, n_steps=80))
    counts = [  # events, updates; and on a CPU, synapses and neurons
        (4 * 10 * 2, 6 * 80, 10 + 6),
        (3 * 10 * 2, 5 * 80, 10 + 6),
        (3 * 10 * 2, 3 * 80, 6 + 3),
    ]
    for energy, (events, updates, on_cpu) in zip(energies, counts):
        assert energy.total("loihi") == pytest.approx(events * 27.1e-12 + updates * 81e-12)
        assert energy.total("cpu") == pytest.approx(on_cpu * 8.6e-9)


def test_weights_that_are_all_zero():
    """They are in the table, and cost what a device does with them."""
    with nengo.Network(seed=0) as net:
        a, b = neurons(4, label="a"), neurons(3, label="b")
        a.bias = np.full(4, 9.0)
        makes = {
            "matrix": (a.neurons, b.neurons, dict(transform=np.zeros((3, 4)))),
            "decoders": (a, b, dict(function=lambda x: 0)),
            "factor": (a, b, dict(transform=0)),
        }
        for label, (pre, post, kwargs) in makes.items():
            nengo.Connection(pre, post, label=label, **kwargs)
    with simulator(net) as sim:
        full = frame_of(sim, n_steps=20)
        without = frame_of(sim, n_steps=20, skip_zeros=True)
    for label in makes:
        assert full.synapses[label] == 12 and full.events[label] > 0
        assert without.synapses[label] == without.events[label] == 0
        assert without.joules_loihi[label] == 0
        assert without.joules_cpu[label] == full.joules_cpu[label] > 0


@pytest.mark.parametrize("minibatch_size", [None, 1, 2])
def test_weights_that_learn(minibatch_size):
    """Each example of a minibatch has its own; a synapse is there if it is in one of them."""
    rules = {"pes": nengo.PES(), "bcm": nengo.BCM(), "oja": nengo.Oja(), "decay": nengo_wd.Decay(1)}
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(1), label="source")
        a, b = neurons(4, label="a"), neurons(3, label="b")
        nengo.Connection(source, a, learning_rule_type=nengo.Voja(), label="voja")
        pes = nengo.Connection(a, b, learning_rule_type=rules.pop("pes"), label="pes")
        nengo.Connection(source, pes.learning_rule)
        for label, rule in rules.items():
            weights = np.arange(12.0).reshape(3, 4)  # of which one is zero
            nengo.Connection(
                a.neurons, b.neurons, transform=weights, learning_rule_type=rule, label=label
            )
    with simulator(net, minibatch_size=minibatch_size) as sim:
        data = {source: np.ones((minibatch_size or 1, 10, 1))}
        full, without = (frame_of(sim, data, skip_zeros=skip).synapses for skip in (False, True))
    assert dict(full[full > 0]) == dict(voja=4, pes=12, bcm=12, oja=12, decay=12)
    assert without["bcm"] == without["decay"] == 11


def test_what_was_trained_counts():
    model = Small()
    targets = {model.probes[1]: np.full((2, 20, 5), 100.0)}
    with simulator(model.net, minibatch_size=2) as sim:
        before = nengo_wd.Energy(sim, model.data).to_frame()
        sim.compile(tf.keras.optimizers.SGD(0.1), loss={model.probes[1]: "mse"})
        sim.fit(model.data, targets, verbose=0)
        recorded = sim.predict(model.data, verbose=0)[model.probes[0]]
        after = nengo_wd.Energy(sim, model.data).to_frame().set_index("name")
    assert after.loc["ab"].events == pytest.approx(5 * spikes(recorded).sum(), rel=1e-6)
    assert before.events[2] != after.events["ab"]


def test_synapses_that_proximal_steps_leave():
    """Those of a layer and of a connection, of which some weights are zero afterwards."""
    model = Small()
    with model.net:
        nengo_wd.configure_settings(regularizer=tf.keras.regularizers.l1(1.0))
    targets = {model.probes[1]: np.zeros((2, 20, 5))}
    with simulator(model.net, minibatch_size=2) as sim:
        norms = nengo_wd.WeightNorms(sim)
        for name, size in (("hidden.kernel", (4, 6)), ("ab.weights", (5, 6))):
            weights = np.linspace(0.001, 1, np.prod(size)).reshape(size)
            norms.parameters[name].variable.assign(weights)
        optimizer = nengo_wd.proximal_regularization(sim, tf.keras.optimizers.SGD(0.01))
        sim.compile(optimizer, loss={model.probes[1]: "mse"})
        sim.fit(model.data, targets, epochs=5, verbose=0)
        frame = frame_of(sim, model.data, skip_zeros=True)
        norms.record()
        weights = model.hidden.kernel.numpy(), np.asarray(sim.data[model.conn].weights)
    kernel, native = (np.count_nonzero(one) for one in weights)
    assert 0 < kernel < 24 and 0 < native < 30
    assert frame.loc["hidden"].synapses == kernel and frame.loc["ab"].synapses == native
    zeros = dict(zip(norms.names, norms.column("zeros")[-1]))
    assert zeros["hidden.kernel"] == pytest.approx(1 - kernel / 24)
    assert zeros["ab.weights"] == pytest.approx(1 - native / 30)


# -- the simulator stays as it is --------------------------------------------------------


def test_states_and_learned_weights_stay():
    with nengo.Network(seed=0) as net:
        a = neurons(6, label="a")
        conn = nengo.Connection(a, nengo.Node(size_in=1), learning_rule_type=nengo.PES(0.1))
        nengo.Connection(nengo.Node([1.0]), conn.learning_rule, label="error")
        probe = nengo.Probe(a.neurons)
    with simulator(net) as sim:
        sim.run_steps(7)
        weights = sim.data[conn].weights
        frame = frame_of(sim, n_steps=10)
        np.testing.assert_array_equal(sim.data[conn].weights, weights)
        assert (sim.n_steps, sim.data[probe].shape) == (7, (7, 6))
        recorded = sim.predict(n_steps=10, verbose=0)[probe]
    assert frame.loc["a->node"].events == pytest.approx(spikes(recorded).sum(), rel=1e-6)
    assert "bias" in frame.loc["node"].note  # a constant, to which no data was given


def test_one_compilation(monkeypatch):
    """The simulation is compiled once for a simulator, whatever the data and however often."""
    model, calls = Small(), []
    call = nengo_dl.tensor_graph.TensorGraph.call
    with simulator(model.net, minibatch_size=2) as sim:
        monkeypatch.setattr(
            nengo_dl.tensor_graph.TensorGraph,
            "call",
            lambda *args, **kwargs: calls.append(1) or call(*args, **kwargs),
        )
        one = frame_of(sim, model.data)
        longer = frame_of(sim, {model.source: np.ones((4, 40, 4))})
        again = frame_of(sim, model.data)
        assert len(calls) == 1
        assert again.equals(one) and longer.events["ab"] > one.events["ab"]
        model.hidden.kernel.assign(np.zeros((4, 6)))
        less = frame_of(sim, model.data)
        recorded = sim.predict(model.data, verbose=0)[model.probes[0]]
    assert less.events["ab"] == pytest.approx(5 * spikes(recorded).sum(), rel=1e-6)
    assert less.events["ab"] != one.events["ab"]


def test_one_time_step_is_warned_of():
    with nengo.Network(seed=0, label="brief") as net:
        neurons(4, label="a")
    with simulator(net) as sim, pytest.warns(UserWarning, match="brief.* one time step of data"):
        nengo_wd.Energy(sim, n_steps=1)


# -- what can't be counted ---------------------------------------------------------------


def test_unknown_functions_are_named():
    with nengo.Network(seed=0) as net:
        a, b = neurons(4, label="a"), neurons(3, label="b")
        node = nengo_dl.TensorNode(tf.tanh, shape_in=(4,), pass_time=False, label="mystery")
        nengo.Connection(a.neurons, node, synapse=None)
        nengo.Connection(node, b.neurons, transform=np.ones((3, 4)), label="known")
        probe = nengo.Probe(node, synapse=None)
    with simulator(net) as sim:
        with pytest.warns(UserWarning, match="mystery.* is not counted, because its function"):
            energy = nengo_wd.Energy(sim, n_steps=10)
        values = sim.predict(n_steps=10, verbose=0)[probe]
    frame = energy.to_frame().set_index("name")
    assert frame.loc["mystery"].note == "not counted: its function is not known"
    assert np.isnan(frame.loc["mystery"].events)
    events = frame.loc["known"].events
    assert events == 3 * np.count_nonzero(values)
    assert energy.total("loihi") == pytest.approx(events * 27.1e-12 + 7 * 10 * 81e-12)


@pytest.mark.parametrize("add", [keras.DepthwiseConv2D, keras.Conv2DTranspose, keras.MaxPool2D])
def test_layers_that_are_not_known(add):
    layer = add(2) if add is keras.MaxPool2D else add(*((1, 2) if "Tr" in add.__name__ else (2,)))
    with nengo.Network(seed=0) as net:
        a = neurons(16, label="a")
        node = nengo_dl.TensorNode(layer, shape_in=(4, 4, 1), pass_time=False)
        nengo.Connection(a.neurons, node, synapse=None)
    with simulator(net) as sim, pytest.warns(UserWarning, match="is not counted"):
        nengo_wd.Energy(sim, n_steps=2)


# -- converted networks ------------------------------------------------------------------


def test_converted_networks():
    inputs = tf.keras.Input((6, 6, 1))
    strided = dict(strides=2, padding="same", kernel_initializer="ones", activation="relu")
    conv = keras.Conv2D(2, 3, **strided)(inputs)
    x = keras.AveragePooling2D(2, strides=1)(conv)
    hidden = keras.Dense(4, activation="relu", kernel_initializer="ones")(keras.Flatten()(x))
    model = tf.keras.Model(inputs, keras.Dense(3, name="readout")(hidden))
    swapped = {tf.keras.activations.relu: nengo.SpikingRectifiedLinear()}
    converter = nengo_wd.Converter(model, swap_activations=swapped, scale_firing_rates=500)
    with converter.net:
        probes = [nengo.Probe(converter.layers[layer]) for layer in (conv, hidden)]
    data = {converter.inputs[inputs]: np.full((2, STEPS, 36), 1.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with simulator(converter.net, minibatch_size=2, device="/cpu:0") as sim:
            recorded = [sim.predict(data, verbose=0)[probe] for probe in probes]
            energy = nengo_wd.Energy(sim, data)
    amplitudes = [converter.layers[one].ensemble.neuron_type.amplitude for one in (conv, hidden)]
    of_conv, of_hidden = map(spikes, recorded, amplitudes)
    after = [keras.AveragePooling2D(2, strides=1), keras.Flatten(), ones(keras.Dense, 4)]
    expected = of_conv @ fan_out(tf.keras.Sequential(after), (3, 3, 2)) + 3 * of_hidden.sum()
    assert of_conv.sum() > 0 and of_hidden.sum() > 0
    counted = energy.to_frame(inputs=False)
    assert counted.events.sum() == pytest.approx(expected, rel=1e-6)
    by_input = fan_out(ones(keras.Conv2D, 2, 3, strides=2, padding="same"), (6, 6, 1)).sum() * STEPS
    assert energy.to_frame().events.sum() - expected == pytest.approx(by_input, rel=1e-6)
