"""`python -m eval.seizure`: detectors beside baselines, on patients nobody trained on."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.seizure.keep import KEPT, keep, require_keepable

EPILOG = (
    "example: python -m eval.seizure --checkpoint pretrained=runs/a --checkpoint random=runs/b "
    "--recordings \"dataset == 'simulated_seizures'\""
)


def parser() -> argparse.ArgumentParser:
    """Options."""
    p = argparse.ArgumentParser(prog="python -m eval.seizure", description=__doc__, epilog=EPILOG)
    p.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="folder of a detector; may be repeated, the same NAME again is another seed of it. "
        "The first is what others are subtracted from",
    )
    p.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    p.add_argument("--recordings", metavar="QUERY", help="tested recordings; default all")
    p.add_argument("--split", default="test", choices=("train", "val", "test"))
    p.add_argument(
        "--train",
        metavar="QUERY",
        help="recordings whose split 'train' fits the baselines and whose split 'val' chooses "
        "thresholds; default: the tested query",
    )
    p.add_argument("--no-baselines", action="store_true", help="score the checkpoints alone")
    p.add_argument("--no-judge", action="store_true", help="leave out the outside network")
    p.add_argument("--seeds", type=int, default=1, help="of EEGNet (default 1)")
    p.add_argument("--resamples", type=int, default=1000, help="of patients (default 1000)")
    p.add_argument(
        "--keep",
        choices=KEPT,
        metavar="POINT",
        help="write the threshold of this operating point into each checkpoint's folder, where "
        f"`python -m brainfm detect` finds it: {' or '.join(map(repr, KEPT))}",
    )
    p.add_argument("--out", default="runs/seizure", help="folder of report.html, .json, table.md")
    p.add_argument("--json", action="store_true", help="one JSON line last")
    return p


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Score everything and write the report; returns what report.json holds."""
    from rich.console import Console

    from brainfm.data.store import Store
    from eval.report import print_json
    from eval.seizure.run import load_detectors

    args = parser().parse_args(argv)
    store = Store(args.store)
    quiet = Console(stderr=True)
    checkpoints = [named(c) for c in args.checkpoint]
    detectors = load_detectors(checkpoints, store)
    content = compare(
        store,
        detectors,
        Path(args.out),
        query=args.recordings,
        split=args.split,
        train_query=args.train,
        baselines=not args.no_baselines,
        judge=not args.no_judge,
        seeds=args.seeds,
        n_resamples=args.resamples,
        say=lambda sentence: quiet.print(sentence, style="dim", highlight=False),
        out=Console(),
        keep_point=args.keep,
        folders={run: folder for run, (_, folder) in zip(detectors, checkpoints, strict=True)},
    )
    if args.json:
        print_json(content)
    return content


def named(argument: str) -> tuple[str, str]:
    """``name=folder``, or a folder, which is called as it is called on disk."""
    name, equals, folder = argument.partition("=")
    return (name, folder) if equals else (Path(argument).resolve().name, argument)


def compare(
    store: Any,
    detectors: Mapping[str, Any],
    folder: Path,
    *,
    query: str | None = None,
    split: str = "test",
    train_query: str | None = None,
    baselines: bool = True,
    judge: bool = True,
    seeds: int = 1,
    n_resamples: int = 1000,
    say: Any = lambda sentence: None,
    out: Any = None,
    keep_point: str | None = None,
    folders: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Predict, score and write; what `main` does when arguments are parsed.

    Parameters
    ----------
    store : Store
    detectors : run -> detector
    folder : gets report.html, report.json and table.md
    query, split, train_query : see `eval.seizure.run.cast`
    say, out : told what happens; `rich` console for tables, None for silence
    keep_point, folders : operating point whose threshold goes into the folders of the runs

    Raises
    ------
    DataError, ContractError
        If a recording or a model cannot be scored (see `run` and `predictions`), or a threshold
        not kept (see `keep`).
    """
    from eval.report import Report, write_atomic
    from eval.seizure.evaluate import evaluate
    from eval.seizure.pages import brief_rows, describe, markdown, window_rows
    from eval.seizure.run import cast, predict_all
    from eval.tables import rich_table

    roles = cast(store, query, split, train_query)
    if keep_point:
        require_keepable(keep_point, folders or {}, roles.validation)
    test, val = predict_all(
        store, roles, detectors, baselines=baselines, judge=judge, seeds=seeds, say=say
    )
    rule = next((d.config.alarm for d in detectors.values()), None)
    result = evaluate(test, val, rule=rule, n_resamples=n_resamples, say=say)
    result["sentences"] += roles.notes
    report = Report(
        "seizure",
        "Seizure detection",
        {"store": str(store.root), "recordings": query, "split": split, **result},
        subtitle="Detectors and baselines on the same windows of patients nobody trained on.",
    )
    pages(report, result, test, rule)
    page = report.write(folder)
    write_atomic(folder / "table.md", markdown(result))
    if out is not None:
        out.print(describe(result), highlight=False)
        out.print(rich_table(brief_rows(result), title="Events (SzCORE, mean over patients)"))
        out.print(rich_table(window_rows(result), title="Windows"))
        out.print("\n".join(result["sentences"]), highlight=False)
        out.print(f"report: {page}")
    kept = keep(keep_point, folders or {}, result) if keep_point else []
    if out is not None:
        for sentence in kept:
            out.print(sentence, highlight=False, soft_wrap=True)
    return {"name": "seizure", **report.data, "report": str(page)}


def pages(report: Any, result: dict[str, Any], test: Mapping[str, Any], rule: Any) -> None:
    """Sentences, figures and tables of the report."""
    from brainfm.detect.alarms import AlarmRule
    from eval.seizure import figures
    from eval.seizure.pages import add_tables, describe
    from eval.seizure.points import POINTS

    simulated = result["data"]["simulated"]
    report.text(describe(result))
    for sentence in result["sentences"]:
        report.text(sentence, kind="verdict")
    drawn = figures.drawn_models(result)
    point = POINTS[1] if result["data"]["validation"] else POINTS[0]
    report.figure(
        figures.threshold_curves(result),
        "Left: event F1 against the threshold. Right: event sensitivity against false alarms a "
        "day; dotted: one a day. Tested patients pooled, curves of the first seed of each model; "
        "marks are the operating points, means over seeds.",
        simulated,
    )
    report.figure(
        figures.reliability_plot(result),
        "Reliability: of the windows with a predicted probability (10 bins), the share that is "
        "seizure. Below: how many windows a bin holds.",
        simulated,
    )
    many = result["data"]["subjects"] > figures.MOST_PATIENTS
    who = f"The first {figures.MOST_PATIENTS} patients" if many else "Each patient"
    report.figure(
        figures.patient_bars(result, point, drawn),
        f"{who} at the operating point '{point}'.",
        simulated,
    )
    runs = {m: next(r for r in test if r.partition("#")[0] == m) for m in drawn}
    thresholds = {r: result["points"][r][point]["threshold"] for r in runs.values()}
    for name in figures.shown_recordings(next(iter(test.values()))):
        shown = {r: next(p for p in test[r] if p.recording == name) for r in runs.values()}
        report.figure(
            figures.timeline(name, shown, thresholds, rule or AlarmRule(), figures.colours(result)),
            f"{name}: probability (thin), its trailing mean (thick), threshold of '{point}' "
            "(dotted), alarms (bars on top); annotated seizures red, no signal grey.",
            next(iter(shown.values())).simulated,
        )
    add_tables(report, result)


if __name__ == "__main__":
    from brainfm.errors import ContractError, DataError

    try:
        main()
    except (ContractError, DataError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        sys.exit(1)
