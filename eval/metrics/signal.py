"""How far a decoded signal is from the original: in time, in its spectrum, band by band.

Shapes: M signals, T samples, F frequencies. Axes before the last are kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

BANDS = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 70.0),
    "high gamma": (70.0, 150.0),
}
"""Hz, the upper edge not included; conventional limits, authors differ by a few Hz."""
SEGMENT_S = 1.0
"""Seconds of a spectral segment; segments overlap by half."""
FLOOR_DB = 60.0
"""Spectra are not followed further below the mean of the original's than this."""


def nmse(x_MT: Array, y_MT: Array) -> Array:
    """Squared error of `y` over the variance of `x` about its mean, (M,); NaN where x is flat."""
    energy = ((x_MT - x_MT.mean(-1, keepdims=True)) ** 2).sum(-1)
    error = ((x_MT - y_MT) ** 2).sum(-1)
    return np.divide(error, energy, out=np.full(energy.shape, np.nan), where=energy > 0)


def prd(x_MT: Array, y_MT: Array) -> Array:
    """Percent root mean square difference, the mean of `x` removed: 100 sqrt(NMSE)."""
    return 100.0 * np.sqrt(nmse(x_MT, y_MT))


def correlation(x_MT: Array, y_MT: Array) -> Array:
    """Pearson correlation, (M,); 0 where `y` is flat, NaN where `x` is."""
    a = x_MT - x_MT.mean(-1, keepdims=True)
    b = y_MT - y_MT.mean(-1, keepdims=True)
    aa, bb = (a**2).sum(-1), (b**2).sum(-1)
    # What rounding leaves of a constant is no signal.
    still = bb <= 1e-20 * np.maximum((y_MT**2).sum(-1), aa)
    norm = np.sqrt(aa * bb)
    r = np.divide((a * b).sum(-1), norm, out=np.zeros(norm.shape), where=~still & (norm > 0))
    return np.where(aa > 0, r, np.nan)


class Spectra(NamedTuple):
    """Power of two signals and their cross power, means over segments: (M, F) each."""

    xx: Array
    yy: Array
    xy: NDArray[np.complexfloating[Any, Any]]


def spectra(x_MT: Array, y_MT: Array, sfreq: float) -> Spectra:
    """Welch estimates: Hann segments of `SEGMENT_S`, half overlapping, each without its mean.

    Frequencies are multiples of 1 / `SEGMENT_S`. The scale is arbitrary and the same for all.
    """
    n = min(round(SEGMENT_S * sfreq), x_MT.shape[-1])
    window = np.hanning(n + 1)[:-1]

    def transform(s_MT: Array) -> Any:
        cut = np.lib.stride_tricks.sliding_window_view(s_MT, n, -1)[..., :: max(1, n // 2), :]
        return np.fft.rfft((cut - cut.mean(-1, keepdims=True)) * window)

    fx, fy = transform(x_MT), transform(y_MT)
    mean = {"axis": -2}
    return Spectra(
        (np.abs(fx) ** 2).mean(**mean),
        (np.abs(fy) ** 2).mean(**mean),
        (fx.conj() * fy).mean(**mean),
    )


def frequencies(n: int, sfreq: float, n_samples: int) -> NDArray[np.float64]:
    """Hz of the `n` columns of `spectra` of signals with `n_samples`."""
    return np.arange(n) * sfreq / min(round(SEGMENT_S * sfreq), n_samples)


def log_spectral_distance(xx_MF: Array, yy_MF: Array) -> Array:
    """Root mean square of the difference of two spectra in dB, (M,).

    Both are cut off `FLOOR_DB` below the mean of `xx`: silence has no logarithm.
    """
    floor = xx_MF.mean(-1, keepdims=True) * 10 ** (-FLOOR_DB / 10)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = 10 * np.log10(np.maximum(xx_MF, floor) / np.maximum(yy_MF, floor))
        return np.sqrt((away**2).mean(-1))


def coherence(s: Spectra) -> Array:
    """Magnitude-squared coherence, (M, F); 0 where one of the two is silent.

    One segment alone is always coherent with another: average the spectra of many.
    """
    power = s.xx * s.yy
    # A silent signal keeps rounding errors, which are no signal.
    peak = s.xx.max(-1, keepdims=True) * s.yy.max(-1, keepdims=True)
    heard = (power > 1e-24 * peak) & (s.yy.max(-1, keepdims=True) > 1e-20 * s.xx.max(-1)[..., None])
    return np.divide(np.abs(s.xy) ** 2, power, out=np.zeros(power.shape), where=heard)


def bands_below(edge_hz: float) -> dict[str, tuple[float, float]]:
    """`BANDS` as far as they lie below `edge_hz`; at least a quarter of a band must."""
    return {
        name: (low, min(high, edge_hz))
        for name, (low, high) in BANDS.items()
        if min(high, edge_hz) - low >= (high - low) / 4
    }


def band_means(values_MF: Array, hz_F: Array, bands: dict[str, tuple[float, float]]) -> Any:
    """Band -> mean over its frequencies, (M,)."""
    return {
        name: values_MF[..., (hz_F >= low) & (hz_F < high)].mean(-1)
        for name, (low, high) in bands.items()
    }
