"""What is recorded of weights and firing rates while a network is trained."""

from nengo_wd._parameters import Parameter
from nengo_wd.recording.gap import SpikeGap, spike_gap
from nengo_wd.recording.history import History
from nengo_wd.recording.neuron_rates import NeuronRates, RateHistory
from nengo_wd.recording.spike_validation import SpikeValidation
from nengo_wd.recording.weight_norms import WeightNorms

__all__ = [
    "History",
    "NeuronRates",
    "Parameter",
    "RateHistory",
    "SpikeGap",
    "SpikeValidation",
    "WeightNorms",
    "spike_gap",
]
