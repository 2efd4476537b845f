"""What the figures show is what was recorded."""

import matplotlib
import nengo
import numpy as np
import pytest
from generations import assign, simulator
from matplotlib.figure import Figure
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd import nengo_dl, plotting

CHANNELS = {"hidden.kernel": 5, "readout.kernel": 3}


def record(factor=1.0, n_records=7):
    """Return records of two layers, with the layers, in which one decays and one grows."""
    layers = [
        nengo_wd.RegularizedDense(CHANNELS[f"{name}.kernel"], name=name)
        for name in ("hidden", "readout")
    ]
    with nengo.Network(seed=0) as net:
        x = nengo.Node(np.zeros(4))
        for layer in layers:
            x = nengo_dl.tensor_layer(x, layer)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        for i in range(n_records):
            for layer, shape, rate in zip(layers, [(4, 5), (5, 3)], [0.5, 1.25]):
                start = np.random.RandomState(0).normal(size=shape)
                assign(sim, layer.kernel, np.float32(factor * rate**i * start))
            norms.record(step=10 * i)
    return norms, layers


@pytest.fixture(scope="module")
def recorded():
    return record()


def vertical_lines(axes):
    return [line.get_xdata()[0] for line in axes.lines]


def bar_heights(axes):
    (stairs,) = axes.patches
    return stairs.get_data().values.tolist()


def test_norms(recorded):
    norms, (hidden, _) = recorded
    figure = plotting.norms(norms)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.lines] == norms.names
    for line, values in zip(axes.lines, norms.norms.T):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(0, 70, 10))
        np.testing.assert_array_equal(line.get_ydata(), values)
    assert axes.get_xlabel() == "step (batches)"
    assert len({line.get_color() for line in axes.lines}) == 2
    assert len({line.get_linestyle() for line in axes.lines}) == 2

    for one in (hidden, "hidden.kernel", ["hidden.kernel"]):
        (line,) = plotting.norms(norms, one).axes[0].lines
        assert line.get_label() == "hidden.kernel"


def test_histograms(recorded):
    norms, _ = recorded
    figure = plotting.histograms(norms, records=[0, -1], bins=8)
    grid = np.reshape(figure.axes, (2, 2))
    largest = max(channels.max() for channels in norms.channel_norms.values())
    edges = np.linspace(0, 1.05 * largest, 9)
    for row, record in zip(grid, (0, -1)):
        for axes, name in zip(row, norms.names):
            channels = norms.channel_norms[name][record]
            assert bar_heights(axes) == np.histogram(channels, edges)[0].tolist()
            assert sum(bar_heights(axes)) == CHANNELS[name]
            assert vertical_lines(axes) == pytest.approx([channels.mean(), channels.max()])
            mean, maximum = axes.lines
            assert mean.get_color() != maximum.get_color()
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    assert [axes.get_title() for axes in grid[0]] == norms.names
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["step 0\nchannels", "step 60\nchannels"]


def test_histograms_of_some_records_by_default(recorded):
    norms, _ = recorded
    labels = [axes.get_ylabel() for axes in plotting.histograms(norms).axes[::2]]
    steps = [int(label.split()[1]) for label in labels]
    assert len(steps) == 5
    assert steps[0] == 0 and steps[-1] == 60


def test_compare(recorded):
    runs = {"decay": recorded[0], "no decay": record(factor=2.0, n_records=4)[0]}
    figure = plotting.compare(runs)
    over_training, by_channel = np.reshape(figure.axes, (2, 2))
    for axes, name in zip(over_training, CHANNELS):
        assert axes.get_title() == name
        assert [line.get_label() for line in axes.lines] == ["decay", "no decay"]
        for line, norms in zip(axes.lines, runs.values()):
            place = norms.names.index(name)
            np.testing.assert_array_equal(line.get_ydata(), norms.norms[:, place])
    for axes in by_channel:
        assert len(axes.patches) == 2
    for row in (over_training, by_channel):
        assert len({(axes.get_xlim(), axes.get_ylim()) for axes in row}) == 1


def test_axes_by_parameter(recorded):
    norms, _ = recorded
    grid = np.reshape(plotting.histograms(norms, equal_axes=False).axes, (5, 2))
    for column, channels in zip(grid.T, norms.channel_norms.values()):
        (limits,) = {axes.get_xlim() for axes in column}
        assert limits == (0, pytest.approx(1.05 * channels.max()))
    runs = {"decay": norms, "no decay": record(factor=2.0)[0]}
    over_training, _ = np.reshape(plotting.compare(runs, equal_axes=False).axes, (2, 2))
    for place, axes in enumerate(over_training):
        largest = max(run.norms[:, place].max() for run in runs.values())
        assert axes.get_ylim() == (0, pytest.approx(1.05 * largest))


def test_the_run_that_lacks_a_parameter_is_named(recorded):
    norms, (hidden, _) = recorded
    with nengo.Network() as net:
        nengo_dl.tensor_layer(nengo.Node([0.0]), nengo_wd.RegularizedDense(2, name="other"))
    with simulator(net) as sim:
        other = nengo_wd.WeightNorms(sim)
        other.record()
    with pytest.raises(ValidationError, match="'hidden.kernel' in the run 'b', but only of other"):
        plotting.compare({"a": norms, "b": other}, hidden)


def test_given_axes(recorded):
    norms, _ = recorded
    figure = Figure()
    grid = figure.subplots(2, 2)
    assert plotting.norms(norms, axes=grid[0, 0]) is figure
    assert plotting.histograms(norms, records=[0, 1], axes=grid) is figure
    assert plotting.histograms(norms, records=[2], axes=grid[0]) is figure
    assert plotting.compare({"run": norms}, axes=grid) is figure
    assert len(figure.axes) == 4
    with pytest.raises(ValidationError, match=r"axes has shape \(2, 2\), but must have .*\(3, 2\)"):
        plotting.histograms(norms, records=[0, 1, 2], axes=grid)
    for wrong in (grid, grid[:, :1]):
        with pytest.raises(ValidationError, match="axes has shape"):
            plotting.norms(norms, axes=wrong)
        with pytest.raises(ValidationError, match="axes has shape"):
            plotting.histograms(norms, records=[0], axes=wrong)


def test_one_record_can_be_seen():
    norms, _ = record(n_records=1)
    for figure in (plotting.norms(norms), plotting.compare({"run": norms})):
        (line, *_) = figure.axes[0].lines
        assert line.get_marker() == "o"


def test_classes_and_networks_choose(recorded):
    norms, _ = recorded
    assert len(plotting.norms(norms, nengo_dl.TensorNode).axes[0].lines) == 2


@pytest.mark.filterwarnings("ignore:weights are not finite")
def test_weights_that_are_not_finite_leave_the_others_to_see():
    norms, _ = record(factor=np.float32(3e38), n_records=2)
    for figure in (plotting.histograms(norms), plotting.compare({"run": norms})):
        for axes in figure.axes:
            assert np.all(np.isfinite([axes.get_xlim(), axes.get_ylim()]))


def test_bad_arguments(recorded):
    norms, _ = recorded
    empty, _ = record(n_records=0)
    with pytest.raises(ValidationError, match="nothing was recorded; call record"):
        plotting.norms(empty)
    for runs in ({}, norms):
        with pytest.raises(ValidationError, match="must be a dictionary"):
            plotting.compare(runs)
    with pytest.raises(ValidationError, match="expected a WeightNorms"):
        plotting.norms({"run": norms})
    with pytest.raises(ValidationError, match="has nothing to plot"):
        plotting.norms(norms, [])
    for bins in (0, -1, 1.5):
        with pytest.raises(ValidationError, match="must be a number of bins"):
            plotting.histograms(norms, bins=bins)
    for unknown in ("kernel", object(), np.ones(3)):
        with pytest.raises(ValidationError, match="but only of hidden.kernel, readout.kernel"):
            plotting.norms(norms, unknown)
    for records in ([0, 7], [], 7, [1.5]):
        with pytest.raises(ValidationError, match="places among the 7 records"):
            plotting.histograms(norms, records=records)


def draw(n_lines):
    """Return axes with lines and a legend, as a user draws them."""
    axes = Figure().subplots()
    for i in range(n_lines):
        axes.plot([0, i], label=str(i))
    axes.legend()
    axes.set_title("title")
    return axes


def test_style_is_that_of_our_own_figures(recorded):
    norms, _ = recorded
    (ours,) = plotting.norms(norms).axes
    with plotting.style():
        axes = draw(2)
    assert not axes.spines["top"].get_visible() and not axes.spines["right"].get_visible()
    assert not axes.get_legend().get_frame_on()
    assert axes.title.get_size() == axes.xaxis.label.get_size() == ours.xaxis.label.get_size() == 8
    for line, own in zip(axes.lines, ours.lines):
        assert line.get_color() == own.get_color()
        assert line.get_linestyle() == own.get_linestyle()


LABELS = ["cost $ and $", "$a_{$", "_hidden", "$x^2$", "$"]


def drawn_as(text):
    """Return what Matplotlib draws, and fail where it can't."""
    text.figure.canvas.draw()
    shown, is_math = text._preprocess_math(text.get_text())
    return shown.replace(r"\$", "$"), is_math


@pytest.fixture(scope="module")
def labelled():
    """Return records of connections whose labels mean something to Matplotlib."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(regularizer="l2")
        a = nengo.Ensemble(5, 1)
        for label in LABELS:
            nengo.Connection(a, nengo.Node(size_in=1), label=label)
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
    return norms


def test_names_are_shown_as_they_are(labelled):
    names = [f"{label}.weights" for label in LABELS]
    assert labelled.names == names
    (axes,) = plotting.norms(labelled).axes
    texts = axes.get_legend().get_texts()
    assert sorted(drawn_as(text) for text in texts) == sorted((name, False) for name in names)
    for figure in (plotting.histograms(labelled), plotting.compare({"run": labelled})):
        titles = [drawn_as(axes.title) for axes in figure.axes[: len(names)]]
        assert [(title.replace("\n", " "), math) for title, math in titles] == [
            (name, False) for name in names
        ]


def test_labels_of_runs_may_be_mathematics(labelled):
    figure = plotting.compare({label: labelled for label in [*LABELS, 0.5]}, "$.weights")
    texts = figure.axes[0].get_legend().get_texts()
    drawn = dict(drawn_as(text) for text in texts)
    assert drawn == {**dict.fromkeys([*LABELS, "0.5"], False), "$x^2$": True, "cost $ and $": True}


def test_no_two_lines_look_alike():
    with plotting.style():
        looks = [(one["color"], one["linestyle"]) for one in matplotlib.rcParams["axes.prop_cycle"]]
    assert len(looks) == len(set(looks)) == 35
    assert len({color for color, _ in looks}) == 7


def test_style_holds_within_its_block():
    before = dict(matplotlib.rcParams)
    with plotting.style({"font.size": 12, "legend.frameon": True}):
        axes = draw(1)
        assert matplotlib.rcParams != before
    assert axes.xaxis.label.get_size() == axes.title.get_size() == 12
    assert axes.get_legend().get_frame_on()
    assert dict(matplotlib.rcParams) == before


def test_without_matplotlib(recorded, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(ImportError, match="needs Matplotlib"):
        plotting.norms(recorded[0])
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plotting.style()
