"""A script with a search, which is killed in the middle of it the first time that it runs."""

import sys
from pathlib import Path

import nengo_wd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import searched  # noqa: E402

if __name__ == "__main__":
    study = nengo_wd.search.strengths(
        searched.train_and_die_once, searched.RANGES, searched.N_TRIALS, seed=3, progress_bar=False
    )
