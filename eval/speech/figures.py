"""Pictures of speech decoding: patients, alignment, what was heard beside what was decoded.

Shapes: N frames, F speech features, Q segments.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

from eval.pictures import COLOURS, figure
from eval.speech.answers import CHANCE, DECODER, LINEAR, NO_BRAIN, TWIN, WRONG_BRAIN
from eval.speech.heard import RIDGE, stimulus
from eval.speech.pages import leading
from eval.speech.run import Section

INK, GRID = "#1c2430", "#dde3ea"
COLOUR_OF = {
    DECODER: COLOURS[0],
    TWIN: COLOURS[4],
    LINEAR: COLOURS[1],
    NO_BRAIN: COLOURS[2],
    WRONG_BRAIN: "#94a3b8",
    CHANCE: "#cbd5e1",
}
SECONDS = 12.0
"""Of speech shown beside what was decoded."""


def pictures(section: Section) -> dict[str, Any]:
    """Caption -> figure."""
    result = section.result
    metric = leading(result)
    found = {
        f"{metric} of every system; bars are means, dots single patients, whiskers 95 % intervals "
        f"over {result['over']}.": bars(result, metric)
    }
    if section.head == "align":
        found[
            "Brain segments (rows) against the speech that was heard (columns), segments of one "
            "patient in order of time, scores centred by row; on the diagonal a segment and its "
            "own speech."
        ] = similarity(section)
        found["How often the own stretch is among so many best ones; dotted: guessing."] = (
            among_best(section)
        )
    if section.head == "regress":
        found[
            "What was heard, what the decoder and ridge say of it, each feature standardised over "
            "the stretch; windows of one patient end to end."
        ] = heard_and_decoded(section)
        found["Mean correlation of each feature."] = band_curves(section)
    return found


def bars(result: dict[str, Any], metric: str) -> Any:
    """One bar a system, with its interval and its patients."""
    rows = result["rows"]
    fig, (ax,) = figure(7.5, 0.4 * len(rows) + 0.9)
    for i, r in enumerate(rows):
        s = r["scores"][metric]
        ax.barh(i, s["mean"], color=COLOUR_OF[r["sort"]], height=0.7)
        if s["low"] is not None:
            ax.plot([s["low"], s["high"]], [i, i], color=INK, lw=1.2)
        points = [v for v in r["patients"][metric].values() if v == v]
        ax.plot(points, np.full(len(points), i + 0.22), "o", color=INK, ms=2.5, alpha=0.5)
    ax.set_yticks(range(len(rows)), [r["system"] for r in rows], fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(metric, fontsize=9)
    ax.tick_params(axis="x", labelsize=8)
    fig.tight_layout()
    return fig


def similarity(section: Section) -> Any:
    """Scores of segments and candidates, of the decoder and of linear models."""
    linear = [r["system"] for r in section.result["rows"] if r["sort"] == LINEAR]
    systems = [section.result["main"], *linear]
    fig, axes = figure(4.0 * len(systems), 4.0, len(systems))
    for ax, name in zip(axes, systems, strict=True):
        score_QQ, _ = section.task.matrix(section.said[name])
        score_QQ = score_QQ - score_QQ.mean(1, keepdims=True)
        most = float(np.abs(score_QQ).max()) or 1.0
        ax.imshow(score_QQ, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
        ax.set_title(name, fontsize=9)
        ax.set_xlabel("speech heard, segment", fontsize=8)
        ax.set_ylabel("brain segment", fontsize=8)
        ax.tick_params(labelsize=7)
    fig.tight_layout()
    return fig


def among_best(section: Section) -> Any:
    """Share of segments found among the best k, for every k."""
    import torch

    from brainfm.heads.align import ranks

    fig, (ax,) = figure(7.6, 3.6)
    pool = section.result["facts"]["pool"]
    k = np.arange(1, pool + 1)
    styles = {sort: cycle(("-", "--", "-.")) for sort in COLOUR_OF}
    for r in section.result["rows"]:
        if r["sort"] == CHANCE:
            continue
        score_QM = torch.from_numpy(np.stack(section.said[r["system"]]))
        rank_Q = ranks(score_QM, torch.from_numpy(section.task.target_Q)).numpy()
        share_K = (rank_Q[:, None] <= k).mean(0)
        wide = 2.0 if r["system"] == section.result["main"] else 1.0
        line = next(styles[r["sort"]])
        ax.plot(k, share_K, line, color=COLOUR_OF[r["sort"]], lw=wide, label=r["system"])
    ax.plot(k, k / pool, ":", color=INK, lw=0.8)
    ax.set(xscale="log", xlabel=f"best k of {pool}", ylabel="share of segments", ylim=(0, 1.02))
    ax.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    fig.tight_layout()
    return fig


def heard_and_decoded(section: Section) -> Any:
    """Features of one patient's windows end to end: heard, decoded, ridge."""
    plan = section.task.plan
    mine = [i for i, w in enumerate(plan.test) if w.patient == plan.patients[0]]
    seconds = np.cumsum([plan.test[i].ref.length for i in mine]) / plan.store.recipe.sfreq
    mine = mine[: max(1, int((seconds <= SECONDS).sum()))]
    total = float(seconds[len(mine) - 1])
    rows = {
        "heard": [stimulus(plan.test[i]) for i in mine],
        **{name: [section.said[name][i] for i in mine] for name in (section.result["main"], RIDGE)},
    }
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(len(rows), 1, figsize=(9, 1.7 * len(rows)), sharex=True)
    for ax, (name, parts) in zip(axes, rows.items(), strict=True):
        x_NF = np.concatenate(parts)
        z_FN = ((x_NF - x_NF.mean(0)) / np.maximum(x_NF.std(0), 1e-6)).T
        ax.imshow(z_FN, aspect="auto", origin="lower", cmap="magma", vmin=-2, vmax=2.5,
                  extent=(0, total, 0, len(z_FN)))  # fmt: skip
        ax.set_ylabel(name, fontsize=8)
        ax.tick_params(labelsize=7)
    axes[-1].set_xlabel("seconds of tested windows", fontsize=8)
    fig.tight_layout()
    return fig


def band_curves(section: Section) -> Any:
    """Correlation by feature, one line a system."""
    fig, (ax,) = figure(6.0, 3.2)
    ax.axhline(0, color=GRID, lw=1)
    for r in section.result["rows"]:
        wide = 2.0 if r["system"] == section.result["main"] else 1.0
        values = section.result["details"]["bands"][r["system"]]
        ax.plot(values, color=COLOUR_OF[r["sort"]], lw=wide, label=r["system"])
    ax.set(xlabel=f"feature of '{section.result['facts']['stimulus']}'", ylabel="correlation")
    ax.legend(frameon=False, fontsize=7)
    fig.tight_layout()
    return fig
