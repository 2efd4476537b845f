"""Decay in simulation time: a learning rule, alone or together with PES and others."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
from nengo.builder import Builder, Model, Operator, Signal
from nengo.builder.operator import Reset
from nengo.connection import LearningRule
from nengo.exceptions import ValidationError
from nengo.learning_rules import LearningRuleType
from nengo.params import EnumParam
from nengo_dl.builder import Builder as NengoDLBuilder  # the same after a failed import

from nengo_wd import _seam as seam
from nengo_wd._checks import check_strength, is_number


class Decay(LearningRuleType):
    """Decay of weights in simulation time, alone or together with other learning rules.

    At each time step, the weights change by::

        (exp(-rate * dt) - 1) * (w - w0)

    with ``w0 = 0``, or the weights from Nengo's builder. Without other rules, ``w - w0`` falls to
    zero with a time constant of ``1 / rate`` seconds. So the decay forgets what other rules have
    added. As in all of Nengo's learning rules, the change is computed at the end of a time step and
    applied in the next one.

    It runs in `nengo.Simulator` and in NengoDL. In NengoDL, each example of a minibatch has its own
    weights. Each change makes up for what rounding lost in the last one, so slow decay works in
    float32 too.

    Parameters
    ----------
    rate : float
        The rate of the decay in 1/s, finite and not negative.
    towards : {"zero", "initial"}, optional
        The weights to decay towards.
    modifies : {"decoders", "weights", "encoders"}, optional
        The weights that decay: the decoders or full weights of the connection (``"decoders"``
        allows both, ``"weights"`` only full weights), or the encoders of the ensemble that it leads
        to, scaled by gain and radius as in Nengo.

    Raises
    ------
    nengo.exceptions.ValidationError
        For a rate that is not a finite number, zero or above, and for another ``towards`` or
        ``modifies``.

    Notes
    -----
    A connection to the rule changes its rate over time, as with `nengo.Voja`: the rate is ``rate *
    max(1 + signal, 0)`` for a signal of one dimension, so a signal of -1 stops the decay.

    Probes can record ``"delta"``, the change for the next time step.

    Nengo refuses learning on sparse transforms and convolutions. NengoDL does not train weights
    that have a learning rule; the setting ``weight_decay`` is for weights that it trains.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     ens = nengo.Ensemble(50, 1)
    ...     readout = nengo.Node(size_in=1)
    ...     rules = [nengo.PES(1e-4), nengo_wd.Decay(rate=0.1)]
    ...     conn = nengo.Connection(ens, readout, learning_rule_type=rules)
    ...     weights = nengo.Probe(conn, "weights", sample_every=0.5)
    >>> with nengo.Simulator(net, progress_bar=False) as sim:
    ...     sim.run(5.0)
    >>> first, *_, last = np.linalg.norm(sim.data[weights], axis=(1, 2))
    >>> print(f"{last / first:.4f}, {np.exp(-0.1 * 4.5):.4f}")
    0.6376, 0.6376
    """

    probeable = ("delta",)

    towards = EnumParam("towards", default="zero", values=("zero", "initial"), readonly=True)
    modifies = EnumParam(
        "modifies", default="decoders", values=("decoders", "weights", "encoders"), readonly=True
    )

    def __init__(self, rate: float, towards: str = "zero", modifies: str = "decoders") -> None:
        if not is_number(rate):
            hint = "give a number in 1/s, and connect a node to the rule to change the rate"
            raise ValidationError(f"{rate!r} is not a rate; {hint}", attr="rate", obj=Decay)
        check_strength(float(rate), "rate", "rate", "Decay")
        super().__init__(learning_rate=float(rate), size_in=1)
        self.towards = towards
        self.modifies = modifies

    @property
    def rate(self) -> float:
        """The rate of the decay in 1/s, which Nengo's other rules call a learning rate."""
        return self.learning_rate

    def __repr__(self) -> str:
        return f"Decay(rate={self.rate}, towards={self.towards!r}, modifies={self.modifies!r})"


class SimDecay(Operator):
    """Compute the change of weights that decay; Nengo's `Copy` adds it in the next time step."""

    def __init__(
        self, reads: list[Signal], updates: list[Signal], rate: float, initial: np.ndarray | None
    ) -> None:
        super().__init__()
        self.rate, self.initial = rate, initial  # in 1/s; the weights to decay towards, None for 0
        self.reads, self.updates = reads, updates
        self.sets: list[Signal] = []
        self.incs: list[Signal] = []

    # Nengo and NengoDL put other signals into the lists
    weights = property(lambda self: self.reads[0])
    scale = property(lambda self: self.reads[1])  # a factor of the rate, of shape (1,)
    delta = property(lambda self: self.updates[0])  # the change, of the shape of the weights
    remainder = property(lambda self: self.updates[1])  # what rounding has left out so far

    @staticmethod
    def change(weights: Any, factor: Any, initial: Any, remainder: Any) -> tuple[Any, Any]:
        """Return the change as rounding leaves it, and the remainder."""
        distance = weights if initial is None else weights - initial
        wanted = factor * distance + remainder
        made = (weights + wanted) - weights
        return made, wanted - made

    def make_step(self, signals: Any, dt: float, rng: Any) -> Callable[[], None]:
        """Return the function that computes the change in `nengo.Simulator`."""
        weights, scale = signals[self.weights], signals[self.scale]
        delta, remainder = signals[self.delta], signals[self.remainder]

        def step_simdecay() -> None:
            factor = np.expm1(-self.rate * dt * np.maximum(scale, 0))
            delta[...], remainder[...] = self.change(weights, factor, self.initial, remainder)

        return step_simdecay


@Builder.register(Decay)
def build_decay(model: Model, decay: Decay, rule: LearningRule) -> None:
    """Build the rule into a model, after Nengo has built the weights and their change."""
    copy = model.operators[-1]  # Nengo's Copy, which adds the change to the weights
    scale = Signal(shape=(1,), name="Decay:scale")  # in the precision of nengo.rc, as weights are
    model.add_op(Reset(scale, value=1.0))
    model.sig[rule]["in"] = scale  # connections add to it
    remainder = Signal(shape=copy.src.shape, name="Decay:remainder")
    initial = copy.dst.initial_value if decay.towards == "initial" else None
    model.add_op(SimDecay([copy.dst, scale], [copy.src, remainder], decay.rate, initial))
    # NengoDL merges copies that read the same number of signals. If it merged this one with another
    # rule's, both would add to the same weights, by a slow scatter.
    copy.reads.append(remainder)


NengoDLBuilder.register(SimDecay)(seam.simulators.DecayBuilder)
