"""Parameters of Nengo's own objects: weights, encoders and biases."""

from __future__ import annotations

from typing import Any

import nengo
import nengo_dl

from nengo_wd import _names as names
from nengo_wd import _seam as seam
from nengo_wd._parameters import channels
from nengo_wd._parameters.parameter import Parameter

KINDS = {  # the trainable parameter of each class, and the signal that holds it
    nengo.Connection: ("weights", "weights"),
    nengo.Ensemble: ("encoders", "encoders"),
    nengo.ensemble.Neurons: ("biases", "bias"),
}


def of_signal(sim: nengo_dl.Simulator, obj: Any) -> Parameter:
    """Return the trainable parameter of an object that has one."""
    kind, signal = _signal(sim, obj)
    variable, rows, shape = seam.parameters.base_rows(sim, signal)
    name = f"{names.of_object(obj)}.{kind}"
    by_channel = channels.of_signal(signal, len(rows))
    return Parameter(sim, obj, name, variable, rows, shape, by_channel)


def why_none(sim: nengo_dl.Simulator, obj: Any) -> str | None:
    """Say why an object has nothing to train, or return None if it has something."""
    kind, signal = _signal(sim, obj)
    if getattr(obj, "ensemble", obj) not in sim.model.params:
        return "it was added after the simulator was built; make a simulator anew"
    if signal is None or signal not in sim.tensor_graph.signals:
        return f"it has no {kind} that could be trained"
    if signal.minibatched:
        return (
            f"its {kind} are changed by a learning rule, not by training; nengo_wd.Decay is a "
            "learning rule that has them decay"
        )
    if not signal.trainable and not sim.tensor_graph.inference_only:
        return f"its {kind} are set not to be trainable"
    return None


def _signal(sim: nengo_dl.Simulator, obj: Any) -> tuple[str, Any]:
    """Return kind and signal of an object's trainable parameter; None if it has no signal."""
    kind, key = next(KINDS[c] for c in type(obj).__mro__ if c in KINDS)
    return kind, sim.model.sig.get(obj, {}).get(key)
