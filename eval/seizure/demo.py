"""The report of configs/finetune/seizure_demo.yaml: from simulated patients to a real seizure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainfm.data.paths import data_root
from brainfm.data.seizures import seizures_in
from brainfm.data.store import Store
from brainfm.detect.score import score_stored
from brainfm.detect.timeline import Envelope, draw_timeline
from brainfm.errors import DataError
from brainfm.hub import load_model
from brainfm.training.metrics import read_metrics
from brainfm.types import WindowRef
from eval.demo import add_seconds
from eval.pictures import loss_curves
from eval.report import Report
from eval.seizure import figures, pages
from eval.seizure.points import POINTS
from eval.tables import cell, share

STORE = "seizure_demo"
"""Below the data root, as the stages have it."""

REAL = "umich_seizure"


def bind(config: dict[str, Any], runs: Path, seconds: dict[str, float]) -> tuple[dict, Path]:
    """One page and one JSON of everything the stages wrote.

    Raises
    ------
    DataError
        If the patients were not scored.
    """
    scored = _scored(runs / "score")
    if scored is None:
        raise DataError(f"{runs / 'score'}: holds no report.json; run the stage 'score' first")
    real = _scored(runs / "real")
    result = {
        "stage_seconds": seconds,
        "verdicts": [*verdicts(scored), *(real_verdicts(real) if real else [NO_REAL])],
        "score": scored,
        "real": real,
    }
    report = Report(
        "seizure_demo",
        "Simulated patients to a seizure detector",
        result,
        "A small MVPFormer pretrained and fine-tuned on simulated patients; scored on simulated "
        "patients it never saw, and on one real seizure.",
    )
    report.text(
        "All training data are simulated: this shows that every step runs and how detectors are "
        "judged. It is no evidence of how a detector does on people."
    )
    for line in result["verdicts"]:
        report.text(line, kind="verdict")
    add_training(report, runs)
    report.heading("Simulated patients nobody trained on")
    add_scores(report, scored)
    report.heading("A real seizure: University of Michigan")
    if real is None:
        report.text(NO_REAL)
    else:
        add_timeline(report, runs)
        add_scores(report, real)
    add_seconds(report, config, seconds)
    return result, report.write(runs)


NO_REAL = (
    "The University of Michigan recording is not under the data root, so no real seizure was "
    "looked at; `python -m data_prep fetch --dataset umich_seizure` says where it is to be had."
)


def verdicts(scored: dict[str, Any]) -> list[str]:
    """What the simulated patients say: event F1 of each model at the chosen threshold."""
    lines = []
    for row in scored["rows"]:
        if row["point"] == POINTS[1]:
            f1, fp = row["macro"]["f1"], row["pooled"]["fp_per_day"]
            lines.append(
                f"Simulated patients, {row['model']}: event F1 {cell(f1)}, "
                f"{fp['mean']:.3g} false alarms a day."
            )
    return lines


def real_verdicts(real: dict[str, Any]) -> list[str]:
    """What the real recording says: window AUROC of each model; none of them saw it before."""
    found = [
        f"{row['model']} {share(row['pooled']['auroc']['mean'])}"
        for row in real["rows"]
        if row["point"] == POINTS[0]
    ]
    return [f"Michigan (real, never trained on), window AUROC: {', '.join(found)}."]


def add_training(report: Report, runs: Path) -> None:
    """Learning curves of pretraining and of the two fine-tunes."""
    report.heading("Training")
    panels = {"next-segment cross-entropy": ["loss"], "next segment found": ["accuracy"]}
    _curves(report, runs / "pretrain", panels, "Pretraining, 31 candidates")
    panels = {"cross-entropy": ["loss"], "steps": ["sensitivity", "false_alarm_rate"]}
    for name in ("finetune", "random"):
        what = "from pretrained weights" if name == "finetune" else "without pretraining"
        _curves(report, runs / name, panels, f"Fine-tuning {what}")


def add_scores(report: Report, scored: dict[str, Any]) -> None:
    """Sentences, curves and tables of one comparison."""
    simulated = scored["data"]["simulated"]
    report.text(pages.describe(scored))
    for sentence in scored["sentences"]:
        report.text(sentence)
    report.figure(
        figures.threshold_curves(scored),
        "Left: event F1 against the threshold. Right: event sensitivity against false alarms a "
        "day; dotted: one a day.",
        simulated,
    )
    pages.add_tables(report, scored)


def add_timeline(report: Report, runs: Path) -> None:
    """Signal, probability and alarms over the real recording, as `brainfm detect` draws them."""
    store = Store(data_root() / STORE)
    detector = load_model(runs / "finetune" / "export")
    for row in store.recordings.index[store.recordings["dataset"] == REAL]:
        n = int(store.recordings["n_samples"].iat[row])
        envelope = Envelope(store.channels(row), store.recipe.sfreq)
        envelope.add(0, store.read(WindowRef(int(row), 0, n)))
        picture = runs / "real" / "timeline.png"
        draw_timeline(
            picture,
            envelope,
            score_stored(detector, store, int(row)),
            detector.config.alarm,
            title="University of Michigan, real scalp EEG",
            annotated=seizures_in(store, int(row)),
        )
        report.figure(
            picture,
            "Some channels, the probability of seizure with its threshold, and alarms beside the "
            "annotated seizure (350 to 450 s, nominal). The detector was trained on simulated "
            "patients alone.",
        )


def _curves(report: Report, run: Path, panels: dict[str, list[str]], what: str) -> None:
    try:
        val: Any = read_metrics(run, "val")
    except DataError:
        val = None
    caption = f"{what}: training (lines) and validation (points)."
    report.figure(loss_curves(read_metrics(run), val, panels), caption, simulated=True)


def _scored(folder: Path) -> dict[str, Any] | None:
    path = folder / "report.json"
    return json.loads(path.read_text()) if path.exists() else None
