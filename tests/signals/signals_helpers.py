"""Signals with known answers."""

import numpy as np

from brainfm.types import UNIT_OF_KIND, Channels, Kind


def pink(n_samples, n_channels, seed=0, exponent=1.0):
    """(T, C) noise whose power falls with frequency as that of brains does; unit size."""
    rng = np.random.default_rng(seed)
    f = np.fft.rfftfreq(n_samples)
    s = rng.standard_normal((n_channels, len(f))) + 1j * rng.standard_normal((n_channels, len(f)))
    x = np.fft.irfft(s / np.maximum(f, 1 / n_samples) ** (exponent / 2), n_samples)
    return (x / x.std(1, keepdims=True)).T


def eeg(n_samples=4000, n_channels=8, seed=0):
    """EEG-like (T, C) in volts: own activity, a shared source, white noise of the amplifier."""
    own = pink(n_samples, n_channels, seed)
    shared = pink(n_samples, 1, seed + 1)
    white = np.random.default_rng(seed + 2).standard_normal(own.shape)
    return 2e-5 * (own + shared + 0.02 * white)


def channels(n, kind=Kind.EEG, names=None):
    return Channels(
        names or [f"E{i + 1}" for i in range(n)],
        np.full(n, kind),
        np.full((n, 3), np.nan),
        np.zeros((n, 3)),
        [UNIT_OF_KIND[kind]] * n,
    )
