"""NengoDL 2 on TensorFlow 1.15: ``sim.train`` and the graph's regularization losses."""
