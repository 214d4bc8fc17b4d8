"""The report of configs/finetune/speech_demo.yaml: from packages alone to decoded speech."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from brainfm.errors import DataError
from brainfm.training.metrics import read_metrics
from eval.demo import add_seconds
from eval.pictures import loss_curves
from eval.report import Report
from eval.speech import pages
from eval.speech.answers import DECODER
from eval.speech.phonemes import UNIFORM
from eval.tables import share

Result = dict[str, Any]

SCORED = {"found": "Which half second was heard", "said": "What was said"}
"""Stages that scored something, and what about."""
PANELS = {
    "align": {"contrastive loss": ["loss"], "found in the batch": ["top1"]},
    "phonemes": {"loss": ["loss"], "phoneme error rate": ["per"]},
}
"""Run to what is drawn of its training."""
WHAT = {
    "align": "Brain and speech of half seconds",
    "phonemes": "Phonemes; at first every frame learns its own, then sequences are learned, which "
    "is where the loss jumps",
}


def bind(config: dict[str, Any], runs: Path, seconds: dict[str, float]) -> tuple[dict, Path]:
    """One page and one JSON of everything the stages wrote.

    Raises
    ------
    DataError
        If something was not scored.
    """
    scored = {stage: section_of(runs / stage) for stage in SCORED}
    lines = [f"{SCORED[s]}: {line}" for s, result in scored.items() for line in opening(result)]
    result = {"stage_seconds": seconds, "verdicts": lines, **scored}
    report = Report(
        "speech_demo",
        "Speech from simulated brains, beside every control",
        result,
        "SIMULATED: nobody was recorded. Half seconds of a real audiobook found by simulated "
        "responses, and sentences read from two simulated listeners.",
    )
    report.text(
        "The sound of the audiobook is real; every response is computed. This shows that each step "
        "runs and how speech decoders are judged here. It is no evidence of what can be decoded "
        "from people."
    )
    for line in lines:
        report.text(line, kind="verdict")
    report.heading("Said, decoded, and guessed without a brain")
    report.table(
        side_by_side(scored["said"]),
        "Tested sentences, none of which was trained on, with the lexicon and the word n-gram. "
        "What the language model says alone it says whatever the brain does.",
        simulated=True,
    )
    report.heading("Training")
    for run, panels in PANELS.items():
        curves = loss_curves(read_metrics(runs / run), read_metrics(runs / run, "val"), panels)
        report.figure(curves, f"{run}: training (lines) and validation (points).", simulated=True)
    for stage, found in scored.items():
        drawn = {p["caption"]: runs / stage / p["file"] for p in found["pictures"]}
        pages.add_section(report, found, drawn)
    add_seconds(report, config, seconds)
    return result, report.write(runs)


def section_of(folder: Path) -> Result:
    """The one question that `python -m eval.speech --out folder` scored.

    Raises
    ------
    DataError
        If it was not.
    """
    path = folder / "report.json"
    if not path.exists():
        raise DataError(f"{path}: no such file; run the stage '{folder.name}' first")
    section: Result = json.loads(path.read_text())["sections"][0]
    return section


def opening(result: Result) -> list[str]:
    """What the differences say, with the pool where something is found in one."""
    facts = result["facts"]
    if "pool" in facts:
        pool = f"Pool of {facts['pool']}, chance {share(facts['chance_top10'])}."
        return [f"{line} {pool}" for line in pages.verdicts(result) if line.startswith("top-10")]
    return [line for line in pages.verdicts(result) if line.startswith("WER")]


def side_by_side(result: Result) -> list[dict[str, Any]]:
    """One row a sentence: said, decoded, language model alone."""
    decoder = next(r["system"] for r in result["rows"] if r["sort"] == DECODER)
    names = {"decoded": decoder, "language model alone": UNIFORM}
    return [
        {"said": t["said"], **{k: t["systems"][name]["words"] for k, name in names.items()}}
        for t in result["details"]["transcripts"]
    ]
