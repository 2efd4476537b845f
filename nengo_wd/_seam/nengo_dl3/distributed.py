"""A simulator of NengoDL 3 whose Keras model runs on the replicas of a strategy."""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import nengo
import nengo_dl
import tensorflow as tf
from nengo.exceptions import SimulationError, ValidationError

OPTIMIZERS = (tf.keras.optimizers.Optimizer, tf.keras.optimizers.legacy.Optimizer)


class ReplicatedSimulator(nengo_dl.Simulator):
    """A simulator that gives each replica of a strategy its share of a minibatch.

    No state is kept from one call to the next, since each replica would have its own. So NengoDL's
    setting ``stateful`` is False, whatever the network says.
    """

    closed = None  # also where making it failed

    def __init__(
        self, network: nengo.Network | None, strategy: Any, minibatch_size: int, **kwargs: Any
    ) -> None:
        self.strategy, self._of_all = strategy, minibatch_size
        share = minibatch_size // strategy.num_replicas_in_sync
        super().__init__(network, minibatch_size=share, **kwargs)

    def _build_keras(self, progress: Any = None) -> None:
        """Build the model for a replica's share, and all around it for the whole minibatch."""
        graph, self.stateful = self.tensor_graph, False
        graph.__class__ = _SharedGraph
        graph.size_of_all = self.minibatch_size = self._of_all
        with self.strategy.scope():
            super()._build_keras(progress)
        _check_made_for(self.strategy, "a layer", [*self.keras_model.weights])

    def __enter__(self) -> Any:
        """Enter the strategy's scope, too, so that an optimizer is made for the strategy."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.strategy.scope())
            entered = super().__enter__()
            self._entered = stack.pop_all()
        return entered

    def __exit__(self, *args: Any) -> None:
        with self._entered:
            super().__exit__(*args)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile, unless the optimizer is of one device."""
        optimizer = kwargs.get("optimizer", args[0] if args else None)
        if isinstance(optimizer, OPTIMIZERS):
            _check_made_for(self.strategy, "the optimizer", optimizer.variables())
        super().compile(*args, **kwargs)

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """Train, once the optimizer has its variables."""
        model = self.keras_model
        if not self.closed and getattr(model, "optimizer", None) is not None:
            with self.strategy.scope():
                _make_variables(model.optimizer, model.trainable_variables)
        return super().fit(*args, **kwargs)

    def run_steps(self, *args: Any, **kwargs: Any) -> None:
        """Raise an error: a simulation step by step goes on from a state."""
        raise SimulationError(
            f"{self._described} can't run step by step, as its replicas share no state from one "
            "call to the next; use sim.predict, or save_params and a nengo_dl.Simulator"
        )

    def check_gradients(self, *args: Any, **kwargs: Any) -> None:
        """Raise an error: gradients are computed by the replicas."""
        raise SimulationError(
            f"{self._described} can't check gradients, which its replicas compute; use a "
            "nengo_dl.Simulator of the same network"
        )

    def _call_keras(self, func_type: str, *args: Any, stateful: bool = False, **kwargs: Any) -> Any:
        if stateful:
            raise SimulationError(
                f"{self._described} can't {func_type} with stateful=True, as its replicas share no "
                "state from one call to the next; use stateful=False"
            )
        return super()._call_keras(func_type, *args, stateful=False, **kwargs)

    @property
    def _described(self) -> str:
        return f"the {type(self).__name__} of {self.model.toplevel}"


class _SharedGraph(nengo_dl.tensor_graph.TensorGraph):
    """A TensorGraph of a replica's share of a minibatch, in a model that gets all of it."""

    size_of_all: int
    minibatch_size: int

    def build_inputs(self) -> Any:
        """Make the inputs for all replicas: Keras divides their size by itself."""
        with self._sized_for_all():
            return super().build_inputs()

    def build_post(self) -> None:
        """Make the outputs of input Nodes, with a process for each example of a minibatch."""
        with self._sized_for_all():
            super().build_post()

    @contextlib.contextmanager
    def _sized_for_all(self) -> Iterator[None]:
        share = self.minibatch_size
        self.minibatch_size = self.size_of_all
        try:
            yield
        finally:
            self.minibatch_size = share


def _check_made_for(strategy: Any, owner: str, variables: list[tf.Variable]) -> None:
    """Raise if variables were made outside of a strategy's scope, for one device alone."""
    for variable in variables:
        if not strategy.extended.variable_created_in_scope(variable):
            raise ValidationError(
                f"{owner} has the variable {variable.name}, which was made outside of the scope of "
                f"the {type(strategy).__name__}; make it inside, in the simulator's with block or "
                "after `with strategy.scope():`",
                attr="strategy",
            )


def _make_variables(optimizer: Any, trained: list[tf.Variable]) -> None:
    """Have an optimizer make its variables; legacy ones can't in a traced step of many replicas."""
    build = getattr(optimizer, "build", None) or optimizer._create_all_weights
    build(trained)


def gather_replicas(tensor: tf.Tensor) -> tf.Tensor:
    """Gather a tensor of all replicas, along the first axis; call this in a replica."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return tensor
    gathered = replica.all_gather(tensor, axis=0)
    gathered.set_shape([None, *tensor.shape[1:]])  # which is not known where replicas are threads
    return gathered


def distributed_variable(variable: tf.Variable) -> tf.Variable:
    """Return the variable of all replicas; a variable itself where there are no replicas."""
    for holder in (variable, getattr(variable, "handle", None)):  # of older, newer TensorFlow
        container = getattr(holder, "_distributed_container", None)
        if container is not None:
            return container()
    return variable
