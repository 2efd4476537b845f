"""Norms and penalties of many parameters, computed all at once."""

from __future__ import annotations

from typing import Any, Iterable

import nengo_dl
import numpy as np
import tensorflow as tf

from nengo_wd import _seam as seam
from nengo_wd._parameters import Parameter
from nengo_wd._parameters.sums import sum_channels
from nengo_wd._penalties import counting, on_parameters
from nengo_wd._penalties.counting import Counting
from nengo_wd._penalties.on_parameters import Penalty
from nengo_wd.optimizers import constrained
from nengo_wd.recording.columns import CHANNEL_SUMS
from nengo_wd.recording.record import Measured


class Measurement:
    """The norms and penalties of parameters: one computation for each variable, one fetch."""

    def __init__(self, sim: nengo_dl.Simulator, parameters: list[Parameter]) -> None:
        self.sim, self._parameters = sim, parameters
        self._starts = np.cumsum([0, *(p.n_channels for p in parameters[:-1])])
        self._sizes = np.array([np.prod(p.shape) for p in parameters])
        self._by_variable = _by_variable(parameters)
        self._channel_order = self._order_of_channels(parameters)
        self._counted: Counting | None = None

    def _build(self) -> None:
        """Build what is measured, of the penalties that count, unless that was built before."""
        before, counted = self._counted, counting.now(self.sim)
        self._counted = counted
        if before is not None and counted.builds_as(before):
            return
        self._of_layers = bool(seam.losses.of_layers(self.sim))
        self._settings = (
            on_parameters.expressions(self.sim, counted.penalties)
            if counted.terms is None
            else counted.terms.expressions
        )
        self._own = [own for own in map(on_parameters.of_layer, self._parameters) if own]
        self._penalty_order = self._order_of_penalties(self._parameters)
        self._packed = Packed()
        self._fetch = seam.values.compiled(self.sim, self.packed)

    def __call__(self) -> Measured:
        """Measure the parameters as they are now."""
        self._build()
        found = self._packed.unpack(self._fetch())
        multipliers, target_norms = constrained.recorded(self.sim, self._parameters)
        penalties = np.concatenate([found["settings"], found["own"], [0.0]])
        return Measured(
            channel_sums={name: found[name][self._channel_order] for name in CHANNEL_SUMS},
            starts=self._starts,
            sizes=self._sizes,
            penalties=penalties[self._penalty_order],
            total_penalty=float(found["totals"].sum()),
            multipliers=multipliers,
            target_norms=target_norms,
        )

    def packed(self) -> tf.Tensor:
        """Return all that is measured as one tensor, which is computed anew at each fetch."""
        settings = [penalty.by_parameter() for penalty in self._settings]
        of_layers = [penalty.value for penalty in seam.losses.of_layers(self.sim)]
        return self._packed.pack(
            **self._channel_sums(),
            settings=settings,
            own=[penalty.by_parameter() for penalty in self._own],
            totals=[_total(settings), _total(of_layers)],
        )

    @property
    def penalties(self) -> list[Penalty]:
        """The penalties of settings that counted when this was measured last."""
        return [] if self._counted is None else self._counted.penalties

    @property
    def penalized(self) -> bool:
        """Whether there are penalties that count, as last measured."""
        return bool(self._settings or self._of_layers)

    def _channel_sums(self) -> dict[str, list[tf.Tensor]]:
        """Return the sums over output channels by name, a tensor for each variable."""
        # in float32, the sums over a million rows would be off by 2e-4, and the squares of small
        # or large weights would be zero or infinite
        variables = [tf.cast(group[0].variable, tf.float64) for group in self._by_variable]
        return {
            name: [sum_channels(of(v), group) for v, group in zip(variables, self._by_variable)]
            for name, of in CHANNEL_SUMS.items()
        }

    def _order_of_channels(self, parameters: list[Parameter]) -> np.ndarray:
        """Return where the channels of each parameter are among those that are computed."""
        start, places = 0, {}
        for parameter in (p for group in self._by_variable for p in group):
            places[parameter.key] = np.arange(start, start + parameter.n_channels)
            start += parameter.n_channels
        return np.concatenate([places[parameter.key] for parameter in parameters])

    def _order_of_penalties(self, parameters: list[Parameter]) -> list[int]:
        """Return where the penalty on each parameter is: at the zero in the end if it has none."""
        computed = (p.key for penalty in [*self._settings, *self._own] for p in penalty.parameters)
        places = {key: i for i, key in enumerate(computed)}
        return [places.get(parameter.key, -1) for parameter in parameters]


class Packed:
    """Segments of one vector in float64, which can be fetched at once, by their names."""

    def __init__(self) -> None:
        self.lengths: dict[str, int] = {}

    def pack(self, **segments: list[Any]) -> tf.Tensor:
        """Return a vector of all segments, each of them a list of tensors or numbers."""
        flat = {
            name: [tf.reshape(tf.cast(part, tf.float64), (-1,)) for part in parts]
            for name, parts in segments.items()
        }
        self.lengths = {
            name: sum(part.shape.num_elements() for part in parts) for name, parts in flat.items()
        }
        return tf.concat([part for parts in flat.values() for part in parts], axis=0)

    def unpack(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return the segments of a vector that was packed."""
        ends = np.cumsum(list(self.lengths.values()))
        return dict(zip(self.lengths, np.split(vector, ends[:-1])))


def _total(penalties: list[tf.Tensor]) -> tf.Tensor:
    """Return the sum of all elements of some penalties."""
    zero = tf.zeros((), tf.float64)
    return tf.add_n([zero, *(tf.cast(tf.reduce_sum(one), tf.float64) for one in penalties)])


def _by_variable(parameters: Iterable[Parameter]) -> list[list[Parameter]]:
    found: dict[Any, list[Parameter]] = {}
    for parameter in parameters:
        found.setdefault(id(parameter.variable), []).append(parameter)
    return list(found.values())
