"""From alarms to tables: counts of each patient, ratios of counts, and three ways to average.

Everything additive is kept as a count per patient, so that a resample of patients is a product
of matrices. Shapes: N patients, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.detect.alarms import AlarmRule
from eval.seizure.events import latencies, length_s, ratios, score_events, score_samples
from eval.seizure.predictions import Prediction

Values = Mapping[str, NDArray[np.float64]]

WAYS = ("macro", "szcore", "pooled")
"""macro: mean over patients; precision is 0 where a patient's seizures brought no alarm at all,
and patients without seizures count in rates of false alarms, not in what is about seizures.
szcore: mean over all patients with NaN left out (SzCORE-compatible): whoever had no alarm drops
out of the mean precision, and a seizure-free patient with a false alarm has F1 0.
pooled: counts of all patients added up first."""

ABOUT_SEIZURES = ("sensitivity", "precision", "f1")
"""Metrics that end in these are about patients who have seizures; kappa is, too."""


def count_events(p: Prediction, rule: AlarmRule) -> dict[str, float]:
    """SzCORE counts of one recording; what a sweep over thresholds needs."""
    score = score_events(p.spans, p.alarms(rule), p.duration_s)
    return {"tp": score.tp, "fp": score.fp, "ref": score.ref_true, "seconds": p.duration_s}


def count(p: Prediction, rule: AlarmRule) -> dict[str, float]:
    """Everything that is counted in one recording.

    Windows are alarmed where the probability itself reaches the rule's threshold; smoothing and
    the shortest alarm belong to events.
    """
    raised = p.alarms(rule)
    tolerant = score_events(p.spans, raised, p.duration_s)
    strict = score_events(p.spans, raised, p.duration_s, tolerant=False)
    sample = score_samples(p.spans, raised, p.duration_s)
    y, known = p.label_S, p.known_S
    on = known & (np.nan_to_num(p.proba_S, nan=-1.0) >= rule.threshold)
    possible = int(p.duration_s / p.step_s + 1e-6)
    return {
        "tp": tolerant.tp,
        "fp": tolerant.fp,
        "ref": tolerant.ref_true,
        "tp_strict": strict.tp,
        "seizures": len(p.spans),
        "seconds": p.duration_s,
        "interictal_s": p.duration_s - length_s(p.spans),
        "alarm_s": length_s(raised),
        "sample_tp": sample.tp,
        "sample_fp": sample.fp,
        "sample_ref": sample.ref_true,
        "window_tp": int((on & y).sum()),
        "window_fp": int((on & ~y).sum()),
        "window_fn": int((known & ~on & y).sum()),
        "window_tn": int((known & ~on & ~y).sum()),
        "steps": possible,
        "unseen": max(0, possible - int(known.sum())),
    }


def by_subject(predictions: Sequence[Prediction], rule: AlarmRule) -> pd.DataFrame:
    """Counts added up over the recordings of each patient, patients in order of name."""
    rows = [{"subject": p.subject, **count(p, rule)} for p in predictions]
    return pd.DataFrame(rows).groupby("subject", sort=True).sum().astype(float)


def latency_table(predictions: Sequence[Prediction], rule: AlarmRule) -> pd.DataFrame:
    """One row a seizure: patient, and seconds to its first alarm (NaN: missed)."""
    rows = [
        {"subject": p.subject, "latency_s": s}
        for p in predictions
        for s in latencies(p.spans, p.alarms(rule), p.delay_s(rule))
    ]
    return pd.DataFrame(rows, columns=["subject", "latency_s"]).astype({"latency_s": float})


def values_of(c: Mapping[str, Any]) -> dict[str, NDArray[np.float64]]:
    """Ratios of counts, elementwise: of patients, or of resamples.

    `fp_per_hour` and `fp_per_day` divide by all hours, `fp_per_interictal_hour` by those outside
    seizures. A ratio without a denominator is NaN.
    """
    c = {k: np.asarray(v, float) for k, v in c.items()}
    sensitivity, precision, f1 = ratios(c["tp"], c["fp"], c["ref"])
    out = {"sensitivity": sensitivity, "precision": precision, "f1": f1}
    hours = c["seconds"] / 3600
    with np.errstate(invalid="ignore", divide="ignore"):
        out["fp_per_hour"] = c["fp"] / hours
        out["fp_per_day"] = 24 * c["fp"] / hours
        if "tp_strict" not in c:
            return out
        out["sensitivity_strict"] = ratios(c["tp_strict"], c["fp"], c["ref"])[0]
        free = c["interictal_s"] / 3600
        out["fp_per_interictal_hour"] = np.where(free > 0, c["fp"] / free, np.nan)
        sample = ratios(c["sample_tp"], c["sample_fp"], c["sample_ref"])
        for name, value in zip(("sensitivity", "precision", "f1"), sample, strict=True):
            out[f"sample_{name}"] = value
        out["warning"] = c["alarm_s"] / c["seconds"]
        out["no_signal"] = np.where(c["steps"] > 0, c["unseen"] / c["steps"], np.nan)
        tp, fp, fn, tn = (c[f"window_{k}"] for k in ("tp", "fp", "fn", "tn"))
        n = tp + fp + fn + tn
        out["window_f1"] = np.where(tp + fp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2
        out["kappa"] = np.where(chance < 1, ((tp + tn) / n - chance) / (1 - chance), np.nan)
    return out


def averages(counts: pd.DataFrame, weight_RN: NDArray[np.float64]) -> dict[str, Values]:
    """Ratios averaged in all three `WAYS`, for every row of weights of patients.

    Parameters
    ----------
    counts : of `by_subject`
    weight_RN : how often each patient is drawn; one row of ones for the value itself

    Returns
    -------
    way -> metric -> (R,)
    """
    columns = {k: counts[k].to_numpy() for k in counts}
    each = values_of(columns)
    mean = {name: weighted_mean(value, weight_RN) for name, value in each.items()}
    macro = dict(mean)
    ill = columns["ref"] > 0
    for name, value in each.items():
        if name == "kappa" or name.endswith(ABOUT_SEIZURES):
            silent = np.isnan(value) & name.endswith("precision")
            macro[name] = weighted_mean(
                np.where(ill, np.where(silent, 0, value), np.nan), weight_RN
            )
    pooled = values_of({k: weight_RN @ v for k, v in columns.items()})
    return {"macro": macro, "szcore": mean, "pooled": pooled}


def weighted_mean(value_N: NDArray[Any], weight_RN: NDArray[Any]) -> NDArray[np.float64]:
    """Mean over the patients whose value is known, (R,); NaN where nobody's is."""
    known = np.isfinite(value_N)
    total = weight_RN[:, known].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        summed = weight_RN[:, known] @ value_N[known]
        return np.asarray(np.where(total > 0, summed / total, np.nan))
