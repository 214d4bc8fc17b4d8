"""fMRI is detrended inside each stretch, keeps every frame's time, and refuses what is no brain."""

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.bold import lost_frames, prepare_bold
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, Recording


def run(x_TC, tr_s=2.0, **fields):
    n = x_TC.shape[1]
    channels = Channels(
        tuple(f"P{i}" for i in range(n)),
        np.full(n, Kind.BOLD),
        np.zeros((n, 3)),
        np.zeros((n, 3)),
        ("au",) * n,
        "mni",
    )
    return Recording(x_TC, 1 / tr_s, channels, "d", "01", source="run-1.nii.gz", **fields)


def wave(hz, n=200, tr_s=2.0):
    return np.sin(2 * np.pi * hz * np.arange(n) * tr_s + 0.4)[:, None]


def test_means_and_drifts_go_and_signal_stays():
    t = np.linspace(-1, 1, 200)[:, None]
    clean = wave(0.03)
    out = prepare_bold(run(1000 + 8 * t + 2 * t**2 + clean), Recipe())
    assert abs(out.signal.mean()) < 1e-3
    assert np.corrcoef(out.signal[:, 0], clean[:, 0])[0, 1] > 0.97


def test_without_a_highpass_the_mean_alone_goes():
    x = 5 + np.linspace(0, 3, 50)[:, None]
    out = prepare_bold(run(x), Recipe(bold_highpass_hz=None))
    np.testing.assert_allclose(out.signal, x - x.mean(), atol=1e-5)


def test_a_lowpass_removes_what_is_faster():
    out = prepare_bold(run(wave(0.03) + wave(0.2)), Recipe(bold_lowpass_hz=0.1))
    level = np.abs(np.fft.rfft(out.signal[:, 0]))
    hz = np.fft.rfftfreq(200, 2.0)
    assert level[np.argmin(abs(hz - 0.2))] < 0.01 * level[np.argmin(abs(hz - 0.03))]


def test_scrubbed_frames_stay_in_place_and_touch_nothing_else():
    x = np.concatenate([wave(0.05, 100), 5 + wave(0.05, 100)])
    x[98:104] = 1e4
    r = run(x, intervals_s=[(0, 196), (208, 400)], start_s=3.0)
    out = prepare_bold(r, Recipe())
    assert len(out.signal) == 200 and out.start_s == 3.0
    assert out.intervals_s == [(0, 196), (208, 400)]
    assert (out.signal[98:104] == 0).all() and np.abs(out.signal).max() < 2


def test_short_stretches_are_left_out_and_said_so():
    r = run(wave(0.05), intervals_s=[(0, 10), (20, 400)])
    out = prepare_bold(r, Recipe())
    assert out.intervals_s == [(20, 400)]
    assert "1 stretches of less than 8 frames left out" in out.notes
    with pytest.raises(DataError, match="no stretch of 8 frames is left"):
        prepare_bold(run(wave(0.05), intervals_s=[(0, 10), (20, 30)]), Recipe())


@pytest.mark.parametrize(("old_s", "new_hz"), [(2.5, 1.0), (0.72, 0.5)])
def test_another_rate_keeps_times(old_s, new_hz):
    n = 160
    out = prepare_bold(
        run(wave(0.02, n, old_s), old_s, start_s=7.0),
        Recipe(bold_sfreq=new_hz, bold_highpass_hz=None),
    )
    assert out.sfreq == new_hz and out.start_s == 7.0
    t = np.arange(len(out.signal)) / new_hz
    assert t[-1] <= (n - 1) * old_s < t[-1] + 1 / new_hz
    truth = np.sin(2 * np.pi * 0.02 * t + 0.4)
    assert np.corrcoef(out.signal[:, 0], truth)[0, 1] > 0.995


def test_another_rate_does_not_reach_into_scrubbed_frames():
    x = wave(0.05, 200, 1.0)
    x[90:100] = 1e4
    out = prepare_bold(run(x, 1.0, intervals_s=[(0, 90), (100, 200)]), Recipe(bold_sfreq=1.6))
    assert np.abs(out.signal).max() < 2
    assert out.intervals_s[0][1] <= 90.1 and out.intervals_s[1][0] >= 100


def test_frames_that_are_not_numbers_are_refused_by_name():
    x = wave(0.05).repeat(3, 1)
    x[17, 2] = np.nan
    with pytest.raises(DataError, match=r"run-1.nii.gz: frame 17 of 'P2' is nan; mask what lies"):
        prepare_bold(run(x), Recipe())


def test_a_lowpass_above_the_tr_is_refused():
    with pytest.raises(DataError, match="every 2.5 s show nothing above 0.2 Hz"):
        prepare_bold(run(wave(0.05), 2.5), Recipe(bold_lowpass_hz=0.25))


def test_frames_that_hold_nothing_end_a_stretch():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4))
    x[20], x[31] = 7.0, x[30]
    out = prepare_bold(run(x, tr_s=2.0), Recipe())
    assert out.intervals_s == [(0, 40), (42, 62), (64, 120)] and len(out.signal) == 60
    assert "2 of 60 frames hold nothing" in " ".join(out.notes)
    # The medial wall of a surface has no numbers, and loses no frame.
    x = rng.normal(size=(60, 4))
    x[:, 0] = np.nan
    assert not lost_frames(x).any()
    # One channel may well repeat itself.
    assert not lost_frames(np.zeros((60, 1))).any()
    x[:31, 1:] = 0
    with pytest.raises(DataError, match="31 of 60 frames hold nothing"):
        prepare_bold(run(x[:, 1:]), Recipe())
