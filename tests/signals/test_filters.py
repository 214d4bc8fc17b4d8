import mne
import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.filters import apply_recipe, highpass_needs_s, resample_trial
from brainfm.signals.preprocess import Recipe


def raw_of(x, sfreq):
    x = np.atleast_2d(x)
    names = [f"E{i}" for i in range(len(x))]
    return mne.io.RawArray(
        x, mne.create_info(names, sfreq, "eeg", verbose="ERROR"), verbose="ERROR"
    )


def sines(freqs, sfreq, seconds):
    t = np.arange(int(sfreq * seconds)) / sfreq
    return 1e-5 * np.sum([np.sin(2 * np.pi * f * t) for f in freqs], axis=0)


def power(x, sfreq, f):
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    freqs = np.fft.rfftfreq(len(x), 1 / sfreq)
    return spectrum[np.abs(freqs - f) < 0.5].sum()


def test_line_and_harmonics_go_and_the_rest_stays():
    raw = raw_of(sines((10, 50, 75, 100), 500.0, 60), 500.0)
    out, notes, _ = apply_recipe(raw, Recipe(256.0, 0.1, 120.0), 50.0)
    x, before = out.get_data()[0], raw.get_data()[0]
    for f in (50, 100):
        assert power(x, 256, f) < 1e-3 * power(before, 500, f)
    for f in (10, 75):
        ratio = power(x, 256, f) / power(before, 500, f) * (500 / 256) ** 2
        assert ratio == pytest.approx(1, rel=0.1)
    assert notes == []


def test_what_lies_above_the_new_nyquist_does_not_fold_back():
    raw = raw_of(sines((200,), 1000.0, 40), 1000.0)
    out, _, _ = apply_recipe(raw, Recipe(256.0, 0.1, None, notch=False), None)
    # 200 Hz would come back at 56 Hz.
    assert power(out.get_data()[0], 256, 56) < 1e-6 * power(raw.get_data()[0], 1000, 200)


def test_drift_below_the_high_pass_goes():
    raw = raw_of(sines((0.01, 10), 250.0, 300) + 5e-3, 250.0)
    out, _, highpass = apply_recipe(raw, Recipe(notch=False), None)
    x = out.get_data()[0]
    assert highpass == 0.1 and abs(x.mean()) < 1e-6
    assert power(x, 256, 0.01) < power(x, 256, 10) / 20


def test_a_short_recording_loses_its_mean_instead_and_says_so():
    raw = raw_of(sines((10,), 250.0, 5) + 1e-3, 250.0)
    out, notes, highpass = apply_recipe(raw, Recipe(notch=False), None)
    assert highpass is None and abs(out.get_data().mean()) < 1e-9
    assert "too short (5 s) for a 0.1 Hz high-pass, which needs 33 s" in notes[0]


def test_length_of_the_high_pass_is_mnes():
    x = mne.filter.create_filter(None, 250.0, 0.1, None, verbose="ERROR")
    assert highpass_needs_s(0.1) == pytest.approx(len(x) / 250.0, rel=0.01)


def test_an_unknown_line_frequency_is_said():
    _, notes, _ = apply_recipe(raw_of(sines((10,), 256.0, 40), 256.0), Recipe(), None)
    assert notes == ["line frequency unknown, no notch; give --line-freq 50 or 60"]


def test_slow_recordings_are_brought_up_and_say_what_they_lack():
    out, notes, _ = apply_recipe(raw_of(sines((10,), 100.0, 40), 100.0), Recipe(), 50.0)
    assert out.info["sfreq"] == 256 and "nothing above 50 Hz" in notes[-1]


@pytest.mark.parametrize("sfreq", [100.0, 160.0, 173.61, 250.0, 256.0, 300.3, 1000.0])
def test_length_in_seconds_is_kept(sfreq):
    raw = raw_of(np.random.default_rng(0).standard_normal((2, int(10 * sfreq))) * 1e-5, sfreq)
    out, _, _ = apply_recipe(raw, Recipe(), 50.0)
    assert out.n_times == pytest.approx(raw.n_times / sfreq * 256, abs=1)


def test_a_recording_of_one_sample_is_refused():
    with pytest.raises(DataError, match="f.edf: lasts 0.001 s"):
        apply_recipe(raw_of(np.zeros((1, 1)), 1000.0), Recipe(), None, where="f.edf")


def test_input_is_left_alone():
    raw = raw_of(sines((10, 50), 250.0, 40), 250.0)
    before = raw.get_data()
    apply_recipe(raw, Recipe(), 50.0)
    np.testing.assert_array_equal(raw.get_data(), before)


@pytest.mark.parametrize(
    ("n", "sfreq", "expected"), [(400, 400, 256), (510, 255, 512), (50, 100, 128)]
)
def test_trials_resample_to_whole_lengths_without_edges_falling_to_zero(n, sfreq, expected):
    t = np.arange(n)[:, None] / sfreq
    x = 100 + np.sin(2 * np.pi * 3 * t)
    y = resample_trial(x, sfreq, 256.0)
    assert y.shape == (expected, 1) and abs(y - 100).max() < 1.2
    middle = slice(expected // 4, -expected // 4)
    truth = 100 + np.sin(2 * np.pi * 3 * np.arange(expected)[:, None] / 256)
    np.testing.assert_allclose(y[middle], truth[middle], atol=0.01)


@pytest.mark.parametrize("sfreq", [160.0, 200.0, 250.0, 255.0, 512.0, 1000.0])
@pytest.mark.parametrize("seconds", [20.3, 21.0])
def test_resampling_does_not_shift_a_sine(sfreq, seconds):
    t = np.arange(int(seconds * sfreq)) / sfreq
    wave = 1e-5 * np.sin(2 * np.pi * 7.3 * t)
    raw = mne.io.RawArray(wave[None], mne.create_info(["Cz"], sfreq, "eeg"), verbose="ERROR")
    raw.set_annotations(mne.Annotations([5.0], [1.0], ["blink"]), verbose="ERROR")
    plain = Recipe(sfreq=256.0, highpass_hz=None, lowpass_hz=None, notch=False)
    out, _, _ = apply_recipe(raw, plain, None)
    y = out.get_data()[0]
    at = np.arange(len(y)) / 256.0
    inside = slice(256, -256)
    # A shift of one millisecond would be an error of .046.
    np.testing.assert_allclose(y[inside] / 1e-5, np.sin(2 * np.pi * 7.3 * at)[inside], atol=0.005)
    assert out.annotations.onset.tolist() == [5.0]
