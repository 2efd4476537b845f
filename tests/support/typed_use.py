"""What users write, for mypy: it accepts the right lines, and complains about the wrong ones.

mypy reads this file when it is run without arguments. A comment ``type: ignore`` that it needs not
is an error, so each wrong line has to be found. Nothing here is run.
"""

from pathlib import Path
from typing import Any, Dict, List

import nengo_wd

sim: Any = ...
probe: Any = ...
keras: Any = ...


def squares(weights: Any) -> Any:
    """Return a penalty."""


def halved(step: Any) -> Any:
    """Return a rate at a step."""


def error(one: Any, other: Any) -> Any:
    """Return a loss."""


# -- regularizers ------------------------------------------------------------------------

nengo_wd.configure_settings(regularizer="l2")
nengo_wd.configure_settings(regularizer=squares)
nengo_wd.configure_settings(regularizer=nengo_wd.regularizers.GroupLasso(0.1))
nengo_wd.configure_settings(regularizer=nengo_wd.regularizers.TowardsGrid(0.1, bits=4))
nengo_wd.configure_settings(regularizer=keras.regularizers.L2(0.1))
nengo_wd.configure_settings(regularizer={"class_name": "L2", "config": {"l2": 0.1}})
nengo_wd.configure_settings(regularizer=0.1)  # type: ignore[arg-type]
nengo_wd.RegularizedDense(3, kernel_regularizer=None, bias_regularizer=squares)
nengo_wd.RegularizedDense(3, kernel_regularizer=0.1)  # type: ignore[arg-type]
nengo_wd.RegularizedConv2D(3, 2, kernel_regularizer=["l2"])  # type: ignore[arg-type]

# -- rates -------------------------------------------------------------------------------

nengo_wd.configure_settings(weight_decay=0.1)
nengo_wd.configure_settings(weight_decay=halved)
nengo_wd.configure_settings(weight_decay=keras.optimizers.schedules.ExponentialDecay(1, 2, 3))
nengo_wd.configure_settings(weight_decay="0.1")  # type: ignore[arg-type]
nengo_wd.LayerwiseSGD(sim, learning_rate=halved, momentum=0.9)
nengo_wd.LayerwiseSGD(sim, learning_rate="fast")  # type: ignore[arg-type]
nengo_wd.LayerwiseSGD(sim, momentum=halved)
nengo_wd.decoupled_weight_decay(sim, "sgd", scale_by_learning_rate=False)
nengo_wd.regularized_optimizer(sim, "sgd", proximal=True)
nengo_wd.constrained_norms(sim, "sgd")
nengo_wd.target_norms.OfInitial(0.8)
nengo_wd.target_norms.OfInitial("0.8")  # type: ignore[arg-type]
nengo_wd.target_norms.AtStep(step=0.5)  # type: ignore[arg-type]
nengo_wd.target_norms.InflectionPoint(every=100)
nengo_wd.Decay(0.1, towards="initial", modifies="encoders").rate.hex()
nengo_wd.Decay("fast")  # type: ignore[arg-type]

# -- objectives --------------------------------------------------------------------------

nengo_wd.regularized_objective(sim, "mse")
nengo_wd.regularized_objective(sim, None)
nengo_wd.regularized_objective(sim, ["mse", error, None])
nengo_wd.regularized_objective(sim, {probe: error, "other": "mse"})
nengo_wd.regularized_objective(sim, 0.5)  # type: ignore[arg-type]
nengo_wd.regularized_objective(sim, {probe: 0.5})  # type: ignore[dict-item]
losses: Dict[str, float] = nengo_wd.regularization_losses(sim)
loss: float = nengo_wd.regularization_loss(sim)
wrong: str = nengo_wd.regularization_loss(sim)  # type: ignore[assignment]

# -- records -----------------------------------------------------------------------------

norms = nengo_wd.WeightNorms(sim, every=10, log_dir=Path("log"))
nengo_wd.WeightNorms(sim, every=0.5)  # type: ignore[arg-type]
norms.record(step=1, loss=0.5)
norms.record(step="now")  # type: ignore[arg-type]
history: nengo_wd.recording.History = norms.history
names: List[str] = history.names
also_names: List[str] = norms.names
not_names: List[int] = norms.names  # type: ignore[assignment]
norms.to_csv(0.5)  # type: ignore[arg-type]
parameter: nengo_wd.recording.Parameter = history.parameters["readout.kernel"]
nengo_wd.plotting.norms(norms, "readout.kernel").savefig("norms.png")
nengo_wd.plotting.norms(history)
nengo_wd.plotting.norms(losses)  # type: ignore[arg-type]

# -- energy ------------------------------------------------------------------------------

energy = nengo_wd.Energy(sim, {probe: [[[1.0]]]}, n_steps=10, skip_zeros=True)
nengo_wd.Energy(sim, None, n_steps="ten")  # type: ignore[arg-type]
joules: float = energy.total("loihi", inputs=False)
energy.total(3)  # type: ignore[arg-type]
nengo_wd.Energy.register_device("mine", 1e-12, 1e-12, spiking=True)
nengo_wd.Energy.register_device("mine", "1e-12", 1e-12, True)  # type: ignore[arg-type]
nengo_wd.plotting.energy(energy).savefig("energy.png")
nengo_wd.plotting.energy({"run": energy}, "cpu")
nengo_wd.plotting.energy([energy])  # type: ignore[arg-type]
nengo_wd.plotting.pruned(nengo_wd.pruned(sim)).savefig("left.png")
nengo_wd.plotting.pruned(energy)  # type: ignore[arg-type]

# -- search ------------------------------------------------------------------------------


def train(strengths: Dict[str, float], trial: object) -> float:
    """Return an error."""
    start.restore()
    return strengths["kernels"]


start = nengo_wd.search.Start(sim, [norms])
nengo_wd.search.Start(sim, 3)  # type: ignore[arg-type]
study = nengo_wd.search.strengths(train, {"kernels": (1e-6, 1e-1)}, 40, n_jobs=2, seed=0)
nengo_wd.search.strengths(train, {"kernels": 1e-6})  # type: ignore[dict-item]
nengo_wd.plotting.search(study).savefig("search.png")
