"""A convolutional network trained in Keras, and the same network with spiking neurons.

It tells horizontal bars from vertical ones. The script is written as by somebody who knows Keras
and NengoDL.
"""

import nengo
import numpy as np
import tensorflow as tf

from nengo_wd import nengo_dl

SIZE = 8
N_STEPS = 60

tf.keras.utils.set_random_seed(0)
rng = np.random.RandomState(0)


def bars(number):
    """Return noisy images of shape ``(number, SIZE, SIZE, 1)``, and which bars are vertical."""
    images = rng.normal(scale=0.1, size=(number, SIZE, SIZE, 1))
    vertical = rng.randint(2, size=number)
    for image, is_vertical, place in zip(images, vertical, rng.randint(SIZE, size=number)):
        image[(slice(None), place) if is_vertical else place] += 1
    return images.astype(np.float32), vertical


source = tf.keras.Input((SIZE, SIZE, 1))
x = tf.keras.layers.Conv2D(8, 3, activation=tf.nn.relu)(source)
x = tf.keras.layers.AveragePooling2D()(x)
x = tf.keras.layers.Flatten()(x)
x = tf.keras.layers.Dense(16, activation=tf.nn.relu)(x)
output = tf.keras.layers.Dense(2)(x)
model = tf.keras.Model(source, output)
model.compile(
    tf.keras.optimizers.Adam(0.01),
    tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
model.fit(*bars(512), epochs=5, verbose=0)
images, vertical = bars(64)
accuracy = model.evaluate(images, vertical, verbose=0)[1]
print(f"accuracy in Keras: {accuracy:.2f}")
assert accuracy > 0.9

# the same rates from the converted network
converter = nengo_dl.Converter(model, allow_fallback=False)
assert converter.verify(training=False, atol=1e-4)

# spikes in the place of rates, over time
spiking = nengo_dl.Converter(
    model,
    allow_fallback=False,
    swap_activations={tf.nn.relu: nengo.SpikingRectifiedLinear()},
    scale_firing_rates=100,
    synapse=0.005,
)
steps = np.tile(images.reshape((64, 1, -1)), (1, N_STEPS, 1))
with nengo_dl.Simulator(spiking.net, minibatch_size=32, progress_bar=False) as sim:
    answers = sim.predict({spiking.inputs[source]: steps}, verbose=0)[spiking.outputs[output]]
accuracy = np.mean(np.argmax(answers[:, -1], axis=-1) == vertical)
print(f"accuracy with spiking neurons: {accuracy:.2f}")
assert accuracy > 0.9
