"""A recipe without look-ahead: notch, resample and band-pass with a state, piece by piece.

However a recording is cut into pieces, the same samples come out, so a file prepared at once and
an amplifier followed live give a model the same numbers.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe

Array = NDArray[np.float64]

ORDER = 4
"""Of each Butterworth edge: 24 dB per octave, about that of MNE's IIR default."""
NOTCH_Q = 30.0
"""Line frequency over the notch's width: 1.7 Hz at 50 Hz, gone after 0.2 s."""
REACH = 10
"""Half length of the anti-aliasing FIR in samples of the slower rate, and its Kaiser window:
those of `scipy.signal.resample_poly`."""
KAISER = 5.0
MOST = 10_000
"""Largest denominator of the ratio of two rates; the error is below 1e-8, a millisecond a day."""


class CausalChain:
    """The filters of a recipe that is followed as it comes.

    The chain rests at the first finite sample of each channel, so a recording that begins at an
    offset begins without a step. Samples that are not finite are replaced by the last one that
    was: a filter with a memory would never forget them. Whoever judges the signal must look at
    what goes in.

    Parameters
    ----------
    recipe : rate and edges
    sfreq : Hz of what is pushed
    n_channels : C
    line_freq : Hz; None skips the notch and says so

    Attributes
    ----------
    delay_s : seconds by which resampling delays the signal; the filters delay it a little more
    notes : sentences on what is and is not done
    """

    def __init__(
        self, recipe: Recipe, sfreq: float, n_channels: int, line_freq: float | None = None
    ) -> None:
        self.notes: list[str] = []
        before = _notches(recipe, sfreq, line_freq, self.notes)
        lowpass = recipe.lowpass_hz
        if lowpass is not None and lowpass >= min(sfreq, recipe.sfreq) / 2 - 1e-6:
            lowpass = None
        after = _edges(recipe.sfreq, recipe.highpass_hz, lowpass)
        self._notch = _Sections(before, n_channels)
        self._resample = _Resampler(sfreq, recipe.sfreq, n_channels)
        self._band = _Sections(after, n_channels)
        self._origin_C = np.full(n_channels, np.nan)
        self._last_C = np.zeros(n_channels)
        # What blocks DC takes the offset away for good; otherwise it is put back.
        self._keeps_offset = recipe.highpass_hz is None
        self.delay_s = self._resample.delay_s
        if self.delay_s:
            self.notes.append(
                f"causal filters: resampling from {sfreq:g} to {recipe.sfreq:g} Hz delays the "
                f"signal by {1e3 * self.delay_s:.0f} ms"
            )
        if sfreq < 2 * (recipe.lowpass_hz or recipe.sfreq / 2):
            self.notes.append(
                f"recorded at {sfreq:g} Hz: nothing above {sfreq / 2:g} Hz in the signal"
            )

    def push(self, piece_TC: NDArray[np.floating]) -> Array:
        """The next samples at the recipe's rate: all that the pushed ones decide.

        After N samples in all, ceil(N * recipe.sfreq / sfreq) have come out in all.
        """
        x_TC: Array = np.array(piece_TC, np.float64)
        if x_TC.ndim != 2 or x_TC.shape[1] != len(self._last_C):
            raise DataError(
                f"a piece has shape {x_TC.shape}; it must be (samples, {len(self._last_C)} "
                "channels)"
            )
        if not len(x_TC):
            return np.empty_like(x_TC)
        self._settle(x_TC)
        y_TC = self._band.push(self._resample.push(self._notch.push(x_TC)))
        if self._keeps_offset:
            y_TC += np.nan_to_num(self._origin_C)
        return y_TC

    def _settle(self, x_TC: Array) -> None:
        """In place: channels start at 0, and hold their last value where nothing was recorded."""
        unset = np.isnan(self._origin_C)
        finite_TC = np.isfinite(x_TC)
        for c in np.flatnonzero(unset & finite_TC.any(0)):
            self._origin_C[c] = x_TC[np.argmax(finite_TC[:, c]), c]
        x_TC[:] = held(x_TC - np.nan_to_num(self._origin_C), self._last_C)
        self._last_C = x_TC[-1].copy()


def held(samples_TC: NDArray[np.floating], before_C: NDArray[np.floating]) -> Array:
    """Samples that are not finite replaced by the last one of their channel that was.

    Parameters
    ----------
    samples_TC : in order
    before_C : the last finite values before them
    """
    x_TC: Array = np.asarray(samples_TC, np.float64)
    finite_TC = np.isfinite(x_TC)
    if finite_TC.all():
        return x_TC
    at_TC = np.where(finite_TC, np.arange(1, len(x_TC) + 1)[:, None], 0)
    known_TC = np.concatenate([before_C[None], np.where(finite_TC, x_TC, 0.0)])
    return np.take_along_axis(known_TC, np.maximum.accumulate(at_TC), 0)


class _Sections:
    """Second-order sections that start at rest."""

    def __init__(self, sos: Array, n_channels: int) -> None:
        self.sos, self.state = sos, np.zeros((len(sos), 2, n_channels))

    def push(self, x_TC: Array) -> Array:
        from scipy.signal import sosfilt

        if not len(self.sos):
            return x_TC
        y_TC, self.state = sosfilt(self.sos, x_TC, axis=0, zi=self.state)
        out: Array = y_TC
        return out


class _Resampler:
    """Polyphase FIR at the exact ratio; the past that its taps reach back to is kept."""

    def __init__(self, sfreq: float, target: float, n_channels: int) -> None:
        from scipy.signal import firwin

        ratio = Fraction(target / sfreq).limit_denominator(MOST)
        self.up, self.down = ratio.numerator, ratio.denominator
        self.same = self.up == self.down
        half = REACH * max(self.up, self.down)
        self.delay_s = 0.0 if self.same else half / (self.up * sfreq)
        if self.same:
            return
        taps = firwin(2 * half + 1, 1 / max(self.up, self.down), window=("kaiser", KAISER))
        # Each phase by itself keeps a constant; together they do so only on average.
        for phase in range(self.up):
            taps[phase :: self.up] /= taps[phase :: self.up].sum()
        self.taps = taps
        # The kept past begins at a multiple of `down`, where an output falls on an input.
        self.reach = -(-len(taps) // self.up)
        self.start = -self.down * (-(-self.reach // self.down))
        self.kept_TC = np.zeros((-self.start, n_channels))
        self.n_out = 0

    def push(self, x_TC: Array) -> Array:
        from scipy.signal import upfirdn

        if self.same:
            return x_TC
        x_TC = np.concatenate([self.kept_TC, x_TC])
        stop = self.start + len(x_TC)
        n_out = -(-stop * self.up // self.down)
        first = self.n_out - self.start * self.up // self.down
        y_TC: Array = upfirdn(self.taps, x_TC, self.up, self.down, axis=0)
        y_TC = y_TC[first : first + n_out - self.n_out]
        self.n_out = n_out
        start = (n_out * self.down // self.up - self.reach) // self.down * self.down
        self.kept_TC = x_TC[max(0, start - self.start) :].copy()
        self.start = max(start, self.start)
        return y_TC


def _notches(recipe: Recipe, sfreq: float, line_freq: float | None, notes: list[str]) -> Array:
    from scipy.signal import iirnotch

    if recipe.notch and line_freq is None:
        notes.append("line frequency unknown, no notch; give --line-freq 50 or 60")
    if not recipe.notch or not line_freq:
        return np.empty((0, 6))
    top = min(sfreq / 2, recipe.lowpass_hz or np.inf) - 1.0
    pairs = [iirnotch(f, NOTCH_Q, sfreq) for f in np.arange(line_freq, top, line_freq)]
    return np.array([np.concatenate(ba) for ba in pairs]).reshape(-1, 6)


def _edges(sfreq: float, highpass: float | None, lowpass: float | None) -> Array:
    from scipy.signal import butter

    edges = [(highpass, "highpass"), (lowpass, "lowpass")]
    made = [butter(ORDER, hz, kind, fs=sfreq, output="sos") for hz, kind in edges if hz]
    return np.concatenate([np.empty((0, 6)), *made])
