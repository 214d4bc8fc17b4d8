"""Mel bands of sounds whose pitch and loudness are known."""

import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.mel import N_BANDS, log_mel, mel_bank

RATE = 16_000.0


def tone(hz, seconds=1.0, rate=RATE):
    return np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def test_higher_tones_lie_in_higher_bands():
    bands = [log_mel(tone(hz), RATE, standard=False)[50].argmax() for hz in (200, 500, 1500, 4000)]
    assert bands == sorted(bands) and len(set(bands)) == 4


def test_a_burst_is_seen_in_its_own_frames():
    sound = np.zeros(int(RATE)) + 1e-6 * tone(300)
    sound[8000:8800] = tone(1000)[:800]
    loud = log_mel(sound, RATE, standard=False).max(1)
    assert set(np.flatnonzero(loud > -3)) <= set(range(49, 57)) and loud.argmax() in range(50, 56)


def test_there_are_as_many_frames_as_the_sound_has_hundredths():
    assert log_mel(tone(300, 1.234), RATE).shape == (123, N_BANDS)
    assert log_mel(tone(300, 2.0, 11_025), 11_025, frames_hz=50, n_bands=20).shape == (100, 20)


def test_ten_times_the_amplitude_is_the_same_but_for_its_logarithm():
    rng = np.random.default_rng(0)
    sound = np.concatenate([rng.normal(size=8000), 0.1 * rng.normal(size=8000)])
    log = log_mel(sound, RATE, standard=False)
    assert np.mean(log[10:40]) - np.mean(log[60:90]) == pytest.approx(np.log(100), abs=0.3)
    np.testing.assert_allclose(log_mel(10 * sound, RATE, standard=False), log, atol=1e-4)


def test_standard_bands_have_no_mean_and_unit_deviation():
    mel = log_mel(np.random.default_rng(1).normal(size=32_000), RATE)
    np.testing.assert_allclose(mel.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(mel.std(0), 1, atol=1e-3)


def test_every_band_hears_something_at_every_rate():
    for rate in (11_025, 16_000, 44_100):
        bank = mel_bank(round(0.025 * rate), rate)
        np.testing.assert_allclose(bank.sum(0), 1)


@pytest.mark.parametrize(
    ("sound", "rate", "sentence"),
    [
        (tone(300, rate=8000), 8000, "sound at 8000 Hz holds no 5500 Hz"),
        (np.zeros(16_000), RATE, "silent or not finite"),
        (np.full(16_000, np.nan), RATE, "silent or not finite"),
        (tone(300)[:100], RATE, "of 100 samples"),
    ],
)
def test_sounds_without_anything_to_hear_are_refused(sound, rate, sentence):
    with pytest.raises(DataError, match=sentence):
        log_mel(sound, rate)
