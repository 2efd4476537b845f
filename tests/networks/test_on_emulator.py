"""A trained network of LIF neurons on the emulator of Loihi, against the same one in NengoDL."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import simulator

import nengo_wd
from nengo_wd import nengo_dl

N_CLASSES, N_SHOWN, N_STEPS = 3, 6, 100
# the chip has this decay as a whole number of 4095; without rounding, others would not be the same
TAU_RC = -0.001 / np.log1p(-200 / 4095)  # seconds, with steps of one millisecond


def build(neuron_type, n_inputs):
    """Return a network of three layers, its input, its output, and the probes of its neurons."""
    dense, probes = nengo_wd.RegularizedDense, []
    with nengo.Network(seed=0) as net:
        nengo_dl.configure_settings(dtype="float64", lif_smoothing=0.02, stateful=False)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([100])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        x = source = nengo.Node(np.zeros(n_inputs))
        for _ in range(3):
            x = nengo_dl.Layer(dense(20, dtype="float64"))(x)
            x = nengo_dl.Layer(neuron_type)(x)
            probes.append(nengo.Probe(x))
        output = nengo.Probe(nengo_dl.Layer(dense(N_CLASSES, dtype="float64"))(x))
    return net, source, output, probes


def train(net, source, output, inputs, labels):
    """Train on rates, without filters, and have filters between neurons from then on."""
    with simulator(net, minibatch_size=32, seed=0) as sim:
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        sim.compile(tf.keras.optimizers.Adam(0.01), loss={output: loss})
        examples = {source: inputs[:, None]}, {output: labels[:, None, None]}
        sim.fit(*examples, epochs=15, verbose=0)
    for connection in net.all_connections:
        if isinstance(connection.pre_obj, nengo.ensemble.Neurons):
            connection.synapse = nengo.Lowpass(0.005)


def emulated(nengo_loihi, network, source, probes, inputs, target):
    """Return what probes record of each input, shown to neurons at rest."""
    found = []
    for source.output in inputs:
        with nengo_loihi.Simulator(network, target=target, progress_bar=False) as sim:
            sim.run_steps(N_STEPS)
            found.append([sim.data[probe] for probe in probes])
    return [np.array(one) for one in zip(*found)]


@pytest.mark.generation(3)
def test_trained_lif_neurons_spike_on_the_emulator_as_in_nengo_dl(rng):
    """Without rounding at the same times; with 8 bits, almost as often, for the same answers."""
    nengo_loihi = pytest.importorskip("nengo_loihi")
    pytest.importorskip("nengo_extras")
    labels = np.tile(np.arange(N_CLASSES), 64)
    inputs = rng.normal(size=(N_CLASSES, 8))[labels] + 0.3 * rng.normal(size=(len(labels), 8))
    neuron_type = nengo_loihi.LoihiLIF(tau_rc=TAU_RC, amplitude=0.01)
    net, source, output, probes = build(neuron_type, inputs.shape[1])
    train(net, source, output, inputs, labels)
    inputs, labels = inputs[:N_SHOWN], labels[:N_SHOWN]
    with simulator(net, minibatch_size=N_SHOWN) as sim:
        shown = np.tile(inputs[:, None], (1, N_STEPS, 1))
        found = sim.predict({source: shown}, verbose=0)
        native = nengo_wd.native(sim)
    nengo_loihi.add_params(native.network)
    native.network.config[native.network.all_ensembles[0]].on_chip = False
    answers = found[output].mean(axis=1).argmax(axis=-1)
    np.testing.assert_array_equal(answers, labels)
    expected = [found[probe] > 0 for probe in probes]
    objects = native.network, native[source], [native[one] for one in (*probes, output)]
    *real, _ = emulated(nengo_loihi, *objects, inputs, "simreal")
    *rounded, outputs = emulated(nengo_loihi, *objects, inputs, "sim")
    for spikes, exact, few_bits in zip(expected, real, rounded):
        assert np.sum(spikes) > 100
        assert np.sum(spikes != (exact > 0)) <= 0.02 * np.sum(spikes)
        assert np.sum(few_bits > 0) == pytest.approx(np.sum(spikes), rel=0.05)
    np.testing.assert_array_equal(outputs.mean(axis=1).argmax(axis=-1), answers)
