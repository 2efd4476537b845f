"""Exactly the neurons that change no output go, in networks that hypothesis generates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import KINDS, Random, check_that_exactly_those_go

pytestmark = [
    pytest.mark.slow,
    pytest.mark.traced,
    pytest.mark.generation(3),
    pytest.mark.filterwarnings("ignore:.*size_out' is being overwritten"),
]


@given(
    kinds=st.lists(st.sampled_from([*KINDS]), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    data=st.data(),
)
def test_exactly_the_neurons_that_can_go(kinds, seed, data):
    def choose(n, share):
        return np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))

    check_that_exactly_those_go(Random(seed, spiking=False, kinds=kinds, choose=choose))
