"""Decay, constrained norms, proximal steps, rates and energy against other libraries.

These are PyTorch, optax, pytorch-cpr, scikit-learn and KerasSpiking. They are for
`pytest --references`, which needs all of them.
"""

import importlib

import nengo
import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, MOMENTUM, RATE, STEPS, cuda_convnet
from generations import simulator
from networks import ThreeConnections, regression, solve

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import FiringRates
from nengo_wd.target_norms import AtStep, InflectionPoint, OfInitial

pytestmark = pytest.mark.generation(3)
BETAS = (0.75, 0.9375)  # exact in float32, in which Keras works out their powers


def trained(optimizer):
    """Train with a decay on the first of three connections, and return all weights."""
    model = ThreeConnections()
    model.set("weight_decay", DECAY)
    return model.trained_with_decay(optimizer)


def trained_by_torch(make_optimizer):
    """Take the same steps in PyTorch, with a group of parameters that decays and one without."""
    import torch

    model = ThreeConnections()
    weights = [torch.nn.Parameter(torch.tensor(start)) for start in model.start]
    decayed = {"params": weights[:1], "weight_decay": DECAY}
    optimizer = make_optimizer(torch.optim, [decayed, {"params": weights[1:]}])
    for _ in range(STEPS):
        for weight, gradient in zip(weights, model.gradient):
            weight.grad = torch.tensor(gradient)
        optimizer.step()
    return np.array([weight.detach().numpy() for weight in weights])


def trained_by_optax(optimizer):
    """Take the same steps in optax, in float64."""
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    model = ThreeConnections()
    weights, gradients = list(model.start), list(model.gradient)
    state = optimizer.init(weights)
    for _ in range(STEPS):
        updates, state = optimizer.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
    return np.array(weights)


def keras_adam(epsilon):
    return tf.keras.optimizers.Adam(RATE, beta_1=BETAS[0], beta_2=BETAS[1], epsilon=epsilon)


def test_lasso_and_elastic_net_of_scikit_learn():
    """1,500 steps of SGD with full batches, of three objects in one variable, in float64."""
    linear_model = importlib.import_module("sklearn.linear_model")
    inputs, targets = regression(np.random.RandomState(1), n_examples=64, n_features=20)
    l1, both = tf.keras.regularizers.l1(2 * 0.2), tf.keras.regularizers.l1_l2(0.2 * 0.5 * 2, 0.1)
    trained = solve(inputs, targets, [l1, both, None], n_steps=1500)
    exactly = {"fit_intercept": False, "tol": 1e-14, "max_iter": 100000}
    solutions = [
        linear_model.Lasso(alpha=0.2, **exactly),
        linear_model.ElasticNet(alpha=0.2, l1_ratio=0.5, **exactly),
        linear_model.LinearRegression(fit_intercept=False),
    ]
    for weights, model, target in zip(trained, solutions, targets.T):
        solution = model.fit(inputs, target).coef_
        np.testing.assert_allclose(weights, solution, atol=1e-5)
        np.testing.assert_array_equal(weights == 0, solution == 0)
    assert np.sum(trained[0] == 0) >= 5


def test_adamw_of_torch():
    # Keras adds epsilon before the correction of the bias and PyTorch after it: give both none
    theirs = trained_by_torch(
        lambda optim, groups: optim.AdamW(groups, RATE, BETAS, eps=0, weight_decay=0)
    )
    np.testing.assert_allclose(trained(keras_adam(0.0)), theirs, rtol=1e-6)


def test_adamw_of_optax_with_a_mask():
    import optax

    mask = [True, False, False]
    adamw = optax.adamw(RATE, *BETAS, eps=0, weight_decay=DECAY, mask=mask)
    np.testing.assert_allclose(trained(keras_adam(0.0)), trained_by_optax(adamw), rtol=1e-6)


def test_sgd_of_torch():
    """The decay of PyTorch's SGD is not decoupled; without momentum that makes no difference."""
    theirs = trained_by_torch(lambda optim, groups: optim.SGD(groups, RATE))
    np.testing.assert_allclose(trained(tf.keras.optimizers.SGD(RATE)), theirs, rtol=1e-12)


def test_momentum_of_torch_is_that_of_layerwise_sgd():
    theirs = trained_by_torch(lambda optim, groups: optim.SGD(groups, RATE, MOMENTUM))
    model = ThreeConnections()
    model.set("weight_decay", DECAY)
    ours = model.trained(lambda sim: nengo_wd.LayerwiseSGD(sim, RATE, MOMENTUM))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    by_hand = cuda_convnet(model.start[0], model.gradient[0], RATE, MOMENTUM, DECAY, STEPS)
    np.testing.assert_allclose(ours[0], by_hand, rtol=1e-12)


# -- constrained norms ---------------------------------------------------------------------

CPR_RATE, CPR_STEPS = 2**-8, 120
WAYS = {  # the target norm of a connection, and pytorch-cpr's method and parameter for its start
    "number": (lambda start: 0.5, "uniform", lambda start: 0.5**2),
    "of initial": (lambda start: OfInitial(1.25), "dependent", lambda start: 1.25**2),
    "at step": (lambda start: AtStep(10), "warm_start", lambda start: 10),
    "inflection point": (lambda start: InflectionPoint(every=6), "inflection_point", None),
}


class Growing(ThreeConnections):
    """Weights that grow, so small that rounding errors do not."""

    def __init__(self):
        super().__init__()
        self.start /= 8
        for connection, start in zip(self.connections, self.start):
            connection.transform = nengo.Dense(start.shape, init=start)
        self.gradient = -np.abs(self.gradient)
        self.inputs = {source: np.abs(x) for source, x in self.inputs.items()}
        self.targets = {probe: -np.abs(t) for probe, t in self.targets.items()}


def constrained_by_cpr(model, method, parameter, every=6):
    """Take the steps in pytorch-cpr; return the weights, multipliers and squared bounds."""
    import torch
    from pytorch_cpr import AdamCPR

    weights, states = [], []
    for start, gradient in zip(model.start, model.gradient):
        weight = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
        given = {} if parameter is None else {"kappa_init_param": parameter(start)}
        optimizer = AdamCPR(
            [{"params": [weight], "regularize": True}],
            lr=CPR_RATE,
            betas=BETAS,
            eps=0,
            kappa_init_method=method,
            reg_step_size=every,
            foreach=True,  # by tensors, it compares the bound with another number than it sets
            **given,
        )
        for _ in range(CPR_STEPS):
            weight.grad = torch.tensor(gradient, dtype=torch.float32)
            optimizer.step()
        weights.append(weight.detach().numpy())
        states.append(optimizer.state[weight])
    bounds, multipliers = ([float(s[name]) for s in states] for name in ("kappa", "lagmul"))
    return np.array(weights), multipliers, bounds


@pytest.mark.parametrize("way", WAYS)
def test_adam_cpr(way):
    target, method, parameter = WAYS[way]
    model = Growing()
    model.set("target_norm", *map(target, model.start))
    with simulator(model.net) as sim:
        norms = nengo_wd.WeightNorms(sim)
        adam = tf.keras.optimizers.Adam(CPR_RATE, *BETAS, epsilon=0.0)
        ours = model.train(sim, nengo_wd.constrained_norms(sim, adam), CPR_STEPS)
        norms.record()
    theirs, multipliers, bounds = constrained_by_cpr(model, method, parameter)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(norms.column("target_norm")[0] ** 2, bounds, rtol=1e-5)
    np.testing.assert_allclose(norms.column("multiplier")[0], multipliers, atol=1e-6)
    assert all(multipliers)


def spiking_layers():
    """Return a network of three dense layers with spiking neurons in between, and its probes."""
    with nengo.Network(seed=0) as net:
        source = nengo.Node(np.zeros(8))
        x, probes = source, []
        for units in (12, 6):
            x = nengo_dl.Layer(nengo_wd.RegularizedDense(units, name=f"dense_{units}"))(x)
            x = nengo_dl.Layer(nengo.LIF(amplitude=0.02))(x)
            probes.append(nengo.Probe(x))
        nengo_dl.Layer(nengo_wd.RegularizedDense(3, name="readout"))(x)
    for ensemble in net.ensembles:
        ensemble.gain, ensemble.bias = nengo.dists.Choice([3]), nengo.dists.Uniform(0, 4)
    return net, source, probes


@pytest.mark.parametrize("device", ["cpu", "gpu", "arm", "loihi", "spinnaker", "spinnaker2"])
def test_energy_of_keras_spiking(device):
    """ModelEnergy is given the rates that our probes recorded, as inputs of Dense layers."""
    from keras_spiking import ModelEnergy

    net, source, probes = spiking_layers()
    n_steps = 40
    data = {source: np.random.RandomState(0).uniform(-1, 1, size=(4, n_steps, 8))}
    with simulator(net, minibatch_size=2) as sim:
        ours = nengo_wd.Energy(sim, data).total(device, inputs=False)
        recorded = sim.predict(data, verbose=0)
    rates = [np.reshape(recorded[probe] / 0.02, (-1, probe.size_in)) for probe in probes]
    inputs = [tf.keras.Input(probe.size_in) for probe in probes]
    layers = [tf.keras.layers.Dense(units) for units in (6, 3)]
    model = tf.keras.Model(inputs, [layer(x) for layer, x in zip(layers, inputs)])
    theirs = ModelEnergy(model, rates).total_energy(device, n_steps, dt=0.001)
    of_neurons = ModelEnergy.devices[device]["energy_per_neuron"] * (12 + 6)  # not in the model
    is_spiking = ModelEnergy.devices[device]["spiking"]
    theirs += of_neurons * (n_steps if is_spiking else 1)
    assert min(rate.sum() for rate in rates) > 0
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_counts_of_keras_spiking():
    """Connections and neurons of layers are those of ModelEnergy, inputs included."""
    from keras_spiking import ModelEnergy

    inputs = tf.keras.Input((9, 8, 2))
    x = tf.keras.layers.Conv2D(3, 3, strides=2, activation="relu", name="conv")(inputs)
    x = tf.keras.layers.Dense(5, activation="relu", name="hidden")(tf.keras.layers.Flatten()(x))
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(4, name="readout")(x))
    swapped = {tf.keras.activations.relu: nengo.SpikingRectifiedLinear()}
    converter = nengo_wd.Converter(model, swap_activations=swapped)
    data = {converter.inputs[inputs]: np.ones((1, 2, 9 * 8 * 2))}
    theirs = ModelEnergy(model)
    with simulator(converter.net) as sim:
        energy = nengo_wd.Energy(sim, data)
    frame = energy.to_frame()
    assert frame.synapses.sum() == sum(s["connections"] for s in theirs.layer_stats.values())
    assert frame.neurons.sum() == sum(s["neurons"] for s in theirs.layer_stats.values())
    assert energy.total("cpu") == pytest.approx(theirs.total_energy("cpu"), rel=1e-6)


RANGE = (10, 30)


def test_tensorflow_probability_is_found_after_nengo_wd():
    import tensorflow_probability as tfp
    from keras_spiking import regularizers

    assert tfp.distributions.Normal(0.0, 1.0).mean() == 0
    assert issubclass(tfp.layers.DenseReparameterization, tf.keras.layers.Layer)
    assert regularizers.HAS_TFP and regularizers.tfp is tfp


def rates_in(rng):
    """Return rates in Hz, of 6 examples and 4 neurons."""
    return rng.uniform(0, 60, size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("target", [RANGE, (0, 20), (20, 20)])
def test_rates_of_keras_spiking(target, rng):
    """Theirs is a sum over examples and neurons where ours is a mean."""
    from keras_spiking import regularizers

    rates = rates_in(rng)
    theirs = regularizers.L1L2(l1=0.1, l2=0.01, target=target)
    if target[0] == target[1]:  # where theirs has a distance with a sign
        theirs = regularizers.L2(0.01, target=target)
    l1 = 0.0 if target[0] == target[1] else 0.1
    ours = FiringRates(*target, l1=l1, l2=0.01).of_rates(tf.constant(rates))
    assert float(ours) == pytest.approx(float(theirs(rates)) / rates.size, rel=1e-5)


@pytest.mark.parametrize("percentile", [0, 37.5, 90, 100])
def test_percentile_of_keras_spiking(percentile, rng):
    """Which needs TensorFlow Probability, but for the maximum."""
    from keras_spiking import regularizers

    rates = rates_in(rng)
    theirs = regularizers.Percentile(percentile, target=RANGE, l1=0.1, l2=0.01)
    ours = FiringRates(*RANGE, l1=0.1, l2=0.01, percentile=percentile).of_rates(tf.constant(rates))
    assert float(ours) == pytest.approx(float(theirs(rates)) / rates.shape[1], rel=1e-5)
