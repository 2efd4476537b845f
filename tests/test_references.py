"""Decoupled decay against PyTorch and optax, for `pytest --references`, which needs both."""

import numpy as np
import pytest
import tensorflow as tf
from by_hand import DECAY, MOMENTUM, RATE, STEPS, cuda_convnet
from networks import ThreeConnections

import nengo_wd

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
