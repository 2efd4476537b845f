"""Models that can't be converted."""

import tensorflow as tf
from bad_inputs import Row, check, table

import nengo_wd
from nengo_wd import nengo_dl


def model(*layers):
    inputs = tf.keras.Input((4,))
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return tf.keras.Model(inputs, outputs)


NO_MODELS = {
    "None": (lambda: None, "None can't be converted; give a tf.keras.Model"),
    "number": (lambda: 5, "5 can't be converted"),
    "text": (lambda: "model.h5", "'model.h5' can't be converted"),
    "object": (object, "<object object.* can't be converted"),
    "layer": (lambda: tf.keras.layers.Dense(3), "Dense object.* can't be converted"),
    "class": (lambda: tf.keras.Model, "<class .*Model'> can't be converted"),
    "network": (lambda: nengo_dl.Converter, "Converter'> can't be converted"),
    "no input": (
        lambda: tf.keras.Sequential([tf.keras.layers.Dense(3)], name="mine"),
        "'mine' has no input shape yet",
    ),
}
ROWS = [
    Row(kind, lambda s, make=make: nengo_wd.Converter(make()), pattern, generation=3)
    for kind, (make, pattern) in NO_MODELS.items()
]
ROWS += [
    Row(
        "layer that can't be converted",
        lambda s: nengo_wd.Converter(
            model(tf.keras.layers.Dense(3, activation="selu", name="mine")), allow_fallback=False
        ),
        "selu",
        TypeError,
        generation=3,
    ),
    Row(
        "unknown argument",
        lambda s: nengo_wd.Converter(model(tf.keras.layers.Dense(3)), scale=2),
        "unexpected keyword argument 'scale'",
        TypeError,
        generation=3,
    ),
    Row(
        "any model",
        lambda s: nengo_wd.Converter(tf.keras.Sequential()),
        "nengo_wd.Converter needs NengoDL 3",
        NotImplementedError,
        generation=2,
    ),
]


@table(ROWS)
def test_converter(row, shared):
    check(row, shared)
