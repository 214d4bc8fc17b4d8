"""Simulated patients: rare seizures, focal onset, artefacts, and a montage of their own."""

from functools import lru_cache

import numpy as np
import pytest

from brainfm.data.artefacts import SIZE, bout, scalp_places
from brainfm.data.interictal import band, coloured, draw_style, rhythmic_bursts, vigilance
from brainfm.data.patient_montages import Implantation
from brainfm.data.seizure_patients import (
    PATTERNS,
    SPREADS,
    draw_patient,
    seizure_patient,
)
from brainfm.errors import DataError
from brainfm.types import Kind

SFREQ = 128.0


@lru_cache
def patient(number, minutes=7.0):
    return seizure_patient(3, number, minutes=minutes, sfreq=SFREQ)


def seizures(recording):
    return [e for e in recording.events if e.label == "sz"]


def stretch(recording, start_s, seconds):
    at = int(start_s * recording.sfreq)
    return recording.signal[at : at + int(seconds * recording.sfreq)]


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_one_to_five_percent_is_seizure(number):
    recording = patient(number)
    share = sum(e.duration_s for e in seizures(recording)) / recording.duration_s
    assert 0.01 <= share <= 0.05


def test_half_an_hour_has_seizures_of_twenty_seconds_to_two_minutes():
    from brainfm.data.seizure_patients import _schedule

    for seed in range(200):
        onset, duration = _schedule(np.random.default_rng(seed), 1800.0)
        assert 20 <= duration.min() and duration.max() <= 120
        assert np.all(onset[1:] - (onset + duration)[:-1] >= 60 - 1e-6)
        assert onset[0] >= 60 and onset[-1] + duration[-1] <= 1740 + 1e-6


def test_the_same_patient_is_the_same_and_others_are_not():
    again, other = (seizure_patient(s, 2, minutes=7.0, sfreq=SFREQ) for s in (3, 4))
    assert np.array_equal(again.signal, patient(2).signal) and again.events == patient(2).events
    assert other.signal.shape != again.signal.shape or not np.allclose(other.signal, again.signal)


def test_everything_says_simulated():
    recording = patient(1)
    assert recording.dataset == "simulated_seizures" and recording.subject == "sim001"
    assert recording.notes[0].startswith("SIMULATED: ")


def test_even_patients_wear_caps_and_odd_ones_have_depth_electrodes():
    cap, depth = patient(2).channels, patient(1).channels
    assert set(cap.kind) == {Kind.EEG} and cap.frame == "head" and 18 <= len(cap) <= 21
    assert set(depth.kind) == {Kind.SEEG} and depth.frame == "mni" and 20 <= len(depth) <= 60
    assert 0.06 < np.linalg.norm(cap.pos_m, axis=1).max() < 0.16


def test_montages_differ():
    drawn = [draw_patient(0, k).channels.name for k in range(1, 13)]
    assert len({len(names) for names in drawn}) > 4 and len(set(drawn)) > 7


def test_depth_patients_use_whole_shafts_of_the_given_implantations():
    names = tuple(f"{shaft}{i}" for shaft in ("LA", "LB", "RC") for i in range(1, 13))
    pos = np.random.default_rng(0).uniform(-0.05, 0.05, (36, 3))
    channels = draw_patient(0, 1, [Implantation(names, pos)]).channels
    place = dict(zip(names, pos, strict=True))
    assert all(np.allclose(place[n], p) for n, p in zip(channels.name, channels.pos_m, strict=True))
    sizes = [sum(n.startswith(s) for n in channels.name) for s in ("LA", "LB", "RC")]
    assert sum(size not in (0, 12) for size in sizes) <= 1


def test_patients_differ_in_pattern_spread_and_size():
    drawn = [draw_patient(0, k) for k in range(1, 41)]
    assert {p.pattern for p in drawn} == set(PATTERNS) and {p.spread for p in drawn} == set(SPREADS)
    assert min(p.ictal for p in drawn) < 1.6 and max(p.ictal for p in drawn) > 3.5


def test_onset_is_focal():
    """The channels that see the focus best are the first to show the seizure."""
    from brainfm.data.epileptor import integrate

    for number in (1, 2, 3, 4):
        drawn = draw_patient(3, number)
        course = integrate(drawn.network, np.array([300.0]), np.random.default_rng(0))[0]
        assert np.nanargmin(course.onset_N) == drawn.focus
        apart = np.linalg.norm(drawn.node_m - drawn.node_m[drawn.focus], axis=1)
        order = np.argsort(apart)
        near, far = course.onset_N[order[:6]], course.onset_N[order[-6:]]
        # Nodes that never join come after all others.
        late = len(course.fast_TN)
        assert np.nan_to_num(near, nan=late).mean() < np.nan_to_num(far, nan=late).mean()


def test_seizures_are_seen_where_they_are_annotated():
    number = next(k for k in range(2, 60, 2) if draw_patient(3, k).ictal > 3)
    recording = patient(number)
    (first, *_) = seizures(recording)
    ictal = stretch(recording, first.onset_s, first.duration_s).std(0)
    usual = np.median([stretch(recording, t, 4).std(0) for t in range(0, 400, 4)], axis=0)
    ratio = np.sort((ictal / usual)[usual > 0])[::-1][: len(ictal) // 4]
    assert ratio.mean() > 2


@pytest.mark.parametrize(("number", "low", "high"), [(1, 2e-5, 4e-4), (2, 5e-6, 1e-4)])
def test_the_background_is_volts_and_falls_with_frequency(number, low, high):
    from scipy.signal import welch

    recording = patient(number)
    assert low < np.median(recording.signal.std(0)) < high and recording.signal.dtype == np.float32
    f, power = welch(recording.signal, SFREQ, nperseg=256, axis=0)
    power = np.median(power, axis=1)
    means = [power[(f >= a) & (f < b)].mean() for a, b in ((1, 4), (6, 14), (25, 45))]
    assert means[0] > means[1] > means[2]


def test_artefacts_lie_outside_seizures_and_are_larger_than_the_background():
    recording = patient(2, 20.0)
    sz = seizures(recording)
    outside = [
        e
        for e in recording.events
        if e.label.startswith("artefact_")
        and all(e.onset_s > s.onset_s + s.duration_s or e.onset_s < s.onset_s - 30 for s in sz)
    ]
    assert len({e.label for e in outside}) >= 3
    rough = np.abs(np.diff(recording.signal, axis=0)).mean(1)
    usual = np.median(rough)
    muscle = [e for e in outside if e.label == "artefact_muscle"]
    at = [int(e.onset_s * SFREQ) for e in muscle]
    long = [int(e.duration_s * SFREQ) for e in muscle]
    largest = max(rough[a : a + n].mean() for a, n in zip(at, long, strict=True))
    assert largest > 2 * usual


@pytest.mark.parametrize("what", list(SIZE))
def test_a_bout_is_silent_at_its_ends_and_of_size_one(what):
    direction = np.random.default_rng(0).normal(size=(12, 3))
    places = scalp_places(direction / np.linalg.norm(direction, axis=1, keepdims=True))
    x_CT = bout(np.random.default_rng(1), what, 1024, 256.0, places)
    assert x_CT.shape == (12, 1024) and np.isfinite(x_CT).all()
    assert np.abs(x_CT[:, -1]).max() < 0.05 < np.abs(x_CT).max() < 12


def test_coloured_noise_has_the_asked_spectrum_and_unit_variance():
    x = coloured(np.random.default_rng(0), 4, 30_000, 100.0, band(8, 12))
    power = np.abs(np.fft.rfft(x, axis=1)) ** 2
    hz = np.fft.rfftfreq(30_000, 0.01)
    assert x.std() == pytest.approx(1, abs=0.05)
    assert power[:, (hz > 7) & (hz < 13)].sum() > 0.95 * power.sum()


def test_sleep_lies_between_awake_and_deep():
    sleep_T = vigilance(np.random.default_rng(0), 60_000, 10.0)
    assert sleep_T.min() == 0 and sleep_T.max() == 1 and np.abs(np.diff(sleep_T)).max() < 0.02


@pytest.mark.parametrize("bad", [{"minutes": 2.0}, {"minutes": 7.0, "sfreq": 50.0}])
def test_what_cannot_hold_a_seizure_is_refused(bad):
    with pytest.raises(DataError, match="ask for at least 5 minutes"):
        seizure_patient(0, 1, **bad)


def test_benign_rhythms_keep_their_frequency_are_short_and_spare_seizures():
    rng = np.random.default_rng(5)
    style = draw_style(rng, True)
    rate = np.ones(int(3600 * SFREQ), np.float32)
    rate[: rate.size // 2] = 0
    x, found = rhythmic_bursts(rng, style, rate, SFREQ)
    assert len(found) > 1 and min(onset for onset, _ in found) >= 1800
    assert all(seconds <= 15.001 for _, seconds in found) and not x[: rate.size // 2].any()
    for onset, seconds in found[:5]:
        first, half = int(onset * SFREQ), int(seconds * SFREQ / 2)
        parts = x[first : first + half], x[first + half : first + 2 * half]
        hz = [np.abs(np.fft.rfft(part, 4096)).argmax() * SFREQ / 4096 for part in parts]
        assert abs(np.log2(hz[0] / hz[1])) < 0.3
        assert abs(np.log2(hz[0] / style.burst_hz)) < 1.6


def test_benign_rhythms_are_listed_and_lie_outside_seizures():
    found = 0
    for recording in (patient(number, 20.0) for number in (1, 2, 3, 4)):
        for burst in (e for e in recording.events if e.label == "benign_rhythm"):
            found += 1
            stop = burst.onset_s + burst.duration_s
            for s in seizures(recording):
                assert burst.onset_s >= s.onset_s + s.duration_s or stop <= s.onset_s
    assert found
