"""Distortions against closed forms and against scipy."""

import numpy as np
import pytest
from scipy import signal as scipy_signal

from eval.metrics import signal

RNG = np.random.default_rng(0)
SFREQ = 256.0
TIME = np.arange(32 * 256) / SFREQ
SINE = np.sin(2 * np.pi * 10 * TIME)


def test_a_sine_with_known_noise_has_the_errors_of_the_closed_form():
    noise = RNG.normal(size=TIME.size)
    noise *= 0.1 / noise.std()
    x, y = 3.0 + SINE[None], 3.0 + SINE[None] + noise
    want = (noise**2).mean() / 0.5
    assert signal.nmse(x, y) == pytest.approx([want])
    assert signal.prd(x, y) == pytest.approx([100 * np.sqrt(want)])
    # Independent noise: r = 1 / sqrt(1 + noise power / signal power).
    assert signal.correlation(x, y) == pytest.approx([(1 + 0.01 / 0.5) ** -0.5], abs=2e-3)


def test_errors_do_not_depend_on_unit_and_offset():
    x = RNG.normal(size=(3, 500))
    y = x + 0.3 * RNG.normal(size=x.shape)
    for metric in (signal.nmse, signal.prd, signal.correlation):
        assert metric(1e-13 * x + 5e-13, 1e-13 * y + 5e-13) == pytest.approx(metric(x, y))


def test_the_mean_has_an_nmse_of_one_and_no_correlation():
    x = 4 + RNG.normal(size=(2, 400))
    mean = np.broadcast_to(x.mean(1, keepdims=True), x.shape)
    assert signal.nmse(x, mean) == pytest.approx([1, 1])
    assert (signal.correlation(x, mean) == 0).all()


def test_a_flat_original_has_no_error_and_no_correlation():
    x, y = np.full((1, 100), 2.0), RNG.normal(size=(1, 100))
    assert np.isnan(signal.nmse(x, y)).all() and np.isnan(signal.correlation(x, y)).all()


def test_spectra_and_coherence_are_those_of_scipy():
    x = RNG.normal(size=(2, TIME.size))
    y = scipy_signal.lfilter([1, 0.5], [1], x) + RNG.normal(size=x.shape)
    s = signal.spectra(x, y, SFREQ)
    how = {"fs": SFREQ, "nperseg": 256, "noverlap": 128, "scaling": "spectrum"}
    hz, cross = scipy_signal.csd(x, y, **how)
    ours = s.xy[:, 1:-1] / s.xx[:, 1:-1]  # the scale is ours, and one-sided spectra double
    theirs = cross[:, 1:-1] / scipy_signal.welch(x, **how)[1][:, 1:-1]
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    np.testing.assert_allclose(signal.frequencies(s.xx.shape[1], SFREQ, TIME.size), hz)
    want = scipy_signal.coherence(x, y, fs=SFREQ, nperseg=256, noverlap=128)[1]
    np.testing.assert_allclose(signal.coherence(s)[:, 1:-1], want[:, 1:-1], rtol=1e-9)


def test_coherence_tells_the_bands_that_survived():
    x = RNG.normal(size=(4, TIME.size))
    low = scipy_signal.butter(6, 15, fs=SFREQ, output="sos")
    y = scipy_signal.sosfiltfilt(low, x) + 0.02 * RNG.normal(size=x.shape)
    s = signal.spectra(x, y, SFREQ)
    hz = signal.frequencies(s.xx.shape[1], SFREQ, TIME.size)
    bands = signal.band_means(signal.coherence(s), hz, signal.bands_below(96))
    assert bands["alpha"].min() > 0.98 and bands["delta"].min() > 0.98
    assert bands["gamma"].max() < 0.1 and bands["high gamma"].max() < 0.1


def test_silence_is_coherent_with_nothing():
    x = RNG.normal(size=(1, TIME.size))
    assert (signal.coherence(signal.spectra(x, np.full_like(x, 0.7), SFREQ)) == 0).all()


def test_a_gain_is_a_distance_of_as_many_decibels_and_silence_ends_at_the_floor():
    x = RNG.normal(size=(2, TIME.size))
    s = signal.spectra(x, 10 ** (-6 / 20) * x, SFREQ)
    assert signal.log_spectral_distance(s.xx, s.yy) == pytest.approx([6, 6])
    silent = signal.log_spectral_distance(s.xx, np.zeros_like(s.yy))
    assert np.all((silent > 55) & (silent < 62))
    assert signal.log_spectral_distance(s.xx, s.xx) == pytest.approx([0, 0])


def test_bands_end_at_the_low_pass_and_slivers_are_left_out():
    assert signal.bands_below(40.0) == {
        "delta": (1.0, 4.0), "theta": (4.0, 8.0), "alpha": (8.0, 13.0), "beta": (13.0, 30.0),
        "gamma": (30.0, 40.0),
    }  # fmt: skip
    assert list(signal.bands_below(96.0))[-1] == "high gamma"
    assert list(signal.bands_below(31.0))[-1] == "beta"
