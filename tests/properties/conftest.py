"""How many sequences hypothesis generates: NENGO_WD_EXAMPLES says it, 10 where nobody does."""

import os

import hypothesis

hypothesis.settings.register_profile(
    "suite",
    max_examples=int(os.environ.get("NENGO_WD_EXAMPLES", "10")),
    deadline=None,
    database=None,
    derandomize="NENGO_WD_EXAMPLES" not in os.environ,  # then by --hypothesis-seed
)
hypothesis.settings.load_profile("suite")
