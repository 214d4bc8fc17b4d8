"""What a clinician's eye measures, step by step: line length and band power of any montage.

Every channel gets log line length and log band powers in each step, as they are and relative to
the channel's own running median over the last ten minutes (which never looks ahead). Channels
are then summed up by median, 90th percentile and maximum, so that patients with other electrodes
have the same features. Shapes: S steps, P samples in a step, C channels, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.data.seizures import seizures_in
from brainfm.data.store import Store
from brainfm.detect.engine import READS
from brainfm.types import WindowRef
from eval.baselines import BANDS_HZ
from eval.seizure.predictions import Prediction

BASELINE_S = 600.0
"""Seconds of the running median; a seizure rarely fills half of it."""
AT_ONCE = 300
"""Steps read at a time: ten minutes of 2 s steps of 60 channels are 40 MB."""
QUANTILES = (0.5, 0.9, 1.0)


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of a recording and what was measured in them.

    Attributes
    ----------
    start_S : first sample of each step; steps lie on one grid from the first sample on, as those
        of detectors do
    time_S : seconds, end of each step
    label_S : True where the step shares time with a seizure
    column_C : columns of the recording that show a brain
    table_SF : features; NaN in steps that cross a gap or lie in it, or without a usable channel
    scale_SC : running median of each channel's standard deviation, in its unit; NaN until the
        channel was usable once
    """

    start_S: NDArray[np.int64]
    time_S: NDArray[np.float64]
    label_S: NDArray[np.bool_]
    column_C: NDArray[np.int64]
    table_SF: NDArray[np.float32]
    scale_SC: NDArray[np.float32]


class StepReader:
    """Measures recordings of a store, each once.

    Parameters
    ----------
    store : Store
    step : samples of a step
    """

    def __init__(self, store: Store, step: int) -> None:
        self.store, self.step = store, step
        self.step_s = step / store.recipe.sfreq
        self._known: dict[int, Steps] = {}

    def __call__(self, row: int) -> Steps:
        """Steps of the recording in table row `row`."""
        if row not in self._known:
            self._known[row] = self._measure(row)
        return self._known[row]

    def _measure(self, row: int) -> Steps:
        store, recipe, step = self.store, self.store.recipe, self.step
        length = int(store.recordings["n_samples"].iat[row])
        start_S = np.arange(0, length - step + 1, step)
        brain = np.flatnonzero(np.isin(store.channels(row).kind, READS))
        bands = usable_bands(recipe.sfreq, recipe.lowpass_hz, step)
        log_SCF = np.full((len(start_S), len(brain), 1 + len(bands)), np.nan, np.float32)
        std_SC = np.full((len(start_S), len(brain)), np.nan, np.float32)
        seen = np.flatnonzero(inside_one(start_S, start_S + step, store.intervals(row)))
        for first in range(0, len(seen), AT_ONCE):
            part = seen[first : first + AT_ONCE]
            x_SPC = np.stack([store.read(WindowRef(row, int(s), step)) for s in start_S[part]])
            log_SCF[part], std_SC[part] = measure(x_SPC[..., brain], recipe.sfreq, bands)
        window = max(1, round(BASELINE_S / self.step_s))
        relative_SCF = log_SCF - running_median(log_SCF, window)
        table_SF = np.concatenate(
            [over_channels(v, q) for v in (log_SCF, relative_SCF) for q in QUANTILES], 1
        )
        time_S = (start_S + step) / recipe.sfreq
        label_S = self._labels(row, time_S)
        scale_SC = running_median(std_SC, window)
        return Steps(start_S, time_S, label_S, brain, table_SF, scale_SC)

    def _labels(self, row: int, time_S: NDArray[np.float64]) -> NDArray[np.bool_]:
        seizures, duration_s = seizures_in(self.store, row), duration_of(self.store, row)
        blank = np.zeros(len(time_S))
        path = str(self.store.path(row))
        return Prediction(path, "", duration_s, self.step_s, time_S, blank, seizures).label_S


def duration_of(store: Store, row: int) -> float:
    """Seconds of a recording."""
    return float(store.recordings["n_samples"].iat[row] / store.recipe.sfreq)


def inside_one(
    start_S: NDArray[np.int64], stop_S: NDArray[np.int64], intervals_K2: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """True for steps that lie in one stretch of signal, whole."""
    inside = np.zeros(len(start_S), bool)
    for a, b in intervals_K2.tolist():
        inside |= (start_S >= a) & (stop_S <= b)
    return inside


def usable_bands(sfreq: float, lowpass_hz: float | None, step: int) -> list[tuple[float, float]]:
    """Delta to gamma, as far as rate and low-pass let them through and a step resolves them."""
    top = min(sfreq / 2, lowpass_hz or np.inf)
    cut = [(lo, min(hi, top)) for lo, hi in BANDS_HZ]
    return [(lo, hi) for lo, hi in cut if hi - lo >= sfreq / step]


def measure(
    x_SPC: NDArray[np.float32], sfreq: float, bands: list[tuple[float, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log10 of line length and band powers (S, C, F), and deviation (S, C), of each channel.

    NaN where a channel is flat or not finite in a step.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x = x_SPC - x_SPC.mean(1, keepdims=True)
        std_SC = x.std(1)
        good_SC = np.isfinite(std_SC) & (std_SC > 0)
        x = np.where(good_SC[:, None], x, 0.0)
        line_SC = np.abs(np.diff(x, axis=1)).mean(1) * sfreq
        taper = np.hanning(x.shape[1])[:, None]
        power_SFC = np.abs(np.fft.rfft(x * taper, axis=1)) ** 2
        hz = np.fft.rfftfreq(x.shape[1], 1 / sfreq)
        band = [power_SFC[:, (hz >= lo) & (hz < hi)].mean(1) for lo, hi in bands]
        log_SCF = np.log10(np.stack([line_SC, *band], -1))
    usable = good_SC & np.isfinite(log_SCF).all(-1)
    return np.where(usable[..., None], log_SCF, np.nan), np.where(usable, std_SC, np.nan)


def running_median(x: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """Median of the last `window` rows, this one included; NaN only where all of them are."""
    flat = pd.DataFrame(x.reshape(len(x), -1))
    return flat.rolling(window, min_periods=1).median().to_numpy(np.float32).reshape(x.shape)


def over_channels(x_SCF: NDArray[np.float32], q: float) -> NDArray[np.float32]:
    """Quantile over the channels that are usable in a step, (S, F); NaN without any."""
    ordered = np.sort(x_SCF, 1)  # NaN comes last
    n_SF = np.isfinite(x_SCF).sum(1)
    place = np.maximum(n_SF - 1, 0) * q
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, np.maximum(n_SF - 1, 0))
    a, b = (np.take_along_axis(ordered, i[:, None], 1)[:, 0] for i in (low, high))
    return np.asarray(a + (place - low) * (b - a), np.float32)
