"""A script with a search, which is killed in the middle of it the first time that it runs."""

import searched

import nengo_wd

if __name__ == "__main__":
    study = nengo_wd.search.strengths(
        searched.train_and_die_once, searched.RANGES, searched.N_TRIALS, seed=3, progress_bar=False
    )
