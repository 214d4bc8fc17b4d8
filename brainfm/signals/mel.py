"""Log mel bands of a sound: how loud it is over time at each pitch, spaced as ears hear.

The mel scale is the usual 2595 log10(1 + f / 700) (O'Shaughnessy, 1987; recalled).

Shapes: T samples, N frames, F bands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

N_BANDS = 40
FRAMES_HZ = 100.0
WINDOW_S = 0.025
LOWEST_HZ, HIGHEST_HZ = 60.0, 5500.0
"""Up to half of 11,025 Hz, the lowest rate of the sounds that brainfm reads."""
FLOOR_DB = -60.0
"""Below the loudest band: quieter is called silent."""


def log_mel(
    sound_T: NDArray[np.floating],
    sfreq: float,
    *,
    n_bands: int = N_BANDS,
    frames_hz: float = FRAMES_HZ,
    standard: bool = True,
) -> NDArray[np.float32]:
    """Log power in mel bands, frame k around k / `frames_hz` seconds, (N, F).

    Parameters
    ----------
    sound_T : one channel
    sfreq : Hz, at least twice `HIGHEST_HZ`
    frames_hz : frames a second; there are as many as begin within the sound
    standard : give every band mean 0 and deviation 1 over the sound. Otherwise natural
        logarithms, with 0 for the loudest

    Raises
    ------
    DataError
        If the rate is too low for the bands, or the sound is shorter than a window, silent or not
        finite.
    """
    sound = np.asarray(sound_T, np.float64).reshape(-1)
    size = round(WINDOW_S * sfreq)
    if sfreq < 2 * HIGHEST_HZ:
        raise DataError(
            f"sound at {sfreq:g} Hz holds no {HIGHEST_HZ:g} Hz; give it at {2 * HIGHEST_HZ:g} Hz "
            "or more"
        )
    if len(sound) < size or not np.isfinite(sound).all() or not sound.any():
        raise DataError(
            f"sound of {len(sound)} samples at {sfreq:g} Hz is shorter than {WINDOW_S:g} s, silent "
            "or not finite; give the sound of the recording"
        )
    n_frames = int(np.floor(len(sound) / sfreq * frames_hz + 1e-6))
    middle = np.round(np.arange(n_frames) / frames_hz * sfreq).astype(int)
    around = np.pad(sound, size // 2 + 1)
    bank_HF = mel_bank(size, sfreq, n_bands)
    taper = np.hanning(size)
    power_NF = np.empty((n_frames, n_bands))
    for first in range(0, n_frames, 4096):
        at = middle[first : first + 4096, None] + np.arange(size)
        power_NF[first : first + 4096] = np.abs(np.fft.rfft(around[at] * taper)) ** 2 @ bank_HF
    log_NF = np.log(np.maximum(power_NF, power_NF.max() * 10 ** (FLOOR_DB / 10)))
    log_NF -= log_NF.max()
    if standard:
        log_NF = (log_NF - log_NF.mean(0)) / np.maximum(log_NF.std(0), 1e-6)
    return log_NF.astype(np.float32)


def mel_bank(size: int, sfreq: float, n_bands: int = N_BANDS) -> NDArray[np.float64]:
    """Triangles of equal width in mel, (size // 2 + 1, F), each of weight one."""
    edges = np.linspace(_mel(LOWEST_HZ), _mel(HIGHEST_HZ), n_bands + 2)
    mel_H = _mel(np.fft.rfftfreq(size, 1 / sfreq))[:, None]
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    rise, fall = (mel_H - left) / (middle - left), (right - mel_H) / (right - middle)
    bank_HF = np.clip(np.minimum(rise, fall), 0, None)
    # A narrow low band may fall between two frequencies of a short window.
    empty = bank_HF.sum(0) == 0
    nearest = np.abs(mel_H - middle).argmin(0)
    bank_HF[nearest[empty], np.flatnonzero(empty)] = 1.0
    return np.asarray(bank_HF / bank_HF.sum(0))


def _mel(hz: NDArray[np.floating] | float) -> NDArray[np.float64]:
    return np.asarray(2595 * np.log10(1 + np.asarray(hz) / 700))
