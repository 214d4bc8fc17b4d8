"""Pictures of a comparison: calibration, thresholds, false alarms, patients, timelines.

A result may come from `evaluate` or from the report.json that was made of it, where NaN is null.
Shapes: B bins, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from brainfm.detect.alarms import AlarmRule, smooth
from eval.seizure.points import FIXED, POINTS
from eval.seizure.predictions import Prediction

INK, GRID, SEIZURE = "#1c2430", "#dde3ea", "#fecaca"
COLOURS = ("#0f766e", "#b45309", "#1d4ed8", "#9d174d", "#4d7c0f", "#7c3aed", "#0891b2", "#64748b")
MARKS = {"0.5": ("o", 6), "best F1": ("*", 11), "1 FP/day": ("s", 6)}
"""Marker of each operating point and its size."""
CONSTANT = ("always alarm", "prevalence")
"""Their curves are single points."""
MOST_PATIENTS = 24


def colours(result: dict[str, Any]) -> dict[str, str]:
    """Model -> its colour in every figure."""
    return {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(result["models"])}


def _axes(width: float, height: float, **kwargs: Any) -> tuple[Any, list[Any]]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        figsize=(width, height), layout="constrained", squeeze=False, **kwargs
    )
    for ax in axes.ravel():
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GRID)
        ax.tick_params(colors=INK, labelsize=8)
        ax.grid(color=GRID, lw=0.5)
        ax.set_axisbelow(True)
    return figure, list(axes.ravel())


def reliability_plot(result: dict[str, Any]) -> Any:
    """Share of seizure among windows of a probability; below, how many windows that are."""
    figure, (top, low) = _axes(
        5.6, 5.2, nrows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
    )
    top.plot([0, 1], [0, 1], color=INK, lw=0.8, ls=":")
    for model, colour in colours(result).items():
        n, p, y = np.asarray(result["reliability"][model], float)
        some = n > 0
        x = p[some] / n[some]
        top.plot(x, y[some] / n[some], "o-", color=colour, ms=4, lw=1.3, label=model)
        low.plot(x, n[some], "o-", color=colour, ms=3, lw=1)
    top.set(ylabel="share that is seizure", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    low.set(xlabel="predicted probability", ylabel="windows", yscale="log")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def threshold_curves(result: dict[str, Any]) -> Any:
    """Event F1 against the threshold, and sensitivity against FP/day, pooled over patients."""
    figure, (left, right) = _axes(10, 3.9, ncols=2)
    for model, colour in colours(result).items():
        s = {k: np.asarray(v, float) for k, v in result["sweep"][model].items()}
        if model not in CONSTANT:
            left.plot(s["threshold"], s["f1"], color=colour, lw=1.6, label=model)
            right.plot(s["fp_per_day"], s["sensitivity"], color=colour, lw=1.2, alpha=0.7)
        else:
            left.plot([], [], color=colour, lw=1.6, label=model)
        for row in (r for r in result["rows"] if r["model"] == model):
            pooled = row["pooled"]
            mark, size = MARKS[row["point"]]
            style = {"color": colour, "ms": size, "mec": "white", "mew": 0.5, "zorder": 3}
            if model not in CONSTANT:
                left.plot(row["threshold"], _number(pooled["f1"]["mean"]), mark, **style)
            at = pooled["fp_per_day"]["mean"], _number(pooled["sensitivity"]["mean"])
            right.plot(*at, mark, **style)
    for point, (mark, size) in MARKS.items():
        left.plot([], [], mark, color=INK, ms=size, label=f"at {point}")
    right.axvline(1, color=INK, lw=0.8, ls=":")
    left.set(xlabel="threshold", ylabel="event F1, pooled", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    right.set(xlabel="false alarms a day, all hours", ylabel="event sensitivity, pooled")
    right.set_xscale("symlog", linthresh=1)
    right.set_xticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    right.set(xlim=(-0.1, 400), ylim=(-0.02, 1.04))
    figure.legend(loc="outside right center", frameon=False, fontsize=8)
    return figure


def patient_bars(result: dict[str, Any], point: str, models: Sequence[str]) -> Any:
    """Sensitivity and FP/day of each patient, side by side for a few models."""
    subjects = sorted({r["subject"] for r in result["subjects"]})[:MOST_PATIENTS]
    figure, (up, down) = _axes(max(5.0, 1.6 + 0.55 * len(subjects)), 4.6, nrows=2, sharex=True)
    width = 0.8 / len(models)
    of = {(r["model"], r["subject"]): r for r in result["subjects"] if r["point"] == point}
    for i, model in enumerate(models):
        at = np.arange(len(subjects)) + (i - (len(models) - 1) / 2) * width
        rows = [of[model, s] for s in subjects]
        colour = colours(result)[model]
        for ax, key in ((up, "sensitivity"), (down, "fp_per_day")):
            value = np.array([r[key] for r in rows], float)
            ax.bar(at, np.nan_to_num(value), width * 0.92, color=colour,
                   label=model if ax is up else None)  # fmt: skip
            # A bar of no height would look like a forgotten patient.
            none = value == 0
            ax.plot(at[none], value[none], "_", color=colour, ms=max(3.0, 30 * width), mew=2)
    for j, s in enumerate(subjects):
        if not np.isfinite(_number(of[models[0], s]["sensitivity"])):
            up.text(j, 0.5, "no seizure", rotation=90, ha="center", va="center", fontsize=7,
                    color="#5b6675")  # fmt: skip
    up.set(ylabel="event sensitivity", ylim=(0, 1.05))
    down.set(ylabel="false alarms a day", ylim=(0, max(1.0, down.get_ylim()[1])))
    short = [s.rpartition("/")[2] for s in subjects]
    turn = {"rotation": 45, "ha": "right"} if max(map(len, short)) > 6 else {}
    down.set_xticks(range(len(subjects)), short, **turn)
    for ax in (up, down):
        ax.grid(axis="x", visible=False)
    figure.legend(loc="outside upper center", frameon=False, fontsize=8, ncols=min(3, len(models)))
    return figure


def timeline(
    recording: str,
    predictions: Mapping[str, Prediction],
    thresholds: Mapping[str, float],
    rule: AlarmRule,
    colour_of: Mapping[str, str],
) -> Any:
    """Smoothed probability and alarms of a few models over one recording, seizures shaded.

    Parameters
    ----------
    predictions : run -> its prediction of this recording
    thresholds : run -> its threshold
    """
    from dataclasses import replace

    figure, axes = _axes(9.6, 0.5 + 1.15 * len(predictions), nrows=len(predictions), sharex=True)
    for ax, (run, p) in zip(axes, predictions.items(), strict=True):
        scale, unit = (60, "min") if p.duration_s >= 600 else (1, "s")
        colour = colour_of[run.partition("#")[0]]
        for start, end in p.spans:
            ax.axvspan(start / scale, end / scale, color=SEIZURE, lw=0)
        ax.plot(p.time_S / scale, p.proba_S, color=colour, lw=0.5, alpha=0.45)
        ax.plot(p.time_S / scale, smooth(p.proba_S, p.step_s, rule.smooth_s), color=colour, lw=1.2)
        ax.axhline(thresholds[run], color=INK, lw=0.6, ls=":")
        for start, end in p.alarms(replace(rule, threshold=thresholds[run])):
            ax.plot([start / scale, end / scale], [1.12, 1.12], color=colour, lw=4,
                    solid_capstyle="butt")  # fmt: skip
        for t in p.time_S[~p.known_S]:
            ax.axvspan((t - p.step_s) / scale, t / scale, color="#e2e8f0", lw=0)
        ax.set(ylim=(-0.03, 1.2), yticks=(0, 0.5, 1), xlim=(0, p.duration_s / scale))
        ax.set_title(run, fontsize=8, loc="left", color=colour, pad=2)
        ax.grid(visible=False)
    axes[-1].set_xlabel(unit, fontsize=8)
    figure.suptitle(recording, fontsize=9)
    return figure


def shown_recordings(predictions: Sequence[Prediction], most: int = 4) -> list[str]:
    """A recording with seizures of each of the first patients, and one without, where there is."""
    first: dict[str, str] = {}
    for p in sorted(predictions, key=lambda p: p.recording):
        if p.spans:
            first.setdefault(p.subject, p.recording)
    free = [p.recording for p in predictions if not p.spans][:1]
    return [*list(first.values())[: most - len(free)], *free]


def drawn_models(result: dict[str, Any], most: int = 3) -> list[str]:
    """The reference model and those with the highest macro F1 at 0.5 of the others."""
    rows = [r for r in result["rows"] if r["point"] == (POINTS[1] if _chosen(result) else FIXED)]
    rest = [r for r in rows if r["model"] not in (result["reference"], *CONSTANT)]
    rest.sort(key=lambda r: -np.nan_to_num(_number(r["macro"]["f1"]["mean"])))
    return [result["reference"], *(r["model"] for r in rest)][:most]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _chosen(result: dict[str, Any]) -> bool:
    return result["data"]["validation"] is not None
