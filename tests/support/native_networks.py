"""What networks of native objects are made of, and what they are compared with."""

import nengo

import nengo_wd
from nengo_wd import nengo_dl

STEPS = 16


def neurons(size, rng, kind=nengo.SpikingRectifiedLinear):
    """Return an ensemble whose neurons fire, each with another current."""
    return nengo.Ensemble(
        size,
        1,
        neuron_type=kind(amplitude=0.01),
        gain=rng.uniform(50, 150, size),
        bias=rng.uniform(20, 200, size),
    )


def varied_input(rng, size):
    """Return a Node whose values change every few steps."""
    return nengo.Node(nengo.processes.PresentInput(rng.uniform(-1, 1, (4, size)), 0.005))


def give_weights(net, rng):
    """Give layers weights at random, with biases and variances above zero."""
    for node in net.all_nodes:
        for weights in getattr(getattr(node, "tensor_func", None), "weights", ()):
            drawn = rng.uniform(0.2, 1, weights.shape)
            signs = rng.choice([-1, 1], weights.shape) if len(weights.shape) > 1 else 1
            weights.assign(drawn * signs)


def both(net, rng, steps=STEPS, **kwargs):
    """Return what probes of a network record in NengoDL, and the native network's in Nengo."""
    with nengo_dl.Simulator(net, progress_bar=False, seed=0) as sim:
        give_weights(net, rng)
        made = nengo_wd.native(sim, **kwargs)
        before = sim.predict(n_steps=steps, verbose=0)
    with nengo.Simulator(made.network, progress_bar=False, optimize=False) as sim:
        sim.run_steps(steps)
    return made, [(before[probe][0], sim.data[made[probe]]) for probe in net.all_probes]
