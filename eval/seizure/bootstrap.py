"""Intervals over patients: whoever was recorded is what a study is uncertain about.

Shapes: N patients, R resamples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics.classification import resample_weights

FEW = 5
"""Below so many patients an interval says little, and the report says that."""


def weights(n_subjects: int, n_resamples: int, seed: int) -> NDArray[np.float64]:
    """How often each patient is drawn, (R, N); the same for all models, so differences are paired.

    One patient cannot be resampled: then there are no rows, and no intervals.
    """
    if n_subjects < 2:
        return np.zeros((0, n_subjects))
    return resample_weights(n_subjects, n_resamples, seed)


def summary(values: NDArray[np.float64], draws_R: NDArray[np.float64]) -> dict[str, Any]:
    """Mean over runs, their deviation, and the 95 % interval of the mean over runs.

    Parameters
    ----------
    values : one a run (seed)
    draws_R : mean over runs in each resample
    """
    low, high = interval(draws_R)
    many = len(values) > 1
    return {
        "mean": float(np.mean(values)),
        "sd": float(np.std(values, ddof=1)) if many else None,
        "low": low,
        "high": high,
        **({"runs": [float(v) for v in values]} if many else {}),
    }


def interval(draws_R: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """2.5 and 97.5 % quantiles of the draws that are defined; None without any."""
    known = draws_R[np.isfinite(draws_R)]
    if not len(known):
        return None, None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def difference(a: float, b: float, a_R: NDArray[np.float64], b_R: NDArray[np.float64]) -> dict:
    """A - b with its interval over the same resamples; p two-sided, doubled smaller tail."""
    draws_R = a_R - b_R
    low, high = interval(draws_R)
    known = draws_R[np.isfinite(draws_R)]
    p = None
    if len(known):
        tail = min(float((known <= 0).mean()), float((known >= 0).mean()))
        p = min(1.0, max(2 * tail, 1 / len(known)))
    return {"difference": float(a - b), "low": low, "high": high, "p": p}
