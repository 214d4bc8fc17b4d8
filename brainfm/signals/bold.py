"""fMRI from frames as they were taken to frames as they are stored: drift out, time kept.

Shapes: T frames, C channels, K regressors.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.filters import NO_HIGHPASS
from brainfm.signals.intervals import interval_samples, stretches
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording

LEAST_FRAMES = 8
"""Shortest stretch between scrubbed frames that is kept; drift cannot be told from signal below."""
MOST_LOST = 0.5
"""A run that lost a larger share of its frames is refused."""


def prepare_bold(recording: Recording, recipe: Recipe) -> Recording:
    """Apply `recipe.bold_*` to each stretch between scrubbed frames, and keep every frame's time.

    The mean of each channel goes, and with `bold_highpass_hz` its line and all cosines slower than
    that (SPM's regressors). Frames outside the intervals become 0; none is removed.

    Parameters
    ----------
    recording : fMRI, `sfreq` = 1 / TR
    recipe : its `bold_sfreq`, `bold_highpass_hz` and `bold_lowpass_hz` count

    Raises
    ------
    DataError
        If frames are lost or not finite, no stretch is long enough, or the low-pass lies above what
        the TR allows.
    """
    where = recording.source or recording.name
    recording = without_lost(recording)
    x_TC = np.asarray(recording.signal, np.float64)
    intervals = interval_samples(recording)
    for a, b in intervals:
        if not np.isfinite(x_TC[a:b]).all():
            row, column = np.argwhere(~np.isfinite(x_TC[a:b]))[0]
            raise DataError(
                f"{where}: frame {a + row} of '{recording.channels.name[column]}' is "
                f"{x_TC[a + row, column]}; mask what lies outside the brain, or leave the channel "
                "out"
            )
    low = recipe.bold_lowpass_hz
    if low is not None and low >= recording.sfreq / 2:
        raise DataError(
            f"{where}: bold_lowpass_hz is {low:g} Hz, but frames every {1 / recording.sfreq:g} s "
            f"show nothing above {recording.sfreq / 2:g} Hz; lower it, or use none"
        )
    kept = [(int(a), int(b)) for a, b in intervals if b - a >= LEAST_FRAMES]
    if not kept:
        raise DataError(
            f"{where}: no stretch of {LEAST_FRAMES} frames is left between scrubbed ones; scrub "
            "less, or leave the run out"
        )
    out_TC = np.zeros_like(x_TC)
    notes = list(recording.notes)
    dropped = len(intervals) - len(kept)
    if dropped:
        notes.append(f"{dropped} stretches of less than {LEAST_FRAMES} frames left out")
    for a, b in kept:
        out_TC[a:b] = _without_drift(x_TC[a:b], recording.sfreq, recipe.bold_highpass_hz)
        if low is not None:
            out_TC[a:b] = _smooth(out_TC[a:b], recording.sfreq, low)
    slow = recipe.bold_highpass_hz
    if slow is not None and all((b - a) / recording.sfreq < 0.5 / slow for a, b in kept):
        notes.append(f"{NO_HIGHPASS}, shorter than half a period of {slow:g} Hz, means removed")
    done = replace(
        recording,
        signal=out_TC.astype(np.float32),
        intervals_s=[(a / recording.sfreq, b / recording.sfreq) for a, b in kept],
        notes=notes,
    )
    return _at_rate(done, recipe.bold_sfreq) if recipe.bold_sfreq else done


def lost_frames(x_TC: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Frames (T,) that hold nothing: no numbers, one number everywhere, or those of the one before.

    Parameters
    ----------
    x_TC : channels that are finite in no frame (the medial wall) do not count
    """
    usual_C = np.isfinite(x_TC).mean(0) > MOST_LOST
    if usual_C.sum() < 2:
        return np.zeros(len(x_TC), bool)
    x = x_TC[:, usual_C]
    no_number_T = np.isfinite(x).mean(1) < MOST_LOST
    x = np.where(np.isfinite(x), x, 0.0)
    # Zeros are nothing; channels that are copies of each other are another matter.
    level_T = np.ptp(x, axis=1) == 0
    level_T &= (level_T.mean() <= MOST_LOST) | (x[:, 0] == 0)
    again_T = np.concatenate(([False], (x[1:] == x[:-1]).all(1)))
    return np.asarray(no_number_T | level_T | again_T)


def without_lost(recording: Recording) -> Recording:
    """A run whose lost frames are outside its intervals, as scrubbed ones are; none moves.

    Raises
    ------
    DataError
        If more than `MOST_LOST` of them are lost.
    """
    inside_T = np.zeros(len(recording.signal), bool)
    for a, b in interval_samples(recording):
        inside_T[a:b] = True
    lost_T = lost_frames(np.asarray(recording.signal)) & inside_T
    if not lost_T.any():
        return recording
    many, first = int(lost_T.sum()), int(np.flatnonzero(lost_T)[0])
    said = (
        f"{many} of {int(inside_T.sum())} frames hold nothing (empty, or the frame before again), "
        f"the first is frame {first}"
    )
    if many > MOST_LOST * inside_T.sum():
        raise DataError(f"{recording.source or recording.name}: {said}; export the run again")
    return replace(
        recording,
        intervals_s=stretches(inside_T & ~lost_T, recording.sfreq),
        notes=[*recording.notes, f"{said}: left out, the others keep their times"],
    )


def _without_drift(x_TC: NDArray, sfreq: float, slow_hz: float | None) -> NDArray[np.float64]:
    """Without the mean and, with `slow_hz`, a straight line and every cosine slower than it."""
    n = len(x_TC)
    count = 1 if slow_hz is None else 1 + int(np.floor(2 * n / sfreq * slow_hz))
    t = (np.arange(n) + 0.5) / n
    drift_TK = np.cos(np.pi * t[:, None] * np.arange(min(count, n - 2)))
    if slow_hz is not None:
        # Cosines are level at both ends; a heating scanner is not.
        drift_TK, _ = np.linalg.qr(np.concatenate([drift_TK, t[:, None] - 0.5], 1))
    else:
        drift_TK /= n**0.5
    out: NDArray[np.float64] = x_TC - drift_TK @ (drift_TK.T @ x_TC)
    return out


def _smooth(x_TC: NDArray[np.float64], sfreq: float, low_hz: float) -> NDArray[np.float64]:
    from scipy.signal import butter, sosfiltfilt

    # Fifth order, both ways, as nilearn's `signal.clean` filters.
    sos = butter(5, low_hz, fs=sfreq, output="sos")
    out: NDArray[np.float64] = sosfiltfilt(sos, x_TC, axis=0, padlen=min(18, len(x_TC) - 1))
    return out


def _at_rate(recording: Recording, rate: float) -> Recording:
    """Frames at another rate; the first keeps its time, intervals shrink to whole frames inside."""
    old = recording.sfreq
    if np.isclose(old, rate, rtol=1e-6):
        return recording
    n = int(np.floor((len(recording.signal) - 1) / old * rate + 1e-6)) + 1
    out_TC = np.zeros((n, recording.signal.shape[1]), np.float32)
    at = np.arange(n) / rate * old
    intervals = []
    for a, b in interval_samples(recording):
        inside = np.flatnonzero((at >= a - 1e-6) & (at <= b - 1 + 1e-6))
        if not len(inside):
            continue
        x_TC = recording.signal[a:b].astype(np.float64)
        if rate < old:
            x_TC = _smooth(x_TC, old, 0.45 * rate)
        low = np.clip(np.floor(at[inside]).astype(int) - a, 0, max(b - a - 2, 0))
        share = (at[inside] - a - low)[:, None]
        out_TC[inside] = x_TC[low] * (1 - share) + x_TC[np.minimum(low + 1, b - a - 1)] * share
        intervals.append((inside[0] / rate, (inside[-1] + 1) / rate))
    note = f"frames every {1 / old:g} s brought to one every {1 / rate:g} s, by straight lines"
    return replace(
        recording,
        signal=out_TC,
        sfreq=rate,
        intervals_s=intervals,
        notes=[*recording.notes, note],
    )
