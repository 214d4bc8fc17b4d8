"""Window by window, without a threshold: AUROC, AUPRC, Brier score and calibration.

Shapes: N patients, S windows, K levels of probability, R resamples, B bins of the reliability
plot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.seizure.counts import weighted_mean
from eval.seizure.predictions import Prediction

BINS = 10
"""Of equal width, in the reliability plot and the expected calibration error."""
LEVELS = np.union1d(np.linspace(0, 1, 200), 1 - np.geomspace(1e-5, 1, 200))
"""Quantiles of the probabilities between which resamples of the pooled AUROC and AUPRC do not
tell windows apart, finer at the top, where the seizures are. The values themselves use every
level."""

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Windows:
    """All judged windows of a model, and per patient what resampling needs.

    Attributes
    ----------
    y_S, p_S, subject_S : truth, probability, index of the patient
    n_subjects : N
    """

    y_S: NDArray[np.bool_]
    p_S: Array
    subject_S: NDArray[np.int64]
    n_subjects: int

    @classmethod
    def of(cls, predictions: Sequence[Prediction]) -> Windows:
        """Windows with a signal; patients in order of name, as in the counts."""
        names = sorted({p.subject for p in predictions})
        parts = [(p.label_S, p.proba_S, p.known_S, names.index(p.subject)) for p in predictions]
        return cls(
            np.concatenate([y[k] for y, _, k, _ in parts]),
            np.concatenate([x[k] for _, x, k, _ in parts]),
            np.concatenate([np.full(int(k.sum()), i) for _, _, k, i in parts]),
            len(names),
        )

    def values(self, weight_RN: Array) -> dict[str, dict[str, Array]]:
        """AUROC, AUPRC, Brier and ECE, "macro" and "pooled", for each row of weights, (R,)."""
        by_patient = np.full((4, self.n_subjects), np.nan)
        for i in range(self.n_subjects):
            mine = self.subject_S == i
            if mine.any():
                y, p = self.y_S[mine], self.p_S[mine]
                by_patient[:2, i] = np.ravel(rank_scores(*histogram(y, p)))
                by_patient[2, i] = ((p - y) ** 2).mean()
                by_patient[3, i] = calibration_error(reliability(y, p))
        names = ("auroc", "auprc", "brier", "ece")
        macro = {n: weighted_mean(v, weight_RN) for n, v in zip(names, by_patient, strict=True)}
        return {"macro": macro, "pooled": self._pooled(weight_RN)}

    def _pooled(self, weight_RN: Array) -> dict[str, Array]:
        if len(weight_RN) == 1 and (weight_RN == 1).all():
            levels = np.unique(self.p_S, return_inverse=True)[1]
        else:
            edges = np.unique(np.quantile(self.p_S, LEVELS)) if len(self.p_S) else np.zeros(0)
            levels = np.searchsorted(edges, self.p_S, side="right")
        pos_NK, neg_NK = (
            _count(self.subject_S, levels, self.n_subjects, mask) for mask in (self.y_S, ~self.y_S)
        )
        auroc, auprc = rank_scores(weight_RN @ pos_NK, weight_RN @ neg_NK)
        error_N = np.bincount(self.subject_S, (self.p_S - self.y_S) ** 2, self.n_subjects)
        n_N = np.bincount(self.subject_S, minlength=self.n_subjects)
        bins = _bin_of(self.p_S)
        bins_N3B = np.stack(
            [
                _count(self.subject_S, bins, self.n_subjects, w, BINS)
                for w in (np.ones(len(bins)), self.p_S, self.y_S)
            ],
            1,
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            brier = (weight_RN @ error_N) / (weight_RN @ n_N)
        bins_R3B = np.tensordot(weight_RN, bins_N3B, 1)
        return {"auroc": auroc, "auprc": auprc, "brier": brier, "ece": calibration_error(bins_R3B)}


def histogram(y_S: NDArray[Any], p_S: NDArray[Any]) -> tuple[Array, Array]:
    """Positive and negative windows at each level of probability, both (1, K)."""
    levels = np.unique(p_S, return_inverse=True)[1]
    one = np.zeros(len(levels), int)
    y = np.asarray(y_S, bool)
    return _count(one, levels, 1, y), _count(one, levels, 1, ~y)


def rank_scores(pos_RK: Array, neg_RK: Array) -> tuple[Array, Array]:
    """AUROC (ties one half) and AUPRC (average precision), (R,); NaN with one class only.

    Parameters
    ----------
    pos_RK, neg_RK : how many windows of each class have each level, levels ascending
    """
    n_pos, n_neg = pos_RK.sum(1), neg_RK.sum(1)
    below_RK = np.cumsum(neg_RK, 1) - neg_RK
    with np.errstate(invalid="ignore", divide="ignore"):
        auroc = (pos_RK * (below_RK + 0.5 * neg_RK)).sum(1) / (n_pos * n_neg)
        hit_RK = np.cumsum(pos_RK[:, ::-1], 1)
        false_RK = np.cumsum(neg_RK[:, ::-1], 1)
        precision_RK = np.where(hit_RK > 0, hit_RK / (hit_RK + false_RK), 0.0)
        auprc = (pos_RK[:, ::-1] * precision_RK).sum(1) / n_pos
    both = (n_pos > 0) & (n_neg > 0)
    return np.where(both, auroc, np.nan), np.where(both, auprc, np.nan)


def reliability(y_S: NDArray[Any], p_S: NDArray[Any]) -> Array:
    """(3, B): windows in each bin, sum of their probabilities, and seizures among them."""
    bins = _bin_of(p_S)
    return np.stack(
        [np.bincount(bins, w, BINS) for w in (np.ones(len(bins)), p_S, np.asarray(y_S, float))]
    )


def calibration_error(bins_3B: Array) -> Any:
    """Expected calibration error: |mean probability - share of seizures|, weighted by bins.

    Parameters
    ----------
    bins_3B : of `reliability`; axes before the last two stay
    """
    n, p, y = np.moveaxis(bins_3B, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.abs(p - y).sum(-1) / n.sum(-1)


def _bin_of(p_S: NDArray[Any]) -> NDArray[np.int64]:
    return np.minimum((np.asarray(p_S) * BINS).astype(np.int64), BINS - 1)


def _count(
    subject_S: NDArray[Any], level_S: NDArray[Any], n: int, weight_S: Any, k: int | None = None
) -> Array:
    """Sum of weights by patient and level, (N, K)."""
    k = k or (int(level_S.max()) + 1 if len(level_S) else 1)
    flat = np.bincount(subject_S * k + level_S, np.asarray(weight_S, float), n * k)
    return flat.reshape(n, k)
