"""NengoDL 3 on TensorFlow 2: ``sim.compile``, ``sim.fit`` and Keras' own losses."""
