"""What was compiled counts, and what is reported adds up to the loss."""

import warnings

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import GENERATION, one_step, sgd, simulator, total_loss, variable
from nengo.exceptions import ValidationError

import nengo_wd
from nengo_wd.regularizers import FiringRates, GroupLasso, Scheduled

pytestmark = pytest.mark.traced

l1, l2 = tf.keras.regularizers.l1, tf.keras.regularizers.l2


class TwoConnections:
    """Two connections of ones whose outputs are probed together."""

    def __init__(self):
        with nengo.Network(seed=0) as self.net:
            nengo_wd.configure_settings()
            one_step()
            self.source = nengo.Node(np.zeros(2))
            output = nengo.Node(size_in=3)
            self.connections = [
                nengo.Connection(
                    self.source, output, transform=np.ones((3, 2)), synapse=None, label=label
                )
                for label in "ab"
            ]
            self.probe = nengo.Probe(output, label="output")
        self.config = self.net.config
        self.inputs = {self.source: np.ones((2, 1, 2))}
        self.targets = {self.probe: np.zeros((2, 1, 3))}  # outputs are 4: a loss of 16

    def objective(self, sim):
        return nengo_wd.regularized_objective(sim, {self.probe: "mse"})

    def evaluated(self, sim):
        return sim.evaluate(self.inputs, self.targets, verbose=0)

    def fitted(self, sim, **kwargs):
        """Return the loss of an epoch with a learning rate of zero."""
        return sim.fit(self.inputs, self.targets, verbose=0, **kwargs).history


@pytest.fixture
def model():
    return TwoConnections()


@pytest.mark.generation(3)
@pytest.mark.parametrize("first", ["fit", "evaluate", "record"])
def test_objectives_that_are_not_compiled_change_nothing(first, model):
    one, other = model.connections
    model.config[one].regularizer = l2(1.0)
    model.config[model.probe].regularizer = l2(0.0625)
    with simulator(model.net, minibatch_size=2) as sim:
        norms = nengo_wd.WeightNorms(sim, objects=nengo.Connection)
        sim.compile(sgd(0.0), loss=model.objective(sim))
        if first == "fit":
            model.fitted(sim)
        elif first == "evaluate":
            model.evaluated(sim)
        else:
            norms.record()
        model.config[one].regularizer = l1(2.0)
        model.config[other].regularizer = l2(1.0)
        model.config[model.probe].regularizer = None
        later = model.objective(sim)
        with pytest.warns(UserWarning, match="regularizer.*made anew"):
            assert model.fitted(sim)["loss"] == pytest.approx([16 + 6 + 3])
        assert model.evaluated(sim)["loss"] == pytest.approx(16 + 6 + 3)
        assert nengo_wd.regularization_losses(sim) == {"a.weights": pytest.approx(6)}
        norms.record()
        np.testing.assert_allclose(norms.penalties[-1], [6, 0])
        sim.compile(sgd(0.0), loss=later)
        assert model.fitted(sim)["loss"] == pytest.approx([16 + 12 + 6])
        assert model.evaluated(sim)["loss"] == pytest.approx(16 + 12 + 6)
        assert nengo_wd.regularization_loss(sim) == pytest.approx(18)
        norms.record()
        np.testing.assert_allclose(norms.penalties[-1], [12, 6])


@pytest.mark.generation(3)
def test_settings_alone_change_nothing(model):
    """Neither in what is trained nor in what is reported, until an objective has them."""
    with simulator(model.net, minibatch_size=2) as sim:
        sim.compile(sgd(0.0), loss=model.objective(sim))
        model.config[model.connections[0]].regularizer = l2(1000.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            norms = nengo_wd.WeightNorms(sim)
            history = model.fitted(sim, callbacks=[norms])
        assert history["loss"] == pytest.approx([16]) and "penalty" not in history
        assert not norms.total_penalties.any() and not norms.penalties.any()
        assert nengo_wd.regularization_losses(sim) == {}


@pytest.mark.generation(3)
def test_objectives_count_at_once_where_keras_alone_compiles(model):
    """Also after Keras has traced the training and the evaluation."""
    one, other = model.connections
    with simulator(model.net, minibatch_size=2) as sim:
        sim.keras_model.compile(sgd(0.0), loss={"output": "mse"})
        assert model.evaluated(sim)["loss"] == pytest.approx(16)
        model.config[one].regularizer = l2(1.0)
        model.config[model.probe].regularizer = l2(0.0625)
        for _ in range(2):
            model.objective(sim)
            found = model.evaluated(sim), model.fitted(sim)
            losses = nengo_wd.regularization_losses(sim, model.inputs)
            assert found[0]["loss"] == pytest.approx(16 + sum(losses.values()))
            assert found[1]["loss"] == pytest.approx([found[0]["loss"]])
            assert ("output.activity" in found[0]) == ("output.activity" in losses)
            model.config[other].regularizer = l1(2.0)
            model.config[model.probe].regularizer = None
    assert losses == pytest.approx({"a.weights": 6, "b.weights": 12})


@pytest.mark.generation(3)
def test_settings_made_after_a_compile_change_nothing():
    """Also where there was none when the simulator was compiled."""
    with nengo.Network(seed=0) as net:
        one_step()
        source, output = nengo.Node(np.zeros(2)), nengo.Node(size_in=3)
        connection = nengo.Connection(source, output, transform=np.ones((3, 2)), synapse=None)
        probe = nengo.Probe(output)
    data = {source: np.ones((2, 1, 2))}, {probe: np.zeros((2, 1, 3))}  # outputs of 2
    with simulator(net, minibatch_size=2) as sim:
        sim.compile(sgd(0.0), loss={probe: "mse"})
        assert sim.evaluate(*data, verbose=0)["loss"] == pytest.approx(4)
        with net:
            nengo_wd.configure_settings()
        net.config[connection].regularizer = l2(1.0)
        net.config[probe].regularizer = l2(1.0)
        with pytest.warns(UserWarning, match="regularizer"):
            sim.fit(*data, verbose=0)
        later = nengo_wd.regularized_objective(sim, {probe: "mse"})
        assert nengo_wd.regularization_losses(sim, data[0]) == {}
        assert sim.evaluate(*data, verbose=0)["loss"] == pytest.approx(4)
        sim.compile(sgd(0.0), loss=later)
        assert sim.evaluate(*data, verbose=0)["loss"] == pytest.approx(4 + 6 + 12)


def test_factors_of_schedules_count(model):
    """Those of two regularizers that have the same variable, of which one follows the other."""
    one, _ = model.connections
    with simulator(model.net, minibatch_size=2) as sim:
        factor = variable(sim, np.float32(1.0))
        norms = nengo_wd.WeightNorms(sim, objects=nengo.Connection)
        for strength in (1.0, 2.0):
            model.config[one].regularizer = Scheduled(l2(strength), factor)
            norms.record()
            assert norms.total_penalties[-1] == pytest.approx(6 * strength)
            assert nengo_wd.regularization_loss(sim) == pytest.approx(6 * strength)


@pytest.mark.generation(3)
def test_objectives_of_other_factors_raise_a_warning(model):
    one, _ = model.connections
    with simulator(model.net, minibatch_size=2) as sim:
        factor = variable(sim, np.float32(1.0))
        model.config[one].regularizer = Scheduled(l2(1.0), factor)
        stale = model.objective(sim)
        model.config[one].regularizer = Scheduled(l2(2.0), factor)
        with pytest.warns(UserWarning, match="regularizer: compile with.*made anew"):
            sim.compile(sgd(0.0), loss=stale)


@pytest.mark.generation(3)
def test_metrics_of_outputs_that_were_not_simulated_here(model):
    """Keras takes outputs from anywhere."""
    model.config[model.probe].regularizer = l2(0.25)
    with simulator(model.net, minibatch_size=2) as sim:
        sim.compile(sgd(0.0), loss=model.objective(sim))
        zeros = [tf.zeros((2, 1, 3)), tf.zeros((2, 1))]
        found = sim.keras_model.compute_metrics(None, {"output": zeros[0]}, zeros, None)
    assert found["output.activity"] == 0


@pytest.mark.generation(3)
@pytest.mark.filterwarnings("ignore:.*trained without its settings")
@pytest.mark.parametrize("make", [l2, lambda s: GroupLasso(s, axis=None)])
def test_regularizers_that_are_changed_in_place(make, model):
    """On a connection and on a probe, after the compile and the first trace."""
    one, _ = model.connections
    regularizers = [make(0.5), make(0.5)]
    model.config[one].regularizer, model.config[model.probe].regularizer = regularizers
    with simulator(model.net, minibatch_size=2) as sim:
        norms = nengo_wd.WeightNorms(sim)
        sim.compile(sgd(0.0), loss=model.objective(sim))
        before = model.evaluated(sim)["loss"]
        for regularizer in regularizers:
            for name in set(vars(regularizer)) & {"l2", "strength"}:
                setattr(regularizer, name, 2.0)
        assert model.fitted(sim, callbacks=[norms])["loss"] == pytest.approx([before])
        losses = nengo_wd.regularization_losses(sim, model.inputs)
        assert 16 + sum(losses.values()) == pytest.approx(before)
        norms.record()
        assert norms.total_penalties[-1] == pytest.approx(losses["a.weights"])
        with pytest.warns(UserWarning, match="made anew"):
            sim.compile(sgd(0.0), loss=model.objective(sim))
            model.config[one].regularizer = None
            model.fitted(sim)
        after = nengo_wd.regularization_losses(sim, model.inputs)
        assert after == pytest.approx({name: 4 * value for name, value in losses.items()})


@pytest.mark.generation(3)
def test_what_counts_is_recorded_after_its_setting_is_gone(model):
    one, _ = model.connections
    model.config[one].regularizer = l2(1.0)
    with simulator(model.net, minibatch_size=2) as sim:
        sim.compile(sgd(0.0), loss=model.objective(sim))
        model.config[one].regularizer = None
        norms = nengo_wd.WeightNorms(sim)
        norms.record()
    np.testing.assert_allclose(norms.penalties, [[6]])


def test_names_of_activities_hide_no_weight(model):
    """A layer with a weight of the name that what a probe records has."""

    class Layer(nengo_wd.RegularizedDense):
        def add_weight(self, name, *args, **kwargs):
            return super().add_weight({"kernel": "activity"}.get(name, name), *args, **kwargs)

    layer = Layer(3, kernel_regularizer=l2(1.0), kernel_initializer="ones", name="output")
    with model.net:
        nengo_wd.nengo_dl.tensor_layer(model.source, layer)
    model.config[model.probe].regularizer = l2(0.25)
    with simulator(model.net, minibatch_size=2) as sim:
        losses = nengo_wd.regularization_losses(sim, model.inputs)
    expected = {"output.activity": 6, "output.activity_1": 0.25 * 48}
    assert losses == pytest.approx(expected)


def test_strengths_count_once_an_objective_has_them(model):
    one, _ = model.connections
    model.config[one].regularizer = l2(1.0)
    with simulator(model.net, minibatch_size=2) as sim:
        norms = nengo_wd.WeightNorms(sim)
        objective = model.objective(sim)
        for strength, count in ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0)):
            model.config[one].regularizer = l2(strength)
            if strength == count:
                model.objective(sim)
            total = total_loss(sim, model.inputs, model.targets, objective)
            norms.record()
            assert total == pytest.approx(16 + 6 * count)
            assert nengo_wd.regularization_loss(sim) == pytest.approx(6 * count)
            assert norms.total_penalties[-1] == pytest.approx(6 * count)


@pytest.mark.generation(3)
def test_an_objective_brings_its_own_strengths(model):
    one, _ = model.connections
    with simulator(model.net, minibatch_size=2) as sim:
        objectives = []
        for strength in (1.0, 2.0):
            model.config[one].regularizer = l2(strength)
            objectives.append(model.objective(sim))
        for objective, expected in zip(objectives * 2, [6, 12] * 2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                sim.compile(sgd(0.0), loss=objective)
            assert model.evaluated(sim)["loss"] == pytest.approx(16 + expected)
            assert nengo_wd.regularization_loss(sim) == pytest.approx(expected)


@pytest.mark.generation(3)
def test_default_penalties_are_those_of_the_objective():
    layer = nengo_wd.RegularizedDense(3, kernel_initializer="ones", name="readout")  # L2(0.01)
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings()
        one_step()
        source = nengo.Node(np.zeros(2))
        node = nengo_wd.nengo_dl.tensor_layer(source, layer)
        probe = nengo.Probe(node)
    data = {source: np.zeros((1, 1, 2))}, {probe: np.zeros((1, 1, 3))}
    with simulator(net) as sim:
        sim.compile(sgd(0.0), loss=nengo_wd.regularized_objective(sim, {probe: "mse"}))
        net.config[node].regularizer = l1(1.0)
        later = nengo_wd.regularized_objective(sim, {probe: "mse"})
        for objective, expected in ((None, 0.06), (later, 6.0)):
            if objective is not None:
                sim.compile(sgd(0.0), loss=objective)
            assert nengo_wd.regularization_loss(sim) == pytest.approx(expected)
            assert sim.evaluate(*data, verbose=0)["loss"] == pytest.approx(expected)


@pytest.mark.generation(3)
def test_steps_that_are_not_compiled_leave_the_penalties(model):
    one, _ = model.connections
    model.config[one].regularizer = l2(1.0)
    with simulator(model.net, minibatch_size=2) as sim:
        objective = model.objective(sim)
        sim.compile(sgd(0.0), loss=objective)
        model.evaluated(sim)
        optimizer = nengo_wd.proximal_regularization(sim, sgd(0.0))
        assert model.fitted(sim)["loss"] == pytest.approx([22])
        assert nengo_wd.regularization_loss(sim) == pytest.approx(6)
        sim.compile(optimizer, loss=objective)
        assert model.fitted(sim)["loss"] == pytest.approx([16])
        assert model.evaluated(sim)["loss"] == pytest.approx(16)
        assert nengo_wd.regularization_loss(sim) == 0


@pytest.mark.generation(3)
def test_objectives_of_other_settings_raise_a_warning(model):
    one, _ = model.connections
    model.config[one].regularizer = l2(1.0)
    with simulator(model.net, minibatch_size=2) as sim:
        stale = model.objective(sim)
        model.config[one].regularizer = l1(1.0)
        with pytest.warns(UserWarning, match="regularizer: compile with.*made anew") as found:
            sim.compile(sgd(0.0), loss=stale)
            model.fitted(sim)
        assert sum("made anew" in str(one.message) for one in found) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            sim.compile(sgd(0.0), loss=model.objective(sim))
            model.fitted(sim)


# -- what adds up ----------------------------------------------------------------------------


@pytest.mark.generation(3)
def test_penalties_on_activities_have_names(model, tmp_path):
    with model.net:
        neurons = nengo.Ensemble(
            2, 1, neuron_type=nengo.SpikingRectifiedLinear(), label="hidden cells"
        ).neurons
        nengo.Connection(model.source, neurons, transform=np.full((2, 2), 5.0), synapse=None)
        rates = nengo.Probe(neurons)
    model.config[model.connections[0]].regularizer = l2(0.5)
    model.config[model.probe].regularizer = l2(0.25)
    model.config[rates].regularizer = FiringRates(0, 1, l1=0.125)
    names = ["output.activity", "hidden cells.activity"]
    with simulator(model.net, minibatch_size=2) as sim:
        norms = nengo_wd.WeightNorms(sim, log_dir=tmp_path)
        sim.compile(sgd(0.0), loss=model.objective(sim), metrics={model.probe: "mae"})
        history = model.fitted(sim, epochs=2, callbacks=[norms])
        found = [history[name][-1] for name in (*names, "penalty", "output_loss")]
        assert sum(found) == pytest.approx(history["loss"][-1], rel=1e-6)
        assert history["output.activity"] == pytest.approx([0.25 * 48] * 2)
        for name in names:
            np.testing.assert_allclose(norms.activity_penalties[name][1:], history[name])
            assert np.isnan(norms.activity_penalties[name][0])
        assert norms.total_penalties[-1] == pytest.approx(history["penalty"][-1])
        evaluated = model.evaluated(sim)
        on_data = nengo_wd.regularization_losses(sim, model.inputs)
        assert {name: evaluated[name] for name in names} == pytest.approx(
            {name: on_data[name] for name in names}
        )
        assert evaluated["loss"] == pytest.approx(evaluated["output_loss"] + sum(on_data.values()))
        assert set(nengo_wd.regularization_losses(sim)) == {"a.weights"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            sim.compile(sgd(0.0), loss={model.probe: "mse"})
        assert not set(names) & set(model.evaluated(sim))
    assert {f"{name}/penalty" for name in names} <= set(tags_of(tmp_path))


def tags_of(folder):
    (path,) = folder.iterdir()
    events = tf.compat.v1.train.summary_iterator(str(path))
    return [value.tag for event in events for value in event.summary.value]


@pytest.mark.generation(3)
def test_records_in_a_training_leave_the_means(model):
    """A record runs the network, which Keras shows nothing of."""
    with model.net:
        neurons = nengo.Ensemble(2, 1, neuron_type=nengo.SpikingRectifiedLinear()).neurons
        nengo.Connection(model.source, neurons, transform=np.full((2, 2), 5.0), synapse=None)
        rates = nengo.Probe(neurons, label="rates")
    model.config[rates].regularizer = FiringRates(0, 1, l1=0.125)
    histories = []
    with simulator(model.net, minibatch_size=2) as sim:
        sim.compile(sgd(0.0), loss=model.objective(sim))
        data = {model.source: np.full((1, 1, 2), 9.0)}
        data = {node: np.repeat(array, 2, axis=0) for node, array in data.items()}
        for callbacks in ([], [nengo_wd.NeuronRates(sim, data, every="batch")]):
            histories.append(model.fitted(sim, callbacks=callbacks)["rates.activity"])
    assert histories[0] == histories[1]


def test_penalties_on_activities_of_given_data(model):
    """As the loss has them, and by NumPy: the mean over examples and time steps."""
    model.config[model.probe].regularizer = l2(0.25)
    inputs = {model.source: np.arange(8.0).reshape(4, 1, 2)}
    outputs = 2 * inputs[model.source].sum(axis=-1)  # of both connections, in each dimension
    with simulator(model.net, minibatch_size=2) as sim:
        model.objective(sim)
        losses = nengo_wd.regularization_losses(sim, inputs)
        again = nengo_wd.regularization_losses(sim, inputs)
    assert losses == again == {"output.activity": pytest.approx(0.25 * 3 * np.mean(outputs**2))}


def test_weights_that_a_probe_records_count_whole(model):
    """Not divided by the rows that they have."""
    one, _ = model.connections
    with model.net:
        weights = nengo.Probe(one, "weights", label="recorded")
    model.config[weights].regularizer = l2(0.5)
    n_steps = 1 if GENERATION == 3 else 3
    inputs = {model.source: np.ones((2, n_steps, 2))}
    targets = {model.probe: np.zeros((2, n_steps, 3))}
    with simulator(model.net, minibatch_size=2) as sim:
        total = total_loss(sim, inputs, targets, model.objective(sim))
        losses = nengo_wd.regularization_losses(sim, inputs)
    assert losses == {"recorded.activity": pytest.approx(0.5 * 6)}
    assert total == pytest.approx(16 + 0.5 * 6)


# -- what is given by probe, or changed later ------------------------------------------------


@pytest.mark.generation(3)
def test_sample_weights_by_probe(model):
    weights = {model.probe: np.array([0.0, 0.5])}
    with simulator(model.net, minibatch_size=2) as sim:
        sim.compile(sgd(0.0), loss=model.objective(sim))
        validation = (model.inputs, model.targets, weights)
        found = model.fitted(sim, sample_weight=weights, validation_data=validation)
        assert found["loss"] == found["val_loss"] == pytest.approx([4])
        for key in (model.probe, "output"):
            found = sim.evaluate(
                model.inputs, model.targets, sample_weight={key: weights[model.probe]}, verbose=0
            )
            assert found["loss"] == pytest.approx(4)
        with pytest.raises(ValidationError, match="sample_weight.*Node.*not among the probes"):
            model.fitted(sim, sample_weight={model.source: np.ones(2)})


@pytest.mark.parametrize("attr, bad", [("l2", -1.0), ("l1", np.nan)])
def test_strengths_that_were_changed_to_what_is_none(attr, bad, model):
    """Of a connection, of a probe, and of a layer."""
    of_connection, of_probe, of_layer = (tf.keras.regularizers.l1_l2(0.5, 0.5) for _ in range(3))
    layer = nengo_wd.RegularizedDense(3, kernel_regularizer=of_layer, name="dense")
    with model.net:
        nengo_wd.nengo_dl.tensor_layer(model.source, layer)
    model.config[model.connections[0]].regularizer = of_connection
    model.config[model.probe].regularizer = of_probe
    with simulator(model.net, minibatch_size=2) as sim:
        for regularizer, name in ((of_connection, "a"), (of_probe, "Probe"), (of_layer, "dense")):
            setattr(regularizer, attr, bad)
            with pytest.raises(ValidationError, match=f"{name}.*strength {attr}={bad}"):
                model.objective(sim)
            setattr(regularizer, attr, 0.5)
        model.objective(sim)


class WithVariable:
    """A regularizer with a variable, which is made when it is called first."""

    def __init__(self, sim):
        self.sim, self.factor = sim, None

    def __call__(self, weights):
        if self.factor is None:
            self.factor = variable(self.sim, np.float32(0.5))
        return tf.cast(self.factor, weights.dtype) * tf.reduce_sum(tf.square(weights))


def test_function_object_with_a_variable(model):
    with simulator(model.net, minibatch_size=2) as sim:
        function = WithVariable(sim)
        model.config[model.connections[0]].regularizer = function
        objective = model.objective(sim)
        for value in (0.5, 2.0):
            if value != 0.5 and GENERATION == 3:
                function.factor.assign(value)
            elif value != 0.5:
                function.factor.load(value, sim.sess)
            total = total_loss(sim, model.inputs, model.targets, objective)
            assert nengo_wd.regularization_loss(sim) == pytest.approx(6 * value)
            assert total == pytest.approx(16 + 6 * value)


def test_settings_are_looked_at_once(model):
    """Which takes long for many objects; until they are changed, of whatever kind that is."""
    _, other = model.connections
    layer = nengo_wd.RegularizedDense(3, name="dense")
    with model.net:
        node = nengo_wd.nengo_dl.tensor_layer(model.source, layer)
    changed = l2(1.0)
    for connection in model.connections:
        model.config[connection].regularizer = changed
    of_settings = nengo_wd._penalties.penalties_of_settings
    with simulator(model.net, minibatch_size=2) as sim:

        def set_other():
            model.config[other].regularizer = None

        def set_node():
            model.config[node].regularizer = l2(1.0)

        def change_in_place():
            changed.l2 = np.float32(2.0)

        before = of_settings(sim)
        for change, n_penalties in ((set_other, 1), (set_node, 2), (change_in_place, 2)):
            assert of_settings(sim) is before
            change()
            assert of_settings(sim) is not before
            before = of_settings(sim)
            assert len(before) == n_penalties
        assert nengo_wd.regularization_losses(sim)["a.weights"] == pytest.approx(2 * 6)
