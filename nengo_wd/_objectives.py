"""Objectives to which the simulator's regularization losses are added, and their values."""

from __future__ import annotations

from typing import Any, Mapping

import nengo
import nengo_dl
import numpy as np
from nengo.exceptions import ValidationError

from nengo_wd import _parameters as parameters
from nengo_wd import _seam as seam
from nengo_wd._activity_penalties import ActivityPenalty, activity_penalties
from nengo_wd._checks import Loss, Objective, check_finite, check_keras_2, check_simulator
from nengo_wd._parameters import selection
from nengo_wd._penalties import (
    Penalty,
    by_variable,
    check_live_strengths,
    penalties_of_settings,
    penalty_values,
)
from nengo_wd._seam.keras2 import LayerPenalty, regularizer_of
from nengo_wd._simulators import Carried, carry, counting_penalties
from nengo_wd.regularizers.forms import check_strengths


def regularized_objective(sim: nengo_dl.Simulator, objective: Objective) -> Any:
    r"""Add the simulator's regularization losses to an objective.

    What training minimizes, and ``sim.evaluate`` or ``sim.loss`` reports, becomes

    .. math:: \sum_{p} L_p + \sum_{w} R_w

    with the loss :math:`L_p` of every probe in ``objective`` and the penalty :math:`R_w` of every
    regularized weight in the simulator. Each counts exactly once, however many probes there are,
    and however many TensorNodes share a layer.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        The simulator to be trained, still open.
    objective : str, callable, tf.keras.losses.Loss, list, dict or None
        One loss for all probes, a list with one for each of ``sim.model.probes``, or a dictionary
        from probes to losses. NengoDL 3 takes ``f(y_true, y_pred)``, names of probes as keys, and
        None for no loss of any probe. NengoDL 2 takes ``f(outputs, targets)``, ``f(outputs)`` or
        None (the targets are the gradient), tuples of probes as keys, and an ``objective`` of None
        for the mean squared error of every probe.

    Returns
    -------
    objective
        A dictionary for ``sim.compile(loss=...)`` (NengoDL 3), or for ``sim.train(objective=...)``
        and ``sim.loss(objective=...)`` (NengoDL 2).

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is not a NengoDL simulator, a probe is not in its network, the simulator does not
        take a loss, a penalty is not a finite scalar, settings contradict each other or the
        arguments of a layer, an object was removed after the simulator was built, or a strength is
        negative or not finite now; and inside a ``tf.function``.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Notes
    -----
    The objective is only for this simulator; any other refuses it. If you compile the simulator
    without it, a warning names the settings that are ignored.

    Call this again after you change settings. Changed strengths of L1 and L2 then count at once,
    even in a simulator that is already compiled. After any other change, such as an L1 penalty on
    weights that had none, compile again (NengoDL 3), or use the new objective (NengoDL 2).

    NengoDL 2 sums what an objective returns in ``sim.train`` and averages it in ``sim.loss``. With
    penalties, both sum it, so return a scalar.

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
    by_probe = losses_by_probe(sim, objective)
    penalties, activities = penalties_of_settings(sim), activity_penalties(sim)
    on_probes = list(activities.values())
    seam.training.check_objective(sim, by_probe, on_probes)
    with parameters.defaults_as_set(sim):
        _check_strengths(sim, penalties, on_probes)
        _check_finite(sim, seam.training.penalties_of_layers(sim), penalties)
    carried = carry(sim, penalties, activities)
    losses = seam.training.penalized_losses(sim, objective, by_probe, on_probes)
    return _Penalized(sim, losses, carried)


def _check_strengths(
    sim: nengo_dl.Simulator, penalties: list[Penalty], on_probes: list[ActivityPenalty]
) -> None:
    """Raise if a strength is negative or not finite now; it may have changed since it was set."""
    if penalties:
        check_live_strengths(sim, penalties)
    found = [(one.parameter.name, one.regularizer) for one in penalties]
    found += [(str(one.probe), one.regularizer) for one in on_probes]
    of_layers = parameters.all_parameters(sim, skip_later=True, kind=nengo_dl.TensorNode)
    given = [(parameter.name, parameter.layer_penalty) for parameter in of_layers]
    found += [(name, regularizer_of(one)) for name, one in given if one is not None]
    for owner, regularizer in found:
        check_strengths(regularizer, "regularizer", owner)


def _check_finite(
    sim: nengo_dl.Simulator, of_layers: list[LayerPenalty], of_settings: list[Penalty]
) -> None:
    """Raise if a penalty of a layer, or one that is not L1 or L2, is NaN or infinite now."""
    tensors = {p.name: p.value for p in of_layers if p.variable is not None}
    _, others = by_variable(of_settings)
    tensors.update((p.parameter.name, seam.values.build(sim, p)) for p in others)
    for name, value in zip(tensors, seam.values.fetch(sim, list(tensors.values()))):
        check_finite(name, value)


def regularization_losses(
    sim: nengo_dl.Simulator, data: Mapping[nengo.Node, np.ndarray] | None = None
) -> dict[str, float]:
    """Return the current value of every regularization loss in a simulator.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        A simulator, still open.
    data : dict of {nengo.Node: np.ndarray}, optional
        Inputs of shape (n_examples, n_steps, ``node.size_out``), as for ``sim.predict``. With them,
        the losses include penalties on what probes record, with spikes, as in ``sim.evaluate``.

    Returns
    -------
    losses : dict of {str: float}
        The penalties by the name of layer and weight, such as ``"readout.kernel"``, in the units of
        the training loss. A number distinguishes layers of the same name: ``"readout.kernel_1"``.
        `WeightNorms` uses the same names. Penalties on what probes record, such as
        ``"rates.activity"``, have the label of the probe or of its object.

    Raises
    ------
    nengo.exceptions.ValidationError
        If ``sim`` is not a NengoDL simulator, or a penalty is not a scalar.
    nengo.exceptions.SimulatorClosed
        If ``sim`` is closed.

    Notes
    -----
    The penalties are the ones that count. In NengoDL 3, these are the penalties of layers and of
    the loss in the last ``sim.compile``. Before that, and in NengoDL 2, they are those of the last
    objective, or else those that settings ask for.
    """
    check_simulator(sim)
    parameters.check_layers(sim)
    carried, of_layers = counting_penalties(sim), seam.training.penalties_of_layers(sim)
    fetched = seam.values.fetch(sim, [penalty.value for penalty in of_layers])
    named = [(p.key, p.name, float(value)) for p, value in zip(of_layers, fetched)]
    penalized = [penalty.parameter for penalty in carried.penalties]
    found = zip(penalized, penalty_values(sim, carried.penalties))
    named += [(parameter.key, parameter.name, value) for parameter, value in found]
    known = selection.names_by_key(sim)
    named.sort(key=lambda penalty: penalty[0] not in known)  # these keep their names
    losses = [(known.get(key, name), value) for key, name, value in named]
    if data is not None:
        probes = [penalty.probe for penalty in carried.activities.values()]
        recorded = seam.activities.record_probes(sim, data, probes)
        for (name, penalty), array in zip(carried.activities.items(), recorded):
            losses.append((name, seam.training.activity_penalty(sim, penalty, array)))
    return parameters.unique_names(losses)


def regularization_loss(sim: nengo_dl.Simulator) -> float:
    """Return the sum of the `regularization_losses` of a simulator, in units of the training loss.

    Penalties on what probes record depend on data, and are left out.

    Parameters
    ----------
    sim : nengo_dl.Simulator
        A simulator, still open.

    Returns
    -------
    loss : float
        The sum.

    Raises
    ------
    nengo.exceptions.ValidationError, nengo.exceptions.SimulatorClosed
        As `regularization_losses` does.
    """
    return sum(regularization_losses(sim).values(), 0.0)


def losses_by_probe(
    sim: nengo_dl.Simulator, objective: Objective, attr: str = "objective"
) -> dict[Any, Loss]:
    """Return the loss of each probe (or name or tuple of probes), all of them checked."""
    probes = list(sim.model.probes)
    if isinstance(objective, dict):
        by_probe = dict(objective)
    elif isinstance(objective, (list, tuple)):
        if len(objective) != len(probes):
            fault = f"{len(objective)} losses for {len(probes)} probes in {sim.model.toplevel}"
            hint = "give one for each, or a dictionary from probes to losses"
            raise ValidationError(f"{fault}; {hint}", attr=attr)
        by_probe = dict(zip(probes, objective))
    else:
        by_probe = {probe: objective for probe in probes}
    for key, loss in by_probe.items():
        _check_key(sim, key, attr)
        _check_loss(key, loss, attr)
    return by_probe


def _check_key(sim: nengo_dl.Simulator, key: Any, attr: str) -> None:
    probes = seam.training.probe_names(sim)
    if isinstance(key, tuple) and not (key and seam.training.TUPLES_OF_PROBES):
        message = f"{key!r} is not a key of an objective; NengoDL 2 alone takes tuples of probes"
        raise ValidationError(message, attr=attr)
    for probe in key if isinstance(key, tuple) else (key,):
        known = probe in probes if isinstance(probe, str) else probe in sim.model.probes
        if not known:
            kind = "" if isinstance(probe, (str, nengo.Probe)) else "is not a probe, and so "
            raise ValidationError(
                f"{probe!r} {kind}is not among the probes of {sim.model.toplevel}, which are "
                f"{sorted(probes) or sim.model.probes}",
                attr=attr,
            )


def _check_loss(key: Any, loss: Any, attr: str) -> None:
    check_keras_2(loss, attr, f"the loss of {key}")
    if not seam.training.is_loss(loss):
        raise ValidationError(
            f"the loss {loss!r} of {key} is neither the name of a Keras loss, nor an instance "
            f"of one, nor a function of {seam.training.OBJECTIVE_ARGUMENTS}",
            attr=attr,
        )


class _Penalized(dict):
    """An objective with penalties: the losses by probe, the simulator, and what it carries."""

    def __init__(self, sim: nengo_dl.Simulator, losses: dict, carried: Carried) -> None:
        super().__init__(losses)
        self.sim, self.carried = sim, carried
