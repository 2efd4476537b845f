"""Regularizers that are sums over elements, and regularizers made of others."""

import numpy as np
import pytest
import tensorflow as tf

from nengo_wd._checks import Strength
from nengo_wd.regularizers import GroupLasso, TowardsGrid, TowardsInitial, forms, moved


def numbers(form):
    """Return the strengths of L1 and L2, none of which moves, and what they are towards."""
    assert not form.moving
    l1, l2 = (form.strengths.get(name, Strength(0.0)).number for name in ("l1", "l2"))
    return l1, l2, form.towards_initial


@pytest.mark.parametrize(
    "regularizer, form",
    [
        (tf.keras.regularizers.l1(0.25), (0.25, 0, False)),
        (tf.keras.regularizers.l2(0.5), (0, 0.5, False)),
        (tf.keras.regularizers.l1_l2(0.25, 0.5), (0.25, 0.5, False)),
        (TowardsInitial(0.25, 0.5), (0.25, 0.5, True)),
    ],
)
def test_forms(regularizer, form):
    assert numbers(forms.row_form(regularizer)) == form
    l1, l2, towards_initial = form
    scaled = moved.rescaled(regularizer, 2.0)
    assert numbers(forms.row_form(scaled)) == (l1 / 2, l2 / 4, towards_initial)
    assert moved.transformed(regularizer, tf.transpose) is regularizer


@pytest.mark.parametrize(
    "regularizer", [GroupLasso(0.5), TowardsGrid(0.5, 3), lambda w: tf.reduce_sum(w**4)]
)
def test_others_have_no_form(regularizer, rng):
    assert forms.row_form(regularizer) is None
    weights = rng.uniform(size=(2, 3))
    for made, given in (
        (moved.rescaled(regularizer, 2.0), weights / 2),
        (moved.transformed(regularizer, tf.transpose), weights.T),
    ):
        penalties = tf.stack([made(tf.constant(weights)), regularizer(tf.constant(given))])
        one, other = tf.keras.backend.get_value(penalties)
        assert one == pytest.approx(other, rel=1e-12)
        assert np.isfinite(one) and one > 0


def test_a_subclass_of_keras_may_compute_anything():
    class Halved(tf.keras.regularizers.L1L2):
        def __call__(self, weights):
            return super().__call__(weights) / 2

    assert forms.row_form(Halved(l2=0.5)) is None
