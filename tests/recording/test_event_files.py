"""Records as TensorBoard reads them."""

import os
import shutil
import warnings

import numpy as np
import pytest
from generations import assign, simulator
from networks import readout_network

import nengo_wd


def test_tensorboard_reads_scalars_and_histograms(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim, log_dir=tmp_path / "log")
        norms.record()
        assign(sim, layer.kernel, np.array([[3, np.nan, 0], [4, 1, 1]], np.float32))
        with pytest.warns(RuntimeWarning):
            norms.record(step=5, loss=4.0)
    read = EventAccumulator(str(tmp_path / "log"), {"histograms": 0}).Reload()  # 0: all of them
    scalars = {
        tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]
    }
    columns = ("norm", "penalty", "zeros", "zero_channels")  # a share of no loss is left out
    assert set(scalars) == {"loss", "penalty", *(f"readout.kernel/{name}" for name in columns)}
    assert scalars["loss"] == [(5, 4.0)]
    assert scalars["penalty"] == scalars["readout.kernel/penalty"] == [(0, 3.0)]
    assert scalars["readout.kernel/norm"] == [(0, pytest.approx(np.sqrt(6)))]

    assert read.Tags()["histograms"] == ["readout.kernel/values", "readout.kernel/channel_norms"]
    channels = read.Histograms("readout.kernel/channel_norms")
    assert [event.step for event in channels] == [0, 5]
    at_5 = channels[1].histogram_value  # of 5, and of 1: the one that is not finite is left out
    assert (at_5.min, at_5.max, at_5.num, at_5.sum, at_5.sum_squares) == (1, 5, 2, 6, 26)
    assert sum(at_5.bucket) == 2
    assert read.Histograms("readout.kernel/values")[1].histogram_value.num == 5


def test_two_records_in_one_folder(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net, _, layer, _ = readout_network()
    with simulator(net) as sim:
        for i, objects in enumerate((layer, None)):
            nengo_wd.WeightNorms(sim, objects=objects, log_dir=tmp_path).record(step=i)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    for path in files:
        assert EventAccumulator(str(path)).Reload().Tags()["scalars"]


@pytest.mark.parametrize("path", [str, os.fsencode])
def test_path_of_any_kind(path, tmp_path):
    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        nengo_wd.WeightNorms(sim, log_dir=path(tmp_path / "größe [1]")).record()
    assert len(list((tmp_path / "größe [1]").iterdir())) == 1
    assert os.listdir(str(tmp_path)) == ["größe [1]"]


def test_folder_that_is_deleted_is_made_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net, _, _, _ = readout_network()
    with simulator(net) as sim:
        norms = nengo_wd.WeightNorms(sim, log_dir=tmp_path / "log")
        norms.record(step=0)
        shutil.rmtree(str(tmp_path / "log"))
        deleted = "TensorBoard's files in .*log from before step 1 were deleted; a new file begins"
        with pytest.warns(RuntimeWarning, match=deleted):
            norms.record(step=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            norms.record(step=2)
    read = EventAccumulator(str(tmp_path / "log")).Reload()
    assert [event.step for event in read.Scalars("penalty")] == [1, 2]
    assert norms.steps.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "kernel",
    [np.zeros((2, 3)), np.full((2, 3), np.nan), [[1, 1, 1], [1, 1, 1 + 1e-7]], np.full((2, 3), 7)],
)
@pytest.mark.filterwarnings("ignore:weights are not finite")
def test_histograms_of_hardly_different_values(kernel, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    net, _, layer, _ = readout_network()
    kernel = np.array(kernel, np.float32)
    with simulator(net) as sim:
        assign(sim, layer.kernel, kernel)
        nengo_wd.WeightNorms(sim, log_dir=tmp_path).record()
    read = EventAccumulator(str(tmp_path), {"histograms": 0}).Reload()
    finite = kernel[np.isfinite(kernel)]
    (histogram,) = [event.histogram_value for event in read.Histograms("readout.kernel/values")]
    assert histogram.num == sum(histogram.bucket) == finite.size
    assert histogram.sum == pytest.approx(finite.sum(dtype=np.float64))
