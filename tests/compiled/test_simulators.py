"""Simulators whose time loop XLA compiles, against the same ones that it does not compile."""

import nengo
import numpy as np
import pytest
import tensorflow as tf
from generations import simulator
from nengo.exceptions import SimulationError, ValidationError

import nengo_wd
from nengo_wd import nengo_dl

pytestmark = [pytest.mark.generation(3), pytest.mark.traced]

SIZE, N_STEPS = 4, 6  # of a minibatch; time steps


@pytest.fixture
def loops(monkeypatch):
    """Count the loops that are built for XLA."""
    from nengo_wd._seam.nengo_dl3 import compiled

    built = []
    call = compiled._TimeLoop.__call__

    def counted(loop):
        built.append(loop)
        return call(loop)

    monkeypatch.setattr(compiled._TimeLoop, "__call__", counted)
    return built


def network(jit_compile, has_input=True, dtype="float32", **settings):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=jit_compile)
        nengo_dl.configure_settings(dtype=dtype, lif_smoothing=0.05, **settings)
        net.ensemble = nengo.Ensemble(10, 2)
        if has_input:
            net.source = nengo.Node([0.5, -0.5])
            nengo.Connection(net.source, net.ensemble)
        net.loop = nengo.Connection(net.ensemble, net.ensemble, synapse=0.01)
        layer = nengo_wd.RegularizedDense(3, name="readout", kernel_initializer="ones")
        net.probe = nengo.Probe(nengo_dl.tensor_layer(net.ensemble, layer, synapse=None))
        net.filtered = nengo.Probe(net.ensemble, synapse=0.01)
    return net


def data(net, n_steps=N_STEPS, keeps=True):
    rng = np.random.RandomState(0)
    inputs = {net.source: rng.uniform(-1, 1, (2 * SIZE, n_steps, 2))}
    targets = {net.probe: rng.uniform(-1, 1, (2 * SIZE, n_steps if keeps else 1, 3))}
    return inputs, targets


def compile_and_run(net, **options):
    """Return all that a simulator computes: losses, weights, outputs, and those of a run."""
    keeps = options.pop("keeps", True)
    n_steps = options.pop("n_steps", N_STEPS)
    with simulator(net, minibatch_size=SIZE, seed=0, **options) as sim:
        inputs, targets = data(net, n_steps, keeps)
        sim.compile(tf.keras.optimizers.Adam(0.01), loss={net.probe: "mse"})
        history = sim.fit(inputs, targets, epochs=2, shuffle=False, verbose=0).history["loss"]
        evaluated = sim.evaluate(inputs, targets, verbose=0)["loss"]
        outputs = list(sim.predict(inputs, verbose=0).values())
        weights = [variable.numpy() for variable in sim.keras_model.trainable_variables]
        sim.run_steps(n_steps)
        recorded = [sim.data[net.probe], sim.data[net.filtered]]
    return [np.array(history), evaluated, *outputs, *weights, *recorded]


SETTINGS = {
    "loop": ({}, {}),
    "unrolled": ({}, {"unroll_simulation": N_STEPS}),
    "no history": ({"keep_history": False}, {"keeps": False}),
    "no history, unrolled": ({"keep_history": False}, {"keeps": False, "unroll_simulation": 2}),
    "no loop": ({"use_loop": False}, {"n_steps": 2, "unroll_simulation": 2}),
    "not stateful": ({"stateful": False}, {}),
    "float64": ({"dtype": "float64"}, {}),
}
QUICK = {"no history, unrolled"}


@pytest.mark.parametrize(
    "settings, options",
    [
        pytest.param(*values, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, values in SETTINGS.items()
    ],
)
def test_compiled_equals_uncompiled(settings, options, loops):
    plain, fast = (
        compile_and_run(network(jit_compile, **settings), **options)
        for jit_compile in (False, True)
    )
    assert loops or settings.get("use_loop") is False
    tolerance = 1e-10 if settings.get("dtype") == "float64" else 2e-4
    for one, other in zip(plain, fast):
        np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("unroll", [1, 2])
def test_gradients_are_checked_as_they_are_compiled(unroll, loops):
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=True)
        nengo_dl.configure_settings(lif_smoothing=0.05)
        source = nengo.Node([0.5])
        ensemble = nengo.Ensemble(3, 1)
        nengo.Connection(source, ensemble, synapse=None)
        probe = nengo.Probe(ensemble)
    with simulator(net, seed=0, unroll_simulation=unroll) as sim:
        gradients = sim.check_gradients(atol=2e-3)
        assert np.abs(gradients[probe]["analytic"][0]).max() > 0.1
        assert len(loops) == 2  # forth, and forth and back
        inputs = {source: np.ones((1, 2, 1))}
        assert sim.predict(inputs)[probe].shape == (1, 2, 1)  # as before


@pytest.mark.slow
@pytest.mark.parametrize("keeps", [True, False])
def test_networks_without_inputs_run_their_number_of_steps(keeps, loops):
    """XLA would return empty arrays if no shape told the number."""
    ran = []
    for jit_compile in (False, True):
        net = network(jit_compile, has_input=False, keep_history=keeps)
        with simulator(net, minibatch_size=1, seed=0) as sim:
            sim.compile("sgd", loss={net.probe: "mse"})
            sim.run_steps(5)
            sim.step()
            sim.run(0.002)
            predicted = sim.predict(n_steps=3)[net.probe]
            targets = {net.probe: np.ones((1, 4 if keeps else 1, 3))}
            loss = sim.fit(n_steps=4, y=targets, verbose=0).history["loss"]
            evaluated = sim.evaluate(n_steps=4, y=targets, verbose=0)["loss"]
            assert sim.n_steps == 8
            ran.append([sim.data[net.probe], predicted, loss, evaluated])
    assert ran[1][0].shape == (1, 8 if keeps else 3, 3)
    assert loops
    for one, other in zip(*ran):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-5)


def test_each_number_of_steps_compiles_once(loops):
    net = network(True, has_input=False)
    with simulator(net, minibatch_size=1, seed=0) as sim:
        for n_steps in (4, 5, 4, 6, 5, 6, 4, 7, 5):
            sim.run_steps(n_steps)
            assert sim.data[net.probe].shape[1] == sim.n_steps
    assert len(loops) <= 4


def test_one_simulator_by_keras_word(loops):
    net = network(None)
    inputs, targets = data(net)
    with simulator(net, minibatch_size=SIZE, seed=0) as sim:
        sim.compile("sgd", loss={net.probe: "mse"}, jit_compile=True)
        first = sim.evaluate(inputs, targets, verbose=0)["loss"]
        assert len(loops) == 1
        sim.compile("sgd", loss={net.probe: "mse"})
        assert sim.evaluate(inputs, targets, verbose=0)["loss"] == pytest.approx(first, rel=1e-6)
        assert len(loops) == 1


def test_one_simulator_without_the_setting(loops):
    net = network(True)
    inputs, targets = data(net)
    with simulator(net, minibatch_size=SIZE) as sim:
        sim.compile("sgd", loss={net.probe: "mse"}, jit_compile=False)
        sim.evaluate(inputs, targets, verbose=0)
        assert not loops
        sim.compile("sgd", loss={net.probe: "mse"}, run_eagerly=True)
        sim.evaluate(inputs, targets, verbose=0)
        assert not loops


@pytest.mark.slow
def test_data_sets_generators_callbacks_and_checkpoints(tmp_path, loops):
    net = network(True)
    inputs, targets = data(net)
    n_steps = np.full((2 * SIZE, 1), N_STEPS, np.int32)
    with simulator(net, minibatch_size=SIZE, seed=0) as sim:
        names = {sim.get_name(net.source): inputs[net.source], "n_steps": n_steps}
        by_name = {sim.get_name(net.probe): targets[net.probe]}
        dataset = tf.data.Dataset.from_tensor_slices((names, by_name)).batch(SIZE)
        sim.compile(tf.keras.optimizers.Adam(0.01), loss={net.probe: "mse"})
        expected = sim.evaluate(inputs, targets, verbose=0)["loss"]
        assert sim.evaluate(dataset, verbose=0)["loss"] == pytest.approx(expected, rel=1e-6)

        def batches():
            for start in (0, SIZE):
                rows = slice(start, start + SIZE)
                yield [array[rows] for array in names.values()], targets[net.probe][rows]

        saved = tf.keras.callbacks.ModelCheckpoint(str(tmp_path / "w"), save_weights_only=True)
        stop = tf.keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)
        history = sim.fit(
            batches(),
            steps_per_epoch=2,
            epochs=1,
            verbose=0,
            callbacks=[saved, stop, nengo_wd.WeightNorms(sim)],
        )
        assert np.isfinite(history.history["loss"]).all()
        trained = sim.predict(inputs, verbose=0)[net.probe]
    assert loops
    with simulator(network(True), minibatch_size=SIZE) as sim:
        sim.keras_model.load_weights(str(tmp_path / "w"))
        probe = sim.model.probes[0]
        source = sim.model.toplevel.source
        loaded = sim.predict({source: inputs[net.source]}, verbose=0)[probe]
    np.testing.assert_allclose(loaded, trained, rtol=1e-5, atol=1e-6)


def test_frozen_networks_compile():
    net = network(True)
    with simulator(net, seed=0) as sim:
        sim.run_steps(3)
        sim.freeze_params(net)
        ran = sim.data[net.filtered]
    with simulator(net, seed=0) as sim:
        sim.run_steps(3)
        np.testing.assert_allclose(sim.data[net.filtered], ran, rtol=1e-5, atol=1e-6)


def test_python_functions_are_refused_by_name():
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=True)
        source = nengo.Node([1.0])
        node = nengo.Node(lambda t, x: x, size_in=1, label="doubler")
        nengo.Connection(source, node)
        nengo.Probe(node)
    with pytest.raises(ValidationError, match="(?s)jit_compile.*doubler.*is called at each"):
        simulator(net)


def test_python_functions_are_refused_by_compile():
    with nengo.Network(seed=0) as net:
        node = nengo.Node(lambda t, x: x, size_in=1, label="doubler")
        nengo.Connection(nengo.Node([1.0]), node)
        probe = nengo.Probe(node)
    with simulator(net) as sim:
        with pytest.raises(ValidationError, match="(?s)jit_compile.*doubler"):
            sim.compile("sgd", loss={probe: "mse"}, jit_compile=True)


def test_a_tensorflow_without_xla_is_refused(monkeypatch):
    from nengo_wd._seam.nengo_dl3 import compiled

    monkeypatch.setattr(compiled, "_has_xla", lambda device: False)
    with pytest.raises(ValidationError, match="jit_compile.*has no XLA"):
        simulator(network(True))


def test_inner_networks_do_not_compile_by_themselves():
    with nengo.Network(label="outer") as net:
        with nengo.Network(label="inner"):
            nengo_wd.configure_settings(jit_compile=True)
            nengo.Ensemble(10, 1)
    with pytest.raises(ValidationError, match='(?s)inner.*jit_compile.*"outer"'):
        simulator(net)


def test_generators_without_inputs_are_refused():
    net = network(True, has_input=False)
    with simulator(net) as sim, pytest.raises(SimulationError, match="no input Nodes.*n_steps"):
        sim.predict(iter([np.ones((1, 1), np.int32)]), verbose=0)


def test_loops_of_users_without_inputs_are_refused():
    net = network(True, has_input=False)
    with simulator(net) as sim:
        run = tf.function(sim.keras_model, jit_compile=True, autograph=False)
        with pytest.raises(SimulationError, match="no input Nodes"):
            run([tf.ones((1, 1), tf.int32)])


@pytest.mark.parametrize("value", ["yes", 3, None])
def test_only_true_and_false_are_taken(value):
    with nengo.Network():
        if value is None:
            nengo_wd.configure_settings(jit_compile=value)  # sets nothing
        else:
            with pytest.raises(ValidationError, match="jit_compile"):
                nengo_wd.configure_settings(jit_compile=value)


def test_rules_that_add_to_the_same_weights_in_one_operator():
    """Two rules on each of two connections are merged, so that slices come twice."""
    with nengo.Network(seed=0) as net:
        nengo_wd.configure_settings(jit_compile=True)
        neurons = nengo.Ensemble(5, 1).neurons
        rates, probes = (1.0, 50.0), []
        for _ in range(2):
            rules = [nengo_wd.Decay(rate) for rate in rates]
            weights = np.arange(1.0, 11.0).reshape(2, 5)
            output = nengo.Node(size_in=2)
            decays = nengo.Connection(neurons, output, transform=weights, learning_rule_type=rules)
            probes.append(nengo.Probe(decays, "weights"))
    with simulator(net, minibatch_size=1, seed=0) as sim:
        sim.run_steps(20)
        for probe in probes:
            factor = 1 + sum(np.expm1(-rate * sim.dt) for rate in rates)
            np.testing.assert_allclose(sim.data[probe][0, -1], weights * factor**19, rtol=1e-5)
