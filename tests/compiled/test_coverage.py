"""All of Nengo's neurons, learning rules, transforms, synapses and processes, compiled by XLA."""

import functools

import nengo
import numpy as np
import pytest
from generations import simulator, use_dtype
from nengo.dists import Choice
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [pytest.mark.generation(3), pytest.mark.traced]

N, N_STEPS = 4, 60

# -- networks: each function returns a probe of an object of the class --------------------------


def driven(neuron_type, low=-1.0, high=6.0, **options):
    """Return neurons whose currents change."""
    ens = nengo.Ensemble(
        N, 1, gain=Choice([1]), bias=Choice([0]), neuron_type=neuron_type, **options
    )
    middle, width = np.linspace(low, high, N), (high - low) / 4
    node = nengo.Node(lambda t: middle + width * np.sin(200 * t + np.arange(N)))
    nengo.Connection(node, ens.neurons, synapse=None)
    return nengo.Probe(ens.neurons)


def signal(size=2):
    return nengo.Node(lambda t: np.sin(150 * t + np.arange(size)), size_out=size)


def learned(rule):
    """Return what a rule learns: weights, or encoders."""
    pre, post = (nengo.Ensemble(10, 1, neuron_type=nengo.LIF()) for _ in range(2))
    nengo.Connection(signal(1), pre, synapse=None)
    if isinstance(rule, (nengo.BCM, nengo.Oja)):
        weights = np.random.RandomState(0).uniform(0, 2e-3, (10, 10))
        made = nengo.Connection(pre.neurons, post.neurons, transform=weights)
    else:
        made = nengo.Connection(pre, post)
    made.learning_rule_type = rule
    if "error" in rule.probeable:
        nengo.Connection(signal(1), made.learning_rule)
    if isinstance(rule, nengo.Voja):
        return nengo.Probe(made.learning_rule, "scaled_encoders")
    return nengo.Probe(made, "weights")


def transformed(transform, size_in=2, size_out=3):
    node = nengo.Node(size_in=size_out)
    nengo.Connection(signal(size_in), node, transform=transform, synapse=None)
    return nengo.Probe(node)


def filtered(synapse):
    return nengo.Probe(signal(), synapse=synapse)


def noisy(process):
    """Return neurons whose currents have noise, which is computed in the time loop."""
    return driven(nengo.RectifiedLinear(), 1000, 1002, noise=process)


IMAGE = {"n_filters": 2, "input_shape": (4, 4, 1)}
KERNELS = np.random.RandomState(0).uniform(-1, 1, (2, 3, 3, 1, 2))
RATES = {"tau_rc": 0.03, "amplitude": 0.5}
MODULES = {  # where Nengo has the classes of each kind, and the name of their base
    "neurons": (nengo.neurons, "NeuronType"),
    "learning rule": (nengo.learning_rules, "LearningRuleType"),
    "transform": (getattr(nengo, "transforms", None), "Transform"),
    "synapse": (nengo.synapses, "Synapse"),
    "process": (nengo.processes, "Process"),
}


def class_of(kind, name):
    """Return the class of this name, and None where the installed version has none."""
    return getattr(MODULES[kind][0], name, getattr(nengo_dl, name, None))


TABLE = {  # by kind and name of the class: what makes objects of the class, and returns probes
    "neurons": {
        "AdaptiveLIF": lambda kind: driven(kind(inc_n=0.1)),
        "AdaptiveLIFRate": lambda kind: driven(kind(inc_n=0.1)),
        "Izhikevich": lambda kind: driven(kind(), 0, 20),
        "LIF": lambda kind: driven(kind(**RATES)),
        "LIFRate": lambda kind: driven(kind(**RATES)),
        "PoissonSpiking": lambda kind: driven(kind(nengo.LIFRate())),
        "RectifiedLinear": lambda kind: driven(kind(amplitude=2)),
        "RegularSpiking": lambda kind: driven(kind(nengo.LIFRate()), 1, 6),
        "Sigmoid": lambda kind: driven(kind()),
        "SpikingRectifiedLinear": lambda kind: driven(kind(), 0, 500),
        "StochasticSpiking": lambda kind: driven(kind(nengo.LIFRate())),
        "Tanh": lambda kind: driven(kind()),
        "LeakyReLU": lambda kind: driven(kind(negative_slope=0.2)),
        "SoftLIFRate": lambda kind: driven(kind(sigma=0.1)),
        "SpikingLeakyReLU": lambda kind: driven(kind(negative_slope=0.2), -500, 500),
    },
    "learning rule": {
        "BCM": lambda kind: learned(kind(learning_rate=1e-8)),
        "Oja": lambda kind: learned(kind(learning_rate=1e-6)),
        "PES": lambda kind: learned(kind(learning_rate=1e-3)),
        "RLS": lambda kind: learned(kind(learning_rate=1e-3)),
        "Voja": lambda kind: learned(kind(learning_rate=1e-2)),
    },
    "transform": {
        "Convolution": lambda kind: transformed(kind(**IMAGE, init=KERNELS[0]), 16, 8),
        "ConvolutionTranspose": lambda kind: transformed(kind(**IMAGE, init=KERNELS[1]), 16, 72),
        "Dense": lambda kind: transformed(kind((3, 2), init=KERNELS[0, :, :2, 0, 0])),
        "Sparse": lambda kind: transformed(
            kind((3, 2), indices=[[0, 1], [2, 0], [2, 1]], init=[1, -0.5, 2])
        ),
        "NoTransform": lambda kind: transformed(kind(2), 2, 2),
    },
    "synapse": {
        "Alpha": lambda kind: filtered(kind(0.02)),
        "LinearFilter": lambda kind: filtered(kind([0.01, 1], [2e-5, 0.02, 1], method="bilinear")),
        "Lowpass": lambda kind: filtered(kind(0.02)),
        "Triangle": lambda kind: filtered(kind(0.02)),
    },
    "process": {
        "BrownNoise": lambda kind: noisy(kind()),
        "FilteredNoise": lambda kind: noisy(kind(nengo.Alpha(0.01))),
        "Piecewise": lambda kind: noisy(
            kind({0.01: np.arange(N), 0.03: -np.arange(N)}, interpolation="linear")
        ),
        "PresentInput": lambda kind: noisy(kind(np.eye(N), 0.01)),
        "WhiteNoise": lambda kind: noisy(kind()),
        "WhiteSignal": lambda kind: noisy(kind(0.1, 100, seed=1)),
    },
}
ROWS = [(kind, name) for kind, row in TABLE.items() for name in row if class_of(kind, name)]
IS_RANDOM = {"BrownNoise", "FilteredNoise", "PoissonSpiking", "StochasticSpiking", "WhiteNoise"}


@functools.lru_cache(maxsize=None)
def recorded(kind):
    """Return what nengo.Simulator and a compiled simulator record of each class of a kind."""
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings(jit_compile=True)
        probes = {name: TABLE[kind][name](class_of(kind, name)) for of, name in ROWS if of == kind}
    with nengo.Simulator(net, progress_bar=False) as reference:
        reference.run_steps(N_STEPS)
    with simulator(net) as sim:
        sim.run_steps(N_STEPS)
        return {name: (reference.data[one], sim.data[one]) for name, one in probes.items()}


@pytest.mark.parametrize("kind, name", ROWS)
@pytest.mark.slow
def test_what_is_compiled_is_as_in_nengo(kind, name):
    expected, found = recorded(kind)[name]
    assert np.ptp(expected) > 0 and np.ptp(found) > 0 and np.all(np.isfinite(found))
    if name not in IS_RANDOM:  # the distributions of these have tests beside this file
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("kind", MODULES)
def test_the_table_has_all_classes_of_nengo(kind):
    module, base = MODULES[kind]
    base = getattr(module, base)
    classes = [cls for cls in vars(module).values() if isinstance(cls, type)]
    if kind == "process":
        classes = [cls for cls in classes if not issubclass(cls, nengo.synapses.Synapse)]
    names = {
        cls.__name__
        for cls in classes
        if issubclass(cls, base) and cls is not base and not cls.__name__.startswith("_")
    }
    # the first is a base, and the second is not built as neurons: see below
    assert names - {"RatesToSpikesNeuronType", "Direct"} <= set(TABLE[kind])


# -- what can't be compiled --------------------------------------------------------------------


class OwnNeurons(nengo.RectifiedLinear):
    """Neurons that step in Python."""

    def step(self, dt, J, output):  # noqa: N803
        output[...] = J**2


class OwnProcess(nengo.Process):
    """A process that steps in Python."""

    def make_state(self, shape_in, shape_out, dt, dtype=None):
        return {}

    def make_step(self, shape_in, shape_out, dt, rng, state):
        return lambda t, x=0: np.full(shape_out, t)


def in_direct_mode():
    ens = nengo.Ensemble(1, 1, neuron_type=nengo.Direct(), label="the culprit")
    nengo.Connection(ens, nengo.Node(size_in=1), function=np.sin)


UNCOMPILABLE = {
    "a function of a Node": (
        lambda: nengo.Node(lambda t, x: x, size_in=1, label="the culprit"),
        "nengo_dl.TensorNode",
    ),
    "a function of a Node without outputs": (
        lambda: nengo.Node(lambda t, x: None, size_in=1, label="the culprit"),
        "nengo_dl.TensorNode",
    ),
    "a process of a Node": (
        lambda: nengo.Node(OwnProcess(), size_in=1, size_out=1, label="the culprit"),
        "OwnProcess",
    ),
    "neurons": (
        lambda: nengo.Ensemble(2, 1, neuron_type=OwnNeurons(), label="the culprit"),
        "OwnNeurons.*TF_NEURON_IMPL",
    ),
    "a function in direct mode": (in_direct_mode, "neuron type than nengo.Direct"),
    "noise": (
        lambda: nengo.Ensemble(2, 1, noise=OwnProcess(), label="the culprit"),
        "OwnProcess",
    ),
    "noise by a Python function": (
        lambda: nengo.Ensemble(
            2, 1, noise=nengo.processes.Piecewise({0: lambda t: [t, t]}), label="the culprit"
        ),
        "Piecewise",
    ),
    "noise of another distribution": (
        lambda: nengo.Ensemble(
            2, 1, noise=nengo.processes.WhiteNoise(nengo.dists.SqrtBeta(3)), label="the culprit"
        ),
        "SqrtBeta",
    ),
}


@pytest.mark.parametrize("name", UNCOMPILABLE)
def test_what_is_not_compiled_is_named_with_what_to_do(name):
    build, remedy = UNCOMPILABLE[name]
    with nengo.Network() as net:
        nengo_wd.configure_settings(jit_compile=True)
        build()
    with pytest.raises(ValidationError, match=f"'the culprit'.*{remedy}"):
        simulator(net)


def test_direct_mode_without_functions_compiles():
    with nengo.Network(seed=0) as net:
        use_dtype("float64")
        nengo_wd.configure_settings(jit_compile=True)
        ens = nengo.Ensemble(1, 2, neuron_type=nengo.Direct())
        nengo.Connection(signal(), ens, synapse=None)
        probe = nengo.Probe(ens)
    with nengo.Simulator(net, progress_bar=False) as reference:
        reference.run_steps(3)
    with simulator(net) as sim:
        sim.run_steps(3)
        assert np.ptp(sim.data[probe]) > 0
        np.testing.assert_allclose(sim.data[probe], reference.data[probe], atol=1e-10)
