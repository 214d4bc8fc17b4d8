"""What a simulated brain does between seizures: coloured noise, rhythms, sleep, spikes.

Everything is in units of the background's standard deviation. It is a caricature with the
right spectra and spreads, not a model of cortex.

Shapes: C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Style:
    """How one patient's background looks.

    Attributes
    ----------
    slope : the spectrum falls as 1 / f^slope up to `knee_hz`, and one power steeper above
    reach_m : distance over which channels resemble each other
    shared : share of the variance that all channels have in common
    alpha_hz, alpha : frequency and size of the posterior rhythm while awake
    slow : size of the slow waves of sleep
    spikes_per_min, spike : rate and size of interictal spikes
    bursts_per_hour, burst, burst_hz : rate, size and usual frequency of rhythmic bursts that are
        no seizures
    """

    slope: float
    knee_hz: float
    reach_m: float
    shared: float
    alpha_hz: float
    alpha: float
    slow: float
    spikes_per_min: float
    spike: float
    bursts_per_hour: float
    burst: float
    burst_hz: float


def draw_style(rng: np.random.Generator, scalp: bool) -> Style:
    """A broad draw: people, amplifiers and states differ more than any one recording shows."""
    return Style(
        slope=rng.uniform(0.8, 1.7),
        knee_hz=rng.uniform(10, 25),
        reach_m=rng.uniform(0.04, 0.09) if scalp else rng.uniform(0.006, 0.02),
        shared=rng.uniform(0.0, 0.25),
        alpha_hz=rng.uniform(8, 11.5),
        alpha=rng.uniform(0.2, 1.4),
        slow=rng.uniform(0.5, 2.0),
        spikes_per_min=float(np.exp(rng.uniform(np.log(0.2), np.log(4 if scalp else 12)))),
        spike=rng.uniform(2.0, 5.0),
        bursts_per_hour=float(np.exp(rng.uniform(np.log(5), np.log(40)))),
        burst=rng.uniform(0.8, 3.0),
        burst_hz=float(np.exp(rng.uniform(np.log(2.5), np.log(12)))),
    )


def coloured(
    rng: np.random.Generator,
    n_rows: int,
    n: int,
    sfreq: float,
    amplitude: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    mix_CC: NDArray[np.floating] | None = None,
) -> Rows:
    """Noise with a given amplitude spectrum, unit variance on average, (rows, n).

    Parameters
    ----------
    amplitude : of frequencies in Hz (the zero is never asked for)
    mix_CC : rows of the result are these mixtures of independent noise
    """
    from scipy.fft import irfft, next_fast_len

    size = next_fast_len(n, real=True)
    hz = np.arange(1, size // 2 + 1, dtype=np.float32) * np.float32(sfreq / size)
    shape = np.asarray(amplitude(hz), np.float32)
    used = np.flatnonzero(shape > 1e-4 * shape.max())
    draws = rng.standard_normal((n_rows, len(used), 2), np.float32)
    if mix_CC is not None:
        flat = draws.reshape(n_rows, -1)
        draws = (np.asarray(mix_CC, np.float32) @ flat).reshape(-1, len(used), 2)
    noise = np.empty((len(draws), n), np.float32)
    scale = size / np.sqrt(4 * (shape[used] ** 2).sum())
    for row, draw in zip(noise, draws, strict=True):
        spectrum = np.zeros(size // 2 + 1, np.complex64)
        spectrum[used + 1] = draw.view(np.complex64)[:, 0] * (shape[used] * scale)
        row[:] = irfft(spectrum, size)[:n]
    return noise


def band(low: float, high: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Amplitude spectrum of a band, with soft edges a quarter of an octave wide."""
    middle, width = np.log2(low * high) / 2, np.log2(high / low) / 2 + 0.1
    return lambda hz: np.exp(-0.5 * (np.abs(np.log2(hz) - middle) / width) ** 6)


def curve(rng: np.random.Generator, n: int, sfreq: float, every_s: float, depth: float) -> Rows:
    """A size that wanders, (n,): log-normal with deviation `depth`, a new value every so often."""
    knots = np.exp(rng.normal(0, depth, int(n / sfreq / every_s) + 3))
    return np.interp(np.arange(n) / (sfreq * every_s), np.arange(len(knots)), knots).astype(
        np.float32
    )


def bursts(
    rng: np.random.Generator, n: int, sfreq: float, per_min: float, longest_s: float
) -> Rows:
    """0 with bumps up to 1 at random times, each up to `longest_s` long, (n,)."""
    out = np.zeros(n, np.float32)
    for _ in range(rng.poisson(per_min * n / sfreq / 60)):
        length = int(rng.uniform(0.2, 1) * longest_s * sfreq)
        place(out, np.hanning(length).astype(np.float32) ** 0.5, int(rng.integers(n)), 1.0, True)
    return out


def place(x_T: Rows, shape: Rows, at: int, size: float = 1.0, keep_larger: bool = False) -> None:
    """Add `shape` to `x_T` from sample `at` on, in place; what hangs over the ends is lost."""
    first, last = max(at, 0), min(at + len(shape), len(x_T))
    if first < last:
        part = size * shape[first - at : last - at]
        if keep_larger:
            np.maximum(x_T[first:last], part, out=x_T[first:last])
        else:
            x_T[first:last] += part


def vigilance(rng: np.random.Generator, n: int, sfreq: float) -> Rows:
    """Depth of sleep from 0 (awake) to 1, in stretches of one to eight minutes, (n,)."""
    seconds = n / sfreq
    at, level, knots, values = 0.0, float(rng.choice((0.0, 0.0, 0.5, 1.0))), [0.0], []
    values.append(level)
    while at < seconds:
        at += rng.uniform(60, 480)
        following = float(rng.choice((0.0, 0.5, 1.0)))
        knots += [at, at + 20]
        values += [level, following]
        level = following
    return np.interp(np.arange(n) / sfreq, knots, values).astype(np.float32)


def background(
    rng: np.random.Generator,
    style: Style,
    pos_m: NDArray[np.floating],
    back_C: NDArray[np.floating],
    sleep_T: Rows,
    sfreq: float,
) -> Rows:
    """(C, T) noise and rhythms.

    Parameters
    ----------
    pos_m : (C, 3), decides who resembles whom
    back_C : 0 to 1, how strongly a channel sees the alpha rhythm
    sleep_T : from `vigilance`
    """
    n_C, n = len(pos_m), len(sleep_T)
    apart = np.linalg.norm(pos_m[:, None] - pos_m[None], axis=-1)
    near_CC = (1 - style.shared) * np.exp(-apart / style.reach_m) + style.shared
    mix_CC = np.linalg.cholesky(near_CC + 1e-3 * np.eye(n_C))

    def fall(hz: NDArray[np.float32]) -> NDArray[np.float32]:
        # Flat below 0.7 Hz: what is slower, amplifiers for the clinic remove.
        low = np.maximum(hz, 0.7) ** (-style.slope / 2)
        return np.asarray(low / np.sqrt(1 + hz / style.knee_hz))

    x_CT = coloured(rng, n_C, n, sfreq, fall, mix_CC)
    size_C = np.exp(rng.normal(0, 0.2, n_C)).astype(np.float32)
    x_CT *= curve(rng, n, sfreq, 15, 0.2) * (1 - 0.2 * sleep_T)
    awake_T = 1 - sleep_T
    # Every rhythm has a few generators in different places, so that it is not the same anywhere.
    for low, high, size, envelope, place_C in (
        (style.alpha_hz - 1, style.alpha_hz + 1, style.alpha, awake_T, back_C),
        (0.6, 2.2, style.slow, sleep_T**2, np.ones(n_C)),
        (4.0, 7.0, 0.6, sleep_T * awake_T * 4, np.ones(n_C)),
        (12.0, 14.5, 0.8, sleep_T * bursts(rng, n, sfreq, 4, 2.0), np.ones(n_C)),
        (15.0, 25.0, 0.25, awake_T, np.ones(n_C)),
    ):
        towards = rng.integers(n_C, size=3)
        gain = place_C[:, None] * np.exp(-((apart[:, towards] / (3 * style.reach_m)) ** 2))
        rhythm = coloured(rng, 3, n, sfreq, band(low, high))
        rhythm *= size * envelope * curve(rng, n, sfreq, 3, 0.5)
        x_CT += gain.astype(np.float32) @ rhythm
    x_CT *= size_C[:, None]
    return x_CT


def spike_and_wave(sfreq: float, rng: np.random.Generator) -> Rows:
    """A sharp wave of some 80 ms and a slower one of the same sign behind it, peak -1."""
    t = np.arange(int(0.7 * sfreq)) / sfreq
    width = rng.uniform(0.012, 0.03)
    sharp = -np.exp(-((t - 0.08) ** 2) / (2 * width**2))
    rebound = 0.4 * np.exp(-((t - 0.08 - 3 * width) ** 2) / (2 * (1.5 * width) ** 2))
    wave = -rng.uniform(0.2, 0.7) * np.exp(-((t - 0.33) ** 2) / (2 * 0.08**2))
    return np.asarray(sharp + rebound + wave, np.float32)


def interictal_spikes(
    rng: np.random.Generator, style: Style, rate_T: Rows, sfreq: float
) -> tuple[Rows, list[float]]:
    """Spikes of one focus, (T,), and their times in seconds.

    Parameters
    ----------
    rate_T : how many times the usual rate holds; 0 where there shall be none
    """
    x_T = np.zeros(len(rate_T), np.float32)
    times = []
    top = float(rate_T.max(initial=0.0))
    for _ in range(rng.poisson(style.spikes_per_min * top * len(rate_T) / sfreq / 60)):
        at = int(rng.integers(len(rate_T)))
        if rng.uniform() * top < rate_T[at]:
            shape = spike_and_wave(sfreq, rng)
            place(x_T, shape, at, style.spike * rng.uniform(0.5, 1.3))
            times.append(at / sfreq)
    return x_T, sorted(times)


def rhythmic_bursts(
    rng: np.random.Generator, style: Style, rate_T: Rows, sfreq: float
) -> tuple[Rows, list[tuple[float, float]]]:
    """Rhythmic activity of one place that is no seizure, (T,), and (onset, duration) in seconds.

    Benign variants and drowsy rhythms have a seizure's frequencies, size and field. What they lack
    is its course: they last 3 to 15 s, keep their frequency, and recruit nobody.

    Parameters
    ----------
    rate_T : how many times the usual rate holds; 0 where there shall be none
    """
    n, found = len(rate_T), []
    x_T = np.zeros(n, np.float32)
    top = float(rate_T.max(initial=0.0))
    for _ in range(rng.poisson(style.bursts_per_hour * top * n / sfreq / 3600)):
        at, length = int(rng.integers(n)), int(np.exp(rng.uniform(*np.log((3, 15)))) * sfreq)
        if rng.uniform() * top >= rate_T[at : at + length].min():
            continue
        hz = style.burst_hz * float(np.exp(rng.normal(0, 0.1)))
        phase = 2 * np.pi * np.cumsum(hz * curve(rng, length, sfreq, 2, 0.03)) / sfreq
        sharp = rng.uniform(0, 0.6)
        wave = np.sin(phase) + sharp * np.sin(2 * phase + rng.uniform(0, 6))
        shape = wave * curve(rng, length, sfreq, 1, 0.25) * np.hanning(length) ** 0.5
        place(x_T, shape.astype(np.float32), at, style.burst * rng.uniform(0.6, 1.4))
        found.append((at / sfreq, min(length, n - at) / sfreq))
    return x_T, sorted(found)
