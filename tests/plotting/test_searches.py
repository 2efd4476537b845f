"""The figure of a search shows the errors of its trials, and the best."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from nengo_wd import plotting

pytestmark = pytest.mark.generation(3)

ERRORS = [3.0, 5.0, None, 2.0, 4.0, 2.5]  # the second was pruned, the third failed
KERNELS = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]
RATES = KERNELS[::-1]


@pytest.fixture(scope="module")
def study():
    import optuna

    study = optuna.create_study(study_name="mine", storage=optuna.storages.InMemoryStorage())
    strength = optuna.distributions.FloatDistribution(1e-6, 1.0, log=True)
    for number, error in enumerate(ERRORS):
        state = {1: "PRUNED", 2: "FAIL"}.get(number, "COMPLETE")
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
    assert found["pruned"] == [[1, 5.0]]
    assert found["best"] == [[3, 2.0]]
    assert found["best so far"] == [[0, 3.0], [3, 2.0], [4, 2.0], [5, 2.0]]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("trial", "error")


def test_errors_over_each_strength(study):
    figure = plotting.search(study)
    for panel, strengths in zip(figure.axes[1:], (KERNELS, RATES)):
        found = points(panel)
        assert panel.get_xscale() == "log"
        assert found["complete"] == [[strengths[i], ERRORS[i]] for i in (0, 3, 4, 5)]
        assert found["pruned"] == [[strengths[1], ERRORS[1]]]
        assert found["best"] == [[strengths[3], 2.0]]
        low, high = panel.get_ylim()
        assert low < 2.0 and 4.0 < high < 5.0  # of those that came to their end
    assert [panel.get_title() for panel in figure.axes[1:]] == ["kernels", r"rates \$"]
    legend = [text.get_text() for text in figure.axes[-1].get_legend().get_texts()]
    assert sorted(legend) == ["best", "best so far", "complete", "pruned"]
    figure.savefig("/dev/null", format="png")


def test_axes_of_the_user(study):
    axes = Figure().subplots(3)
    assert plotting.search(study, axes) is axes[0].figure
    assert points(axes[2])["best"] == [[RATES[3], 2.0]]
