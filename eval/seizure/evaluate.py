"""From predictions to everything a report says: one pure function of arrays.

Shapes: N patients, R resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.detect.alarms import AlarmRule
from brainfm.errors import DataError
from eval.seizure.bootstrap import FEW, difference, summary, weights
from eval.seizure.counts import WAYS, averages, by_subject, latency_table, values_of
from eval.seizure.points import POINTS, as_dict, grid, operating_points, sweep
from eval.seizure.predictions import Prediction, require_same_windows
from eval.seizure.windows import Windows, reliability

Array = NDArray[np.float64]
Group = Mapping[str, Sequence[Prediction]]

COMPARED = (
    ("f1", "macro"),
    ("f1", "pooled"),
    ("sensitivity", "macro"),
    ("fp_per_day", "pooled"),
    ("auroc", "macro"),
    ("auprc", "macro"),
)
"""Metrics whose paired differences are reported, and how each is averaged."""


def evaluate(
    predictions: Group,
    validation: Group | None = None,
    *,
    rule: AlarmRule | None = None,
    reference: str | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Score models on the same recordings.

    Parameters
    ----------
    predictions : run -> predictions of the tested recordings. Runs "name#1", "name#2", ... are
        one model in several seeds: its values are means over them
    validation : the same runs on other patients, for the thresholds
    rule : how probabilities become alarms; its threshold is replaced. Default: `AlarmRule()`
    reference : model that the others are subtracted from. Default: the first
    n_resamples, seed : of patients
    say : told what is being done

    Returns
    -------
    dict with "rows" (one a model and operating point), "subjects" (besides, one a patient),
    "points", "sweep", "reliability", "differences", "data" and "sentences"

    Raises
    ------
    DataError
        If a tested patient is a validation patient, or runs judged different windows.
    """
    if not predictions:
        raise DataError("no model to score; name a checkpoint, or ask for baselines")
    require_same_windows(predictions)
    validation = {name: val for name, val in (validation or {}).items() if val}
    if validation:
        require_same_windows(validation)
    rule = rule or AlarmRule()
    models = models_of(predictions)
    first = next(iter(predictions.values()))
    subjects = sorted({p.subject for p in first})
    one, draws = np.ones((1, len(subjects))), weights(len(subjects), n_resamples, seed)
    runs = {}
    for name, mine in predictions.items():
        say(f"scoring {name}")
        runs[name] = _run(mine, validation.get(name, ()), rule, one, draws)
    rows = [_row(m, names, runs, point) for m, names in models.items() for point in POINTS]
    reference = reference or next(iter(models))
    if reference not in models:
        raise DataError(f"no model '{reference}' to compare with; there is {', '.join(models)}")
    return {
        "models": {m: len(names) for m, names in models.items()},
        "reference": reference,
        "rows": rows,
        "subjects": [r for m, names in models.items() for r in _subjects(m, names, runs)],
        "points": {
            name: {n: as_dict(p) for n, p in r["points"].items()} for name, r in runs.items()
        },
        "sweep": {m: _sweep(runs[names[0]]["sweep"]) for m, names in models.items()},
        "reliability": {
            m: np.mean([runs[n]["reliability"] for n in names], 0) for m, names in models.items()
        },
        "differences": [
            _difference(reference, other, models, runs, point, metric, way)
            for other in models
            if other != reference
            for point in POINTS
            for metric, way in COMPARED
            # Rank scores have no operating point.
            if point == POINTS[0] or metric not in ("auroc", "auprc")
        ],
        "rule": {"smooth_s": rule.smooth_s, "min_s": rule.min_s, "merge_s": rule.merge_s},
        "data": data_of(first, next(iter(validation.values()), ())),
        "sentences": sentences(first, next(iter(validation.values()), ()), n_resamples),
    }


def models_of(names: Any) -> dict[str, list[str]]:
    """Model -> its runs: "a#1" and "a#2" are two seeds of "a"."""
    models: dict[str, list[str]] = {}
    for name in names:
        models.setdefault(name.partition("#")[0], []).append(name)
    return models


def _run(
    mine: Sequence[Prediction], val: Sequence[Prediction], rule: AlarmRule, one: Array, draws: Array
) -> dict[str, Any]:
    """Everything about one run: thresholds, values, resamples, patients."""
    points = operating_points(mine, val, rule)
    windows = Windows.of(mine)
    free, free_R = windows.values(one), windows.values(draws) if len(draws) else None
    at: dict[str, Any] = {}
    for name, point in points.items():
        here = replace(rule, threshold=point.threshold)
        counts = by_subject(mine, here)
        value, value_R = averages(counts, one), averages(counts, draws)
        for way in ("macro", "pooled"):
            value[way] = {**value[way], **free[way]}
            empty = dict.fromkeys(free[way], np.zeros(0))
            value_R[way] = {**value_R[way], **(free_R[way] if free_R else empty)}
        at[name] = {
            "counts": counts,
            "value": {w: {k: float(v[0]) for k, v in value[w].items()} for w in WAYS},
            "draws": value_R,
            "latency": latency_table(mine, here),
        }
    return {
        "points": points,
        "at": at,
        "sweep": sweep(mine, rule, grid(mine, 25)),
        "reliability": reliability(windows.y_S, windows.p_S),
    }


def _row(model: str, names: list[str], runs: dict[str, Any], point: str) -> dict[str, Any]:
    """A model at an operating point: way -> metric -> summary, and counts over all patients."""
    here = [runs[n]["at"][point] for n in names]
    out: dict[str, Any] = {
        "model": model,
        "point": point,
        "runs": len(names),
        "threshold": float(np.mean([runs[n]["points"][point].threshold for n in names])),
        "chosen": all(runs[n]["points"][point].chosen for n in names),
    }
    for way in WAYS:
        out[way] = {
            metric: summary(
                np.array([h["value"][way][metric] for h in here]),
                np.mean([h["draws"][way][metric] for h in here], 0),
            )
            for metric in here[0]["value"][way]
        }
    seconds = pd.concat([h["latency"] for h in here])["latency_s"]
    out["latency"] = latency_summary(seconds.to_numpy())
    out["counts"] = {
        k: float(np.mean([h["counts"][k].sum() for h in here])) for k in here[0]["counts"]
    }
    return out


def latency_summary(latency_s: Array) -> dict[str, Any]:
    """Median and quartiles over detected seizures, and how many those are."""
    known = latency_s[np.isfinite(latency_s)]
    q = np.percentile(known, [25, 50, 75]) if len(known) else [np.nan] * 3
    return {
        "median": float(q[1]),
        "q25": float(q[0]),
        "q75": float(q[2]),
        "detected": len(known),
        "of": len(latency_s),
    }


def _subjects(model: str, names: list[str], runs: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a patient and operating point: counts and ratios, means over runs."""
    rows = []
    for point in POINTS:
        here = [runs[n]["at"][point] for n in names]
        tables = [
            h["counts"].assign(
                **values_of(h["counts"]),
                latency_s=h["latency"].groupby("subject")["latency_s"].median(),
            )
            for h in here
        ]
        mean = sum(tables) / len(tables)
        rows += [
            {"model": model, "point": point, "subject": subject, **mean.loc[subject].to_dict()}
            for subject in mean.index
        ]
    return rows


def _difference(
    a: str,
    b: str,
    models: dict[str, list[str]],
    runs: dict[str, Any],
    point: str,
    metric: str,
    way: str,
) -> dict[str, Any]:
    def mean(model: str, what: str) -> Any:
        return np.mean([runs[n]["at"][point][what][way][metric] for n in models[model]], 0)

    values = mean(a, "value"), mean(b, "value"), mean(a, "draws"), mean(b, "draws")
    about = {"a": a, "b": b, "point": point, "metric": metric, "way": way}
    return {**about, **difference(*values)}


def _sweep(table: pd.DataFrame) -> dict[str, list[float]]:
    keys = ("threshold", "f1", "sensitivity", "precision", "fp_per_day")
    return {k: table[k].tolist() for k in keys}


def data_of(test: Sequence[Prediction], val: Sequence[Prediction]) -> dict[str, Any]:
    """What was scored: recordings, patients, hours, seizures."""
    return {
        **_amount(test),
        "validation": _amount(val) if val else None,
        "step_s": test[0].step_s,
        "all_simulated": all(p.simulated for p in test),
    }


def _amount(predictions: Sequence[Prediction]) -> dict[str, Any]:
    seizures = [s for p in predictions for s in p.spans]
    seconds = sum(p.duration_s for p in predictions)
    ill = {p.subject for p in predictions if p.spans}
    return {
        "recordings": len(predictions),
        "subjects": len({p.subject for p in predictions}),
        "subjects_without_seizure": len({p.subject for p in predictions} - ill),
        "hours": seconds / 3600,
        "seizures": len(seizures),
        "ictal_share": sum(b - a for a, b in seizures) / seconds,
        "simulated": any(p.simulated for p in predictions),
    }


def sentences(test: Sequence[Prediction], val: Sequence[Prediction], n_resamples: int) -> list[str]:
    """What a reader must know before believing the tables."""
    about = _amount(test)
    out = []
    if any(p.simulated for p in test):
        part = "All" if all(p.simulated for p in test) else "Some"
        out.append(f"{part} tested patients are simulated: nothing here says how a detector "
                   "does on people.")  # fmt: skip
    if not about["seizures"]:
        out.append("No tested recording holds a seizure: sensitivity, F1, AUROC and latency are "
                   "n/a; false alarms are what can be read here.")  # fmt: skip
    n, free = about["subjects"], about["subjects_without_seizure"]
    if about["seizures"] and free:
        out.append(f"{free} of {n} patients have no seizure; their hours count in every false "
                   "alarm rate, and their sensitivity is n/a.")  # fmt: skip
    if n == 1:
        out.append("One patient cannot be resampled: there are no intervals, and nothing says "
                   "how it would be in the next one.")  # fmt: skip
    else:
        few = f"; with fewer than {FEW} patients they say little" if n < FEW else ""
        out.append(f"Intervals: {n_resamples} resamples of {n} patients{few}.")
    if not val:
        out.append("There are no validation patients: no threshold was chosen, all operating "
                   "points are at 0.5.")  # fmt: skip
    elif about["hours"] < 24:
        out.append(f"{about['hours']:.1f} h were tested: a rate of 1 FP/day cannot be told from 0 "
                   "in less than a day.")  # fmt: skip
    return out
