"""Energy of what can't be counted, on devices that are not known."""

import functools

import nengo
import numpy as np
import tensorflow as tf
from bad_inputs import Row, check, table
from generations import simulator
from matplotlib.figure import Figure

import nengo_wd
from nengo_wd import nengo_dl, plotting

register = nengo_wd.Energy.register_device
STEPS = {"n_steps": 2}
BAD = np.full((1, 2, 2), np.nan)


def energy(shared, *args, **kwargs):
    """Count in the network of all rows, in which the function of a TensorNode is not known."""
    return nengo_wd.Energy(shared.sim, *args, **kwargs)


@functools.lru_cache(maxsize=None)
def counted():
    """Return the energy of a small network."""
    with nengo.Network(seed=0) as net:
        nengo.Ensemble(2, 1)
    with simulator(net) as sim:
        return nengo_wd.Energy(sim, n_steps=1)


def of_network(change=lambda net: None, after=lambda net: None, **kwargs):
    """Count in a network of one's own, which is changed before or after it is built."""
    with nengo.Network(seed=0, label="own") as net:
        nengo.Ensemble(2, 1, label="a", **kwargs)
        change(net)
    with simulator(net) as sim, net:
        after(net)
        nengo_wd.Energy(sim, **STEPS)


def of_nan():
    sick = nengo_wd.RegularizedDense(2, kernel_initializer=tf.constant_initializer(np.nan))
    with nengo.Network(seed=0) as net:
        a = nengo.Ensemble(2, 1, neuron_type=nengo.SpikingRectifiedLinear(), label="a")
        nengo.Connection(nengo_dl.Layer(sick)(nengo.Node([1.0])), a.neurons)
    with simulator(net) as sim:
        nengo_wd.Energy(sim, **STEPS)


def without_network():
    model = nengo.builder.Model(dt=0.001, builder=nengo_dl.builder.NengoBuilder())
    with nengo_dl.Simulator(None, model=model, progress_bar=False) as sim:
        nengo_wd.Energy(sim, **STEPS)


ROWS = [
    Row("no data", energy, "Must specify either input data or n_steps"),
    Row("no arrays", lambda s: energy(s, iter([1])), "data=<list_iterator.*give arrays, by Node"),
    Row("flat data", lambda s: energy(s, {s.source: np.ones(2)}), r"source.* have shape \(2,\)"),
    Row("data that is NaN", lambda s: energy(s, {s.source: BAD}), "source.* have NaN or infinite"),
    Row("data of an unknown Node", lambda s: energy(s, {"nobody": np.ones((1, 2, 2))}), "nobody"),
    Row("too large", lambda s: energy(s, {s.source: np.ones((1, 2, 3))}), "source.*steps, 2"),
    Row(
        "no spikes",
        lambda s: of_network(neuron_type=nengo.LIFRate()),
        r"own.*only neurons that do not spike \(LIFRate\)",
    ),
    Row(
        "no neurons",
        lambda s: of_network(neuron_type=nengo.Direct()),
        "own.*has no neurons, and so no spikes",
    ),
    Row(
        "learning phase",
        lambda s: of_network(lambda net: nengo_dl.configure_settings(learning_phase=True)),
        "own.*learning_phase=True.*runs on rates",
    ),
    Row(
        "added afterwards",
        lambda s: of_network(after=lambda net: nengo.Ensemble(2, 1, label="late")),
        "'late'.* was added to .*own.* after the simulator was built",
    ),
    Row("output that is NaN", lambda s: of_nan(), "output of .*'a'.* is not finite"),
    Row("no network", lambda s: without_network(), "made of a model without a network"),
]
ROWS += [
    Row(
        f"{name}={value!r}", lambda s, kwargs={name: value}: energy(s, **kwargs), f"{name}=.* whole"
    )
    for name in ("n_steps", "passes")
    for value in (0, -1, 2.5, "3", True)
]
ROWS += [
    Row(
        f"{name} on {device!r}",
        lambda s, f=f, device=device: f(device),
        "not a device; .*cpu.*loihi",
    )
    for name, f in {
        "total": lambda device: counted().total(device),
        "figure": lambda device: plotting.energy(counted(), device),
    }.items()
    for device in ("quantum", "Loihi", None, 0, ["cpu"])
]
ROWS += [
    Row(
        f"{attr}={value!r}",
        lambda s, kwargs={attr: value}: register(
            **{**dict(name="mine", energy_per_synop=1, energy_per_neuron=1, spiking=True), **kwargs}
        ),
        f"device .*{attr}={'.*'}" if attr != "name" else "must be a string",
    )
    for attr, values in {
        "name": ("", None, 3),
        "energy_per_synop": (-1, np.nan, np.inf, "1", None, True, [1.0]),
        "energy_per_neuron": (-1e-9, np.nan, None),
        "spiking": (None, 1, "no"),
    }.items()
    for value in values
]
ROWS += [
    Row(f"figure of {kind}", lambda s, runs=runs: plotting.energy(runs), pattern)
    for kind, runs, pattern in (
        ("nothing", {}, "runs={} must be a nengo_wd.Energy, or a dictionary"),
        ("None", None, "runs=None must be"),
        ("another", {"run": 1}, "expected a nengo_wd.Energy, got 1 in the run 'run'"),
    )
]
ROWS += [
    Row(
        "axes of the figure",
        lambda s: plotting.energy(counted(), axes=Figure().subplots(2, 2)),
        "axes has shape",
    ),
]
ROWS = [row._replace(generation=3) for row in ROWS]
ROWS += [Row("NengoDL 2", lambda s: energy(s, **STEPS), "NengoDL 3", NotImplementedError, 2)]


@table(ROWS)
def test_energy(row, shared):
    check(row, shared)
