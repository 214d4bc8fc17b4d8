"""The page of `eval.unified`: one table a kind, what holds across kinds, and two figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from brainfm.training.metrics import read_metrics
from eval.pictures import loss_curves
from eval.report import Report

ORDER = ("joint pretraining", "own-kind pretraining", "random init", "classical features")


def write_report(result: dict[str, Any], folder: Path) -> Path:
    """report.html and report.json; returns the page."""
    report = Report(
        "unified",
        "One encoder for EEG, MEG, intracranial EEG and fMRI",
        result,
        "The same weights read all kinds; linear probes say what they know of unseen heads.",
    )
    for sentence in result["verdicts"]:
        report.text(sentence, kind="verdict")
    report.heading("What is decoded, kind by kind")
    report.table(_rows(result), _about(result), simulated=True)
    report.figure(_bars(result), "Balanced accuracy with 95 % intervals over test heads.", True)
    if "retrieval" in result:
        report.heading("EEG and MEG of the same seconds")
        pool = next(iter(result["retrieval"].values()))["pool"]
        report.table(
            [
                {"system": n, **{k: v for k, v in r.items() if k != "pool"}}
                for n, r in result["retrieval"].items()
            ],
            f"Each window of 4 s of test heads is looked for among {pool} of the other kind, those "
            "of the same head included; features have mean 0 and spread 1 within each head. Band "
            "power over time learns nothing.",
            simulated=True,
        )
    if "transfer" in result:
        report.heading("Another montage")
        report.table(
            result["transfer"],
            "Balanced accuracy on heads that neither pretraining nor the probe saw. The same "
            "brains do the same in each montage; the probe learned from other heads in the montage "
            "named.",
            simulated=True,
        )
    report.heading("How late blood answers")
    report.figure(
        _response(result["lag"]),
        "What the encoder learned between electrophysiology and BOLD: one impulse response for all "
        f"parcels, largest at {result['lag']['peak_s']:.1f} s. The simulation's truth lies between "
        "4 and 6 s.",
        True,
    )
    run = Path(result["encoders"]["joint"]).parent
    if (run / "train.csv").exists():
        report.heading("Joint pretraining")
        panels = {
            "hidden signal: squared error": ["signal"],
            "share explained, by kind": [f"explained_{k}" for k in ("eeg", "mag", "seeg", "bold")],
            "matching and lag": ["match", "lag"],
        }
        curves = loss_curves(read_metrics(run), read_metrics(run, "val"), panels)
        report.figure(curves, "Training (lines) and validation (points).", True)
    return report.write(folder)


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for kind, found in result["kinds"].items():
        best = max(found["rows"], key=lambda n: found["rows"][n]["balanced_accuracy"]["mean"])
        for name in ORDER:
            metrics = found["rows"][name]
            rows.append(
                {
                    "kind": kind,
                    "features": name,
                    "balanced accuracy": metrics["balanced_accuracy"],
                    "auroc": metrics["auroc"],
                    "joint less this": found["differences"].get(name, {}).get("difference"),
                    "95 % interval": _interval(found["differences"].get(name)),
                    "_class": "best" if name == best else "",
                }
            )
    return rows


def _interval(difference: dict[str, float] | None) -> str:
    return f"[{difference['low']:+.3f}, {difference['high']:+.3f}]" if difference else ""


def _about(result: dict[str, Any]) -> str:
    found = next(iter(result["kinds"].values()))
    n_train, n_test = found["n_heads"]
    return (
        f"Events of {len(found['classes'])} classes ({', '.join(found['classes'])}) in {n_test} "
        f"test heads; {n_train} others taught every row. Features are standardised within each "
        "recording, without labels, for all rows; then logistic regression, its penalty chosen "
        f"across training heads. Intervals resample the {n_test} test heads, each with its trials. "
        "Random init has the units of features that training took from data."
    )


def _bars(result: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    kinds = list(result["kinds"])
    figure, axes = plt.subplots(figsize=(7, 3.2))
    width = 0.8 / len(ORDER)
    for i, name in enumerate(ORDER):
        m = [result["kinds"][k]["rows"][name]["balanced_accuracy"] for k in kinds]
        middle = np.array([v["mean"] for v in m])
        low, high = (np.array([v[e] for v in m]) for e in ("low", "high"))
        at = np.arange(len(kinds)) + (i - (len(ORDER) - 1) / 2) * width
        error = np.clip([middle - low, high - middle], 0, None)
        axes.bar(at, middle, width * 0.92, label=name, yerr=error, error_kw={"lw": 0.8})
    chance = 1 / len(next(iter(result["kinds"].values()))["classes"])
    axes.axhline(chance, color="0.4", lw=0.8, ls="--")
    axes.text(len(kinds) - 0.45, chance + 0.01, "chance", va="bottom", fontsize=8, color="0.4")
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_ylabel("balanced accuracy")
    axes.set_ylim(0, 1)
    axes.legend(fontsize=8, ncols=2, frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _response(lag: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5.5, 2.6))
    axes.plot(lag["lag_s"], lag["response"], marker="o", ms=3)
    axes.axvspan(4, 6, color="0.92")
    axes.axhline(0, color="0.7", lw=0.8)
    axes.set_xlabel("seconds since the electrophysiology")
    axes.set_ylabel("weight in BOLD")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
