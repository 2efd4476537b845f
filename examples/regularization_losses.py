"""Regularization losses
=====================

The regularization losses of a network with several layers, checked by hand.

A convolutional layer filters an image, and two dense layers classify it. Each has a different kind
of penalty, and the last has one on its bias too::

    edges    Conv2D  L2 on the kernel             0.01 * sum(w ** 2)
    hidden   Dense   L1 and L2 on the kernel      0.002 * sum(|w|) + 0.01 * sum(w ** 2)
    readout  Dense   L2 on kernel and bias        0.02 * sum(w ** 2) + 0.5 * sum(b ** 2)

The script computes the penalties in NumPy, from the layers' weights. It compares them with what
``nengo_wd.regularization_losses`` reports for the simulator.

Run it with ``python regularization_losses.py``, on NengoDL 2 or 3.
"""

import nengo
import numpy as np
import tensorflow as tf

import nengo_wd
from nengo_wd import nengo_dl

IMAGE = (8, 8, 1)
L1_L2 = {  # the strengths of the penalties on each weight
    "edges.kernel": (0, 0.01),
    "hidden.kernel": (0.002, 0.01),
    "readout.kernel": (0, 0.02),
    "readout.bias": (0, 0.5),
}


def regularizer(weight):
    l1, l2 = L1_L2[weight]
    return tf.keras.regularizers.l1_l2(l1=l1, l2=l2)


def make_layers():
    return [
        nengo_wd.RegularizedConv2D(
            4,
            3,
            activation="relu",
            kernel_regularizer=regularizer("edges.kernel"),
            input_shape=IMAGE,
            name="edges",
        ),
        nengo_wd.RegularizedDense(
            16,
            activation="relu",
            kernel_regularizer=regularizer("hidden.kernel"),
            name="hidden",
        ),
        nengo_wd.RegularizedDense(
            10,
            bias_initializer="ones",
            kernel_regularizer=regularizer("readout.kernel"),
            bias_regularizer=regularizer("readout.bias"),
            name="readout",
        ),
    ]


def build(layers):
    """Return a network of TensorNodes, one for each layer, one after the other."""
    with nengo.Network(seed=0) as net:
        node = nengo.Node(np.zeros(np.prod(IMAGE)))
        for layer in layers:
            node = nengo_dl.tensor_layer(node, layer)
        nengo.Probe(node)
    return net


def penalties_by_hand(layers):
    """Return the penalty of every weight, computed in float64."""
    penalties = {}
    for layer in layers:
        for kind, values in zip(("kernel", "bias"), layer.get_weights()):
            name = f"{layer.name}.{kind}"
            if name in L1_L2:
                l1, l2 = L1_L2[name]
                weights = values.astype(np.float64)
                penalties[name] = l1 * np.abs(weights).sum() + l2 * (weights**2).sum()
    return penalties


def main():
    layers = make_layers()
    with nengo_dl.Simulator(build(layers), progress_bar=False) as sim:
        reported = nengo_wd.regularization_losses(sim)
        total = nengo_wd.regularization_loss(sim)
        by_hand = penalties_by_hand(layers)

    print(f"{'penalty on':16s}{'reported':>12s}{'by hand':>12s}")
    for name, value in reported.items():
        print(f"{name:16s}{value:12.6f}{by_hand[name]:12.6f}")
    print(f"{'sum':16s}{total:12.6f}{sum(by_hand.values()):12.6f}")

    assert set(reported) == set(by_hand), "a penalty is missing or there is one too many"
    reported["sum"], by_hand["sum"] = total, sum(by_hand.values())
    for name, value in reported.items():  # sums in float32 are right to some 1e-6
        assert np.isclose(value, by_hand[name], rtol=1e-4, atol=0), f"wrong for {name}"
    print("The simulator's regularization losses equal those worked out by hand.")


if __name__ == "__main__":
    main()
