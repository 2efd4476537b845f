"""What was compiled counts, and the loss adds up, whatever came before."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import (
    GENERATION,
    assign,
    one_step,
    seed,
    sgd,
    simulator,
    total_loss,
    train,
    use_dtype,
    values,
    variable,
)
from hypothesis import given
from hypothesis import strategies as st

import nengo_wd
from nengo_wd import nengo_dl
from nengo_wd.regularizers import GroupLasso, Scheduled

pytestmark = [pytest.mark.slow, pytest.mark.traced]

l1_l2 = tf.keras.regularizers.l1_l2
RATE = 0.0625


def sums(l1, l2):
    return lambda w, factor: l1 * np.abs(w).sum() + l2 * np.square(w).sum()


# What can be set, each with the penalty that it stands for by NumPy.
ON_WEIGHTS = {
    "none": (lambda factor: None, lambda w, factor: 0.0),
    "l1": (lambda factor: l1_l2(0.5, 0.0), sums(0.5, 0)),
    "l2": (lambda factor: l1_l2(0.0, 0.25), sums(0, 0.25)),
    "stronger l2": (lambda factor: l1_l2(0.0, 0.75), sums(0, 0.75)),
    "both": (lambda factor: l1_l2(0.125, 0.25), sums(0.125, 0.25)),
    "group": (
        lambda factor: GroupLasso(0.5, axis=None),
        lambda w, factor: 0.5 * np.sqrt(w.size) * np.sqrt(np.square(w).sum()),
    ),
    "variable": (
        lambda factor: Scheduled(l1_l2(0.0, 0.5), factor),
        lambda w, factor: 0.5 * factor * np.square(w).sum(),
    ),
}
ON_ACTIVITY = {  # of outputs of shape (examples, steps, size)
    "none": (lambda factor: None, lambda y, factor: 0.0),
    "l1": (lambda factor: l1_l2(0.25, 0.0), lambda y, factor: 0.25 * np.abs(y).sum(-1).mean()),
    "l2": (lambda factor: l1_l2(0.0, 0.5), lambda y, factor: 0.5 * np.square(y).sum(-1).mean()),
    "variable": (
        lambda factor: Scheduled(l1_l2(0.0, 0.25), factor),
        lambda y, factor: 0.25 * factor * np.square(y).sum(-1).mean(),
    ),
}


STRUCTURE = {  # what has to be built for it
    "unset": set(),
    "none": set(),
    "l1": {"l1"},
    "l2": {"l2"},
    "stronger l2": {"l2"},
    "both": {"l1", "l2"},
    "group": {"group"},
    "variable": {"l2", "variable"},
}
WEIGHTS = ("a", "b", "node")


class Model:
    """Two connections and a layer in one simulator, and what is known of them."""

    def __init__(self):
        seed(0)
        self.layer = nengo_wd.RegularizedDense(2, name="dense")  # with L2(0.01) by default
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            use_dtype("float64")
            one_step()
            self.source = nengo.Node(np.zeros(2))
            output = nengo.Node(size_in=2)
            self.of = {
                name: nengo.Connection(
                    self.source, output, transform=np.ones((2, 2)), synapse=None, label=name
                )
                for name in "ab"
            }
            self.of["node"] = nengo_dl.tensor_layer(self.source, self.layer)
            self.of["probe"] = self.probe = nengo.Probe(output, label="output")
        self.inputs = {self.source: np.array([[1.0, -0.5], [0.25, 2.0]])[:, None]}
        self.targets = {self.probe: np.array([[0.5, 1.0], [-1.0, 0.0]])[:, None]}
        self.sim = simulator(self.net, minibatch_size=2)
        self.factor = variable(self.sim, np.float64(1.0))
        recorded = [self.of["a"], self.of["b"], self.layer]
        self.norms = nengo_wd.WeightNorms(self.sim, objects=recorded)

    def begin(self):
        """Go back to a simulator that was compiled without any settings."""
        self.known = dict.fromkeys(WEIGHTS, "unset")
        self.settings = {**self.known, "probe": "none"}
        for obj in self.of.values():
            if "regularizer" in self.net.config[obj]:
                del self.net.config[obj].regularizer
        self.scale(1.0)
        self.move(0)
        self.build()
        self.compile(True)
        self.check()

    def set(self, name, kind):
        kinds = ON_ACTIVITY if name == "probe" else ON_WEIGHTS
        if kind in kinds:
            self.net.config[self.of[name]].regularizer = kinds[kind][0](self.factor)
            self.settings[name] = kind

    def scale(self, value):
        assign(self.sim, self.factor, value)
        self.factor_now = value

    def move(self, number):
        """Give all weights other values."""
        rng = np.random.RandomState(number)
        for parameter in self.norms.parameters.values():
            variable = parameter.variable
            shape = tuple(variable.shape.as_list())
            assign(self.sim, variable, rng.uniform(-1, 1, size=shape))

    def build(self):
        self.objective = nengo_wd.regularized_objective(self.sim, {self.probe: "mse"})
        self.built = dict(self.settings)
        if GENERATION == 2:
            self.installed = [self.built]
        elif self.known.get("probe") and not self.needs_building():
            changed = {**self.installed[0], **{name: self.built[name] for name in WEIGHTS}}
            same = all(
                STRUCTURE[self.built[name]] == STRUCTURE[self.installed[0][name]]
                for name in WEIGHTS
            )
            self.installed = [changed] if same else [changed, *self.installed]

    def needs_building(self):
        """Tell whether there is a norm, a variable or a default that was not compiled."""
        (before, *_) = self.installed
        was_default, is_default = (known["node"] == "unset" for known in (before, self.built))
        if was_default != is_default:
            return True
        for name in WEIGHTS:
            was, now = STRUCTURE[before[name]], STRUCTURE[self.built[name]]
            if not now <= was or (was ^ now) & {"variable", "group"}:
                return True
        return False

    def compile(self, ours):
        if GENERATION == 3:
            loss = self.objective if ours else {self.probe: "mse"}
            self.sim.compile(sgd(RATE), loss=loss)
            kept = "unset" if self.settings["node"] == "unset" else "none"
            without = {"a": "none", "b": "none", "node": kept, "probe": "none"}
            self.installed = [dict(self.built) if ours else without]
            self.known["probe"] = ours

    def fit(self):
        before = self.total()
        if GENERATION == 2:
            train(self.sim, self.inputs, self.targets, self.objective, sgd(RATE))
            return
        history = self.sim.fit(self.inputs, self.targets, verbose=0).history
        assert history["loss"] == pytest.approx([before], rel=1e-9)
        named = sum(value for name, (value,) in history.items() if name.endswith(".activity"))
        of_activity = before - self.data_loss - self.of_weights
        assert named == pytest.approx(of_activity, rel=1e-9, abs=1e-9)

    def total(self):
        if GENERATION == 2:
            return total_loss(self.sim, self.inputs, self.targets, self.objective)
        return self.sim.evaluate(self.inputs, self.targets, verbose=0)["loss"]

    def weights(self):
        (kernel,) = values(self.sim, [self.layer.kernel])
        native = {name: np.array(self.sim.data[self.of[name]].weights) for name in "ab"}
        return {**native, "node": kernel}

    def expected(self, settings, weights, outputs):
        """Return by NumPy what penalties add to the loss."""
        total = ON_ACTIVITY[settings["probe"]][1](outputs, self.factor_now)
        for name, weight in weights.items():
            kind = settings[name]
            if kind != "unset":
                total += ON_WEIGHTS[kind][1](weight, self.factor_now)
            elif name == "node":
                total += 0.01 * np.square(weight).sum()  # in float32, as Keras has it
        return total

    def check(self):
        weights = self.weights()
        outputs = self.inputs[self.source] @ (weights["a"] + weights["b"]).T
        self.data_loss = np.mean((outputs - self.targets[self.probe]) ** 2)
        added = self.total() - self.data_loss
        fits = [
            settings
            for settings in self.installed
            if added == pytest.approx(self.expected(settings, weights, outputs), rel=1e-6, abs=1e-9)
        ]
        assert fits, (added, self.installed)
        self.installed = fits[:1]
        on_probe = ON_ACTIVITY[fits[0]["probe"]][1](outputs, self.factor_now)
        of_weights = self.of_weights = nengo_wd.regularization_loss(self.sim)
        assert of_weights + on_probe == pytest.approx(added, rel=1e-9, abs=1e-9)
        self.norms.record()
        assert self.norms.total_penalties[-1] == pytest.approx(of_weights, rel=1e-9, abs=1e-12)
        recorded = self.norms.penalties[-1].sum()
        assert recorded == pytest.approx(of_weights, rel=1e-9, abs=1e-12)
        return added

    def check_on_data(self):
        added = self.check()
        losses = nengo_wd.regularization_losses(self.sim, self.inputs)
        assert sum(losses.values()) == pytest.approx(added, rel=1e-9, abs=1e-9)


@pytest.fixture(scope="module")
def model():
    made = Model()
    yield made
    made.sim.close()


settings_of = st.sampled_from(sorted({*ON_WEIGHTS, *ON_ACTIVITY} - {"unset"}))
operations = st.one_of(
    st.tuples(st.just("set"), st.sampled_from((*WEIGHTS, "probe")), settings_of),
    st.tuples(st.just("build")),
    st.tuples(st.just("compile"), st.booleans()),
    st.tuples(st.just("fit")),
    st.tuples(st.just("scale"), st.sampled_from((0.0, 0.5, 2.0))),
    st.tuples(st.just("move"), st.integers(1, 9)),
)


@pytest.mark.filterwarnings("ignore:.*trained without its settings")
@given(sequence=st.lists(operations, min_size=3, max_size=8))
def test_what_was_compiled_counts_and_adds_up(sequence, model):
    """After any settings, objectives, compiles, trainings and changed variables."""
    model.begin()
    for name, *arguments in sequence:
        getattr(model, name)(*arguments)
        model.check()
    model.check_on_data()
