"""Pictures of a probe: bars with intervals, confusion matrices, learning curves.

Shapes: K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.probe.run import METRIC, best_row
from eval.tables import share

COLOURS = {"model": "#0f766e", "control": "#94a3b8", "baseline": "#c2703d"}
INK, GRID = "#1c2430", "#dde3ea"
SORT_NAMES = {
    "model": "pretrained model",
    "control": "control",
    "baseline": "baseline",
}


def _axes(width: float, height: float, **kwargs: Any) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(width, height), layout="constrained", **kwargs)
    for ax in np.atleast_1d(axes).ravel():
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GRID)
        ax.tick_params(colors=INK, labelsize=9)
    return figure, axes


def bars(result: dict[str, Any]) -> Any:
    """Balanced accuracy of every route with its 95 % interval; seeds as dots."""
    rows = result["rows"][::-1]
    figure, ax = _axes(8.0, 0.36 * len(rows) + 1.1)
    chance = 1.0 / len(result["classes"])
    for i, row in enumerate(rows):
        value = row[METRIC]
        colour = COLOURS[row["sort"]]
        ax.barh(i, value["mean"], color=colour, height=0.62, zorder=2)
        ax.plot([value["low"], value["high"]], [i, i], color=INK, lw=1.2, zorder=3)
        if len(value["seeds"]) > 1:
            ax.scatter(
                value["seeds"],
                [i] * len(value["seeds"]),
                s=9,
                color="white",
                zorder=4,
                edgecolors=INK,
                linewidths=0.6,
            )
        ax.text(1.015, i, share(value["mean"]), va="center", fontsize=9, color=INK)
    ax.axvline(chance, color=INK, lw=0.8, ls=":", zorder=1)
    ax.annotate(
        "chance",
        (chance, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        color=INK,
    )
    ax.set_yticks(range(len(rows)), [row["route"] for row in rows])
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.6, len(rows) - 0.4)
    ax.set_xlabel("balanced accuracy on test trials", fontsize=9, color=INK)
    ax.grid(axis="x", color=GRID, lw=0.6, zorder=0)
    ax.tick_params(axis="y", length=0)
    handles = [
        ax.barh(0, 0, color=COLOURS[s], label=SORT_NAMES[s])
        for s in COLOURS
        if any(r["sort"] == s for r in rows)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False, fontsize=8.5, ncols=len(handles)
    )
    return figure


def confusions(result: dict[str, Any]) -> Any:
    """Confusion matrices of the best model route and the best baseline, shares of each row."""
    best = [r for s in ("model", "baseline") if (r := best_row(result["rows"], s))]
    k = len(result["classes"])
    side = 0.62 * k + 1.7
    figure, axes = _axes(max(side, 3.2) * len(best), max(side, 3.2), ncols=len(best), squeeze=False)
    for ax, row in zip(axes[0], best, strict=True):
        counts = np.asarray(row["confusion"], float)
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        # Not the darkest end of the map: figures stay readable on it.
        ax.imshow(shares, vmin=0, vmax=1.35, cmap="Greens" if row["sort"] == "model" else "Oranges")
        for i in range(k):
            for j in range(k):
                ax.text(
                    j,
                    i,
                    share(shares[i, j], 2),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="white" if shares[i, j] > 0.75 else INK,
                )
        long = max(len(c) for c in result["classes"]) > 6
        turn = {"rotation": 30, "ha": "right"} if long else {}
        ax.set_xticks(range(k), result["classes"], **turn)
        ax.set_yticks(range(k), result["classes"])
        ax.set_xlabel("predicted", fontsize=9)
        ax.set_ylabel("true", fontsize=9)
        ax.set_title(row["route"], fontsize=10, color=INK)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    return figure


def learning_curves(result: dict[str, Any]) -> Any | None:
    """Training loss of the fine-tunes by epoch, pretrained and random init; None without any."""
    drawn = [r for r in result["rows"] if any(len(h) > 1 for h in r["history"])]
    if not drawn:
        return None
    figure, ax = _axes(5.6, 3.2)
    for row in drawn:
        curves = np.array([h for h in row["history"] if h])
        epochs = np.arange(1, curves.shape[1] + 1)
        colour = COLOURS[row["sort"]]
        ax.plot(epochs, curves.mean(0), color=colour, lw=2, label=row["route"])
        if len(curves) > 1:
            ax.fill_between(epochs, curves.min(0), curves.max(0), color=colour, alpha=0.18, lw=0)
    ax.set_xlabel("epoch", fontsize=9)
    ax.set_ylabel("training loss (mixed, smoothed labels)", fontsize=9)
    ax.legend(frameon=False, fontsize=9)
    ax.grid(color=GRID, lw=0.6)
    return figure
