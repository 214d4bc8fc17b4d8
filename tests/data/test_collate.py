"""A batch holds normalised windows from which volts and teslas can be had back."""

import numpy as np
import pytest
import torch

from brainfm.data.collate import WindowDataset, batch_from_arrays, usable_channels
from brainfm.data.sensors import synthetic_channels
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import ContractError, DataError
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.types import WindowRef

UNCLIPPED = Normalise(clip=None)


def windows(kind="EEG", n_channels=6, n=3, seconds=2):
    recording = synthetic_recording(kind, n * seconds, n_channels)
    x = recording.signal.reshape(n, -1, n_channels).transpose(0, 2, 1)
    return np.ascontiguousarray(x), recording.channels


@pytest.mark.parametrize("scale", ["kind_std", "channel_robust"])
@pytest.mark.parametrize("kind", ["EEG", "MEG"])
def test_scale_and_offset_give_si_units_back(kind, scale):
    x, channels = windows(kind)
    b = batch_from_arrays(x, channels, 256.0, Normalise(scale=scale, clip=None), 128)
    back = b.signal_BCT * b.scale_BC[..., None] + b.offset_BC[..., None]
    assert np.allclose(back.numpy(), x, rtol=1e-4, atol=1e-6 * np.abs(x).max())


def test_shapes_and_types_are_those_of_the_noun():
    x, channels = windows()
    b = batch_from_arrays(x, channels, 256.0, UNCLIPPED, 128, target=[1, 0, 2])
    assert b.x_BCWP.shape == (3, 6, 4, 128) and b.x_BCWP.dtype == torch.float32
    assert b.pos_BC3.shape == b.ori_BC3.shape == (3, 6, 3)
    assert b.kind_BC.dtype == torch.int64 and b.valid_BC.dtype == torch.bool
    assert b.time_BW.dtype == torch.float64 and b.time_BW[2].tolist() == [0, 0.5, 1.0, 1.5]
    assert b.target_B.tolist() == [1, 0, 2] and b.seconds == 2


def test_without_a_step_the_window_is_one():
    x, channels = windows()
    assert batch_from_arrays(x, channels, 256.0, UNCLIPPED).x_BCWP.shape == (3, 6, 1, 512)


@pytest.mark.parametrize("value", [np.nan, np.inf, "flat"])
def test_a_bad_channel_is_invalid_zero_and_changes_no_other(value):
    x, channels = windows()
    whole = batch_from_arrays(x[:, 1:], channels.take(range(1, 6)), 256.0, UNCLIPPED)
    x[1, 0, 100:] = 5e-6 if value == "flat" else value
    x[1, 0, :100] = x[1, 0, 100] if value == "flat" else x[1, 0, :100]
    b = batch_from_arrays(x, channels, 256.0, UNCLIPPED)
    assert b.valid_BC.tolist() == [[True] * 6, [False, *[True] * 5], [True] * 6]
    assert (b.x_BCWP[1, 0] == 0).all() and torch.isfinite(b.x_BCWP).all()
    assert torch.allclose(b.x_BCWP[1, 1:], whole.x_BCWP[1])
    assert torch.allclose(b.scale_BC[1, 1:], whole.scale_BC[1])


def test_a_window_without_any_good_channel_is_all_zero_and_finite():
    x, channels = windows()
    x[0] = np.nan
    b = batch_from_arrays(x, channels, 256.0, Normalise())
    assert not b.valid_BC[0].any() and (b.x_BCWP[0] == 0).all() and b.valid_BC[1].all()


def test_usable_means_finite_and_not_constant():
    x = np.random.default_rng(0).normal(size=(1, 4, 50))
    x[0, 0], x[0, 1, 3], x[0, 2, 4] = 7.0, np.nan, -np.inf
    assert usable_channels(x).tolist() == [[False, False, False, True]]


def test_magnetometers_do_not_scale_gradiometers():
    x, channels = windows("MEG")
    first = batch_from_arrays(x, channels, 256.0, UNCLIPPED)
    x[:, channels.kind == 1] *= 1000
    second = batch_from_arrays(x, channels, 256.0, UNCLIPPED)
    grad = torch.from_numpy(channels.kind == 2)
    assert torch.equal(first.x_BCWP[:, grad], second.x_BCWP[:, grad])


def test_unknown_positions_stay_unknown():
    x, channels = windows("EMG", 2)
    assert batch_from_arrays(x, channels, 256.0, UNCLIPPED).pos_BC3.isnan().all()


def test_a_window_of_no_whole_steps_is_refused_with_a_length_that_is():
    x, channels = windows()
    with pytest.raises(DataError, match="512 samples is no whole number of steps of 100; cut.*500"):
        batch_from_arrays(x, channels, 256.0, UNCLIPPED, 100)


def test_windows_and_sensors_must_be_equally_many():
    x, _ = windows()
    with pytest.raises(DataError, match="6 channels, the sensors are 4"):
        batch_from_arrays(x, synthetic_channels("EEG", 4), 256.0, UNCLIPPED)


def test_a_dataset_reads_what_the_references_say(store):
    refs = [WindowRef(1, 0, 512), WindowRef(2, 640, 512)]
    dataset = WindowDataset(store, Preprocess(), 256)
    b = dataset[refs]
    assert b.refs == refs and len(b) == 2
    assert b.time_BW.tolist() == [[0, 1], [2.5, 3.5]]
    x = np.stack([store.read(r).T for r in refs])
    same = batch_from_arrays(x, store.channels(1), 256.0, Preprocess().normalise, 256)
    assert torch.equal(b.x_BCWP, same.x_BCWP) and torch.equal(b.pos_BC3, same.pos_BC3)


def test_times_hours_into_a_recording_keep_their_milliseconds():
    x, channels = windows()
    b = batch_from_arrays(x, channels, 256.0, UNCLIPPED, 1)
    late = b.time_BW + 100 * 3600.0
    assert (late[0, 1] - late[0, 0]).item() == pytest.approx(1 / 256, rel=1e-6)


def test_a_store_prepared_otherwise_is_refused_with_both_values(store):
    with pytest.raises(ContractError, match=r"lowpass_hz is 40\.0 in the model's recipe but 96\.0"):
        WindowDataset(store, Preprocess(recipe=Recipe(lowpass_hz=40.0)))


def test_batches_move_to_another_device_type_and_back(store):
    b = WindowDataset(store, Preprocess())[[WindowRef(0, 0, 256)]]
    moved = b.to("meta")
    assert moved.x_BCWP.device.type == "meta" and moved.refs == b.refs and moved.sfreq == 256
