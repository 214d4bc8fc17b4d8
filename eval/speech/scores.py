"""Scores of windows as table cells: means over patients or pooled, intervals, paired differences.

What is resampled is the coarsest of patients, sentences and windows of which there are at least
`FEW`; all systems are resampled alike, so differences are paired.
Shapes: N windows, P patients, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics.classification import resample_weights
from eval.seizure.bootstrap import FEW, difference, summary

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """What a column counts.

    Attributes
    ----------
    pooled : all errors by all units; otherwise the mean over patients of their own shares
    lower : whether less is better
    """

    name: str
    pooled: bool = False
    lower: bool = False


@dataclass(frozen=True, eq=False)
class Groups:
    """Whose window each one is.

    Attributes
    ----------
    patient_N, sentence_N : names
    """

    patient_N: NDArray[Any]
    sentence_N: NDArray[Any]

    @property
    def over(self) -> str:
        """What is resampled."""
        for name, labels in (("patients", self.patient_N), ("sentences", self.sentence_N)):
            if len(set(labels)) >= FEW:
                return name
        return "windows"

    def weights(self, n_resamples: int, seed: int) -> Array:
        """How often each window is drawn in each resample, (R, N); the same for all systems."""
        labels = {"patients": self.patient_N, "sentences": self.sentence_N}.get(self.over)
        n = len(self.patient_N)
        return resample_weights(n, n_resamples if n > 1 else 0, seed, labels)


@dataclass(frozen=True, eq=False)
class Counts:
    """What a system got of each window, and out of how much.

    Attributes
    ----------
    got_N : hits, errors or correlations
    of_N : units they are out of
    """

    got_N: Array
    of_N: Array

    @classmethod
    def each(cls, got_N: Any) -> Counts:
        """One unit a window."""
        got_N = np.asarray(got_N, np.float64)
        return cls(got_N, np.ones(len(got_N)))


def values(counts: Counts, groups: Groups, metric: Metric, w_RN: Array) -> Array:
    """The metric in each resample, (R,)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if metric.pooled:
            return (w_RN @ counts.got_N) / (w_RN @ counts.of_N)
        of_patient_NP = _one_hot(groups.patient_N)
        rate_RP = (w_RN @ (counts.got_N[:, None] * of_patient_NP)) / (
            w_RN @ (counts.of_N[:, None] * of_patient_NP)
        )
        draws_RP = (w_RN @ of_patient_NP) / of_patient_NP.sum(0)
        if groups.over != "patients":  # then every patient counts as much as in the whole
            draws_RP = (draws_RP > 0).astype(float)
        return np.where(draws_RP > 0, rate_RP * draws_RP, 0).sum(1) / draws_RP.sum(1)


def by_patient(runs: Sequence[Counts], groups: Groups) -> dict[str, float]:
    """The metric of each patient, mean over seeds."""
    mean = _mean(runs)
    return {
        str(p): float(mean.got_N[mine].sum() / mean.of_N[mine].sum())
        for p in sorted(set(groups.patient_N))
        for mine in (groups.patient_N == p,)
    }


def summarise(runs: Sequence[Counts], groups: Groups, metric: Metric, w_RN: Array) -> dict:
    """{"mean", "sd", "low", "high"} of the seeds of one system."""
    one = np.ones((1, len(groups.patient_N)))
    each = np.array([values(c, groups, metric, one)[0] for c in runs])
    return summary(each, values(_mean(runs), groups, metric, w_RN))


def compare(
    a: Sequence[Counts], b: Sequence[Counts], groups: Groups, metric: Metric, w_RN: Array
) -> dict:
    """System a less system b on the same windows: {"difference", "low", "high", "p"}."""
    one = np.ones((1, len(groups.patient_N)))
    first, second = _mean(a), _mean(b)
    return difference(
        float(values(first, groups, metric, one)[0]),
        float(values(second, groups, metric, one)[0]),
        values(first, groups, metric, w_RN),
        values(second, groups, metric, w_RN),
    )


def _mean(runs: Sequence[Counts]) -> Counts:
    # The units are those of the reference, the same for all seeds.
    return Counts(np.mean([c.got_N for c in runs], 0), runs[0].of_N)


def _one_hot(labels_N: NDArray[Any]) -> Array:
    names, index = np.unique(labels_N, return_inverse=True)
    return np.eye(len(names))[index]
