"""From power to frames of fMRI: the right delay, at any TR."""

import numpy as np
import pytest

from brainfm.data.haemodynamics import (
    BASE_AU,
    HZ,
    Scanner,
    drive,
    frames,
    glover_hrf,
    hrf_lag_s,
    response,
    scan,
)

SFREQ = 128.0


def bursts(seconds, seed=0, parcels=1):
    """Noise whose size jumps every second, and the size."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.normal(0, 1, (parcels, seconds)))
    return rng.normal(size=(parcels, int(seconds * SFREQ))) * np.repeat(size, int(SFREQ), 1), size


def lag_of(slow, fast, hz, longest_s=12.0):
    """Seconds by which `slow` follows `fast`, where their correlation is largest."""
    slow, fast = slow - slow.mean(), fast - fast.mean()
    many = int(longest_s * hz)
    by_lag = [np.corrcoef(slow[k:], fast[: len(fast) - k])[0, 1] for k in range(many)]
    return int(np.argmax(by_lag)) / hz


def test_the_response_is_glovers():
    hrf = pytest.importorskip("nilearn.glm.first_level.hemodynamic_models")
    theirs = hrf.glover_hrf(t_r=1 / HZ, oversampling=1, time_length=32.0)
    mine = glover_hrf()
    n = min(len(mine), len(theirs))
    # nilearn writes it with gamma densities of slightly other parameters.
    assert np.corrcoef(mine[:n], theirs[:n])[0, 1] > 0.97
    assert mine.sum() == pytest.approx(1)


def test_it_peaks_after_four_to_six_seconds_and_undershoots_later():
    hrf = glover_hrf()
    assert 4.5 < hrf_lag_s() < 5.5 and hrf_lag_s() == pytest.approx(hrf.argmax() / HZ, abs=0.1)
    assert 9 < hrf.argmin() / HZ < 16 and hrf.min() < 0
    assert hrf_lag_s(1.2) == pytest.approx(1.2 * hrf_lag_s(), abs=0.02)


def test_drive_is_the_logarithm_of_power():
    x, size = bursts(200)
    # A middle second of each, so that neither neighbour is in it.
    got = drive(x, SFREQ)[0].reshape(200, int(HZ))[:, 4:6].mean(1)
    want = 2 * np.log(size[0])
    assert np.corrcoef(got, want)[0, 1] > 0.97
    slope = np.polyfit(want, got, 1)[0]
    assert 0.8 < slope < 1.1


def test_an_offset_drives_nothing():
    x, _ = bursts(20)
    assert np.allclose(drive(x + 50, SFREQ), drive(x, SFREQ), atol=1e-6)


@pytest.mark.parametrize("sfreq", [100.0, 128.0, 256.0, 1000.0])
def test_drive_has_ten_steps_a_second_at_any_rate(sfreq):
    x = np.random.default_rng(0).normal(size=(2, int(12 * sfreq)))
    assert drive(x, sfreq).shape == (2, 120)


@pytest.mark.parametrize("stretch", [0.9, 1.0, 1.15])
def test_the_blood_follows_power_by_the_lag(stretch):
    x, _ = bursts(600)
    driven = drive(x, SFREQ)
    blood = response(driven, stretch)
    assert lag_of(blood[0], driven[0], HZ) == pytest.approx(hrf_lag_s(stretch), abs=0.4)
    assert 4 <= lag_of(blood[0], driven[0], HZ) <= 6


def test_nothing_in_the_blood_comes_before_its_cause():
    driven = np.zeros((1, 600))
    driven[0, 300:310] = 1.0
    blood = response(driven)
    assert np.abs(blood[0, :300]).max() < 1e-12 and blood[0, 340:370].min() > 0


def test_frames_at_any_tr_sample_the_same_response():
    blood = response(drive(bursts(300, parcels=3)[0], SFREQ))
    quiet = {"thermal_percent": 0.0, "drift_percent": 0.0, "spikes_per_min": 0.0}
    seen = {}
    for tr_s in (0.72, 1.0, 2.0):
        scanner = Scanner(tr_s=tr_s, percent=2.0, **quiet)
        x, events = scan(blood, scanner, 300.0, np.random.default_rng(0))
        at = scanner.frame_times(300.0)
        assert x.shape == (len(at), 3) and not events
        percent = 100 * (x / BASE_AU - 1)
        assert np.allclose(percent, 2 * frames(blood, at), atol=1e-3)
        seen[tr_s] = np.stack([np.interp(np.arange(10, 290, 2.0), at, p) for p in percent.T])
    for other in (0.72, 1.0):
        a, b = seen[2.0].ravel(), seen[other].ravel()
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


def test_frames_are_taken_in_the_middle_of_the_tr_after_the_dummies():
    at = Scanner(tr_s=2.0, dummies=3).frame_times(20.0)
    assert at.tolist() == [7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0]
    assert not len(Scanner(tr_s=2.0, dummies=3).frame_times(5.0))


def test_drifts_are_slow_and_thermal_noise_is_white():
    blood = np.zeros((40, 6000))
    rng = np.random.default_rng(0)
    still = Scanner(tr_s=1.0, spikes_per_min=0.0, drift_percent=0.0, thermal_percent=0.5)
    x, _ = scan(blood, still, 600.0, rng)
    assert x.std(0).mean() == pytest.approx(5.0, rel=0.05)
    assert abs(np.mean([np.corrcoef(c[1:], c[:-1])[0, 1] for c in x.T])) < 0.02
    slow = Scanner(tr_s=1.0, spikes_per_min=0.0, drift_percent=0.5, thermal_percent=0.0)
    x, _ = scan(blood, slow, 600.0, rng)
    assert np.abs(np.diff(x, axis=0)).max() < 0.02 * np.ptp(x)


def test_motion_is_annotated_where_frames_are_off_everywhere():
    scanner = Scanner(tr_s=1.0, spikes_per_min=1.0, drift_percent=0.0, thermal_percent=0.01)
    x, events = scan(np.zeros((30, 6000)), scanner, 600.0, np.random.default_rng(1))
    off = np.abs(x - BASE_AU).mean(1)
    assert 4 < len(events) < 20 and {e.label for e in events} == {"motion"}
    for e in events:
        after = int(np.ceil(e.onset_s))
        assert off[after] > 20 * np.median(off)
    assert scan(np.zeros((3, 600)), scanner, 60.0, np.random.default_rng(1), noise=0.0)[1] == []
