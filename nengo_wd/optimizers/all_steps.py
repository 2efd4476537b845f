"""The optimizer that does what the settings of a network ask for."""

from __future__ import annotations

from functools import partial
from typing import Any

import nengo_dl

from nengo_wd import _seam as seam
from nengo_wd._seam import state
from nengo_wd.optimizers.constrained import ConstrainedStep
from nengo_wd.optimizers.decay import DecayStep
from nengo_wd.optimizers.proximal import ProximalStep
from nengo_wd.optimizers.steps import add_steps, check_optimizer


def regularized_optimizer(
    sim: nengo_dl.Simulator,
    optimizer: Any,
    proximal: bool = False,
    scale_by_learning_rate: bool = True,
) -> Any:
    r"""Return an optimizer that takes all steps that the settings of objects ask for.

    At every step, these come in this order, each for the objects that have the setting:

    1. decay, for ``weight_decay``, as `decoupled_weight_decay`;
    2. the step of the optimizer, with the gradients from before the decay;
    3. with ``proximal``, proximal steps, for ``regularizer``, as `proximal_regularization`;
    4. constraints, for ``target_norm``, as `constrained_norms`, after everything else.

    A `LayerwiseSGD` decays weights itself, so its decay is not a separate step. Together with
    `regularized_objective`, all settings count.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open, with settings as in `configure_settings`.
    optimizer : tf.keras.optimizers.Optimizer or tf.compat.v1.train.Optimizer
        An optimizer for the simulator; in NengoDL 3 also an optimizer's name.
    proximal : bool
        Whether the regularizers of parameters are proximal steps instead of a part of the loss.
    scale_by_learning_rate : bool
        With False, decays and proximal steps are the same at all learning rates.

    Returns
    -------
    optimizer
        For ``sim.compile(optimizer)`` (NengoDL 3: the same object, extended) or ``sim.train(data,
        optimizer)`` (NengoDL 2). If no setting asks for a step, it is ``optimizer`` itself.
        Otherwise, its ``update_settings()`` applies changed settings without compiling again, or
        raises an error and applies none. Only numbers can change in this way. Schedules, variables,
        rules for target norms, other kinds of regularizers and objects in variables without
        settings need a new optimizer.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``optimizer`` is a class, is not an optimizer, or already takes one of the steps, like a
        Keras optimizer with a ``weight_decay``; if it would undo a step, like Ftrl; if an object
        with a setting is not trained; if a decay is a number and would remove all of the weights in
        a step (1 or more, times the learning rate); for a regularizer without a proximal step; for
        an ``OfInitial`` of weights that are all zero; and for a decay, strength or learning rate
        that is negative or not finite now. `WeightNorms` warns if they become so later. After an
        error, ``optimizer`` is unchanged.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Warns
    -----
    UserWarning
        If a schedule or variable would now remove all of the weights in a step, or more, and if
        `constrained_norms` warns of a target norm. ``update_settings()`` warns of the same.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     nengo_wd.configure_settings(weight_decay=1e-2)
    ...     net.config[nengo_dl.TensorNode].target_norm = 2.0
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     optimizer = nengo_wd.regularized_optimizer(sim, tf.keras.optimizers.Adam(1e-3))
    ...     sim.compile(optimizer, loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
    ...     net.config[nengo_dl.TensorNode].target_norm = 1.5
    ...     optimizer.update_settings()
    """
    optimizer = check_optimizer(sim, optimizer)
    decays = isinstance(state.chain(optimizer)[-1], seam.optimizers.RuleOptimizer)
    kinds = [*([] if decays else [DecayStep]), *([ProximalStep] if proximal else [])]
    steps, checks = [], []
    for kind in [*kinds, ConstrainedStep]:
        found = kind.asked(sim)
        if found:
            steps.append(kind(sim, optimizer, scale_by_learning_rate, found))
        else:
            checks.append(partial(kind.check_unasked, sim))
    return add_steps(optimizer, steps, checks)
