"""Objectives to which the simulator's regularization losses are added, and their values."""

from __future__ import annotations

from typing import Any

import nengo
import nengo_dl
from nengo.exceptions import ValidationError

from nengo_wd import names, seam
from nengo_wd.checks import check_finite, check_keras_2, check_simulator
from nengo_wd.parameters import defaults, selection
from nengo_wd.penalties import on_activities, on_parameters
from nengo_wd.penalties.on_parameters import Penalty
from nengo_wd.regularizers.forms import row_form
from nengo_wd.seam import state
from nengo_wd.seam.layer_penalties import LayerPenalty
from nengo_wd.strengths import live
from nengo_wd.types import Loss, Objective


def regularized_objective(sim: nengo_dl.Simulator, objective: Objective) -> Any:
    r"""Add the simulator's regularization losses to an objective.

    What training minimizes, and ``sim.evaluate`` or ``sim.loss`` reports, becomes

    .. math:: \sum_{p} L_p + \sum_{w} R_w

    with the loss :math:`L_p` of every probe in ``objective`` and the penalty :math:`R_w`
    of every regularized weight in the simulator, each counted exactly once: however many
    probes there are, however often this function is called and however many TensorNodes
    share a layer.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    objective : str, callable, tf.keras.losses.Loss, list, dict or None
        What the simulator takes: one loss for all probes, a list with one for each of
        ``sim.model.probes``, or a dictionary from probes to losses. NengoDL 3 takes
        ``f(y_true, y_pred)`` and, as keys, also the names of probes. NengoDL 2 takes
        ``f(outputs, targets)``, ``f(outputs)`` or None (the targets are the gradient) and,
        as keys, also tuples of probes. An ``objective`` of None means no probe loss in
        NengoDL 3, and the mean squared error of every probe in NengoDL 2.

    Returns
    -------
    objective
        To be given to ``sim.compile(loss=...)`` (NengoDL 3) or
        ``sim.train(objective=...)`` and ``sim.loss(objective=...)`` (NengoDL 2).

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is no NengoDL simulator, a probe is not in its network, a loss is none
        that the simulator takes, a penalty is not a scalar or not finite, settings contradict each
        other or what a layer was given, an object was removed after the simulator was built, or a
        strength that is a variable is negative or not finite; and inside a ``tf.function``.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Notes
    -----
    The objective is for this simulator alone, and another one refuses it. In NengoDL 3 it is a
    dictionary. A simulator that is compiled without it warns of settings that are left out then.

    Call this again after settings were changed. Changed strengths of L1 and L2 then count in what
    was compiled before, too. After a change of another kind, such as an L1 penalty where there
    was none, what was compiled keeps all penalties that it had: compile again (NengoDL 3), or use
    the new objective (NengoDL 2).

    NengoDL 2 sums what an objective returns in ``sim.train`` and averages it in
    ``sim.loss``. With penalties it is summed in both, so return a scalar.

    Examples
    --------
    >>> with nengo.Network(seed=0) as net:
    ...     source = nengo.Node([1.0])
    ...     layer = nengo_wd.RegularizedDense(10, name="readout")
    ...     probe = nengo.Probe(nengo_dl.tensor_layer(source, layer))
    >>> with nengo_dl.Simulator(net, progress_bar=False) as sim:
    ...     loss = nengo_wd.regularized_objective(sim, {probe: "mse"})
    ...     print(sorted(nengo_wd.regularization_losses(sim)))
    ['readout.kernel']
    """
    check_simulator(sim)
    by_probe = _losses_by_probe(sim, objective)
    defaults.settle(sim)
    penalties, activities = on_parameters.of_settings(sim), on_activities.of_settings(sim)
    live.check(sim, penalties)
    seam.objectives.check_objective(sim, objective, by_probe, activities)
    _check_finite(sim, seam.losses.of_layers(sim), penalties)
    _hold(sim, penalties)
    return seam.objectives.penalized_objective(sim, objective, by_probe, activities)


def _hold(sim: nengo_dl.Simulator, penalties: list[Penalty]) -> None:
    """Make penalties the simulator's own; what it has is used again where that can be changed."""
    kept = state.of(sim)
    if not on_parameters.change(kept.expressions, penalties):
        expressions = on_parameters.expressions(sim, penalties, live=True)
        seam.losses.hold(sim, expressions)
        kept.expressions = expressions


def _check_finite(
    sim: nengo_dl.Simulator, of_layers: list[LayerPenalty], of_settings: list[Penalty]
) -> None:
    """Raise if a penalty that anybody may have written is NaN or infinite from the start."""
    others = [penalty for penalty in of_settings if row_form(penalty.regularizer) is None]
    tensors = {p.name: p.value for p in of_layers if p.variable is not None}
    tensors.update((p.parameter.name, seam.values.build(sim, p)) for p in others)
    for name, value in zip(tensors, seam.values.fetch(sim, list(tensors.values()))):
        check_finite(name, value)


def regularization_losses(sim: nengo_dl.Simulator) -> dict[str, float]:
    """Return the current value of every regularization loss in a simulator.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        A simulator, still open.

    Returns
    -------
    losses : dict of {str: float}
        The penalties by the name of layer and weight, such as ``"readout.kernel"``, in the
        units of the training loss. Those of settings are left out after ``sim.compile`` with a
        loss that does not have them. A second layer of the same name is told apart by a
        number: ``"readout.kernel_1"``. `WeightNorms` has the same names.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is no NengoDL simulator, or a penalty is not a scalar.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.
    """
    check_simulator(sim)
    defaults.settle(sim)
    of_layers = seam.losses.of_layers(sim)
    of_settings = on_parameters.of_settings(sim) if seam.losses.have_settings(sim) else []
    fetched = seam.values.fetch(sim, [penalty.value for penalty in of_layers])
    named = [(p.key, p.name, float(value)) for p, value in zip(of_layers, fetched)]
    values = on_parameters.values(sim, of_settings)
    named += [(p.parameter.key, p.parameter.name, value) for p, value in zip(of_settings, values)]
    known = selection.names_by_key(sim)
    named.sort(key=lambda penalty: penalty[0] not in known)  # which have their names for sure
    return names.unique((known.get(key, name), value) for key, name, value in named)


def regularization_loss(sim: nengo_dl.Simulator) -> float:
    """Return the sum of all regularization losses in a simulator.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        A simulator, still open.

    Returns
    -------
    loss : float
        The sum of the `regularization_losses`, in the units of the training loss.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is no NengoDL simulator, or a penalty is not a scalar.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.
    """
    return sum(regularization_losses(sim).values(), 0.0)


def _losses_by_probe(sim: nengo_dl.Simulator, objective: Objective) -> dict[Any, Loss]:
    """Return the loss of each probe (or name or tuple of probes), all of them checked."""
    probes = list(sim.model.probes)
    if isinstance(objective, dict):
        by_probe = dict(objective)
    elif isinstance(objective, (list, tuple)):
        if len(objective) != len(probes):
            raise ValidationError(
                f"{len(objective)} losses for {len(probes)} probes in {sim.model.toplevel}; "
                "give one for each, or a dictionary from probes to losses",
                attr="objective",
            )
        by_probe = dict(zip(probes, objective))
    else:
        by_probe = {probe: objective for probe in probes}
    for key, loss in by_probe.items():
        _check_key(sim, key)
        _check_loss(key, loss)
    return by_probe


def _check_key(sim: nengo_dl.Simulator, key: Any) -> None:
    probes = seam.objectives.probe_names(sim)
    if isinstance(key, tuple) and not (key and seam.objectives.TUPLES_OF_PROBES):
        raise ValidationError(
            f"{key!r} is no key of an objective; NengoDL 2 alone takes tuples of probes",
            attr="objective",
        )
    for probe in key if isinstance(key, tuple) else (key,):
        known = probe in probes if isinstance(probe, str) else probe in sim.model.probes
        if not known:
            kind = "" if isinstance(probe, (str, nengo.Probe)) else "is no probe, and so "
            raise ValidationError(
                f"{probe!r} {kind}is not among the probes of {sim.model.toplevel}, which are "
                f"{sorted(probes) or sim.model.probes}",
                attr="objective",
            )


def _check_loss(key: Any, loss: Any) -> None:
    check_keras_2(loss, "objective", f"the loss of {key}")
    if not seam.objectives.is_loss(loss):
        raise ValidationError(
            f"the loss {loss!r} of {key} is neither the name of a Keras loss, nor an instance "
            f"of one, nor a function of {seam.objectives.OBJECTIVE_ARGUMENTS}",
            attr="objective",
        )
