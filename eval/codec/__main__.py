"""`python -m eval.codec`: what codecs cost and keep, beside transform and lossless coders."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

EPILOG = (
    "example: python -m eval.codec --codec scalar=runs/scalar_demo/export "
    "--codec biocodec=runs/biocodec_demo/export --recordings \"kind == 'EEG'\""
)


def parser() -> argparse.ArgumentParser:
    """Options."""
    p = argparse.ArgumentParser(prog="python -m eval.codec", description=__doc__, epilog=EPILOG)
    p.add_argument(
        "--codec",
        action="append",
        nargs="+",
        default=[],
        metavar="[NAME=]DIR",
        help="folders of trained codecs; may be repeated. Without any, the baselines alone",
    )
    p.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    p.add_argument("--recordings", metavar="QUERY", help="tested recordings; default all")
    p.add_argument("--split", default="test", choices=("val", "test"))
    p.add_argument(
        "--train",
        metavar="QUERY",
        help="recordings whose split 'train' gives tables, components and steps; default: the "
        "tested query",
    )
    p.add_argument("--window", type=float, default=8.0, metavar="S", help="seconds (default 8)")
    p.add_argument("--windows", type=int, default=8, help="of each recording (default 8)")
    p.add_argument("--train-windows", type=int, default=64, help="of each kind (default 64)")
    p.add_argument("--resamples", type=int, default=1000, help="of people (default 1000)")
    p.add_argument(
        "--task",
        nargs="*",
        metavar="DATASET",
        help="data sets whose trials are classified before and after coding; default: all tested "
        "ones with labels, none after a bare --task",
    )
    p.add_argument(
        "--task-trials", type=int, default=200, help="test trials of each, at most (default 200)"
    )
    p.add_argument(
        "--task-retrain", action="store_true", help="also train the classifiers on decoded trials"
    )
    p.add_argument(
        "--compare-rates",
        nargs="+",
        default=[],
        metavar="NAME",
        help="a multi-rate codec, then codecs trained for one rate each, by their --codec names",
    )
    p.add_argument("--out", default="runs/codec", help="folder of report.html, .json, table.md")
    p.add_argument("--json", action="store_true", help="one JSON line last")
    return p


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Code everything and write the report; returns what report.json holds."""
    from rich.console import Console

    from brainfm.data.store import Store
    from eval.codec.coders import load_codecs
    from eval.report import print_json

    p = parser()
    args = p.parse_args(argv)
    for option in ("windows", "train_windows", "task_trials", "resamples"):
        if getattr(args, option) < 1:
            p.error(f"--{option.replace('_', '-')} is {getattr(args, option)}; it must be above 0")
    if len(args.compare_rates) == 1:
        p.error("--compare-rates names one codec; name those trained for one rate after it")
    store = Store(args.store)
    quiet = Console(stderr=True)
    content = compare(
        store,
        load_codecs([named(c) for group in args.codec for c in group], store),
        Path(args.out),
        query=args.recordings,
        split=args.split,
        train_query=args.train,
        window_s=args.window,
        n_windows=args.windows,
        n_train_windows=args.train_windows,
        n_resamples=args.resamples,
        tasks=args.task,
        n_trials=args.task_trials,
        retrain=args.task_retrain,
        compare_rates=args.compare_rates,
        say=lambda sentence: quiet.print(sentence, style="dim", highlight=False),
        out=Console(),
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
    codecs: Sequence[Any],
    folder: Path,
    *,
    query: str | None = None,
    split: str = "test",
    train_query: str | None = None,
    say: Callable[[str], None] = lambda sentence: None,
    out: Any = None,
    **settings: Any,
) -> dict[str, Any]:
    """Code, measure and write; what `main` does when arguments are parsed.

    Parameters
    ----------
    store : Store
    codecs : of `eval.codec.coders.load_codecs`
    folder : gets report.html, report.json and table.md
    query, split, train_query : see `eval.codec.windows.cast`
    say, out : told what happens; `rich` console for tables, None for silence
    settings : of `eval.codec.run.evaluate`

    Raises
    ------
    DataError, ContractError
        If there is nothing to test or to train on, or a codec cannot code these windows.
    """
    from eval.codec import pages
    from eval.codec.figures import accuracy_curves, pictures
    from eval.codec.run import evaluate
    from eval.codec.windows import cast
    from eval.report import Report, write_atomic
    from eval.tables import rich_table

    roles = cast(store, query, split, train_query)
    result = evaluate(store, roles, codecs, say=say, **settings)
    report = Report(
        "codec",
        "Rate and distortion",
        {
            "store": str(store.root),
            "query": query,
            "split": split,
            **{k: v for k, v in result.items() if k != "traces"},
        },
        subtitle="What codecs cost and keep on held-out recordings, beside transform "
        "coders, principal components and a lossless coder on the same windows.",
    )
    report.text(pages.describe(result))
    for sentence in result["sentences"]:
        report.text(sentence, kind="verdict")
    for kind in result["data"]["kinds"]:
        pages.add_kind(report, result, kind, pictures(result, kind))
        if out is not None:
            out.print(rich_table(pages.at_rows(result, kind), title=f"{kind}: NMSE in dB"))
    for task in result["tasks"]:
        pages.add_task(report, task, accuracy_curves(result, task))
    if result["ratios"]:
        report.heading("One model for all rates")
        report.table(pages.ratio_rows(result), pages.RATIO_NOTE)
    report.heading("Notes")
    for sentence in [*result["notes"], pages.HELD_OUT]:
        report.text(sentence)
    page = report.write(folder)
    write_atomic(folder / "table.md", pages.markdown(result))
    if out is not None:
        out.print("\n".join([*result["sentences"], *result["notes"]]), highlight=False)
        out.print(f"report: {page}")
    return {"name": "codec", **report.data, "report": str(page)}


if __name__ == "__main__":
    from brainfm.errors import ContractError, DataError

    try:
        main()
    except (ContractError, DataError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        sys.exit(1)
