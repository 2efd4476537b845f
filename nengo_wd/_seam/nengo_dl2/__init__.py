"""NengoDL 2 on TensorFlow 1.15: ``sim.train`` and the graph's regularization losses."""

# What only NengoDL 3 has, by topic and name: what needs it, and what NengoDL 2 does instead.
LACKING = {
    "activities.check_any_signal": ("Energy", "shows of neurons only what probes are on"),
    "activities.measure_signals": ("Energy", "shows of neurons only what probes are on"),
    "compiled.compile_loop": (
        "configure_settings(jit_compile=True)",
        "runs its loop on TensorFlow 1.15",
    ),
    "distributed.ReplicatedSimulator": ("DistributedSimulator", "trains on one device"),
    "distributions.SAMPLERS": ("distributions", "draws noise in Python"),
    "layers.KerasConverter": ("Converter", "has no converter of Keras models"),
    "neurons.SpikingBuilder": ("SpikingBuilder", "builds neurons on TensorFlow 1.15"),
    "operators.RLSBuilder": ("operators", "has no builder of RLS"),
    "optimizers.variables_of_training": ("search.Start", "compiles anew for each training"),
    "processes.FilterBuilder": ("FilterBuilder", "filters by a builder of its own"),
    "random_numbers.folded": ("random_numbers", "draws by the seeds of operations"),
}
