"""How samples are rounded, and how a night is cut."""

import numpy as np
import pytest

from brainfm.data import quantise as q
from brainfm.data.parts import interval_samples, split_into_parts
from brainfm.data.quantise import fingerprint, quantise
from brainfm.data.sensors import synthetic_channels
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import DataError
from brainfm.types import Event, Recording

CHANNELS = synthetic_channels("EEG", 3)


def noise(n=4000, seed=0):
    return np.random.default_rng(seed).normal(0, 2e-5, (n, 3))


def test_every_channel_has_its_own_scale():
    x = noise() * [1, 10, 1000]
    stored, scale, notes = quantise(x, CHANNELS)
    assert stored.dtype == np.int16 and notes == []
    assert np.abs(stored).max(0).tolist() == [32767] * 3
    assert (np.abs(stored * scale - x) <= 0.501 * scale).all()


def test_chunks_do_not_show(monkeypatch):
    whole = quantise(noise(), CHANNELS)[0]
    monkeypatch.setattr(q, "CHUNK", 100)
    assert np.array_equal(quantise(noise(), CHANNELS)[0], whole)


@pytest.mark.parametrize(("artefact", "dtype"), [(1000, "int16"), (5000, "float32")])
def test_an_artefact_beyond_the_stated_fraction_asks_for_float32(artefact, dtype):
    x = noise()
    x[7, 1] = artefact * 2e-5  # a step is then artefact / 32767 of the spread
    stored, _, notes = quantise(x, CHANNELS)
    assert stored.dtype == dtype and bool(notes) == (dtype == "float32")


def test_sixteen_bits_cannot_hold_what_is_not_finite():
    x = noise()
    x[0, 0] = np.inf
    with pytest.raises(DataError, match="use float32"):
        quantise(x, CHANNELS, "int16")


def test_fingerprints_share_marks_when_recordings_share_channels():
    many = np.random.default_rng(0).integers(-99, 99, (500, 40)).astype(np.int16)
    a, b = (set(fingerprint(x).split()) for x in (many, many[:, 5:]))
    assert len(a) == 8 and a & b
    other = np.random.default_rng(1).integers(-99, 99, (500, 40)).astype(np.int16)
    assert not a & set(fingerprint(other).split())


def night(seconds=1000.0, trial_s=None, events=()):
    n = int(seconds * 10)
    x = np.arange(n * 3, dtype=np.float32).reshape(n, 3)
    edges = np.arange(0, seconds, trial_s) if trial_s else []
    return Recording(
        x,
        10.0,
        CHANNELS,
        dataset="d",
        subject="s",
        name="night",
        events=list(events),
        intervals_s=[(float(a), float(a) + trial_s) for a in edges],
    )


def test_a_short_recording_stays_whole():
    recording = night()
    assert split_into_parts(recording)[0] is recording


def test_parts_joined_are_the_recording():
    parts = split_into_parts(night(), hours=0.1)
    assert [p.duration_s for p in parts] == [360, 360, 280]
    assert np.array_equal(np.concatenate([p.signal for p in parts]), night().signal)
    assert [p.name for p in parts] == ["night_part-01", "night_part-02", "night_part-03"]
    assert {p.split_group for p in parts} == {"d/s"}
    assert "seconds 360 to 720" in parts[1].notes[-1]


def test_a_trial_is_not_cut():
    parts = split_into_parts(night(trial_s=50.0), hours=0.1)
    lengths = np.concatenate([np.diff(interval_samples(p), axis=1).ravel() for p in parts])
    assert len(lengths) == 20 and (lengths == 500).all()
    assert all(p.duration_s <= 360 for p in parts)


def test_events_move_with_their_samples():
    events = [Event(10, 1, "a"), Event(350, 20, "across"), Event(400, 0, "b")]
    first, second, _ = split_into_parts(night(events=events), hours=0.1)
    assert first.events == [Event(10, 1, "a"), Event(350, 10, "across")]
    assert second.events == [Event(0, 10, "across"), Event(40, 0, "b")]


def test_parts_of_simulated_trials_keep_labels_at_their_trials():
    recording = synthetic_recording("EEG", 60, 4, classes=("a", "b"), trial_s=2.0)
    parts = split_into_parts(recording, hours=25 / 3600)
    assert [e.label for p in parts for e in p.events] == [e.label for e in recording.events]
    for part in parts:
        assert [e.onset_s for e in part.events] == [a for a, _ in part.intervals_s]


def test_interval_ends_keep_their_last_sample_in_spite_of_rounding():
    recording = night()
    recording.intervals_s = [(0.30000000000000004, 1.9999999999), (2.0, 5000.0)]
    assert interval_samples(recording).tolist() == [[3, 20], [20, 10000]]
