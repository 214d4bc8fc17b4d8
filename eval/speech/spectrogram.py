"""The brain as linear baselines see it: log power in bands and the voltage, frame by frame.

Shapes: N frames, C channels, F = C x (bands + 1) features, T samples, L lags, W windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.stimulus import frames_between
from brainfm.data.store import Store
from brainfm.types import Stimulus, WindowRef
from eval.speech.windows import Window

Rows = NDArray[np.float32]

FRAMES_HZ = 25.0
SPAN_S = 0.2
"""Of the signal that a frame's power is taken from (Hann)."""
BANDS_HZ = ((4.0, 8.0), (8.0, 13.0), (13.0, 30.0), (30.0, 70.0), (70.0, 150.0))
"""Theta to high gamma, as far as the recording has them. What is slower is seen as voltage: it
turns within a window, and its power would hide that."""
BINS = 10
"""Stretches of a word's window whose mean frames are its features."""
LAGS_S = (0.0, 0.08, 0.2, 0.32)
"""How much later than speech the frames are that tell of it: brains answer some 100 ms late."""
CHUNK = 4096
"""Frames computed at once."""


def frames_of(store: Store, row: int) -> Rows:
    """(N, F) of a whole recording; frame k lies around (k + 1/2) / `FRAMES_HZ` seconds."""
    sfreq = store.recipe.sfreq
    n_samples, n_channels = (int(store.recordings[c].iat[row]) for c in ("n_samples", "n_channels"))
    n = int(n_samples / sfreq * FRAMES_HZ)
    span = max(8, round(SPAN_S * sfreq))
    hop = max(1, round(sfreq / FRAMES_HZ))
    window = np.hanning(span).astype(np.float32)
    hz = np.fft.rfftfreq(span, 1 / sfreq)
    bands = [(hz >= lo) & (hz < hi) for lo, hi in BANDS_HZ]
    bands = [b for b in bands if b.any()] or [hz > 0]
    out = np.empty((n, n_channels, len(bands) + 1), np.float32)
    middles = ((np.arange(n) + 0.5) / FRAMES_HZ * sfreq).astype(np.int64)
    for k in range(0, n, CHUNK):
        at = middles[k : k + CHUNK]
        first = max(0, int(at[0]) - span)
        last = min(n_samples, int(at[-1]) + span)
        x_TC = store.read(WindowRef(row, first, last - first))
        x_TC -= x_TC.mean(0)
        x_TC = np.nan_to_num(np.pad(x_TC, ((span, span), (0, 0)), mode="edge"))
        starts = at - first + span - span // 2
        cut = np.lib.stride_tricks.sliding_window_view(x_TC, span, 0)[starts]
        power = np.square(np.abs(np.fft.rfft(cut * window, axis=-1))).astype(np.float32)
        floor = 1e-12 * float(power.mean()) + np.finfo(np.float32).tiny
        for b, mask in enumerate(bands):
            out[k : k + CHUNK, :, b] = np.log(power[..., mask].mean(-1) + floor)
        middle = cut[..., (span - hop) // 2 : (span - hop) // 2 + hop]
        out[k : k + CHUNK, :, -1] = middle.mean(-1)
    return out.reshape(n, -1)


@dataclass
class Patient:
    """Frames of the recordings of one patient, computed once."""

    store: Store

    def __post_init__(self) -> None:
        self._frames: dict[int, Stimulus] = {}

    def of(self, row: int) -> Stimulus:
        if row not in self._frames:
            self._frames[row] = Stimulus(frames_of(self.store, row), FRAMES_HZ)
        return self._frames[row]

    def binned(self, windows: Sequence[Window]) -> Rows:
        """(W, `BINS` x F): means over equal stretches of each window."""
        return np.stack([self.frames(w, BINS).ravel() for w in windows])

    def lagged(self, window: Window, n: int) -> Rows:
        """(n, L x F): so many equal stretches of a window, each with what comes after it.

        Nothing behind the window is looked at: decoders do not see it either.
        """
        frames = self.frames(window, n)
        seconds = window.ref.length / self.store.recipe.sfreq
        steps = [round(lag * n / seconds) for lag in LAGS_S]
        later = np.minimum(np.arange(n)[:, None] + steps, n - 1)
        return frames[later].reshape(n, -1)

    def frames(self, window: Window, n: int) -> Rows:
        """(n, F) means over equal stretches of a window."""
        sfreq = self.store.recipe.sfreq
        return frames_between(
            self.of(window.ref.recording),
            window.ref.start / sfreq,
            window.ref.length / sfreq,
            n,
        )


def n_frames(store: Store, window: Window) -> int:
    """Frames in a window at `FRAMES_HZ`."""
    return max(1, round(window.ref.length / store.recipe.sfreq * FRAMES_HZ))
