"""Tables and sentences of a comparison of codecs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from eval.codec.curves import RATES, REFERENCE, difference_text
from eval.report import Report
from eval.tables import markdown_table, share

Result = dict[str, Any]
Rows = list[dict[str, Any]]

TABLE_NOTE = (
    "Means over valid channels and windows, then over recordings [95 % interval over whoever was "
    "recorded, where there are two or more]. kbit/s: bits a second and channel that an arithmetic "
    "coder writes with tables counted on training recordings (given the code before, or the level "
    "above, where that is shorter), scales and offsets of the windows included (16 bits each); "
    "nominal: fixed-length codes without scales. NMSE: squared error over the variance of the "
    "signal; PRD is 100 times the root of the same ratio, window by window. Log-spectral distance "
    "in dB, from 1 Hz to the low-pass, not followed below -60 dB. Used, perplexity: share of the "
    "codes that occur and 2 to their entropy, mean over the levels. "
    f"Against {REFERENCE}: NMSE less that of the {REFERENCE} at the same kbit/s, in dB, by "
    "interpolation; below zero is better, empty is outside its curve."
)
COHERENCE_NOTE = (
    "Magnitude-squared coherence of decoded and original signal, segments of 1 s averaged over all "
    "windows of a channel, mean over the frequencies of a band as far as they lie below the "
    "low-pass. Of few segments it is above zero also by chance."
)
RATE_NOTE = (
    "NMSE in dB at equal rates, by interpolation in log rate between those a coder offers; empty "
    "where it offers none so low or so high. The lowest of each rate is set off, among coders that "
    "coded all recordings; n is how many they coded."
)
HELD_OUT = (
    "A codec folder does not say which recordings it was trained on: that these were held out is "
    "up to whoever trained it on the same split."
)
TASK_NOTE = (
    "Balanced accuracy [95 % interval over trials] of probes fitted on original training trials. "
    "Loss: accuracy on original less that on decoded test trials, the same resampled trials for "
    "both; an interval above zero is a loss that these trials show. Retrained: probes fitted on "
    "decoded training trials."
)
RATIO_NOTE = (
    "NMSE of the multi-rate codec over that of a codec trained for one rate, at the rate of the "
    "latter (its highest), by interpolation in log rate; up to 1.05 meets the mark."
)


def db(nmse: float | None) -> float:
    """NMSE in dB; NaN where it is not defined."""
    return 10 * math.log10(max(nmse, 1e-30)) if nmse is not None and nmse == nmse else math.nan


def db_text(value: float | None) -> str:
    return "" if value is None else "n/a" if value != value else f"{value:+.1f}"


def scientific(value: Mapping[str, Any], digits: int = 2) -> str:
    """``0.0054 [0.0041, 0.0062]``: NMSE spans six decades."""
    text = f"{value['mean']:.{digits}g}"
    if value["low"] is not None:
        text += f" [{value['low']:.{digits}g}, {value['high']:.{digits}g}]"
    return text


def kilo(value: Mapping[str, Any] | None) -> str:
    return "" if value is None else f"{value['mean'] / 1000:.3f}"


def rate_rows(result: Result, kind: str) -> Rows:
    """One row a coder and rate."""
    rows = []
    for r in _of(result["rows"], kind):
        known = r["used"] is not None
        rows.append(
            {
                "coder": r["coder"],
                "rate": r["setting"],
                "kbit/s": kilo(r["bits_per_s"]),
                "nominal": kilo(r["nominal"]),
                "NMSE": scientific(r["nmse"]),
                "dB": db_text(db(r["nmse"]["mean"])),
                f"against {REFERENCE}, dB": difference_text(r["against"]),
                "PRD, %": scientific(r["prd"], 3),
                "correlation": r["correlation"],
                "log-spectral, dB": scientific(r["spectral_db"], 3),
                "used": share(_mean(r["used"]), 2) if known else "",
                "perplexity": f"{_mean(r['perplexity']):.0f}" if known else "",
                "_class": {"control": "control"}.get(r["sort"], ""),
            }
        )
    return rows


def coherence_rows(result: Result, kind: str) -> Rows:
    """One row a coder and rate: coherence band by band."""
    return [
        {
            "coder": r["coder"],
            "rate": r["setting"],
            "kbit/s": kilo(r["bits_per_s"]),
            **r["coherence"],
        }
        for r in _of(result["rows"], kind)
        if r["sort"] != "control"
    ]


def at_rows(result: Result, kind: str) -> Rows:
    """One row a coder: NMSE in dB at `RATES`."""
    mine = _of(result["at"], kind)
    # Means over fewer recordings do not compete.
    most = max((r["recordings"] for r in mine), default=0)
    whole = [r for r in mine if r["recordings"] == most]
    lowest = [
        min((r["nmse_db"][i] for r in whole if r["nmse_db"][i] is not None), default=None)
        for i in range(len(RATES))
    ]
    names = [f"{rate / 1000:g} kbit/s" for rate in RATES]
    return [
        {
            "coder": r["coder"],
            "n": r["recordings"],
            **dict(zip(names, map(db_text, r["nmse_db"]), strict=True)),
            "_best": [
                n
                for n, v, low in zip(names, r["nmse_db"], lowest, strict=True)
                if v is not None and v == low and r in whole
            ],
        }
        for r in mine
    ]


def describe(result: Result) -> str:
    """One paragraph on what was coded."""
    d = result["data"]
    kinds = "; ".join(
        f"{kind}: {k['recordings']} recordings of {k['groups']} "
        f"{'person' if k['groups'] == 1 else 'people'}, {k['windows']} windows "
        f"of {k['window_s']:.3g} s, {k['channel_hours']:.2g} channel hours, tables from "
        f"{k['train_windows']} training windows"
        for kind, k in d["kinds"].items()
    )
    high = "no low-pass" if d["lowpass_hz"] is None else f"up to {d['lowpass_hz']:g} Hz"
    return f"Windows at {d['sfreq']:g} Hz, {high}, the same for all coders. {kinds}."


def add_kind(report: Report, result: Result, kind: str, pictures: Mapping[str, Any]) -> None:
    """Figures and tables of one kind of signal.

    Parameters
    ----------
    pictures : caption -> matplotlib figure
    """
    simulated = result["data"]["kinds"][kind]["simulated"]
    report.heading(kind)
    for caption, figure in pictures.items():
        report.figure(figure, caption, simulated)
    report.table(at_rows(result, kind), RATE_NOTE, simulated=simulated)
    report.table(rate_rows(result, kind), TABLE_NOTE, simulated=simulated)
    report.table(coherence_rows(result, kind), COHERENCE_NOTE, simulated=simulated)


def task_rows(task: Mapping[str, Any]) -> Rows:
    """One row a coder, rate and probe, the original signal first."""
    rows: Rows = [
        {"probe": probe, "coder": "original signal", "accuracy": value, "_class": "best"}
        for probe, value in task["original"].items()
    ]
    for r in task["rows"]:
        rows.append(
            {
                "probe": r["probe"],
                "coder": r["coder"],
                "rate": r["setting"],
                "kbit/s": f"{r['bits_per_s'] / 1000:.3f}",
                "accuracy": r["accuracy"],
                "loss": loss_text(r["loss"]),
                "_class": {"control": "control"}.get(r["sort"], ""),
            }
        )
        if r["retrained"] is not None:
            rows[-1] |= {"retrained": r["retrained"], "its loss": loss_text(r["loss_retrained"])}
    return rows


def loss_text(value: Mapping[str, Any]) -> str:
    """``.012 [-.004, .030]``."""
    low, high = share(value["low"]), share(value["high"])
    return f"{share(value['mean'])} [{low}, {high}]"


def task_caption(task: Mapping[str, Any]) -> str:
    return (
        f"{task['title']}: {task['n_train']} training and {task['n_test']} test trials of "
        f"{task['seconds']:.3g} s, {len(task['classes'])} classes."
    )


def add_task(report: Report, task: Mapping[str, Any], picture: Any) -> None:
    """Figure and table of what coding costs a probe."""
    report.heading(f"Task loss: {task['title']}")
    caption = f"{task_caption(task)} Accuracy on decoded test trials against rate."
    report.figure(picture, caption, task["simulated"])
    report.table(task_rows(task), TASK_NOTE, simulated=task["simulated"])


def ratio_rows(result: Result) -> Rows:
    """One row a kind and codec trained for one rate."""
    return [
        {
            "kind": r["kind"],
            "multi-rate": r["multi"],
            "one rate": r["fixed"],
            "setting": r["setting"],
            "kbit/s": f"{r['bits_per_s'] / 1000:.3f}",
            "NMSE ratio": "no such rate" if r["ratio"]["mean"] is None else r["ratio"],
        }
        for r in result["ratios"]
    ]


def markdown(result: Result) -> str:
    """Sentences and tables, for files and issues."""
    mark = "**Simulated data, not recordings.** " if result["data"]["all_simulated"] else ""
    parts = [f"## Rate and distortion\n\n{mark}{describe(result)}\n"]
    parts += [f"{s}\n" for s in result["sentences"]]
    for kind, facts in result["data"]["kinds"].items():
        label = " (simulated)" if facts["simulated"] else ""
        parts.append(f"### {kind}{label}\n\n{markdown_table(at_rows(result, kind))}\n{RATE_NOTE}\n")
        parts.append(markdown_table(rate_rows(result, kind)) + f"\n{TABLE_NOTE}\n")
        parts.append(markdown_table(coherence_rows(result, kind)) + f"\n{COHERENCE_NOTE}\n")
    for task in result["tasks"]:
        parts.append(f"### Task loss: {task_caption(task)}\n")
        parts.append(f"{markdown_table(task_rows(task))}\n{TASK_NOTE}\n")
    if result["ratios"]:
        parts.append(f"### One model for all rates\n\n{markdown_table(ratio_rows(result))}\n")
        parts.append(f"{RATIO_NOTE}\n")
    parts += ["### Notes\n", *(f"{s}\n" for s in result["notes"])]
    return "\n".join([*parts, HELD_OUT + "\n"])


def _of(rows: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r for r in rows if r["kind"] == kind]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
