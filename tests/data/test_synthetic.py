"""Simulated recordings have the sources they claim."""

import numpy as np
import pytest

from brainfm.data.sensors import HEAD_M, synthetic_channels, ten_ten_positions
from brainfm.data.synthetic import (
    CLASS_HZ,
    SOURCE_HZ,
    pink_noise,
    source_gain,
    source_places,
    synthetic_recording,
    synthetic_store,
)
from brainfm.errors import DataError
from brainfm.types import Kind


def spectrum(x, sfreq=256.0):
    return np.fft.rfftfreq(len(x), 1 / sfreq), np.abs(np.fft.rfft(x, axis=0)) ** 2


def test_the_oscillators_stand_out_at_their_frequencies():
    hz, power = spectrum(synthetic_recording("EEG", 60, 19).signal)
    for f in SOURCE_HZ:
        peak = power[np.abs(hz - f) < 1].mean()
        beside = power[(np.abs(hz - f) > 2) & (np.abs(hz - f) < 3)].mean()
        assert peak > 2 * beside


def test_noise_falls_with_frequency():
    hz, power = spectrum(pink_noise(np.random.default_rng(0), 1, 65536)[0])
    low, high = (power[(hz > a) & (hz < 2 * a)].mean() for a in (2, 32))
    assert low / high == pytest.approx(16, rel=0.3)  # 1/f: 16 times the frequency


def test_neighbours_resemble_each_other_more_than_strangers():
    recording = synthetic_recording("EEG", 20, 64)
    r = np.corrcoef(recording.signal.T)
    pos = recording.channels.pos_m
    apart = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    assert r[(apart > 0) & (apart < 0.04)].mean() > r[apart > 0.12].mean() + 0.2


@pytest.mark.parametrize(
    ("kind", "unit", "size"), [("EEG", "V", 2e-5), ("MAG", "T", 3e-13), ("SEEG", "V", 1e-4)]
)
def test_amplitudes_are_in_si_units(kind, unit, size):
    recording = synthetic_recording(kind, 5)
    assert set(recording.channels.unit) == {unit}
    assert recording.signal.std() == pytest.approx(size, rel=1e-3)
    assert recording.dataset == f"simulated_{kind.lower()}"
    assert "simulated" in recording.notes[0]


def test_ten_ten_positions_are_where_the_system_puts_them():
    pos = ten_ten_positions()
    assert len(pos) == 69
    assert np.allclose([np.linalg.norm(p) for p in pos.values()], HEAD_M)
    assert np.allclose(pos["Cz"], [0, 0, HEAD_M], atol=1e-9)
    assert pos["C3"][0] < 0 < pos["C4"][0] and pos["Fz"][1] > 0 > pos["Oz"][1]
    for left, right in (("F3", "F4"), ("FT7", "FT8"), ("O1", "O2")):
        assert np.allclose(pos[left] * [-1, 1, 1], pos[right])


def test_meg_is_triplets_of_one_magnetometer_and_two_gradiometers():
    c = synthetic_channels("MEG", 12)
    assert c.kind.tolist() == [Kind.MAG, Kind.GRAD, Kind.GRAD] * 4
    assert np.allclose(np.linalg.norm(c.ori, axis=1), 1, atol=1e-6)
    outwards = c.pos_m / np.linalg.norm(c.pos_m, axis=1, keepdims=True)
    along = np.abs((c.ori * outwards).sum(1))
    assert np.allclose(along, [1, 0, 0] * 4, atol=1e-6)
    assert abs((c.ori[1] * c.ori[2]).sum()) < 1e-6


def test_a_gradiometer_turned_round_sees_the_opposite_and_a_magnetometer_the_same():
    c, at = synthetic_channels("MEG", 3), source_places(4)
    turned = type(c)(c.name, c.kind, c.pos_m, -c.ori, c.unit, c.frame)
    here, there = source_gain(c, at), source_gain(turned, at)
    assert np.allclose(here[0], there[0]) and np.allclose(here[1:], -there[1:])


def test_classes_can_be_told_apart_by_their_frequency():
    recording = synthetic_recording("EEG", 80, 19, classes=("left", "right"))
    trials = recording.signal.reshape(-1, 512, 19)
    hz, power = spectrum(trials.transpose(1, 0, 2))
    band = [power[np.abs(hz - f) < 1].mean((0, 2)) for f in CLASS_HZ[:2]]
    said = np.where(np.log(band[0] / band[1]) > np.median(np.log(band[0] / band[1])), 0, 1)
    truth = [("left", "right").index(e.label) for e in recording.events]
    assert np.mean(said == truth) > 0.9


def test_trials_lie_end_to_end_and_classes_balance():
    recording = synthetic_recording("EEG", 41, 4, classes=("a", "b"), trial_s=2.0)
    assert recording.intervals_s == [(2.0 * i, 2.0 * i + 2) for i in range(20)]
    assert [e.label for e in recording.events].count("a") == 10
    assert recording.duration_s == 40


def test_a_seed_gives_the_same_recording_and_subjects_differ():
    a, b, c = (synthetic_recording("EEG", 2, 4, subject=s).signal for s in ("1", "1", "2"))
    assert np.array_equal(a, b) and not np.allclose(a, c)


def test_a_store_holds_all_splits_two_layouts_a_kind_and_its_label(store):
    t = store.recordings
    assert (
        t.groupby("dataset")["split"].unique().map(set).tolist() == [{"train", "val", "test"}] * 2
    )
    assert t.groupby("kind")["layout"].nunique().tolist() == [2, 2]
    assert t["dataset"].str.startswith("simulated_").all()


@pytest.mark.parametrize(
    ("kind", "n", "message"), [("fNIRS", 4, "no simulated 'fNIRS'"), ("EEG", 80, "names 69")]
)
def test_what_cannot_be_simulated_is_refused(kind, n, message):
    with pytest.raises(DataError, match=message):
        synthetic_channels(kind, n)


def test_too_few_subjects_or_seconds_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 or more"):
        synthetic_store(tmp_path, n_subjects=2)
    with pytest.raises(DataError, match="hold no trial"):
        synthetic_recording("EEG", 1.0, classes=("a",), trial_s=2.0)
