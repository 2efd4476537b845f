"""What can't be trained on several devices; `tests/support/two_replicas.py` has what two refuse."""

import nengo
import pytest
import tensorflow as tf
from bad_inputs import Row, check, table
from nengo.exceptions import SimulationError, ValidationError

import nengo_wd


def make(network=None, strategy=None, minibatch_size=4, **kwargs):
    """Make a simulator on the one device that there is."""
    network = nengo.Network(seed=0) if network is None else network
    strategy = tf.distribute.MirroredStrategy() if strategy is None else strategy
    return nengo_wd.DistributedSimulator(
        network, strategy, minibatch_size, progress_bar=False, **kwargs
    )


@pytest.fixture(scope="module")
def made():
    """Return a simulator, which the rows leave as it is."""
    with nengo.Network(seed=0, label="spread") as net:
        nengo.Probe(nengo.Node([1.0]))
    sim = make(net)
    yield sim
    sim.close()


STRATEGIES = {
    "text": (lambda: "mirrored", "got 'mirrored' of type str"),
    "default": (tf.distribute.get_strategy, "of type _DefaultDistributionStrategy"),
    "class": (lambda: tf.distribute.MirroredStrategy, "got <class .*MirroredStrategy"),
    "one device": (lambda: tf.distribute.OneDeviceStrategy("/cpu:0"), "of type OneDeviceStrategy"),
}
ROWS = [
    Row(f"strategy {name}", lambda s, of=of: make(strategy=of()), f"strategy: expected.*{pattern}")
    for name, (of, pattern) in STRATEGIES.items()
]
ROWS += [
    Row(f"minibatch_size={size!r}", lambda s, size=size: make(minibatch_size=size), pattern)
    for size, pattern in (
        (0, "minibatch_size=0 must be a whole number above zero"),
        (-4, "minibatch_size=-4 must be"),
        (4.0, "minibatch_size=4.0 must be"),
        (None, "minibatch_size=None must be"),
        (True, "minibatch_size=True must be"),
    )
]
ROWS += [
    Row("device", lambda s: make(device="/cpu:0"), "device: device='/cpu:0' is one device"),
    Row("learning rule", lambda s: make(s.net), "<Connection learned> has a learning rule"),
]
CALLS = {
    "run_steps": lambda sim: sim.run_steps(2),
    "run": lambda sim: sim.run(0.01),
    "step": lambda sim: sim.step(),
    "check_gradients": lambda sim: sim.check_gradients(),
    "stateful fit": lambda sim: sim.fit(n_steps=1, stateful=True),
    "stateful predict": lambda sim: sim.predict(n_steps=1, stateful=True),
    "stateful evaluate": lambda sim: sim.evaluate(n_steps=1, stateful=True),
}


@pytest.mark.generation(3)
@table(ROWS)
def test_simulators(row, shared):
    check(row, shared)


@pytest.mark.generation(3)
@pytest.mark.parametrize("call", CALLS)
def test_what_needs_a_state(call, made):
    with pytest.raises(SimulationError, match='DistributedSimulator of <Network "spread"> can\'t'):
        CALLS[call](made)


@pytest.mark.generation(3)
def test_workers_need_a_seed(monkeypatch):
    """The kind of strategy is stood in for: a real one has to come first in a Python."""
    stand_in = type("Strategy", (), {"num_replicas_in_sync": 2})
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", stand_in)
    with pytest.raises(ValidationError, match='seed: <Network "unseeded"> has no seed'):
        make(nengo.Network(label="unseeded"), stand_in())


@pytest.mark.generation(2)
def test_the_other_generation():
    with pytest.raises(SimulationError, match="NengoDL 2.*trains on one device; install NengoDL 3"):
        nengo_wd.DistributedSimulator(nengo.Network(), tf.distribute.get_strategy(), 4)
