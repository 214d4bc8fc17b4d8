"""`python -m eval.images`: which image was seen, and what is left without visual cortex.

A decoder fine-tuned by contrast (configs/finetune/image_contrast_demo.yaml) beside ridge, beside
the same recipe from other beginnings (--also NAME=DIR) and beside shuffled pairs; then each with
the parcels of single lobes (WAVE, arXiv 2411.07121, asks what is seen without visual cortex).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from brainfm.data.images import ImageTable, ImageTargets
from brainfm.data.paths import data_root
from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from brainfm.heads.align import Align
from brainfm.hub import load_model
from brainfm.nn.regions import LOBES
from brainfm.speech.decoder import SpeechDecoder
from eval.images.retrieve import (
    by_decoder,
    by_ridge,
    difference,
    pool_of,
    ranks,
    read_people,
    shuffled,
    summarise,
)
from eval.report import Report, print_json

LEAST_PARCELS = 3
"""A lobe with fewer is not asked alone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Judge, write the page; 1 if something is refused."""
    parser = argparse.ArgumentParser("python -m eval.images", description=__doc__)
    parser.add_argument("--decoder", required=True, help="folder of a decoder with head 'align'")
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=DIR", help="other decoders")
    parser.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    parser.add_argument("--table", help="vectors; default those of simulated_images")
    parser.add_argument("--recordings", default="", metavar="QUERY", help="default: all")
    parser.add_argument("--window", nargs=2, type=float, default=(0.0, 12.0), metavar="SECONDS")
    parser.add_argument("--resamples", type=int, default=1000, help="of images, for intervals")
    parser.add_argument("--out", default="runs/images", help="folder of the report")
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    args = parser.parse_args(argv)
    console = Console()
    try:
        result = evaluate(args)
    except (DataError, ContractError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1
    page = write_page(result, Path(args.out))
    for sentence in result["verdicts"]:
        console.print(sentence, highlight=False)
    console.print(f"report: {page}", highlight=False)
    if args.json:
        print_json(result)
    return 0


def evaluate(args: argparse.Namespace) -> dict[str, Any]:
    """Everything the report shows."""
    store = Store(args.store)
    path = args.table or data_root() / "sources" / "simulated_images" / "images.safetensors"
    targets = ImageTargets(str(path), *args.window)
    table = ImageTable.read(path)
    people = read_people(store, targets, args.recordings)
    pool = pool_of(people)
    decoders = {"decoder": _decoder(args.decoder)}
    for pair in args.also:
        name, _, folder = pair.partition("=")
        decoders[name] = _decoder(folder)
    scores = {n: by_decoder(d, store, people, pool, targets) for n, d in decoders.items()}
    scores["ridge"] = by_ridge(store, people, pool, table)
    scores["decoder, shuffled pairs"] = shuffled(scores["decoder"])
    rank = {name: ranks(s) for name, s in scores.items()}
    rows = {name: summarise(r, args.resamples) for name, r in rank.items()}
    parts = {}
    for name, lobes in _parts(people[0].lobe_C).items():
        left = {
            "decoder": by_decoder(decoders["decoder"], store, people, pool, targets, lobes),
            "ridge": by_ridge(store, people, pool, table, lobes),
        }
        parts[name] = {
            "parcels": int(np.isin(people[0].lobe_C, lobes).sum()),
            **{system: summarise(ranks(s), args.resamples)["top-1"] for system, s in left.items()},
        }
    gain = difference(rank["decoder"], rank["ridge"], args.resamples)
    top = {name: r["top-1"]["mean"] for name, r in rows.items()}
    without = parts.get("without occipital")
    return {
        "people": [p.name for p in people],
        "pool": len(pool),
        "source": table.source,
        "rows": rows,
        "parts": parts,
        "difference": gain,
        "simulated": all("simulated" in p.name for p in people),
        "verdicts": [
            f"{len(people)} people, {len(pool)} images that nobody learned from, top-1: "
            + ", ".join(f"{n} {v:.2f}" for n, v in top.items())
            + f" (chance {1 / len(pool):.2f}); decoder less ridge {gain['mean']:+.2f} "
            f"[{gain['low']:+.2f}, {gain['high']:+.2f}].",
            *(
                [
                    f"Without occipital parcels: decoder {without['decoder']['mean']:.2f}, ridge "
                    f"{without['ridge']['mean']:.2f}."
                ]
                if without
                else []
            ),
        ],
    }


def _parts(lobe_C: np.ndarray) -> dict[str, list[str]]:
    """What is left of a cortex: without its occipital lobe, and each lobe alone."""
    there = [lobe for lobe in LOBES if (lobe_C == lobe).sum() >= LEAST_PARCELS]
    parts = {f"{lobe} alone": [lobe] for lobe in there}
    if "occipital" in there and len(there) > 1:
        parts = {"without occipital": [x for x in LOBES if x != "occipital"], **parts}
    return parts


def _decoder(folder: str) -> SpeechDecoder:
    model = load_model(folder)
    if not isinstance(model, SpeechDecoder) or not isinstance(model.head, Align):
        raise ContractError(
            f"{folder}: holds no decoder with head 'align'; train one with "
            "configs/finetune/image_contrast_demo.yaml"
        )
    return model


def write_page(result: dict[str, Any], folder: Path) -> Path:
    """The report; returns its path."""
    simulated = result["simulated"]
    report = Report("images", "Which image was seen", result)
    for sentence in result["verdicts"]:
        report.text(sentence, kind="verdict")
    report.table(
        [{"system": name, **r} for name, r in result["rows"].items()],
        f"Share of images found first, or among the first five, of {result['pool']}. Vectors: "
        f"{result['source']}. Repeats of an image count once; intervals resample images. Ridge: "
        "one a person, from means of parcels 3 to 9 s after the image.",
        simulated=simulated,
    )
    report.heading("With parts of the cortex")
    report.table(
        [{"parcels of": name, **r} for name, r in result["parts"].items()],
        "Top-1. The decoder is the same and sees fewer parcels; ridge learns anew.",
        simulated=simulated,
    )
    report.figure(_bars(result), "Top-1 by parts of the cortex, with 95 % intervals.", simulated)
    return report.write(folder)


def _bars(result: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    whole = {"all": {n: result["rows"][n]["top-1"] for n in ("decoder", "ridge")}}
    parts = {**whole, **result["parts"]}
    figure, ax = plt.subplots(figsize=(7.0, 3.2))
    for i, (system, colour) in enumerate((("decoder", "#2a6f97"), ("ridge", "#b08968"))):
        found = [p[system] for p in parts.values()]
        x = np.arange(len(found)) + 0.4 * i - 0.2
        mean = np.array([f["mean"] for f in found])
        error = np.abs(np.array([[f["low"], f["high"]] for f in found]).T - mean)
        ax.bar(x, mean, 0.36, yerr=error, color=colour, label=system, capsize=2)
    ax.axhline(1 / result["pool"], c="0.4", lw=1, ls=":", label="chance")
    ax.set_xticks(range(len(parts)), parts, rotation=30, ha="right", fontsize=8)
    ax.set_ylabel("top-1")
    ax.legend(fontsize=8)
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    sys.exit(main())
