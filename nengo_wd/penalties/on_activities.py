"""Penalties on what probes record: settings on probes, for activity regularization."""

from __future__ import annotations

from typing import Any, NamedTuple

import nengo
import nengo_dl
import tensorflow as tf

from nengo_wd import settings
from nengo_wd.checks import check_penalty


class ActivityPenalty(NamedTuple):
    r"""A regularizer on what a probe records.

    .. math:: R(y) / (n_{examples} \, n_{steps})

    which is what a Keras layer's ``activity_regularizer`` adds to the loss, for each
    time step of the simulation.
    """

    probe: nengo.Probe
    regularizer: Any

    def __call__(self, activity: tf.Tensor) -> tf.Tensor:
        """Return the penalty on ``activity``, of shape (examples, steps, size)."""
        by_step = tf.reshape(activity, (-1, activity.shape[-1]))
        penalty = check_penalty(f"{self.probe}.activity", self.regularizer(by_step))
        return penalty / tf.cast(tf.shape(by_step)[0], penalty.dtype)


def of_settings(sim: nengo_dl.Simulator) -> list[ActivityPenalty]:
    """Return the penalties that the setting ``regularizer`` on probes asks for."""
    if sim.model.toplevel is None:
        return []
    return [
        ActivityPenalty(setting.obj, setting.value)
        for setting in settings.look_up(sim.model.toplevel, "regularizer", nengo.Probe)
        if setting.value is not None
    ]
