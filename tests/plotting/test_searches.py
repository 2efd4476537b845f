"""The figure of a search shows the errors of its trials, and the best."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from nengo_wd import plotting

pytestmark = pytest.mark.generation(3)

ERRORS = [3.0, 5.0, None, 2.0, 4.0, 2.5]  # the second was pruned, the third failed
KERNELS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
RATES = KERNELS[::-1]
BOTTOM, TOP = pytest.approx(1.8), pytest.approx(4.2)  # a tenth around those that came to their end


@pytest.fixture(scope="module")
def study():
    return study_of(ERRORS)


def study_of(errors, pruned=(1,), direction="minimize"):
    """Return a study of trials: those without an error failed."""
    import optuna

    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="mine", storage=storage, direction=direction)
    strength = optuna.distributions.FloatDistribution(1e-6, 1.0, log=True)
    for number, error in enumerate(errors):
        state = "PRUNED" if number in pruned else "COMPLETE" if error is not None else "FAIL"
        study.add_trial(
            optuna.create_trial(
                state=optuna.trial.TrialState[state],
                params={"kernels": KERNELS[number], "rates $": RATES[number]},
                distributions={"kernels": strength, "rates $": strength},
                value=error,
            )
        )
    return study


def points(panel):
    """Return the points of each kind of trial."""
    return {line.get_label(): np.transpose(line.get_data()).tolist() for line in panel.get_lines()}


def test_errors_over_trials(study):
    panel = plotting.search(study).axes[0]
    found = points(panel)
    assert found["complete"] == [[0, 3.0], [3, 2.0], [4, 4.0], [5, 2.5]]
    assert found["pruned, error above"] == [[1, TOP]]
    assert found["best"] == [[3, 2.0]]
    assert found["best so far"] == [[0, 3.0], [3, 2.0], [4, 2.0], [5, 2.0]]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("trial", "error")


def test_errors_over_each_strength(study):
    figure = plotting.search(study)
    for panel, strengths in zip(figure.axes[1:], (KERNELS, RATES)):
        found = points(panel)
        assert panel.get_xscale() == "log"
        assert found["complete"] == [[strengths[i], ERRORS[i]] for i in (0, 3, 4, 5)]
        assert found["pruned, error above"] == [[strengths[1], TOP]]
        assert found["best"] == [[strengths[3], 2.0]]
        assert panel.get_ylim() == (BOTTOM, TOP)
    assert [panel.get_title() for panel in figure.axes[1:]] == ["kernels", r"rates \$"]
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(legend) == ["best", "best so far", "complete", "pruned, error above"]
    figure.savefig("/dev/null", format="png")


def test_axes_of_the_user(study):
    axes = Figure().subplots(3)
    assert plotting.search(study, axes) is axes[0].figure
    assert points(axes[2])["best"] == [[RATES[3], 2.0]]
    assert all(panel.get_ylim() == (BOTTOM, TOP) for panel in axes)


def markers(figure, panel, label):
    """Return the symbol of a kind of trial, and where its points are in the panel, from 0 to 1."""
    figure.draw_without_rendering()
    (line,) = (one for one in panel.get_lines() if one.get_label() == label)
    points = panel.transAxes.inverted().transform(panel.transData.transform(line.get_xydata()))
    return line.get_marker(), points[:, 1].tolist(), line.get_clip_on()


@pytest.mark.parametrize("axes", [None, 3], ids=["new figure", "axes of the user"])
def test_pruned_trials_beyond_the_limits_are_at_the_edges(axes):
    errors = [2.0, 100.0, 0.5, 4.0, 2.5, np.inf]
    study = study_of(errors, pruned=(1, 2, 4, 5))
    figure = plotting.search(study, axes and Figure().subplots(axes))
    for panel, x in zip(figure.axes, (range(6), KERNELS, RATES)):
        assert panel.get_ylim() == (BOTTOM, TOP)
        found = points(panel)
        assert found["pruned"] == [[x[4], 2.5]]
        assert found["pruned, error above"] == [[x[1], TOP], [x[5], TOP]]
        assert found["pruned, error below"] == [[x[2], BOTTOM]]
        at_top, at_bottom = pytest.approx([1, 1]), pytest.approx([0])
        assert markers(figure, panel, "pruned, error above") == ("^", at_top, False)
        assert markers(figure, panel, "pruned, error below") == ("v", at_bottom, False)


def test_study_that_maximizes():
    """Of a user's own: the best so far is the largest, and so are the limits."""
    figure = plotting.search(study_of(ERRORS, direction="maximize"))
    found = points(figure.axes[0])
    assert found["best so far"] == [[0, 3.0], [3, 3.0], [4, 4.0], [5, 4.0]]
    assert found["best"] == [[4, 4.0]]
    assert found["pruned, value above"] == [[1, TOP]]
    assert figure.axes[0].get_ylabel() == "value"
    assert all(panel.get_ylim() == (BOTTOM, TOP) for panel in figure.axes)
