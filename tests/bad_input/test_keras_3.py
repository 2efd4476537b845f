"""What is of Keras 3, which may be installed beside the Keras 2 that NengoDL needs."""

import nengo
import pytest
from bad_inputs import Row, check, table

import nengo_wd
from nengo_wd.regularizers import GroupLasso, Scheduled

keras = pytest.importorskip("keras", "3.0", reason="Keras 3 is not installed beside Keras 2")
pytestmark = pytest.mark.generation(3)


def schedule():
    return keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)


def with_optimizer(extend, setting, value):
    """Return a call that has an optimizer extended for an object with a setting."""
    return lambda shared: shared.with_setting(
        setting, value, then=lambda s: extend(s.sim, keras.optimizers.Adam())
    )


def with_setting(setting, value):
    return lambda shared: shared.with_setting(setting, value)


def time_loop_layer():
    class Layer(nengo_wd.TimeLoopLayer, keras.layers.Dense):
        pass


def configured(regularizer):
    with nengo.Network():
        nengo_wd.configure_settings(regularizer=regularizer)


CALLS = {
    "decay": (
        with_optimizer(nengo_wd.decoupled_weight_decay, "weight_decay", 0.1),
        "Adam",
    ),
    "proximal steps": (
        with_optimizer(nengo_wd.proximal_regularization, "regularizer", "l1"),
        "Adam",
    ),
    "target norm": (
        with_optimizer(nengo_wd.constrained_norms, "target_norm", 1.0),
        "Adam",
    ),
    "learning rate": (lambda s: nengo_wd.LayerwiseSGD(s.sim, schedule()), "ExponentialDecay"),
    "momentum": (lambda s: nengo_wd.LayerwiseSGD(s.sim, 0.1, schedule()), "ExponentialDecay"),
    "setting of a rate": (with_setting("weight_decay", schedule()), "ExponentialDecay"),
    "setting of a regularizer": (with_setting("regularizer", keras.regularizers.L2(0.1)), "L2"),
    "setting of a network": (lambda s: configured(keras.regularizers.L1(0.1)), "L1"),
    "what is scheduled": (lambda s: Scheduled(keras.regularizers.L2(0.1), 1.0), "L2"),
    "schedule of a strength": (lambda s: Scheduled("l2", schedule()), "ExponentialDecay"),
    "strength": (lambda s: GroupLasso(keras.Variable(0.1)), "Variable"),
    "regularizer of a layer": (
        lambda s: nengo_wd.RegularizedDense(2, kernel_regularizer=keras.regularizers.L2(0.1)),
        "L2",
    ),
    "layer": (lambda s: time_loop_layer(), "Dense"),
    "loss": (lambda s: s.objective(keras.losses.MeanSquaredError()), "MeanSquaredError"),
    "loss that is a function": (
        lambda s: s.objective({s.probe: keras.losses.mean_squared_error}),
        "mean_squared_error",
    ),
    "model": (lambda s: nengo_wd.Converter(keras.Sequential([keras.Input((2,))])), "Sequential"),
}
ROWS = [
    Row(kind, call, f" is of Keras 3.* take {name} from tf.keras, after you import nengo_wd")
    for kind, (call, name) in CALLS.items()
]


@table(ROWS)
def test_keras_3(row, shared):
    check(row, shared)
