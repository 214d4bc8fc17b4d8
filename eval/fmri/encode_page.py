"""The page of `python -m eval.fmri encode`: models beside their ceiling, and where they guess.

Shapes: J judged runs, U people or runs, C channels, L lags.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from eval.fmri.encode import encode
from eval.fmri.stimuli import AUDIBLE, BIN_S
from eval.fmri.systems import ANYTHING, RIDGE, TRANSFORMER
from eval.report import Report

STRONG = 0.4
"""Channels with a higher ceiling answer strongly; the median over all hardly sees them."""


def encode_page(args: argparse.Namespace, store: Store) -> tuple[dict[str, Any], Report]:
    """Encoding models; see `eval.fmri.encode`."""
    (dataset,) = args.dataset or ["haxby"]
    found = encode(store, dataset, say=args.say)
    simulated = dataset.startswith("simulated")
    rows = _encoding_rows(found, args.resamples)
    rivals = [name for name in (RIDGE, ANYTHING) if name in found["rows"]]
    less = {name: _difference(found, TRANSFORMER, name, args.resamples) for name in rivals}
    n, many = len(found["people"]), len(found["people"]) > 1
    verdicts = [
        f"{dataset}: {n} {'people' if many else 'person'}, {found['n_runs']} runs: "
        + ", ".join(f"{r['model']} {r['median r']['mean']:.3f}" for r in rows)
        + "; transformer less "
        + ", less ".join(
            f"{n} {d['mean']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]" for n, d in less.items()
        )
        + ".",
        f"Ceiling: {_ceiling_words(found)} The ten best channels of each person answer most "
        f"{found['peak_s']:.0f} s after what they prefer.",
    ]
    result = {"dataset": dataset, **found, "table": rows, "less": less, "verdicts": verdicts}
    report = Report("fmri_encode", "What was shown tells what fMRI will show", result)
    for sentence in verdicts:
        report.text(sentence, kind="verdict")
    report.table(
        rows,
        "Correlation of guess and recording in runs (of a person with one run: in the half) that "
        "taught nothing, over frames from the onset of an event to 8 s after its end; median over "
        "channels, mean and 95 % interval over "
        f"{'people' if many else 'runs'}. Share of the ceiling: mean correlation over mean ceiling "
        f"of the channels whose ceiling is above {AUDIBLE:g}; strong: those above {STRONG:g}; nan "
        "where the ceiling is not known.",
        simulated=simulated,
    )
    if any(c is not None for c in found["ceilings"].values()):
        report.figure(
            _against_ceiling(found),
            "Every channel: what a model reaches, and what a perfect one would. "
            + (
                "Answers overlap here, so that ceilings are too low and points lie above the line."
                if found["overlap"]
                else "Points above the line are chance."
            ),
            simulated,
        )
    report.figure(
        _curve_figure(found),
        "Impulse response of the channels that are guessed best, by ridge: nobody told it when "
        "blood answers. Labels of some packages are late already; then it begins at once.",
        simulated,
    )
    person = found["people"][0]
    frame = {"mni": "MNI space", "unknown": "in a space that the data do not name"}
    if _views(found["places"][person]):
        report.figure(
            _map(found, person),
            f"Where {person}'s channels are guessed by the transformer; places are "
            f"{frame.get(found['frames'][person], found['frames'][person])}, seen from above, from "
            "the left, from behind; a slice has one such view.",
            simulated,
        )
    return result, report


def _encoding_rows(found: dict[str, Any], n_resamples: int) -> list[dict[str, Any]]:
    rows = []
    for name in found["rows"]:
        row = {"model": name, "median r": _interval(_units(found, name), n_resamples)}
        known = [
            (r_JC.mean(0), c)
            for person, r_JC in found["rows"][name].items()
            if (c := found["ceilings"][person]) is not None and not found["overlap"]
        ]
        shares = [
            r[c > AUDIBLE].mean() / c[c > AUDIBLE].mean() for r, c in known if (c > AUDIBLE).any()
        ]
        strong = [r[c > STRONG].mean() for r, c in known if (c > STRONG).any()]
        row["share of the ceiling"] = float(np.mean(shares)) if shares else float("nan")
        row["mean r, strong"] = float(np.mean(strong)) if strong else float("nan")
        rows.append(row)
    return rows


def _units(found: dict[str, Any], name: str) -> NDArray[np.float64]:
    """Median correlation of every person, or of every run where there is one person."""
    people = found["rows"][name].values()
    if len(people) > 1:
        return np.array([np.median(r_JC.mean(0)) for r_JC in people])
    (only,) = people
    return np.median(only, axis=1)


def _difference(found: dict[str, Any], a: str, b: str, n_resamples: int) -> dict[str, float]:
    return _interval(_units(found, a) - _units(found, b), n_resamples)


def _interval(value_U: NDArray[np.float64], n_resamples: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    draws = value_U[rng.integers(len(value_U), size=(n_resamples, len(value_U)))].mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"mean": float(value_U.mean()), "low": float(low), "high": float(high)}


def _ceiling_words(found: dict[str, Any]) -> str:
    known = [c for c in found["ceilings"].values() if c is not None]
    if not known:
        return "unknown, since nothing was shown twice."
    all_C = np.concatenate(known)
    if found["overlap"]:
        return (
            f"at least {np.median(all_C):.2f} (median); events follow so fast that their answers "
            "overlap, which makes repeats differ, so no share of it is given."
        )
    return (
        f"median {np.median(all_C):.2f}, {100 * (all_C > AUDIBLE).mean():.0f} % of channels above "
        f"{AUDIBLE:g} (from answers to the same event, again and again)."
    )


def _against_ceiling(found: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6), sharex=True, sharey=True)
    for ax, name in zip(axes, (TRANSFORMER, RIDGE), strict=True):
        for person, c_C in found["ceilings"].items():
            if c_C is not None:
                ax.plot(c_C, found["rows"][name][person].mean(0), ".", ms=3, alpha=0.5, c="#2a6f97")
        ax.plot([0, 1], [0, 1], c="0.6", lw=1)
        ax.set_title(name, fontsize=9, loc="left")
        ax.set_xlabel("ceiling")
        ax.set_xlim(0, 1)
        ax.set_ylim(-0.3, 1)
    axes[0].set_ylabel("correlation with the recording")
    figure.tight_layout()
    return figure


def _curve_figure(found: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(4.6, 2.8))
    lag_L = (np.arange(len(found["curve"])) + 0.5) * BIN_S
    ax.plot(lag_L, found["curve"], marker="o", c="#2a6f97")
    ax.axhline(0, c="0.7", lw=1)
    ax.set_xlabel("seconds after what was shown")
    ax.set_ylabel("weight, largest 1")
    figure.tight_layout()
    return figure


def _views(pos_C3: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of axes along both of which channels spread: three of a head, one of a slice."""
    known_C3 = pos_C3[np.isfinite(pos_C3).all(1)]
    if len(known_C3) < 4:
        return []
    wide = np.ptp(known_C3, axis=0) > 0.001
    return [(i, j) for i, j in ((0, 1), (1, 2), (0, 2)) if wide[i] and wide[j]]


def _map(found: dict[str, Any], person: str) -> Any:
    import matplotlib.pyplot as plt

    pos_C3 = 1000 * found["places"][person]
    views = _views(found["places"][person])
    r_C = found["rows"][TRANSFORMER][person].mean(0)
    order = np.argsort(r_C)
    size = (1.0 + 2.5 * len(views), 3.0)
    figure, grid = plt.subplots(1, len(views), figsize=size, layout="constrained", squeeze=False)
    axes = list(grid[0])
    for ax, (i, j) in zip(axes, views, strict=True):
        drawn = ax.scatter(
            pos_C3[order, i], pos_C3[order, j], c=r_C[order], s=8, cmap="viridis", vmin=0
        )
        ax.set_xlabel(f"{'xyz'[i]}, mm")
        ax.set_ylabel(f"{'xyz'[j]}, mm")
        ax.set_aspect("equal")
    figure.colorbar(drawn, ax=axes, label="correlation", shrink=0.8)
    return figure
