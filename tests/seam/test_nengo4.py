"""NengoDL 3 on today's Nengo and NumPy: what they do not do together by themselves."""

import nengo
import numpy as np
import pytest
import scipy.linalg
from generations import simulator

from nengo_wd._seam import bridge

pytestmark = pytest.mark.generation(3)
FILTERS = {
    "high-pass": nengo.LinearFilter([1, 0], [0.1, 1]),
    "a part passes": nengo.LinearFilter([0.05, 1], [0.1, 1]),
    "second order": nengo.LinearFilter([1, 2, 3], [0.01, 0.2, 1]),
    "all passes": nengo.LinearFilter([0.5], [1], analog=False),
    "nothing passes": nengo.LinearFilter([1], [0.01, 0.2, 1]),
    "low-pass": nengo.LinearFilter([1], [0.1, 1]),
}


def test_filters_equal_those_of_nengo(rng):
    """One of each kind, and several of one kind, which NengoDL builds together."""
    signal = rng.uniform(-1, 1, size=(20, 2))
    with nengo.Network(seed=0) as net:
        source = nengo.Node(nengo.processes.PresentInput(signal, 0.001))
        filters = [*FILTERS.values(), *FILTERS.values()]
        probes = [nengo.Probe(source, synapse=synapse) for synapse in filters]
    with nengo.Simulator(net, progress_bar=False) as reference, simulator(net) as sim:
        reference.run_steps(20)
        sim.run_steps(20)
        for probe in probes:
            np.testing.assert_allclose(sim.data[probe], reference.data[probe], atol=1e-5)


def test_a_high_pass_is_what_a_low_pass_leaves(rng):
    signal = rng.uniform(-1, 1, size=50)
    with nengo.Network(seed=0) as net:
        source = nengo.Node(nengo.processes.PresentInput(signal[:, None], 0.001))
        probe = nengo.Probe(source, synapse=FILTERS["high-pass"])
    with simulator(net) as sim:
        sim.run_steps(50)
        found = sim.data[probe].ravel()
    decay, low, expected = np.exp(-0.001 / 0.1), 0.0, [0.0]  # a probe lags one step behind
    for value in signal[:-1]:
        expected.append((value - low) / 0.1)
        low = decay * low + (1 - decay) * value
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nengo_is_left_as_it_was():
    before = nengo.LinearFilter.Step.__init__

    def build(*args):
        assert nengo.LinearFilter.Step.__init__ is not before
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        bridge.build_filter(build, None, None, None)
    assert nengo.LinearFilter.Step.__init__ is before


def test_matrix_exponential_of_many_dimensions(rng):
    """Nengo's own begins to estimate norms at 200 dimensions, with names that NumPy 2 removed."""
    from nengo._vendor.scipy import expm

    matrix = rng.normal(size=(220, 220)) / 10
    np.testing.assert_allclose(expm(matrix), scipy.linalg.expm(matrix), rtol=1e-8, atol=1e-10)


def test_memory_of_many_dimensions():
    """A Legendre memory unit of 210 dimensions, in continuous time."""
    order, theta = 210, 0.1
    i, j = np.meshgrid(np.arange(order), np.arange(order), indexing="ij")
    signs = np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    a = (2 * i + 1) / theta * signs
    b = ((2 * np.arange(order) + 1) * (-1.0) ** np.arange(order) / theta)[:, None]
    discrete_a, discrete_b, *_ = nengo.utils.filter_design.cont2discrete(
        (a, b, np.ones((1, order)), np.zeros((1, 1))), 0.001
    )
    expected = scipy.linalg.expm(a * 0.001)
    np.testing.assert_allclose(discrete_a, expected, rtol=1e-6, atol=1e-8)
    by_hand = np.linalg.solve(a, (expected - np.eye(order)) @ b)
    np.testing.assert_allclose(discrete_b, by_hand, rtol=1e-5, atol=1e-7)
