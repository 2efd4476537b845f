"""What is not a simulator that could be used."""

import nengo
from bad_inputs import Row, check, in_function, table
from generations import sgd
from nengo.exceptions import SimulatorClosed, ValidationError

import nengo_wd
from nengo_wd import nengo_dl

FUNCTIONS = {
    "regularized_objective": lambda sim: nengo_wd.regularized_objective(sim, "mse"),
    "regularization_losses": nengo_wd.regularization_losses,
    "regularization_loss": nengo_wd.regularization_loss,
    "WeightNorms": nengo_wd.WeightNorms,
    "Energy": nengo_wd.Energy,
    "decoupled_weight_decay": lambda sim: nengo_wd.decoupled_weight_decay(sim, sgd(0.1)),
    "regularized_optimizer": lambda sim: nengo_wd.regularized_optimizer(sim, sgd(0.1)),
    "LayerwiseSGD": nengo_wd.LayerwiseSGD,
    "pruned": nengo_wd.pruned,
    "native": nengo_wd.native,
}
NO_SIMULATORS = {
    "None": (lambda shared: None, ValidationError, "expected a nengo_dl.Simulator, got None"),
    "class": (lambda shared: nengo_dl.Simulator, ValidationError, "got <class .*of type type"),
    "network": (lambda shared: shared.net, ValidationError, 'got <Network "here".*of type Network'),
    "text": (lambda shared: "sim", ValidationError, "got 'sim' of type str"),
    "of Nengo": (
        lambda shared: nengo.Simulator(shared.bare, progress_bar=False),
        ValidationError,
        "expected a nengo_dl.Simulator, got <nengo.simulator.Simulator",
    ),
    "closed": (lambda shared: shared.closed, SimulatorClosed, 'of <Network "bare"> is closed'),
}
ROWS = [
    Row(f"{name} of {kind}", lambda s, f=f, make=make: f(make(s)), pattern, error)
    for name, f in FUNCTIONS.items()
    for kind, (make, error, pattern) in NO_SIMULATORS.items()
]
ROWS += [
    Row(
        f"{name} in a tf.function",
        lambda s, f=f: in_function(lambda: f(s.sim)),
        "tf.function: nengo_wd is called inside a tf.function",
    )
    for name, f in FUNCTIONS.items()
]
ROWS += [
    Row(
        f"{name} of one for inference",
        lambda s, f=FUNCTIONS[name]: f(s.inference_only),
        '<Network "untrained"> is for inference only',
    )
    for name in ("decoupled_weight_decay", "LayerwiseSGD")
]


@table(ROWS)
def test_simulators(row, shared):
    check(row, shared)
