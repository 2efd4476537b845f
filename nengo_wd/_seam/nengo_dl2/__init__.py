"""NengoDL 2 on TensorFlow 1.15: ``sim.train`` and the graph's regularization losses."""

# What only NengoDL 3 has, by topic and name: what needs it, and what NengoDL 2 does instead.
LACKING = {
    "activities.check_any_signal": ("Energy", "shows only neurons with probes"),
    "activities.measure_signals": ("Energy", "shows only neurons with probes"),
    "compiled.compile_loop": ("configure_settings(jit_compile=True)", "runs on TensorFlow 1.15"),
    "distributed.ReplicatedSimulator": ("DistributedSimulator", "trains on one device"),
    "layers.KerasConverter": ("Converter", "has no converter of Keras models"),
    "layers.check_weights_can_leave": ("native", "keeps the weights of layers in its graph"),
    "training.check_callbacks": ("SpikeValidation", "trains without callbacks"),
    "optimizers.variables_of_training": ("search.Start", "compiles anew for each training"),
}
