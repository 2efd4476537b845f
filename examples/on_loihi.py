"""On Loihi
========

A network that is trained here, made smaller, and run on the emulator of Intel's Loihi.

Three convolutions and a dense layer classify the signals of MNIST-1D, with integrate-and-fire
neurons in between, as in ``smaller_network.py``. They are nengo-loihi's own kind: on the chip, a
spike resets a neuron to zero, and the excess above the threshold is lost. With nengo-extras,
NengoDL trains and runs them too.

- plain: Adam trains the network on firing rates, for as many epochs as the other one takes.
- regularized: Adam trains it with rate targets, ``spike_noise`` and weight decay; SGD empties
  channels, with proximal steps of a group lasso and without decay; ``nengo_wd.pruned`` removes
  them; Adam trains the rest, as in the beginning.

``nengo_wd.native`` then turns each into a network of Nengo's own objects, and nengo-loihi puts it
on its emulator, with the chip's 8-bit weights and its integers for currents and voltages. The chip
takes only spikes. So the host computes the first layer of neurons, which gets values, and the sum
of the last layer's spikes.

Each signal is shown for 100 ms, and each begins with a network at rest: it has its own simulator on
the emulator. The spikes of all three layers count. This includes the host's neurons, because they
have synapses on the chip, and the synapses of the last layer, which are the readout's. The values
that the host's neurons get are left out. ``nengo_wd.Energy`` counts the same things in NengoDL's
simulation.

Convolutions are two-dimensional, with a height of 1, because nengo-loihi has no others. Their
windows end where their inputs do, so each neuron is read: ``nengo_wd.pruned`` removes whole
channels, and convolutions remain.

Run it with ``python on_loihi.py``, on NengoDL 3, with nengo-loihi and nengo-extras. It takes about
15 minutes, and one with ``--short``.
"""

from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

if nengo_dl.__version__ < "3":
    raise SystemExit("on_loihi.py needs NengoDL 3")

import nengo_loihi
from smaller_network import (
    ADAM_RATE,
    EPOCHS,
    GROUP_EPOCHS,
    MAX_RATE,
    N_STEPS,
    READOUT,
    SGD,
    SGD_RATE,
    SHORT,
    Model,
    error,
    groups,
    load_splits,
    mean,
    noise,
    runs_by_key,
    set_strengths,
    simulator,
    targets,
    train,
)

SHOWN = 100 if SHORT else 300  # test signals
CHANNELS, KERNEL_SIZES = [25, 25, 25], [5, 4, 4]
DECAY = 0.1  # with Adam, times the learning rate
GROUPS = 5e-3  # strength of the group lasso
LAYERS = ["first (on the host)", "second", "third"]
COLORS = {"plain": "C6", "regularized": "C0"}
FIGURE = Path("figures/on_loihi.png")

decay = tf.Variable(0.0, trainable=False)  # as the strengths of smaller_network.py


def build():
    """Return the model."""
    with nengo.Network(seed=0) as net:
        # each signal starts from rest; the layers learn, the neurons' own parameters do not
        nengo_dl.configure_settings(stateful=False, trainable=False)
        nengo_wd.configure_settings(jit_compile=not SHORT, weight_decay=decay)
        net.config[nengo.Ensemble].max_rates = nengo.dists.Choice([MAX_RATE])
        net.config[nengo.Ensemble].intercepts = nengo.dists.Choice([0])
        net.config[nengo.ensemble.Neurons].spike_noise = noise
        few_spikes = nengo_wd.regularizers.FiringRates(maximum=0, l1=targets)
        lasso = nengo_wd.regularizers.GroupLasso(groups, groups="inputs")
        loihi = nengo_loihi.LoihiSpikingRectifiedLinear(amplitude=1 / MAX_RATE)
        neurons = nengo_dl.Layer(loihi)

        signal = x = nengo.Node(np.zeros(40))
        layers, shape = [], (40, 1, 1)
        for channels, kernel_size in zip(CHANNELS, KERNEL_SIZES):
            conv = nengo_wd.RegularizedConv2D(
                channels,
                (kernel_size, 1),
                strides=(2, 1),
                input_shape=shape,
                kernel_initializer="he_uniform",
                kernel_regularizer=lasso if layers else None,
            )
            layers.append(nengo_dl.Layer(conv)(x, synapse=None))
            x = neurons(layers[-1])
            net.config[nengo.Probe(x)].regularizer = few_spikes
            shape = conv.compute_output_shape((1, *shape))[1:]
        dense = nengo_wd.RegularizedDense(10, kernel_regularizer=None)
        layers.append(nengo_dl.Layer(dense)(x, synapse=None))
        output, readout = nengo.Probe(layers[-1]), nengo.Probe(layers[-1], synapse=READOUT)
    return Model(net, signal, output, readout, layers)


def trained(way, splits):
    """Return a trained model, with what its way adds to training."""
    model, adam = build(), (splits, tf.optimizers.Adam, ADAM_RATE)
    if way == "plain":
        set_strengths(of_targets=0, of_noise=0)
        decay.assign(0.0)
        train(model, *adam, 2 * EPOCHS + GROUP_EPOCHS)
        return model
    set_strengths()
    decay.assign(DECAY)
    train(model, *adam, EPOCHS)
    set_strengths(of_groups=GROUPS)
    decay.assign(0.0)
    train(model, splits, SGD, SGD_RATE, GROUP_EPOCHS, proximal=True)
    smaller = model.pruned()
    set_strengths()
    decay.assign(DECAY)
    train(smaller, *adam, EPOCHS)
    return smaller


def spikes_of(outputs):
    """Return how often neurons spiked, from their outputs of shape (..., time steps, neurons)."""
    return np.count_nonzero(outputs, axis=-2)


def in_nengo_dl(model, signals):
    """Return what NengoDL's simulation with spikes does, and the native network."""
    shown = {model.signal: np.tile(signals[:, None], (1, N_STEPS, 1))}
    probes = [one for one in model.net.all_probes if one not in (model.output, model.readout)]
    with simulator(model, filtered=True) as sim:
        found = sim.predict(shown, verbose=0)
        energy = nengo_wd.Energy(sim, shown)
        native = nengo_wd.native(sim)
    spikes = [spikes_of(found[probe]).mean(axis=0) for probe in probes]
    joules, events = (energy.total(one, inputs=False) for one in ("loihi", "events"))
    counted = SimpleNamespace(
        outputs=found[model.readout], spikes=spikes, events=events, joules=joules
    )
    return counted, native, probes


def on_emulator(model, native, probes, signals):
    """Return what the emulator of the chip does with the native network."""
    network, signal = native.network, native[model.signal]
    nengo_loihi.add_params(network)
    network.config[network.all_ensembles[0]].on_chip = False
    outputs, spikes = [], []
    for signal.output in signals:
        with nengo_loihi.Simulator(network, target="sim", progress_bar=False) as sim:
            sim.run_steps(N_STEPS)
            outputs.append(sim.data[native[model.readout]])
            spikes.append([spikes_of(sim.data[native[probe]]) for probe in probes])
    spikes = [np.mean(one, axis=0) for one in zip(*spikes)]
    events = sum(one @ fan_out for one, fan_out in zip(spikes, fan_outs(network)))
    return SimpleNamespace(outputs=np.array(outputs), spikes=spikes, events=events)


def fan_outs(network):
    """Return, for each layer of neurons, how many synapses leave each of them."""
    reading = {connection.pre_obj: connection.transform for connection in network.all_connections}
    return [synapses_of(reading[ensemble.neurons]) for ensemble in network.all_ensembles]


def synapses_of(transform):
    """Return how many synapses read each input of a transform."""
    if isinstance(transform, nengo.Dense):
        return np.full(transform.size_in, transform.size_out)
    places = np.arange(transform.input_shape.spatial_shape[0])[:, None]
    starts = transform.strides[0] * np.arange(transform.output_shape.spatial_shape[0])
    windows = (starts <= places) & (places < starts + transform.kernel_size[0])
    synapses = transform.n_filters * np.count_nonzero(windows, axis=1)
    return np.repeat(synapses, transform.input_shape.n_channels)


def of_nengo(model, signals):
    """Return the spikes of each layer in NengoDL, with Nengo's own neurons and the same weights."""
    for ensemble in model.net.all_ensembles:
        ensemble.neuron_type = nengo.SpikingRectifiedLinear(amplitude=1 / MAX_RATE)
    return in_nengo_dl(model, signals)[0].spikes


def runs_of(seed):
    """Return what each way led to with a seed."""
    splits, runs = load_splits(), {}
    signals, labels = (one[:SHOWN] for one in splits["test"])
    for way in COLORS:
        tf.keras.utils.set_random_seed(seed)
        model = trained(way, splits)
        counted, native, probes = in_nengo_dl(model, signals)
        emulated = on_emulator(model, native, probes, signals)
        for one in (counted, emulated):
            right = one.outputs.argmax(axis=-1) == labels[:, None]
            one.accuracies = 100 * np.mean(right, axis=0)  # at each time step
        runs[way] = SimpleNamespace(
            neurons=sum(one.n_neurons for one in native.network.all_ensembles),
            nengo_dl=counted.accuracies[-1],
            emulator=emulated.accuracies[-1],
            events=counted.events,
            emulated_events=emulated.events,
            microjoules=1e6 * counted.joules,
            by_time=(counted.accuracies, emulated.accuracies),
            by_neuron=(counted.spikes, emulated.spikes),
            fan_outs=fan_outs(native.network),
        )
    runs["regularized"].of_nengo = of_nengo(model, signals)
    return runs


def by_layer(each):
    """Return spikes of each layer, as means over seeds, from those of each neuron."""
    return np.mean([[*map(np.sum, layers)] for layers in each], axis=0)


def check(runs):
    """Check the counts of `Energy`, and spikes on the host, against what they must be."""
    for run in (run for found in runs.values() for run in found):
        spikes, on_chip = run.by_neuron
        events = sum(one @ synapses for one, synapses in zip(spikes, run.fan_outs))
        assert np.isclose(run.events, events, rtol=1e-5), "a synapse is not counted"
        # from the same values; a voltage may be within rounding of the threshold
        on_host, first = on_chip[0].sum(), spikes[0].sum()
        assert abs(on_host - first) <= 0.01 * first, "the host's neurons are others"


def check_findings(runs):
    """Raise if the emulator contradicts what NengoDL and `Energy` say."""
    plain, regularized = runs["plain"], runs["regularized"]
    apart = mean(regularized, "emulator") - mean(regularized, "nengo_dl")
    assert abs(apart) < 2, "accuracies are not alike"
    for run in regularized:
        assert abs(run.emulated_events / run.events - 1) < 0.05, "events are not alike"
        for spikes, emulated in zip(*run.by_neuron):
            assert abs(emulated.sum() / spikes.sum() - 1) < 0.05, "spikes are not alike"
    assert mean(regularized, "emulator") > mean(plain, "emulator"), "plain is more accurate"
    assert mean(regularized, "emulated_events") < mean(plain, "emulated_events") / 2, "it costs"
    for run in regularized:
        assert sum(map(np.sum, run.of_nengo)) > sum(map(np.sum, run.by_neuron[0])), "none is lost"


def print_tables(runs):
    """Print what NengoDL, `Energy` and the emulator say of each way."""
    line = "{:12} {:>7} {:>13} {:>13} {:>8} {:>9} {:>6} {:>12}".format
    print(line("", "", "accuracy", "accuracy", "events", "events", "", "microjoules"))
    columns = ("neurons", "NengoDL", "emulator", "Energy", "emulator", "apart", "Energy")
    print(line("way", *columns))
    for way, found in runs.items():
        cells = [f"{mean(found, 'neurons'):.0f}"]
        for name in ("nengo_dl", "emulator"):
            more = f" +- {error(found, name):.1f}" if len(found) > 1 else ""
            cells.append(f"{mean(found, name):.1f}{more}")
        events, emulated = (mean(found, name) for name in ("events", "emulated_events"))
        cells += [f"{events:.0f}", f"{emulated:.0f}", f"{emulated / events - 1:+.1%}"]
        print(line(way, *cells, f"{mean(found, 'microjoules'):.2f}"))

    line = "{:12} {:20} {:>9} {:>9} {:>6}".format
    print("\nSpikes of each layer:\n")
    print(line("way", "layer", "NengoDL", "emulator", "apart"))
    for way, found in runs.items():
        sides = [by_layer(one) for one in zip(*(run.by_neuron for run in found))]
        for layer, spikes, emulated in zip(LAYERS, *sides):
            numbers = f"{spikes:.1f}", f"{emulated:.1f}", f"{emulated / spikes - 1:+.1%}"
            print(line(way, layer, *numbers))
    spikes, of_nengo = (
        by_layer(one).sum()
        for one in zip(*((run.by_neuron[0], run.of_nengo) for run in runs["regularized"]))
    )
    print(
        f"\nRegularized, NengoDL has {spikes:.0f} spikes in all, and {of_nengo:.0f} with Nengo's "
        f"own neurons ({of_nengo / spikes - 1:+.0%}),\nwhich keep what is above the threshold and "
        "begin with voltages at random."
    )


def save_figure(runs):
    """Plot accuracy over time, and the spikes of each neuron on the emulator over NengoDL's."""
    with nengo_wd.plotting.style():
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 3.0))  # inches
        times = np.arange(1, N_STEPS + 1)
        for way, color in COLORS.items():
            lines = np.mean([run.by_time for run in runs[way]], axis=0)
            for line, style, where in zip(lines, ("--", "-"), ("NengoDL", "emulator")):
                left.plot(times, line, style, color=color, label=f"{way}, {where}")
        left.set(
            xlabel="time (ms)",
            ylabel="accuracy (%)",
            ylim=(0, 100),
            title="(a) so far, with spikes",
        )
        left.legend()
        for layer, x, y in zip(LAYERS, *runs["regularized"][0].by_neuron):
            right.plot(x, y, ".", markersize=3, label=layer)
        end = right.get_xlim()[1]
        right.plot([0, end], [0, end], color="0.7", linewidth=0.8, zorder=0)
        right.set(xlabel="spikes of a neuron for a signal, NengoDL", ylabel="on the emulator")
        right.set_title("(b) each neuron, regularized")
        right.legend(title="layer")
        FIGURE.parent.mkdir(exist_ok=True)
        figure.savefig(FIGURE)


def main():
    runs = runs_by_key(runs_of)
    print(f"Accuracy (%) with spikes, and synaptic events of an answer, on {SHOWN} test signals:")
    print("means over seeds, and standard errors of accuracies.\n")
    print_tables(runs)
    check(runs)
    if not SHORT:
        check_findings(runs)
    save_figure(runs)
    print(f"Figure saved to {FIGURE}")


if __name__ == "__main__":
    main()
