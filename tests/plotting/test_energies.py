"""The figure of energy shows the joules of each object, one on top of the other."""

import nengo
import numpy as np
import pytest
from generations import simulator
from matplotlib.figure import Figure

import nengo_wd
from nengo_wd import nengo_dl, plotting

pytestmark = pytest.mark.generation(3)


@pytest.fixture(scope="module")
def runs():
    """Energies of two networks, one with an object more, that can't be counted."""
    with nengo.Network(seed=0) as net:
        source = nengo.Node([1.0], label="source")
        a, b = (nengo.Ensemble(5, 1, label=label) for label in ("a", "b$"))
        nengo.Connection(source, a, label="in")
        nengo.Connection(a, b, label="ab")
    with simulator(net) as sim:
        first = nengo_wd.Energy(sim, {source: np.ones((1, 20, 1))})
    with net:
        node = nengo_dl.TensorNode(lambda t, x: x, shape_in=(1,), label="mystery")
        nengo.Connection(b, node, label="more")
    with simulator(net) as sim, pytest.warns(UserWarning, match="mystery"):
        second = nengo_wd.Energy(sim, {source: np.ones((1, 20, 1))})
    return {"plain": first, "more": second}


def bars(axes):
    """Return (run, bottom, height) of each bar, by the label of its colour."""
    return {
        container.patches[0].get_label(): [
            (round(bar.get_x() + bar.get_width() / 2), bar.get_y(), bar.get_height())
            for bar in container
        ]
        for container in axes.containers
    }


@pytest.mark.parametrize("device, inputs", [("loihi", True), ("cpu", False)])
def test_energies(runs, device, inputs):
    figure = plotting.energy(runs, device, inputs=inputs)
    (axes,) = figure.axes
    drawn = bars(axes)
    tops = np.zeros(2)
    for label, stacked in reversed(list(drawn.items())):
        for run, (energy, (place, bottom, height)) in enumerate(zip(runs.values(), stacked)):
            frame = energy.to_frame(inputs=inputs).set_index("name")
            joules = frame[f"joules_{device}"].get(label.replace(r"\$", "$"), 0.0)
            assert (place, bottom, height) == pytest.approx((run, tops[run], joules))
            tops[run] += height
    np.testing.assert_allclose(tops, [one.total(device, inputs=inputs) for one in runs.values()])
    assert set(drawn) == {"a", r"b\$", "ab", "more"} | ({"in"} if inputs else set())
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(runs)
    assert axes.get_ylabel() == f"energy on {device}\n(J for one example)"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == list(drawn)
    colors = {bar[0].get_facecolor() for bar in axes.containers}
    assert len(colors) == len(drawn)


def test_one_energy_in_axes_of_the_user(runs, tmp_path):
    axes = Figure().subplots()
    figure = plotting.energy(runs["plain"], axes=axes)
    assert figure is axes.figure and len(axes.get_xticklabels()) == 1
    figure.savefig(tmp_path / "energy.png")
