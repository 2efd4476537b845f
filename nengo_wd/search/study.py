"""The study of a search, which says why none of its trials is the best."""

from __future__ import annotations

from collections import Counter

import optuna
from nengo.exceptions import ValidationError
from optuna.trial import FrozenTrial

from nengo_wd.search import trials

STATES = {"FAIL": "failed", "PRUNED": "was pruned", "RUNNING": "is running"}


class Study(optuna.Study):
    """Optuna's study; where no trial came to its end, reading the best one says why."""

    @property
    def best_trial(self) -> FrozenTrial:
        """The trial with the least error, from which ``best_params`` and ``best_value`` follow."""
        found = trials.counted(self)
        if not any(trial.state.name == "COMPLETE" for trial in found):
            raise ValidationError(_why_none_is_best(self.study_name, found), attr="best_trial")
        return super().best_trial


def _why_none_is_best(name: str, found: list[FrozenTrial]) -> str:
    """Say what became of the trials of a search, and where the first error is."""
    counts = Counter(STATES.get(trial.state.name, "waits") for trial in found)
    if set(counts) == {"failed"}:
        message = f"all {len(found)} trials of the search {name!r} failed"
    else:
        told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        message = f"none of the {len(found)} trials of the search {name!r} came to its end: {told}"
    errors = [trial.number for trial in found if "error" in trial.user_attrs]
    where = f"; study.trials[{errors[0]}].user_attrs['error'] has a traceback" if errors else ""
    return f"{message}, so none is the best{where}"
