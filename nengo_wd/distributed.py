"""A simulator on several devices, or several machines."""

from __future__ import annotations

from typing import Any

import nengo
import tensorflow as tf
from nengo.exceptions import ValidationError

from nengo_wd import _seam as seam
from nengo_wd._checks import is_whole


class DistributedSimulator(seam.distributed.ReplicatedSimulator):
    r"""A ``nengo_dl.Simulator`` whose ``fit``, ``evaluate`` and ``predict`` run on many devices.

    Each replica of the strategy simulates its share of a minibatch. Each training step sums the
    gradients over all replicas. It minimizes the mean over the whole minibatch, and counts every
    penalty once, so a script does the same on one device and on eight. It needs NengoDL 3.

    Parameters
    ----------
    network : nengo.Network or None
        The network, without learning rules.
    strategy : tf.distribute.MirroredStrategy or tf.distribute.MultiWorkerMirroredStrategy
        The devices of this machine, or of several machines. All machines run the same script and
        have to build the same network, so give the network a ``seed``.
    minibatch_size : int
        The number of examples in a training step on all replicas together, a multiple of the number
        of replicas.
    **kwargs
        Other arguments of ``nengo_dl.Simulator``, but no ``device``.

    Attributes
    ----------
    strategy : tf.distribute.Strategy
        The strategy. The simulator's ``with`` block enters its scope.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``strategy`` is not one of these two; if the replicas don't divide the minibatch; if a
        layer has variables from outside of the strategy's scope; for a ``device``; for a learning
        rule; and for several machines without a seed of the network.
    nengo.exceptions.SimulationError
        In NengoDL 2. Later, in ``run_steps``, ``run``, ``step``, ``check_gradients``, and with
        ``stateful=True``, because replicas share no state from one call to the next.

    Notes
    -----
    Create all objects that have variables, such as an optimizer, in the ``with`` block, or inside
    ``with strategy.scope():``.

    The replicas exchange the whole minibatch for penalties on activities that are not a mean over
    examples: percentiles of `regularizers.FiringRates`, and regularizers other than L1 and L2.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> strategy = tf.distribute.MirroredStrategy()
    >>> with nengo_wd.DistributedSimulator(net, strategy, minibatch_size=32) as sim:
    ...     sim.compile("adam", loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
    """

    def __init__(
        self, network: nengo.Network | None, strategy: Any, minibatch_size: int, **kwargs: Any
    ) -> None:
        _check_strategy(strategy)
        _check_minibatch(strategy, minibatch_size)
        if kwargs.get("device") is not None:
            raise ValidationError(
                f"device={kwargs['device']!r} is one device, but the strategy has its own; name "
                "them there, as in tf.distribute.MirroredStrategy(devices=[...])",
                attr="device",
            )
        _check_network(network or getattr(kwargs.get("model"), "toplevel", None), strategy)
        super().__init__(network, strategy, minibatch_size, **kwargs)


def _check_strategy(strategy: Any) -> None:
    """Raise unless each replica of a strategy has all weights, and all train in step."""
    kinds = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not isinstance(strategy, kinds):
        raise ValidationError(
            f"expected a tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy, got "
            f"{strategy!r} of type {type(strategy).__name__}; for one device, use a "
            "nengo_dl.Simulator",
            attr="strategy",
        )


def _check_minibatch(strategy: Any, size: Any) -> None:
    """Raise unless a minibatch can be divided among the replicas of a strategy."""
    n_replicas = strategy.num_replicas_in_sync
    if not is_whole(size):
        raise ValidationError(
            f"minibatch_size={size!r} must be a whole number above zero: how many examples all "
            "replicas have in a step",
            attr="minibatch_size",
        )
    if size % n_replicas:
        raise ValidationError(
            f"{n_replicas} replicas can't share minibatch_size={size} evenly; give a multiple of "
            f"{n_replicas}, such as {-(-int(size) // n_replicas) * n_replicas}",
            attr="minibatch_size",
        )


def _check_network(network: nengo.Network | None, strategy: Any) -> None:
    """Raise if replicas would have different weights: by learning rules, or by random numbers."""
    if network is None:
        return
    for connection in network.all_connections:
        if connection.learning_rule_type:
            raise ValidationError(
                f"{connection} has a learning rule, with which each example of a minibatch has "
                "weights of its own; use a nengo_dl.Simulator",
                attr="learning_rule_type",
                obj=connection,
            )
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy) and network.seed is None:
        raise ValidationError(
            f"{network} has no seed, so that each worker would build and shuffle by random numbers "
            "of its own; give it one: nengo.Network(seed=0)",
            attr="seed",
            obj=network,
        )
