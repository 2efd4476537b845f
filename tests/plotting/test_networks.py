"""The figure of a pruned network shows what there was of each object, and what is left."""

import nengo
import numpy as np
import pytest
from generations import simulator
from matplotlib.figure import Figure
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import plotting

pytestmark = pytest.mark.generation(3)


@pytest.fixture(scope="module")
def smaller():
    """Three of four neurons lead on, to two of five; two neurons lead nowhere."""
    with nengo.Network(seed=0) as net:
        kind = nengo.RectifiedLinear()
        a, b, c = (
            nengo.Ensemble(n, 1, neuron_type=kind, gain=np.ones(n), bias=np.ones(n), label=label)
            for n, label in ((4, "a"), (5, "b$"), (2, "c"))
        )
        weights, last = np.ones((5, 4)), np.ones((1, 5))
        weights[:, 3] = last[:, 2:] = 0
        nengo.Connection(a.neurons, b.neurons, transform=weights, label="ab")
        nengo.Connection(b.neurons, c.neurons, transform=np.ones((2, 5)), label="bc")
        readout = nengo.Node(size_in=1)
        nengo.Connection(b.neurons, readout, transform=last, label="last")
        nengo.Probe(readout)
    with simulator(net) as sim:
        return nengo_wd.pruned(sim)


NAMES = ["a", r"b\$", "c", "ab", "bc", "last"]
NEURONS = [4, 5, 2, 0, 0, 0], [3, 2, 0, 0, 0, 0]
PARAMETERS = [8, 10, 4, 20, 10, 5], [6, 4, 0, 6, 0, 2]


def test_before_and_left(smaller, tmp_path):
    figure = plotting.pruned(smaller)
    neurons, parameters = figure.axes
    for panel, expected in ((neurons, NEURONS), (parameters, PARAMETERS)):
        for bars, numbers in zip(panel.containers, expected):
            assert [bar.get_width() for bar in bars] == numbers
        places = [text.get_position()[1] for text in panel.texts]
        assert places == [i for i, n in enumerate(expected[0]) if n]
        texts = [text.get_text().strip() for text in panel.texts]
        assert texts == [f"{left} of {n}" for n, left in zip(*expected) if n]
        assert panel.get_ylim() == (5.5, -0.5)  # the first one is on top
    assert [tick.get_text() for tick in neurons.get_yticklabels()] == NAMES
    assert (neurons.get_xlabel(), parameters.get_xlabel()) == ("neurons", "weights and biases")
    legend = parameters.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["before", "left"]
    figure.savefig(tmp_path / "pruned.png")


def test_axes_of_the_user(smaller):
    axes = Figure().subplots(2)
    assert plotting.pruned(smaller, axes=axes) is axes[0].figure
    assert [tick.get_text() for tick in axes[1].get_yticklabels()] == NAMES
    with pytest.raises(ValidationError, match=r"must have shape \(1, 2\)"):
        plotting.pruned(smaller, axes=Figure().subplots())


def test_other_things(smaller):
    with pytest.raises(ValidationError, match="give what nengo_wd.pruned returns"):
        plotting.pruned(smaller.network)


def test_networks_without_neurons():
    with nengo.Network() as net:
        nengo.Probe(nengo.Node([1.0]))
    with simulator(net) as sim, pytest.raises(ValidationError, match="nothing to plot"):
        plotting.pruned(nengo_wd.pruned(sim))
