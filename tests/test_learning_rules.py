"""Decay in simulation time, in Nengo and in NengoDL, against the formula in NumPy."""

import contextlib
import copy
import functools
import itertools
import pickle

import nengo
import numpy as np
import pytest
from generations import GENERATION, simulator
from nengo.builder.operator import Copy
from nengo.solvers import LstsqL2

import nengo_wd
from nengo_wd.learning_rules import SimDecay

DT = 0.001


def nengo_simulator(net, **kwargs):
    return nengo.Simulator(net, progress_bar=False, **kwargs)


@contextlib.contextmanager
def in_bits(bits):
    """Have Nengo build and simulate in floats of so many bits, as its file of settings may."""
    before = nengo.rc.get("precision", "bits")
    nengo.rc.set("precision", "bits", str(bits))
    try:
        yield
    finally:
        nengo.rc.set("precision", "bits", before)


@contextlib.contextmanager
def nengo_simulator_of_32_bits(net, **kwargs):
    with in_bits(32), nengo_simulator(net, **kwargs) as sim:
        yield sim


SIMULATORS = {  # with the error that each may make, relative to what is expected
    "Nengo": (nengo_simulator, 1e-12),
    "Nengo with 32 bits": (nengo_simulator_of_32_bits, 1e-5),
    "NengoDL": (lambda net, **kwargs: simulator(net, minibatch_size=2, **kwargs), 1e-5),
}
every_simulator = pytest.mark.parametrize("make, error", SIMULATORS.values(), ids=SIMULATORS)


def network():
    return nengo.Network(seed=0)


def ensemble(n_neurons=5, dimensions=1, **kwargs):
    neurons = nengo.RectifiedLinear()
    return nengo.Ensemble(n_neurons, dimensions, neuron_type=neurons, seed=0, **kwargs)


def from_neurons(rules, transform, pre=None):
    """Return a connection from neurons to a node, whose weights are ``transform``."""
    pre = ensemble(np.shape(transform)[1]) if pre is None else pre
    end = nengo.Node(size_in=np.shape(transform)[0])
    return nengo.Connection(pre.neurons, end, transform=transform, learning_rule_type=rules)


def weights_of(connections):
    return [nengo.Probe(connection, "weights") for connection in connections]


def simulated(make, net, n_steps, probes, **kwargs):
    """Return what probes recorded in the last example, each of shape (n_steps, rows, columns)."""
    with make(net, **kwargs) as sim:
        sim.run_steps(n_steps)
        return [last_example(sim.data[probe], n_steps) for probe in probes]


def last_example(recorded, n_steps):
    return recorded.reshape((-1, n_steps, *recorded.shape[-2:]))[-1]


def assert_close(found, expected, error, scale=None):
    """Check a relative error: of each number, or of all relative to a scale."""
    bound = error * (abs(expected) if scale is None else scale)
    np.testing.assert_array_less(abs(found - expected), bound)


# -- alone -----------------------------------------------------------------------------------

N_STEPS = 800  # after which float32 would lose the fastest of the rates
START = np.random.RandomState(0).uniform(-1, 1, size=(3, 5))


@functools.lru_cache(maxsize=None)
def alone(name):
    """Return the weights at each time step, by the rule that changes them alone."""
    slow, over = 1e-5, 1e38
    rules = [nengo_wd.Decay(rate) for rate in (0, slow, 0.01, 0.1, 1, 10, 100, over)]
    rules.append(nengo_wd.Decay(10, towards="initial"))
    with network() as net:
        probes = weights_of([from_neurons(rule, START) for rule in rules])
    return dict(zip(rules, simulated(SIMULATORS[name][0], net, N_STEPS, probes)))


@pytest.mark.parametrize("rate", [0.01, 0.1, 1, 10, 100])
@pytest.mark.parametrize("name", SIMULATORS)
def test_weights_decay_exponentially(name, rate):
    """They do so from the second time step on, as learning rules change weights in Nengo."""
    t = np.arange(N_STEPS)[:, None, None] * DT
    found = alone(name)[nengo_wd.Decay(rate)]
    assert_close(found, START * np.exp(-rate * t), SIMULATORS[name][1])


@pytest.mark.parametrize("name", SIMULATORS)
def test_slow_decay_counts_although_a_step_of_it_is_rounded_away(name):
    rate = 1e-5
    assert np.float32(np.exp(-rate * DT)) == 1
    first, *_, last = alone(name)[nengo_wd.Decay(rate)]
    lost = START * -np.expm1(-rate * DT * (N_STEPS - 1))
    assert_close(first - last, lost, 1e-16 if name == "Nengo" else 1e-7, 1)


@pytest.mark.parametrize("name", SIMULATORS)
@pytest.mark.parametrize(
    "rule", [nengo_wd.Decay(0), nengo_wd.Decay(10, towards="initial")], ids=str
)
def test_nothing_decays(name, rule):
    found = alone(name)[rule]
    np.testing.assert_array_equal(found, np.broadcast_to(START.astype(found.dtype), found.shape))


@pytest.mark.parametrize("name", SIMULATORS)
def test_the_fastest_decay_is_over_in_one_step(name):
    found = alone(name)[nengo_wd.Decay(1e38)]
    assert found[0].all() and not found[1:].any()


LONG_DT, LONG_STEPS = 0.125, 800  # 100 s
FLOAT32 = 2e-7  # of the largest weight: a few roundings
RATES = np.geomspace(1e-5, 100, 8)


@every_simulator
def test_weights_decay_exponentially_at_all_rates_for_100_s(make, error):
    with network() as net:
        probes = weights_of([from_neurons(nengo_wd.Decay(rate), START) for rate in RATES])
    t = np.arange(LONG_STEPS)[:, None, None] * LONG_DT
    for rate, found in zip(RATES, simulated(make, net, LONG_STEPS, probes, dt=LONG_DT)):
        assert_close(found, START * np.exp(-rate * t), min(error, FLOAT32), 1)


def pes_for_a_while(rate, until):
    """Return a probe of weights that PES moves until a time."""
    ens, error = ensemble(20), nengo.Node(lambda t: 5.0 if t < until else 0.0)
    rules = [nengo.PES(1e-2, pre_synapse=None), nengo_wd.Decay(rate, towards="initial")]
    conn = nengo.Connection(ens, nengo.Node(size_in=1), learning_rule_type=rules)
    nengo.Connection(error, conn.learning_rule[0], synapse=None)
    return nengo.Probe(conn, "weights")


@every_simulator
def test_weights_return_to_the_initial_ones_after_pes_moved_them(make, error):
    rates, until, n_steps = (0.01, 1.0, 100.0), 50, 400  # 1/s and time steps
    with network() as net:
        probes = [pes_for_a_while(rate, (until + 0.5) * DT) for rate in rates]
    t = np.arange(n_steps - until)[:, None, None] * DT
    for rate, found in zip(rates, simulated(make, net, n_steps, probes)):
        start, moved = found[0], found[until]
        scale = abs(start).max()
        assert abs(moved - start).max() > 0.1 * scale
        assert_close(found[until:], start + (moved - start) * np.exp(-rate * t), error, scale)


@every_simulator
def test_weights_return_to_the_initial_ones_at_all_rates_in_100_s(make, error):
    with network() as net:
        probes = [pes_for_a_while(rate, 1.5 * LONG_DT) for rate in RATES]
    t = np.arange(LONG_STEPS - 1)[:, None, None] * LONG_DT
    for rate, found in zip(RATES, simulated(make, net, LONG_STEPS, probes, dt=LONG_DT)):
        start, moved = found[0], found[1]
        scale = abs(moved - start).max()
        assert scale > abs(start).max()
        expected = start + (moved - start) * np.exp(-rate * t)
        assert_close(found[1:], expected, min(error, FLOAT32), scale)


# -- beside other rules ------------------------------------------------------------------------


def between_neurons(rules):
    """Return a connection with full weights between neurons that are driven."""
    stimulus, a, b = nengo.Node([0.5]), ensemble(6), ensemble(4)
    nengo.Connection(stimulus, a, synapse=None)
    weights = np.random.RandomState(0).uniform(0, 2e-3, size=(4, 6))
    return nengo.Connection(a.neurons, b.neurons, transform=weights, learning_rule_type=rules)


def with_error(rules, **kwargs):
    """Return a connection that learns from its error."""
    stimulus, a, b, error = nengo.Node([0.5]), ensemble(20), ensemble(10), nengo.Node(size_in=1)
    nengo.Connection(stimulus, a, synapse=None)
    conn = nengo.Connection(a, b, learning_rule_type=rules, **kwargs)
    nengo.Connection(b, error)
    nengo.Connection(stimulus, error, transform=-2)
    for rule in conn.learning_rule:
        if not isinstance(rule.learning_rule_type, nengo_wd.Decay):
            nengo.Connection(error, rule)
    return conn


def with_full_weights(rules):
    return with_error(rules, solver=LstsqL2(weights=True))


def from_node(rules):
    stimulus, ens = nengo.Node([0.5, 0.2]), ensemble(10, 2, radius=2.0)
    return nengo.Connection(stimulus, ens, synapse=None, learning_rule_type=rules)


BESIDE = {  # a connection, the other rule, a rate of decay and what decays
    "PES": (with_error, nengo.PES(1e-3), 20.0, "decoders"),
    "PES on full weights": (with_full_weights, nengo.PES(1e-3), 20.0, "weights"),
    "PES on what stands for decoders": (with_full_weights, nengo.PES(1e-3), 20.0, "decoders"),
    "Voja": (from_node, nengo.Voja(1e-2), 5.0, "encoders"),
    "Oja": (between_neurons, nengo.Oja(1e-7), 5.0, "weights"),
    "BCM": (between_neurons, nengo.BCM(1e-10), 5.0, "weights"),
}
IN_NENGO_ONLY = {}
if hasattr(nengo, "RLS"):
    IN_NENGO_ONLY["RLS"] = with_error, nengo.RLS(1e-3), 20.0, "decoders"
TOWARDS = ("zero", "initial")


CASES = [*itertools.product(BESIDE, TOWARDS), *itertools.product(IN_NENGO_ONLY, TOWARDS)]


@functools.lru_cache(maxsize=None)
def beside(simulator_name, decay_first):
    """Return the changes by both rules, and what decays, by the other rule and the goal."""
    cases = CASES if simulator_name == "Nengo" else CASES[: len(BESIDE) * len(TOWARDS)]
    with network() as net:
        probes = [one for case in cases for one in probes_beside(*case, decay_first)]
    found = iter(simulated(SIMULATORS[simulator_name][0], net, 200, probes))
    return {case: [next(found), next(found), next(found)] for case in cases}


def probes_beside(name, towards, decay_first):
    connect, other, rate, modifies = {**BESIDE, **IN_NENGO_ONLY}[name]
    rules = [other, nengo_wd.Decay(rate, towards=towards, modifies=modifies)]
    conn = connect(rules[::-1] if decay_first else rules)
    conn.seed = 0
    learned, decay = conn.learning_rule[::-1] if decay_first else conn.learning_rule
    changing = (learned, "scaled_encoders") if modifies == "encoders" else (conn, "weights")
    return [nengo.Probe(learned, "delta"), nengo.Probe(decay, "delta"), nengo.Probe(*changing)]


@pytest.mark.parametrize("name, towards", CASES)
def test_changes_in_nengo_are_those_of_the_formula(name, towards):
    learned, delta, weights = beside("Nengo", False)[name, towards]
    w0 = 0 if towards == "zero" else weights[0]
    factor = np.expm1(-{**BESIDE, **IN_NENGO_ONLY}[name][2] * DT)
    scale = abs(weights).max()
    assert_close(delta, factor * (weights - w0), 1e-12, scale)
    assert_close(weights[1:], (weights + learned + delta)[:-1], 1e-12, scale)
    assert abs(learned).max() > 1e-6 * scale and abs(delta).max() > 1e-6 * scale


@pytest.mark.parametrize("name, towards", CASES)
def test_order_in_the_list_is_of_no_consequence(name, towards):
    (*_, last), (*_, first) = (beside("Nengo", order)[name, towards] for order in (False, True))
    assert_close(first, last, 1e-12, abs(last).max())


@pytest.mark.parametrize("name, towards", itertools.product(BESIDE, TOWARDS))
@pytest.mark.slow
def test_nengo_and_nengo_dl_agree_also_in_another_order(name, towards):
    *_, expected = beside("Nengo", False)[name, towards]
    *_, found = beside("NengoDL", True)[name, towards]
    assert_close(found, expected, 1e-5, abs(expected).max())


def test_encoders_decay_as_nengo_scales_them():
    with network() as net:
        conn = from_node([nengo.Voja(0.0), nengo_wd.Decay(10.0, modifies="encoders")])
        probe = nengo.Probe(conn.learning_rule[0], "scaled_encoders")
    with nengo.Simulator(net, progress_bar=False) as sim:
        sim.run_steps(100)
        built = sim.data[conn.post_obj]
        scaled = built.encoders * built.gain[:, None] / 2.0
        assert_close(sim.data[probe][-1], scaled * np.exp(-10 * 99 * DT), 1e-12)


# -- rates that change -------------------------------------------------------------------------


@every_simulator
def test_a_node_changes_the_rate_over_time(make, error):
    """The rate is ``rate * (1 + signal)``, and never below zero."""

    def signal(t):
        return [-3.0, 1.0, -0.5, -1.0][int(t / DT - 0.5) % 4]

    with network() as net:
        changing = from_neurons(nengo_wd.Decay(10.0), np.ones((1, 5)))
        steady = from_neurons(nengo_wd.Decay(2.0), np.ones((2, 5)))
        nengo.Connection(nengo.Node(signal), changing.learning_rule, synapse=None)
        probes = weights_of([changing, steady])
    found, other = simulated(make, net, 41, probes)
    exponents = np.cumsum([0] + [0.0, 2.0, 0.5, 0.0] * 10) * 10 * DT
    assert_close(found[:, 0, 0], np.exp(-exponents), error)
    assert_close(other[:, 1, 0], np.exp(-2 * DT * np.arange(41)), error)


# -- simulators --------------------------------------------------------------------------------


@every_simulator
def test_runs_go_on_and_start_anew(make, error):
    with network() as net:
        (probe,) = weights_of([from_neurons(nengo_wd.Decay(50.0), np.ones((1, 5)))])
    with make(net) as sim:
        for _ in range(2):
            sim.run_steps(10)
            sim.run_steps(10)
            found = last_example(sim.data[probe], 20)
            assert_close(found[:, 0, 0], np.exp(-50 * DT * np.arange(20)), error)
            sim.reset()


def test_examples_of_a_minibatch_learn_and_forget_on_their_own():
    with network() as net:
        error = nengo.Node([0.0])
        rules = [nengo.PES(1e-2), nengo_wd.Decay(10.0)]
        conn = nengo.Connection(ensemble(10), nengo.Node(size_in=1), learning_rule_type=rules)
        nengo.Connection(error, conn.learning_rule[0], synapse=None)
        (probe,) = weights_of([conn])
    signals = np.array([0.0, 1.0])[:, None, None] * np.ones((1, 100, 1))
    data = "input_feeds" if GENERATION == 2 else "data"
    with simulator(net, minibatch_size=2) as sim:
        sim.run_steps(100, **{data: {error: signals}})
        alone, moved = sim.data[probe]
    assert_close(alone, alone[0] * np.exp(-10 * DT * np.arange(100))[:, None, None], 1e-5)
    assert not np.allclose(moved[-1], alone[-1], rtol=1e-2)


def test_rules_of_all_connections_are_one_operation():
    """The copies, which add what the rules have computed to the weights, are one for each rule."""
    with network() as net:
        ens = ensemble()
        for i in range(100):
            rules = [nengo.PES(1e-3), nengo_wd.Decay(0.1 * i)]
            nengo.Connection(ens, nengo.Node(size_in=1), learning_rule_type=rules)
    with simulator(net) as sim:
        plan = sim.tensor_graph.plan
    assert [len(group) for group in plan if isinstance(group[0], SimDecay)] == [100]
    copies = [group for group in plan if isinstance(group[0], Copy)]
    assert [len(group) for group in copies if group[0].src.name == "Delta"] == [100, 100]


def test_rules_towards_zero_and_initial_values_are_one_operation_each():
    with network() as net:
        for towards in ("zero", "initial", "initial", "zero"):
            from_neurons(nengo_wd.Decay(1.0, towards=towards), np.ones((2, 5)))
    with simulator(net) as sim:
        assert sum(isinstance(group[0], SimDecay) for group in sim.tensor_graph.plan) == 2


@every_simulator
def test_merged_rules_have_rates_and_initial_values_of_their_own(make, error, rng):
    """The rates differ by less than NengoDL tells apart in constants of merged operators."""
    shapes, rates = [(1, 5), (3, 5), (2, 5)], [1e-3, 1.000009e-3, 50.0]
    starts = [rng.uniform(0.5, 1, size=shape) for shape in shapes]
    with network() as net:
        pre = ensemble(5)
        connections = [
            from_neurons([nengo_wd.Decay(rate), nengo_wd.Decay(100.0, "initial")], start, pre)
            for rate, start in zip(rates, starts)
        ]
        probes = weights_of(connections)
    for start, rate, weights in zip(starts, rates, simulated(make, net, 200, probes)):
        factor, to_start = np.expm1(-rate * DT), np.expm1(-100 * DT)
        expected = start.copy()
        for _ in range(199):
            expected += factor * expected + to_start * (expected - start)
        assert_close(weights[-1], expected, error)


# -- the object --------------------------------------------------------------------------------


def test_equal_rules_are_equal():
    rule = nengo_wd.Decay(2, towards="initial", modifies="encoders")
    for same in (copy.copy(rule), copy.deepcopy(rule), pickle.loads(pickle.dumps(rule))):
        assert same == rule and hash(same) == hash(rule)
    assert nengo_wd.Decay(2) != nengo_wd.Decay(3) != nengo_wd.Decay(3, towards="initial")
    assert repr(rule) == "Decay(rate=2.0, towards='initial', modifies='encoders')"
    assert (rule.rate, rule.learning_rate) == (2.0, 2.0)


def test_rules_are_read_only():
    with pytest.raises(nengo.exceptions.ReadonlyError):
        nengo_wd.Decay(1.0).towards = "initial"
