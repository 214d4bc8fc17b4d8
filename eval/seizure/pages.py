"""A scored comparison as tables: for the terminal, table.md and the report.

A result may come from `evaluate` or from the report.json that was made of it, where NaN is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from eval.report import Report
from eval.seizure.points import POINTS
from eval.tables import markdown_table, share

Result = dict[str, Any]
Rows = list[dict[str, Any]]


def _undefined_as_nan(make: Callable[..., Rows]) -> Callable[..., Rows]:
    """What JSON has as null reads "n/a", as it did before it was written."""

    @wraps(make)
    def rows(*args: Any) -> Rows:
        return [{k: math.nan if v is None else v for k, v in row.items()} for row in make(*args)]

    return rows


RANKED = ("F1", "AUROC", "AUROC pooled", "AUPRC", "AUPRC pooled")
"""Columns whose highest value is set off. In the others a model that always or never alarms can
be the best."""

EVENT_NOTE = (
    "SzCORE events (alarms within 30 s before to 60 s after a seizure count for it). Macro: mean "
    "over patients with seizures, precision 0 where there was no alarm, [95 % interval over "
    "patients]. FP/h and FP/day divide by all hours of recording, seizure-free recordings "
    "included; FP/h interictal by the hours outside seizures. Zero tolerance: an alarm must touch "
    "the seizure. Latency: from the onset until the alarm is given, median [quartiles] over "
    "detected seizures; an alarm that was on already counts -30 s. In warning: share of the time "
    "under an alarm. No signal: share of steps "
    "without a probability; they raise no alarm and are left out of window scores. A threshold "
    "with * is not what the heading says: how it was chosen is told below. The highest F1 is set "
    "off; intervals and paired differences say whether it means anything."
)
WAYS_NOTE = (
    "Three ways to average the same events. Macro: mean over patients with seizures, no detection "
    "counts as precision 0. SzCORE-compatible: mean over all patients, NaN dropped, so that a "
    "patient without any alarm drops out of the mean precision. Pooled: events of all patients "
    "counted together."
)
WINDOW_NOTE = (
    "Every step by itself; a step is ictal if it shares time with a seizure. Macro: mean over "
    "patients with both kinds of step [95 % interval over patients]. ECE: 10 bins of equal width. "
    "Brier and ECE are small wherever seizures are rare: compare with the row 'prevalence'."
)
AT_NOTE = (
    "Seconds (SzCORE samples at 1 Hz, after the alarm rule) and windows (probability of the step "
    "at the threshold, not smoothed), means over patients with seizures."
)


@_undefined_as_nan
def event_rows(result: Result, point: str) -> Rows:
    """One row a model: events at an operating point."""
    rows = []
    for r in _at(result, point):
        macro, pooled = r["macro"], r["pooled"]
        rows.append(
            {
                "model": _label(r),
                "threshold": _threshold(r),
                "F1": macro["f1"],
                "sensitivity": macro["sensitivity"],
                "precision": macro["precision"],
                "zero tolerance": macro["sensitivity_strict"]["mean"],
                "seizures found": f"{r['counts']['tp']:.4g}/{r['counts']['ref']:.4g}",
                "FP/h": pooled["fp_per_hour"]["mean"],
                "FP/day": rate_text(pooled["fp_per_day"]),
                "FP/h interictal": pooled["fp_per_interictal_hour"]["mean"],
                "latency, s": latency_text(r["latency"]),
                "in warning": pooled["warning"]["mean"],
                "no signal": pooled["no_signal"]["mean"],
            }
        )
    return with_best(rows, RANKED)


@_undefined_as_nan
def brief_rows(result: Result) -> Rows:
    """One row a model and operating point, for a terminal."""
    rows = [
        {
            "model": _label(r),
            "at": r["point"],
            "threshold": _threshold(r),
            "F1": r["macro"]["f1"],
            "sens.": r["macro"]["sensitivity"]["mean"],
            "prec.": r["macro"]["precision"]["mean"],
            "FP/day": r["pooled"]["fp_per_day"]["mean"],
            "latency, s": latency_text(r["latency"], brief=True),
            "AUROC": r["macro"]["auroc"]["mean"],
        }
        for r in result["rows"]
    ]
    return with_best(rows, RANKED, among="at")


@_undefined_as_nan
def way_rows(result: Result) -> Rows:
    """One row a model and operating point: three averages side by side."""
    names = {"macro": "macro", "szcore": "SzCORE-compatible", "pooled": "pooled"}
    short = {"sensitivity": "sens.", "precision": "prec.", "f1": "F1"}
    return [
        {
            "model": _label(r),
            "at": r["point"],
            **{
                f"{name}: {column}": r[way][metric]["mean"]
                for way, name in names.items()
                for metric, column in short.items()
            },
        }
        for r in result["rows"]
    ]


@_undefined_as_nan
def window_rows(result: Result) -> Rows:
    """One row a model: what needs no threshold."""
    rows = [
        {
            "model": _label(r),
            "AUROC": r["macro"]["auroc"],
            "AUROC pooled": r["pooled"]["auroc"],
            "AUPRC": r["macro"]["auprc"],
            "AUPRC pooled": r["pooled"]["auprc"],
            "Brier": r["pooled"]["brier"],
            "ECE": r["pooled"]["ece"],
        }
        for r in _at(result, POINTS[0])
    ]
    return with_best(rows, RANKED)


@_undefined_as_nan
def threshold_rows(result: Result) -> Rows:
    """One row a model and operating point: seconds, and windows at the threshold."""
    return [
        {
            "model": _label(r),
            "at": r["point"],
            "seconds: sens.": r["macro"]["sample_sensitivity"]["mean"],
            "seconds: prec.": r["macro"]["sample_precision"]["mean"],
            "seconds: F1": r["macro"]["sample_f1"],
            "windows: kappa": r["macro"]["kappa"],
            "windows: F1": r["macro"]["window_f1"],
            "windows: kappa pooled": r["pooled"]["kappa"]["mean"],
            "windows: F1 pooled": r["pooled"]["window_f1"]["mean"],
        }
        for r in result["rows"]
    ]


@_undefined_as_nan
def subject_rows(result: Result, point: str, models: Iterable[str]) -> Rows:
    """One row a patient and model."""
    order = {model: i for i, model in enumerate(models)}
    rows = [r for r in result["subjects"] if r["point"] == point and r["model"] in order]
    return [
        {
            "patient": r["subject"],
            "model": r["model"],
            "hours": r["seconds"] / 3600,
            "seizures": f"{r['seizures']:.0f}",
            "events": f"{r['ref']:.4g}",
            "found": f"{r['tp']:.4g}",
            "false": f"{r['fp']:.4g}",
            "sensitivity": r["sensitivity"],
            "precision": r["precision"],
            "F1": r["f1"],
            "zero tolerance": r["sensitivity_strict"],
            "FP/day": r["fp_per_day"],
            "latency, s": r["latency_s"],
            "kappa": r["kappa"],
            "no signal": r["no_signal"],
        }
        for r in sorted(rows, key=lambda r: (r["subject"], order[r["model"]]))
    ]


def point_rows(result: Result) -> Rows:
    """How each threshold was chosen."""
    return [
        {"model": run, "at": name, "threshold": p["threshold"], "how": p["how"]}
        for run, points in result["points"].items()
        for name, p in points.items()
        if name != POINTS[0]
    ]


@_undefined_as_nan
def difference_rows(result: Result) -> Rows:
    """The reference model minus each other one, over the same resamples of patients."""
    names = {"f1": "event F1", "fp_per_day": "FP/day", "auroc": "AUROC", "auprc": "AUPRC"}
    free = ("auroc", "auprc")
    return [
        {
            "difference": f"{d['a']} - {d['b']}",
            "at": "" if d["metric"] in free else d["point"],
            "metric": f"{names.get(d['metric'], d['metric'])}, {d['way']}",
            "value": _difference_text(d),
            "p": d["p"],
        }
        for d in result["differences"]
    ]


def describe(result: Result) -> str:
    """One paragraph on what was scored."""
    d, rule = result["data"], result["rule"]
    val = d["validation"]
    who = (
        f"thresholds from {val['subjects']} other patients ({val['hours']:.1f} h, "
        f"{val['seizures']} seizures)"
        if val
        else "no validation patients"
    )
    return (
        f"{d['recordings']} recordings of {d['subjects']} patients, {d['hours']:.1f} h, "
        f"{d['seizures']} seizures ({100 * d['ictal_share']:.1f} % of the time), in steps of "
        f"{d['step_s']:g} s; {who}. Alarms: probability smoothed over the last "
        f"{rule['smooth_s']:g} s, at least {rule['min_s']:g} s long, merged if less than "
        f"{rule['merge_s']:g} s apart."
    )


def add_tables(report: Report, result: Result) -> None:
    """Sentences and tables, figures come between."""
    simulated = result["data"]["simulated"]
    for point in POINTS:
        report.heading(f"Events at {_point_name(point)}", 3)
        report.table(event_rows(result, point), EVENT_NOTE, simulated=simulated)
    report.heading("How the thresholds were chosen", 3)
    report.table(point_rows(result), "Chosen on validation patients only.")
    report.heading("Three averages", 3)
    report.table(way_rows(result), WAYS_NOTE, simulated=simulated)
    report.heading("Windows", 3)
    report.table(window_rows(result), WINDOW_NOTE, simulated=simulated)
    report.table(threshold_rows(result), AT_NOTE, simulated=simulated)
    if result["differences"]:
        report.heading("Paired differences", 3)
        report.table(
            difference_rows(result),
            "95 % interval and two-sided p over the same resamples of patients.",
            simulated=simulated,
        )
    for point in POINTS:
        report.heading(f"Patients at {_point_name(point)}", 3)
        rows = subject_rows(result, point, result["models"])
        report.table(rows, "Means over seeds where a model has several.", simulated=simulated)


def markdown(result: Result) -> str:
    """Sentences and the main tables, for files and issues."""
    mark = "**Simulated data, not recordings.** " if result["data"]["all_simulated"] else ""
    parts = [f"## Seizure detection\n\n{mark}{describe(result)}\n"]
    parts += [f"{s}\n" for s in result["sentences"]]
    for point in POINTS:
        parts.append(f"### Events at {_point_name(point)}\n\n"
                     + markdown_table(event_rows(result, point)))  # fmt: skip
    parts.append(EVENT_NOTE + "\n")
    parts.append("### Thresholds\n\n" + markdown_table(point_rows(result)))
    parts.append("### Three averages\n\n" + markdown_table(way_rows(result)) + f"\n{WAYS_NOTE}\n")
    parts.append("### Windows\n\n" + markdown_table(window_rows(result)) + f"\n{WINDOW_NOTE}\n")
    parts.append(markdown_table(threshold_rows(result)) + f"\n{AT_NOTE}\n")
    if result["differences"]:
        parts.append("### Paired differences\n\n" + markdown_table(difference_rows(result)))
    for point in POINTS:
        rows = subject_rows(result, point, result["models"])
        parts.append(f"### Patients at {_point_name(point)}\n\n" + markdown_table(rows))
    return "\n".join(parts)


def with_best(rows: Rows, columns: Iterable[str], among: str | None = None) -> Rows:
    """The rows, each told in which of these columns it has the highest value of several.

    Parameters
    ----------
    rows : one a model
    columns : numbers, or mappings with "mean"
    among : column of which equal values are compared with each other. None: all rows are
    """
    marked = []
    for row in rows:
        others = [r for r in rows if among is None or r[among] == row[among]]
        top = {c: max(_mean(r.get(c)) for r in others) for c in columns}
        best = [c for c in columns if _mean(row.get(c)) == top[c] > -math.inf]
        marked.append({**row, "_best": best if len(others) > 1 else []})
    return marked


def _mean(value: Any) -> float:
    """What is compared; nothing is lower than what is not defined."""
    value = value["mean"] if isinstance(value, dict) else value
    return -math.inf if value is None or value != value else float(value)


def latency_text(latency: dict[str, Any], brief: bool = False) -> str:
    """``12 [8, 20]``; "n/a" where no seizure was detected."""
    if not latency["detected"]:
        return "n/a"
    text = f"{latency['median']:.3g}"
    return text if brief else f"{text} [{latency['q25']:.3g}, {latency['q75']:.3g}]"


def rate_text(rate: dict[str, Any]) -> str:
    """``18 ± 8.5 [6, 24]``: rates are no shares and need no three digits behind the point."""
    text = _number(rate["mean"])
    if rate["sd"] is not None:
        text += f" ± {_number(rate['sd'])}"
    if rate["low"] is not None:
        text += f" [{_number(rate['low'])}, {_number(rate['high'])}]"
    return text


def _difference_text(d: dict[str, Any]) -> Any:
    value = {"mean": d["difference"], "sd": None, "low": d["low"], "high": d["high"]}
    return rate_text(value) if d["metric"] == "fp_per_day" else value


def _number(value: float | None) -> str:
    if value is None or value != value:  # NaN, which JSON has as null
        return "n/a"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2g}"


def _threshold(row: dict[str, Any]) -> str:
    return share(row["threshold"]) + ("" if row["chosen"] else "*")


def _point_name(point: str) -> str:
    return {"0.5": "threshold 0.5", "best F1": "the best F1 of validation patients",
            "1 FP/day": "no more than 1 FP/day of validation patients"}[point]  # fmt: skip


def _at(result: Result, point: str) -> Rows:
    return [r for r in result["rows"] if r["point"] == point]


def _label(row: dict[str, Any]) -> str:
    return row["model"] + (f" ({row['runs']} seeds)" if row["runs"] > 1 else "")
