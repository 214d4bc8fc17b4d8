"""`python -m eval.speech`: decoders of speech beside baselines and controls, on unseen sentences.

What a decoder is (its head) decides what is scored: words of a closed vocabulary, phonemes and
words by CTC, segments found among others, or speech features over time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EPILOG = (
    "example: python -m eval.speech --decoder pretrained=runs/words/export "
    "--decoder random=runs/words_random/export --recordings \"dataset == 'simulated_speech'\""
)


def parser() -> argparse.ArgumentParser:
    """Options."""
    from brainfm.data.utterances import UNITS

    p = argparse.ArgumentParser(prog="python -m eval.speech", description=__doc__, epilog=EPILOG)
    p.add_argument(
        "--decoder",
        action="append",
        nargs="+",
        default=[],
        metavar="[NAME=]DIR",
        help="folders of speech decoders; may be repeated, the same NAME again is another seed. "
        "The first of each head is what others are subtracted from and what controls are made of",
    )
    p.add_argument(
        "--twin",
        action="append",
        default=[],
        metavar="NAME",
        help="a decoder without pretraining; names with 'random', 'fresh' or 'scratch' are known",
    )
    p.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    p.add_argument("--recordings", metavar="QUERY", help="tested recordings; default all")
    p.add_argument("--split", default="test", choices=("val", "test"))
    p.add_argument(
        "--train",
        metavar="QUERY",
        help="recordings whose split 'train' teaches baselines and language models and whose "
        "split 'val' chooses weights; default: the tested query",
    )
    windows = p.add_argument_group(
        "windows", "default: those of the run beside a decoder's folder (config.yaml)"
    )
    windows.add_argument("--unit", choices=UNITS)
    windows.add_argument("--start", type=float, metavar="S", help="seconds after the onset")
    windows.add_argument("--stop", type=float, metavar="S", help="see data.speech.stop_s")
    windows.add_argument("--segment", type=float, metavar="S", help="length of a segment")
    windows.add_argument("--stimulus", help="name of the speech features")
    windows.add_argument("--patch", type=float, metavar="S", help="seconds of a model step")
    p.add_argument("--shift", type=float, default=10.0, metavar="S",
                   help="how much later the time-shifted control reads (default 10)")  # fmt: skip
    p.add_argument("--resamples", type=int, default=1000, help="of patients or sentences")
    p.add_argument("--out", default="runs/speech", help="folder of report.html, .json, table.md")
    p.add_argument("--json", action="store_true", help="one JSON line last")
    return p


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Score everything and write the report; returns what report.json holds."""
    from rich.console import Console

    from brainfm.data.store import Store
    from eval.report import print_json
    from eval.speech.decoders import load_decoders

    p = parser()
    args = p.parse_args(argv)
    if args.resamples < 1 or not args.shift > 0:
        p.error("--resamples and --shift must be above 0")
    given = {
        "unit": args.unit,
        "start_s": args.start,
        "stop_s": args.stop,
        "segment_s": args.segment,
        "stimulus": args.stimulus,
    }
    store = Store(args.store)
    quiet = Console(stderr=True)
    content = compare(
        store,
        load_decoders(
            [named(d) for group in args.decoder for d in group],
            store,
            twins=args.twin,
            targets={k: v for k, v in given.items() if v is not None},
            patch_s=args.patch,
        ),
        Path(args.out),
        query=args.recordings,
        split=args.split,
        train_query=args.train,
        shift_s=args.shift,
        n_resamples=args.resamples,
        say=lambda sentence: quiet.print(sentence, style="dim", highlight=False),
        out=Console(),
    )
    if args.json:
        print_json(content)
    return content


def named(argument: str) -> tuple[str, str]:
    """``name=folder``, or a folder; `<run>/export` is called as its run."""
    name, equals, folder = argument.partition("=")
    if equals:
        return name, folder
    path = Path(argument).resolve()
    return (path.parent.name if path.name == "export" else path.name), argument


def compare(
    store: Any, decoders: Sequence[Any], folder: Path, *, out: Any = None, **settings: Any
) -> dict[str, Any]:
    """Score and write; what `main` does when arguments are parsed.

    Parameters
    ----------
    store : Store
    decoders : of `eval.speech.decoders.load_decoders`
    folder : gets report.html, report.json, table.md and the figures
    out : `rich` console for tables, None for silence
    settings : of `eval.speech.run.evaluate`

    Raises
    ------
    DataError, ContractError
        If a decoder and the recordings do not fit, or a tested sentence is trained on.
    """
    from eval.report import Report, write_atomic
    from eval.speech import pages
    from eval.speech.figures import pictures
    from eval.speech.run import evaluate
    from eval.tables import rich_table

    sections = evaluate(store, decoders, **settings)
    results = [s.result for s in sections]
    report = Report(
        "speech",
        "Speech from brain signals",
        {
            "store": str(store.root),
            "recordings": settings.get("query"),
            "split": settings.get("split", "test"),
            "decoders": {d.run: d.folder for d in decoders},
            "sections": results,
        },
        subtitle="Decoders beside what needs no brain, the wrong brain and linear models of the "
        "same windows; no tested sentence was trained on.",
    )
    for section in sections:
        drawn = drawn_into(folder, section.head, pictures(section))
        section.result["pictures"] = [
            {"caption": caption, "file": str(path.relative_to(folder))}
            for caption, path in drawn.items()
        ]
        pages.add_section(report, section.result, drawn)
        if out is not None:
            out.print(pages.describe(section.result), highlight=False)
            out.print(rich_table(pages.score_rows(section.result), title=section.title))
            out.print("\n".join(pages.verdicts(section.result)), highlight=False)
    page = report.write(folder)
    write_atomic(folder / "table.md", pages.markdown(results))
    if out is not None:
        out.print(f"report: {page}")
    return {"name": "speech", **report.data, "report": str(page)}


def drawn_into(folder: Path, head: str, figures: dict[str, Any]) -> dict[str, Path]:
    """Caption -> PNG of each figure, `<folder>/figures/<head>_<number>.png`."""
    from eval.report import figure_png

    drawn = {}
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for number, (caption, figure) in enumerate(figures.items(), 1):
        drawn[caption] = folder / "figures" / f"{head}_{number}.png"
        drawn[caption].write_bytes(figure_png(figure))
    return drawn


if __name__ == "__main__":
    from brainfm.errors import ContractError, DataError

    try:
        main()
    except (ContractError, DataError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        sys.exit(1)
