"""Operating points: the threshold as it comes, the best, and the one that lets people sleep.

Thresholds are chosen on validation patients and never on those who are tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.detect.alarms import AlarmRule
from eval.seizure.counts import count_events, values_of
from eval.seizure.predictions import Prediction, require_disjoint

FIXED, BEST, QUIET = "0.5", "best F1", "1 FP/day"
POINTS = (FIXED, BEST, QUIET)
FP_PER_DAY = 1.0
"""The limit of `QUIET`: false alarms a day that people were ready to live with."""

LOWEST, HIGHEST = 0.001, 0.999
"""Thresholds tried lie between these."""


@dataclass(frozen=True)
class Point:
    """A threshold and how it came about.

    Attributes
    ----------
    name : of `POINTS`
    threshold : probability from which on (smoothed) there is an alarm
    sentence : how it was chosen, or why that is not what its name promises
    chosen : False where there was nobody to choose it on, or nothing met the condition
    """

    name: str
    threshold: float
    sentence: str
    chosen: bool = True


def grid(predictions: Sequence[Prediction], n: int = 40) -> NDArray[np.float64]:
    """Thresholds worth trying: .5, even steps, and quantiles of the probabilities, more of them
    near the top, where 1 to 5 % of the time lie that are seizures.
    """
    tried = [0.5, *np.linspace(0.05, 0.95, 19), LOWEST, 0.01, 0.99, HIGHEST]
    known = [p.proba_S[p.known_S] for p in predictions]
    if sum(map(len, known)):
        tried += np.quantile(np.concatenate(known), 1 - np.geomspace(1e-4, 1, n)).tolist()
    return np.unique(np.round(np.clip(tried, LOWEST, HIGHEST), 4))


def sweep(
    predictions: Sequence[Prediction], rule: AlarmRule, thresholds: NDArray[np.float64]
) -> pd.DataFrame:
    """Pooled event scores at each threshold: F1, sensitivity, FP/day and their counts."""
    rows = []
    for t in thresholds:
        here = replace(rule, threshold=float(t))
        total = sum((Counter(count_events(p, here)) for p in predictions), Counter())
        counts = {k: total[k] for k in ("tp", "fp", "ref", "seconds")}  # a sum drops zeros
        values = {k: float(v) for k, v in values_of(counts).items()}
        rows.append({"threshold": float(t), **counts, **values})
    return pd.DataFrame(rows)


def operating_points(
    test: Sequence[Prediction], validation: Sequence[Prediction], rule: AlarmRule
) -> dict[str, Point]:
    """The three points of a model; without validation patients, all are at 0.5 and say so.

    Raises
    ------
    DataError
        If a tested patient is among the validation patients.
    """
    require_disjoint(test, validation)
    fixed = Point(FIXED, 0.5, "threshold 0.5, chosen by nobody")
    if not validation:
        sentence = "no validation patients to choose a threshold on: left at 0.5"
        return {FIXED: fixed, **{n: Point(n, 0.5, sentence, False) for n in (BEST, QUIET)}}
    table = sweep(validation, rule, grid(validation))
    who = f"{len({p.subject for p in validation})} validation patients"
    return {FIXED: fixed, BEST: best_f1(table, who), QUIET: quiet(table, who)}


def best_f1(table: pd.DataFrame, who: str = "validation patients") -> Point:
    """The threshold of the highest pooled event F1; of several, the middle of the longest run."""
    f1 = table["f1"].fillna(-1.0).to_numpy()
    if table["ref"].iloc[0] == 0:
        return Point(BEST, 0.5, f"no seizure among {who}: left at 0.5", False)
    top = f1 >= f1.max() - 1e-12
    edges = np.flatnonzero(np.diff(np.concatenate([[False], top, [False]]).astype(int)))
    start, stop = max(edges.reshape(-1, 2), key=lambda run: run[1] - run[0])
    threshold = float(table["threshold"].iloc[(start + stop - 1) // 2])
    sentence = f"highest event F1 ({f1.max():.2f}) on {who}"
    return Point(BEST, threshold, sentence)


def quiet(table: pd.DataFrame, who: str = "validation patients") -> Point:
    """The lowest threshold from which on there is at most one false alarm a day.

    Counts do not fall steadily (alarms merge as they grow), hence "from which on". Less than a
    day of recordings cannot show one false alarm a day: then none is allowed.
    """
    hours = float(table["seconds"].iloc[0]) / 3600
    allowed = int(np.floor(hours / 24 * FP_PER_DAY + 1e-9))
    fine = (table["fp"].to_numpy() <= allowed)[::-1]
    n_fine = len(fine) if fine.all() else int(np.argmin(fine))
    limit = f"{allowed} false alarm{'s' * (allowed != 1)} in {hours:.1f} h of {who}"
    if hours < 24:
        limit += " (less than a day cannot show 1 FP/day, so none is allowed)"
    if n_fine == 0:
        return Point(
            QUIET, HIGHEST, f"no threshold keeps to at most {limit}: set to the highest", False
        )
    threshold = float(table["threshold"].iloc[len(fine) - n_fine])
    return Point(QUIET, threshold, f"lowest with at most {limit}")


def as_dict(point: Point) -> dict[str, Any]:
    """For report.json."""
    return {"threshold": point.threshold, "how": point.sentence, "chosen": point.chosen}
