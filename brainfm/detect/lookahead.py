"""Filters that look both ways, applied to a recording of any length in constant memory.

Every block is filtered with enough signal on both sides that its middle is what filtering the
whole recording gives. Causal recipes need none of this: `brainfm.signals.causal`.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from brainfm.signals.causal import held
from brainfm.signals.filters import FIR_LENGTH, apply_recipe, highpass_needs_s
from brainfm.signals.preprocess import Recipe

BLOCK_S = 60.0
"""Seconds that are filtered at a time; what is read twice for the margins is little beside it."""


class LookAhead:
    """`apply_recipe`, block by block; samples come out when the seconds behind them are known.

    Where the rate is kept or divided by a whole number this is filtering the whole recording, to
    1e-6 of the signal. SciPy's resampling takes a line through the ends away, and blocks have
    other ends: other ratios differ by less than 1e-3, the file's own first and last seconds by
    less than 1e-4.

    Parameters
    ----------
    recipe : not causal
    sfreq : Hz of what is pushed
    n_channels : C
    line_freq : Hz; None skips the notch and says so
    where : the file, for sentences
    """

    def __init__(
        self,
        recipe: Recipe,
        sfreq: float,
        n_channels: int,
        line_freq: float | None = None,
        where: str = "recording",
    ) -> None:
        self.recipe, self.sfreq, self.line_freq, self.where = recipe, sfreq, line_freq, where
        ratio = Fraction(recipe.sfreq / sfreq).limit_denominator(10_000)
        self.up, self.down = ratio.numerator, ratio.denominator
        # A block shorter than the high-pass FIR would not be filtered: the left margin holds it.
        long_s = highpass_needs_s(recipe.highpass_hz) if recipe.highpass_hz else 0.0
        self.right = self._whole(0.5 * long_s + FIR_LENGTH + 11 / min(sfreq, recipe.sfreq))
        self.left = max(self.right, self._whole(long_s + 1.0))
        self.block = self._whole(BLOCK_S)
        self.kept_TC = np.empty((0, n_channels))
        self.start = self.done = 0
        self.notes: list[str] = []

    def push(self, x_TC: NDArray[np.floating]) -> NDArray[np.float64]:
        """The next samples at the recipe's rate, once the seconds behind them are known."""
        # A filter spreads one missing sample over seconds; whoever judges sees what goes in.
        before_TC = self.kept_TC[-1:] if len(self.kept_TC) else np.zeros((1, x_TC.shape[1]))
        self.kept_TC = np.concatenate([self.kept_TC, held(x_TC, before_TC[0])])
        out = [np.empty((0, x_TC.shape[1]))]
        while self.start + len(self.kept_TC) >= self.done + self.block + self.right:
            out.append(self._emit(self.done + self.block))
        return np.concatenate(out)

    def finish(self) -> NDArray[np.float64]:
        """The samples that waited for more."""
        total = self.start + len(self.kept_TC)
        if total == self.done or round(total * self.recipe.sfreq / self.sfreq) < 2:
            return np.empty((0, self.kept_TC.shape[1]))
        return self._emit(total)

    def _emit(self, stop: int) -> NDArray[np.float64]:
        """Samples from `done` to `stop`, which is a multiple of `down` or the end."""
        import mne

        end = min(len(self.kept_TC), stop + self.right - self.start)
        info = mne.create_info(self.kept_TC.shape[1], self.sfreq, "eeg")
        raw = mne.io.RawArray(self.kept_TC[:end].T.copy(), info, verbose="ERROR")
        raw, notes, _ = apply_recipe(raw, self.recipe, self.line_freq, where=self.where, copy=False)
        self.notes += [n for n in notes if n not in self.notes]
        first = (self.done - self.start) // self.down * self.up
        last = raw.n_times
        if stop < self.start + len(self.kept_TC):
            last = (stop - self.start) // self.down * self.up
        y_TC: NDArray[np.float64] = raw.get_data()[:, first:last].T
        self.done = stop
        start = max(0, stop - self.left) // self.down * self.down
        self.kept_TC = self.kept_TC[max(0, start - self.start) :].copy()
        self.start = max(start, self.start)
        return y_TC

    def _whole(self, seconds: float) -> int:
        """Samples of at least so many seconds, a multiple of `down`."""
        return -(-int(np.ceil(seconds * self.sfreq)) // self.down) * self.down
