"""How many sequences hypothesis generates: NENGO_WD_EXAMPLES says it, and 20 is enough each day."""

import os

import hypothesis

hypothesis.settings.register_profile(
    "suite",
    max_examples=int(os.environ.get("NENGO_WD_EXAMPLES", "20")),
    deadline=None,
    database=None,
    derandomize=True,
)
hypothesis.settings.load_profile("suite")
