"""An outside judge: the seizure network of `brainmaze-eeg-models`, where it is installed.

A CNN and BiLSTM on spectrograms of single intracranial channels (Sladky et al. 2022, Brain
Communications 4(3), fcac115; the package is BSD-3 and runs on ONNX). It was trained elsewhere, is
not fitted here, and hears both directions of 300 s, so it is no alarm: it says how hard the
recordings are. Shapes: S steps, C channels, T samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.detect.score import Scores
from brainfm.types import WindowRef
from eval.seizure.baselines import scores
from eval.seizure.features import StepReader, duration_of

PACKAGE = "brainmaze_eeg_models"
MISSING = (
    "The outside judge is not in the tables: brainmaze-eeg-models is not installed "
    "(pip install brainmaze-eeg-models==0.1.0)."
)
CAVEAT = (
    "The outside judge was trained on intracranial recordings of other people, is not fitted here "
    "and looks at 300 s in both directions: its row says how hard the recordings are, not what an "
    "alarm could do."
)
FS = 200
"""Hz, the lowest rate the network takes; slower recordings lack the bins above their own."""
SHORTEST_S, WINDOW_S, STRIDE_S = 60.0, 300.0, 140.0
"""The network wants 300 s; shorter recordings get one window of their own length. Windows come
every 140 s instead of the published 20, which is seven times faster."""


def installed() -> bool:
    """Whether the package and its runtime can be imported."""
    return find_spec(PACKAGE) is not None and find_spec("onnxruntime") is not None


class OutsideJudge:
    """Mean over channels of the network's probability, resampled to the steps of the others."""

    name = "outside judge (brainmaze)"

    def fit(self, reader: StepReader, rows: Sequence[int]) -> OutsideJudge:
        return self

    def applies(self, reader: StepReader, rows: Sequence[int]) -> bool:
        """Whether every recording is long enough."""
        return all(duration_of(reader.store, r) >= SHORTEST_S for r in rows)

    def predict(self, reader: StepReader, row: int) -> Scores:
        from brainmaze_eeg_models.seizure import (
            load_trained_model,
            predict_channel_seizure_probability,
        )

        model = load_trained_model("modelA", threads=1)
        store, sfreq = reader.store, reader.store.recipe.sfreq
        length = int(store.recordings["n_samples"].iat[row])
        stored, scale = store.read_stored(WindowRef(row, 0, length))
        inside = np.zeros(length, bool)
        for a, b in store.intervals(row).tolist():
            inside[a:b] = True
        window_s = min(WINDOW_S, math.floor(2 * (length / sfreq - 0.5)) / 2)
        total = count = 0.0
        for c in reader(row).column_C:
            x_T = stored[:, c].astype(float) * (1.0 if scale is None else float(scale[c]))
            half_s, p = predict_channel_seizure_probability(
                at_rate(np.where(inside, x_T, np.nan), sfreq),
                rate_for(sfreq),
                model=model,
                window_s=window_s,
                step_s=min(STRIDE_S, math.floor(2 * (window_s - 20.5)) / 2),
                n_batch=16,
            )
            known = np.isfinite(p)
            total, count = total + np.where(known, p, 0.0), count + known
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count > 0, total / count, np.nan)
        return scores(reader, row, on_steps(half_s, mean, reader(row).time_S, reader.step_s))


def rate_for(sfreq: float) -> int:
    """The recording's own rate where the network takes it, else 200 Hz."""
    fine = sfreq >= FS and sfreq == int(sfreq) and int(sfreq) % 2 == 0
    return int(sfreq) if fine else FS


def at_rate(x_T: NDArray[np.float64], sfreq: float) -> NDArray[np.float64]:
    """The signal at `rate_for` its rate; missing samples stay missing, and stain no others."""
    from scipy.signal import resample_poly

    rate = rate_for(sfreq)
    if rate == sfreq:
        return x_T
    ratio = Fraction(rate / sfreq).limit_denominator(10_000)
    missing = ~np.isfinite(x_T)
    y = resample_poly(np.where(missing, 0.0, x_T), ratio.numerator, ratio.denominator)
    at = np.minimum((np.arange(len(y)) * sfreq / rate).astype(int), len(x_T) - 1)
    return np.where(missing[at], np.nan, y)


def on_steps(
    half_s: NDArray[Any], p: NDArray[Any], time_S: NDArray[Any], step_s: float
) -> NDArray[np.float64]:
    """Mean of the half-second values whose centre lies in each step (its end is its own)."""
    known = np.isfinite(p)
    edges = np.stack([time_S - step_s, time_S])
    last = np.searchsorted(half_s, edges + 1e-9, side="left")
    total = np.concatenate([[0.0], np.cumsum(np.where(known, p, 0.0))])
    count = np.concatenate([[0.0], np.cumsum(known)])
    n = count[last[1]] - count[last[0]]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, (total[last[1]] - total[last[0]]) / n, np.nan)
