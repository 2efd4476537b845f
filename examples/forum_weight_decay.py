"""The smallest network with weight decay
======================================

Weight decay on one layer, in either generation of NengoDL.

A node outputs the constant 1. Ten units without bias read it through one weight each, and should
output 1 too. All weights start at 1, so the mean squared error is zero, and training without weight
decay would change nothing. Weight decay works if the weights shrink.

The weights have an L2 penalty of 0.1, and training minimizes::

    loss = mean((w - 1) ** 2) + 0.1 * sum(w ** 2)

The script trains for ten steps. The norm of the weights has to fall in each of them. The loss that
the simulator reports has to be this formula, with the penalty counted once.

Run it with ``python forum_weight_decay.py``, on NengoDL 2 or 3.
"""

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

UNITS = 10
STRENGTH = 0.1
LEARNING_RATE = 0.5


def build():
    """Return the network, its node, its probe and the layer with the ten weights."""
    with nengo.Network(seed=0) as net:
        # NengoDL 2 would also train the connection's own factor of 1, around the penalty
        nengo_dl.configure_settings(trainable=False)
        node = nengo.Node([1.0])
        layer = nengo_wd.RegularizedDense(
            UNITS,
            use_bias=False,
            kernel_initializer="ones",
            kernel_regularizer=tf.keras.regularizers.l2(STRENGTH),
        )
        # in NengoDL 3, nengo_dl.Layer(layer)(node) is the newer way to write this
        probe = nengo.Probe(nengo_dl.tensor_layer(node, layer))
    return net, node, probe, layer


def training(sim, node, probe):
    """Return two functions: one trains for one step, the other returns the loss."""
    inputs = {node: np.ones((1, 1, 1))}  # one example, one time step, one dimension
    targets = {probe: np.ones((1, 1, UNITS))}

    if hasattr(sim, "fit"):  # NengoDL 3
        optimizer = tf.optimizers.SGD(LEARNING_RATE)
        sim.compile(optimizer, loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
        return (
            lambda: sim.fit(inputs, targets, verbose=0),
            lambda: sim.evaluate(inputs, targets, verbose=0)["loss"],
        )

    data = {**inputs, **targets}
    optimizer = tf.compat.v1.train.GradientDescentOptimizer(LEARNING_RATE)
    objective = nengo_wd.regularized_objective(sim, {probe: nengo_dl.objectives.mse})
    return (
        lambda: sim.train(data, optimizer, objective=objective, progress_bar=False),
        lambda: sim.loss(data, objective=objective, progress_bar=False),
    )


def main():
    net, node, probe, layer = build()
    norms = []
    with nengo_dl.Simulator(net, progress_bar=False) as sim:
        train, loss = training(sim, node, probe)
        print("trained  norm of the weights  loss    mse + one penalty, in NumPy")
        for step in range(11):
            if step > 0:
                train()
            weights = layer.get_weights()[0]
            by_hand = np.mean((weights - 1) ** 2) + STRENGTH * np.sum(weights**2)
            reported = loss()
            norms.append(np.linalg.norm(weights))
            print(f"{step:7d}  {norms[-1]:19.4f}  {reported:.4f}  {by_hand:.4f}")
            assert np.isclose(reported, by_hand), "the penalty is not counted exactly once"
    assert all(np.diff(norms) < 0), "the norm of the weights did not fall at every step"
    print("The norm fell at every step; the loss was the error plus one penalty throughout.")


if __name__ == "__main__":
    main()
