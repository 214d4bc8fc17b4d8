"""Classification scores with bootstrap intervals over trials or subjects.

One resample is drawn for all seeds of a route, and for both routes of a difference, so that
intervals carry the doubt about the test set and paired differences are really paired.
Shapes: N trials, K classes, R resamples, Z seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRICS = ("balanced_accuracy", "accuracy", "kappa", "macro_f1", "auroc")


def confusion(y_N: ArrayLike, guess_N: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """(K, K) counts, rows true, columns predicted."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (np.asarray(y_N), np.asarray(guess_N)), 1)
    return counts


def scores(y_N: ArrayLike, proba_NK: ArrayLike) -> dict[str, float]:
    """All `METRICS` of one set of predictions.

    Classes that do not occur among `y_N` are left out of the averages over classes; AUROC is
    the mean over classes, one against the rest, and NaN where only one class occurs.
    """
    y, proba = _checked(y_N, proba_NK)
    weights = np.ones((1, len(y)))
    return {m: float(_weighted(m, y, proba, weights)[0]) for m in METRICS}


def resample_weights(
    n: int, n_resamples: int, seed: int, groups: Sequence[Any] | None = None
) -> NDArray[np.float64]:
    """How often each trial is drawn in each resample, (R, N).

    Parameters
    ----------
    groups : one label a trial (a subject, a run); groups are drawn whole. None draws trials
    """
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(float)
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    k = len(names)
    return rng.multinomial(k, np.full(k, 1 / k), size=n_resamples)[:, index].astype(float)


def summarise(
    y_N: ArrayLike,
    proba_ZNK: Sequence[ArrayLike],
    *,
    groups: Sequence[Any] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Mean over seeds, spread over seeds and 95 % bootstrap interval of every metric.

    Parameters
    ----------
    y_N : true classes, 0 to K - 1
    proba_ZNK : predictions of each seed on the same trials
    groups : see `resample_weights`

    Returns
    -------
    metric -> {"mean", "sd" (None for one seed), "low", "high", "seeds": list}
    """
    weights = resample_weights(len(np.asarray(y_N)), n_resamples, seed, groups)
    out: dict[str, dict[str, Any]] = {}
    pairs = [_checked(y_N, p) for p in proba_ZNK]
    for metric in METRICS:
        single = [float(_weighted(metric, y, p, np.ones((1, len(y))))[0]) for y, p in pairs]
        draws_R = np.mean([_weighted(metric, y, p, weights) for y, p in pairs], 0)
        low, high = _interval(draws_R)
        out[metric] = {
            "mean": float(np.mean(single)),
            "sd": float(np.std(single, ddof=1)) if len(single) > 1 else None,
            "low": low,
            "high": high,
            "seeds": single,
        }
    return out


def paired_difference(
    y_N: ArrayLike,
    a_ZNK: Sequence[ArrayLike],
    b_ZNK: Sequence[ArrayLike],
    *,
    metric: str = "balanced_accuracy",
    groups: Sequence[Any] | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> dict[str, float]:
    """Route a minus route b on the same trials, each the mean over its seeds.

    Returns
    -------
    {"difference", "low", "high", "p"}; p is two-sided, the share of resamples on the other
    side of zero, doubled (never below 1 / R).
    """
    weights = resample_weights(len(np.asarray(y_N)), n_resamples, seed, groups)
    one = np.ones((1, weights.shape[1]))

    def mean_of(probas: Sequence[ArrayLike], w: NDArray) -> NDArray:
        return np.mean([_weighted(metric, *_checked(y_N, p), w) for p in probas], 0)

    draws_R = mean_of(a_ZNK, weights) - mean_of(b_ZNK, weights)
    low, high = _interval(draws_R)
    known = draws_R[np.isfinite(draws_R)]
    tail = min(float((known <= 0).mean()), float((known >= 0).mean())) if known.size else 0.5
    return {
        "difference": float((mean_of(a_ZNK, one) - mean_of(b_ZNK, one))[0]),
        "low": low,
        "high": high,
        "p": min(1.0, max(2 * tail, 1 / n_resamples)),
    }


def _checked(y_N: ArrayLike, proba_NK: ArrayLike) -> tuple[NDArray, NDArray]:
    y, proba = np.asarray(y_N, int), np.asarray(proba_NK, float)
    if proba.ndim != 2 or len(y) != len(proba):
        raise ValueError(f"{len(y)} labels but predictions of shape {proba.shape}")
    if not np.isfinite(proba).all():
        raise ValueError("predictions hold NaN or infinity; the decoder has diverged")
    if y.min() < 0 or y.max() >= proba.shape[1]:
        raise ValueError(f"label {int(y.max())} has no column among {proba.shape[1]}")
    return y, proba


def _interval(draws_R: NDArray) -> tuple[float, float]:
    known = draws_R[np.isfinite(draws_R)]
    if known.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _weighted(metric: str, y_N: NDArray, proba_NK: NDArray, w_RN: NDArray) -> NDArray:
    """One metric for every row of weights, (R,)."""
    if metric == "auroc":
        return _auroc(y_N, proba_NK, w_RN)
    k = proba_NK.shape[1]
    cell_N = y_N * k + proba_NK.argmax(1)
    counts = np.zeros((len(w_RN), k * k))
    for c in np.unique(cell_N):
        counts[:, c] = w_RN[:, cell_N == c].sum(1)
    m_RKK = counts.reshape(-1, k, k)
    hit_RK = np.einsum("rkk->rk", m_RKK)
    true_RK, guess_RK, n_R = m_RKK.sum(2), m_RKK.sum(1), m_RKK.sum((1, 2))
    there_RK = true_RK > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric == "accuracy":
            return hit_RK.sum(1) / n_R
        if metric == "balanced_accuracy":
            return _mean_over(hit_RK / true_RK, there_RK)
        if metric == "macro_f1":
            return _mean_over(2 * hit_RK / (true_RK + guess_RK), there_RK | (guess_RK > 0))
        if metric == "kappa":
            chance_R = (true_RK * guess_RK).sum(1) / n_R**2
            seen_R = hit_RK.sum(1) / n_R
            return np.where(chance_R < 1, (seen_R - chance_R) / (1 - chance_R), 0.0)
    raise ValueError(f"metric '{metric}' is none of {', '.join(METRICS)}")


def _mean_over(value_RK: NDArray, there_RK: NDArray) -> NDArray:
    return np.where(there_RK, value_RK, 0.0).sum(1) / there_RK.sum(1)


def _auroc(y_N: NDArray, proba_NK: NDArray, w_RN: NDArray) -> NDArray:
    """Weighted rank statistic; ties count one half."""
    per_class = []
    classes = range(proba_NK.shape[1])
    # With two classes both columns say the same.
    for k in classes if len(classes) > 2 else (1,):
        level = np.unique(proba_NK[:, k], return_inverse=True)[1]
        n_levels = int(level.max()) + 1
        positive = y_N == k
        pos = np.zeros((len(w_RN), n_levels))
        neg = np.zeros((len(w_RN), n_levels))
        np.add.at(pos.T, level[positive], w_RN[:, positive].T)
        np.add.at(neg.T, level[~positive], w_RN[:, ~positive].T)
        below = np.cumsum(neg, 1) - neg
        with np.errstate(invalid="ignore", divide="ignore"):
            total = pos.sum(1) * neg.sum(1)
            per_class.append(
                (pos * (below + 0.5 * neg)).sum(1) / np.where(total > 0, total, np.nan)
            )
    stacked = np.stack(per_class)
    there = np.isfinite(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(there, stacked, 0).sum(0) / np.where(there.any(0), there.sum(0), np.nan)
