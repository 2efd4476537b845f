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
        _check_strategy(strategy, minibatch_size)
        if kwargs.get("device") is not None:
            fault = f"device={kwargs['device']!r} is one device, but a strategy has its own"
            hint = "name them there, as in tf.distribute.MirroredStrategy(devices=[...])"
            raise ValidationError(f"{fault}; {hint}", attr="device")
        _check_network(network or getattr(kwargs.get("model"), "toplevel", None), strategy)
        super().__init__(network, strategy, minibatch_size, **kwargs)


def _check_strategy(strategy: Any, size: Any) -> None:
    """Raise unless replicas of a strategy have all weights, train in step and share a minibatch."""
    kinds = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
    if not isinstance(strategy, kinds):
        wanted = "expected a tf.distribute.MirroredStrategy or MultiWorkerMirroredStrategy"
        fault = f"{wanted}, got {strategy!r} of type {type(strategy).__name__}"
        hint = "for one device, use a nengo_dl.Simulator"
        raise ValidationError(f"{fault}; {hint}", attr="strategy")
    n_replicas = strategy.num_replicas_in_sync
    if not is_whole(size):
        fault = f"minibatch_size={size!r} must be a whole number above zero"
        what = "the number of examples in a step of all replicas together"
        raise ValidationError(f"{fault}: {what}", attr="minibatch_size")
    if size % n_replicas:
        fault = f"{n_replicas} replicas can't share minibatch_size={size} evenly"
        fitting = -(-int(size) // n_replicas) * n_replicas
        hint = f"give a multiple of {n_replicas}, such as {fitting}"
        raise ValidationError(f"{fault}; {hint}", attr="minibatch_size")


def _check_network(network: nengo.Network | None, strategy: Any) -> None:
    """Raise if learning rules or random numbers would make the weights of replicas differ."""
    for connection in () if network is None else network.all_connections:
        if connection.learning_rule_type:
            fault = f"{connection} has a learning rule, which gives each example its own weights"
            hint = "use a nengo_dl.Simulator"
            raise ValidationError(f"{fault}; {hint}", attr="learning_rule_type", obj=connection)
    is_on_many = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if is_on_many and network is not None and network.seed is None:
        fault = f"{network} has no seed, so each worker would build and shuffle differently"
        hint = "give it one: nengo.Network(seed=0)"
        raise ValidationError(f"{fault}; {hint}", attr="seed", obj=network)
