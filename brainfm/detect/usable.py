"""Which channels can be believed in one step, judged on the signal as it was recorded.

A filter turns a flat or clipped channel into something that looks alive, so this comes before.

Shapes: T samples of a step, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from brainfm.signals.quality import AMPLITUDE, QualityConfig
from brainfm.types import Channels, Kind

MIN_USABLE = QualityConfig.min_good
"""Share of channels that must be usable, else a step is "no signal": the rule of preparation."""

CLIP_SHARE = 0.2
"""Share of a step's samples at its largest or smallest value from which on it is clipped. A sine
cut at 95 % of its height reaches this; sound EEG in whole microvolts stays below 5 % (measured
on a scalp recording at 100 Hz)."""

FLAT_SHARE = 0.5
"""Share of a step in one constant run from which on it is flat."""


def usable(
    x_TC: NDArray[np.floating], sfreq: float, channels: Channels, recorded: bool = True
) -> NDArray[np.bool_]:
    """(C,): finite, neither flat nor clipped, and of a size that tissue has.

    Parameters
    ----------
    x_TC : SI units, one step
    sfreq : Hz
    channels : kinds and units of the columns; in "au" any size goes
    recorded : False for prepared samples, in which filters have blurred what is clipped; then
        only what is not finite or constant is found
    """
    low_C, high_C = x_TC.min(0), x_TC.max(0)
    with np.errstate(invalid="ignore"):
        good_C = np.isfinite(low_C) & np.isfinite(high_C) & (high_C > low_C)
    if not recorded or not good_C.any():
        return good_C
    x_TC = np.where(good_C, x_TC, 0.0)
    edge_TC = (x_TC == np.where(good_C, low_C, 0.0)) | (x_TC == np.where(good_C, high_C, 0.0))
    good_C &= edge_TC.mean(0) < CLIP_SHARE
    flat = max(FLAT_SHARE * len(x_TC), min(QualityConfig.flat_run_s * sfreq, len(x_TC) - 1))
    good_C &= _longest_run(x_TC) < flat
    size_C = x_TC.std(0)
    for c in np.flatnonzero(good_C):
        low, high = AMPLITUDE.get(Kind(int(channels.kind[c])), (0.0, np.inf))
        good_C[c] = channels.unit[c] == "au" or low < size_C[c] < high
    return good_C


def _longest_run(x_TC: NDArray[np.floating]) -> NDArray[np.intp]:
    """Samples of the longest constant run of each channel."""
    n = np.arange(1, len(x_TC))[:, None]
    changed_TC = np.where(np.diff(x_TC, axis=0) != 0, n, 0)
    longest: NDArray[np.intp] = (n - np.maximum.accumulate(changed_TC)).max(0, initial=0) + 1
    return longest
