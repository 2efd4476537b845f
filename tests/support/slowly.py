"""Tests of many kinds alike, of which most wait for `--slow`."""

import pytest


def slow_but(quick, kinds):
    """Return kinds as parameters of a test: all but the quick ones are slow."""
    return [pytest.param(kind, marks=() if kind in quick else pytest.mark.slow) for kind in kinds]
