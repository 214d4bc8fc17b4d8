"""Pictures that several reports share: loss curves and sensor maps.

Shapes: C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from brainfm.types import Channels, Kind

if TYPE_CHECKING:
    import pandas as pd

COLOURS = ("#0f766e", "#b45309", "#1d4ed8", "#9d174d", "#4d7c0f")


def figure(width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    """An empty figure without a screen, and its axes with only the lines a reader needs."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, columns, figsize=(width, height), squeeze=False)
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
    return fig, list(axes[0])


def loss_curves(
    train: pd.DataFrame,
    val: pd.DataFrame | None,
    panels: Mapping[str, Sequence[str]],
    smooth: int = 15,
) -> Any:
    """Columns of a run's metrics over steps, a panel each group; training is smoothed.

    Parameters
    ----------
    train, val : tables of `brainfm.training.metrics.read_metrics`; columns of val begin "val/"
    panels : title -> columns of train
    smooth : steps of the moving mean over training values

    Returns
    -------
    matplotlib Figure
    """
    fig, axes = figure(4.2 * len(panels), 3.0, len(panels))
    for ax, (title, columns) in zip(axes, panels.items(), strict=True):
        for i, column in enumerate(columns):
            colour = COLOURS[i % len(COLOURS)]
            if column in train:
                mean = train[column].rolling(smooth, min_periods=1).mean()
                ax.plot(train["step"], mean, color=colour, lw=1.2, label=column)
            if val is not None and f"val/{column}" in val:
                ax.plot(
                    val["step"], val[f"val/{column}"], "o--", ms=4, lw=0.8, color=colour,
                    label=f"{column}, validation",
                )  # fmt: skip
        ax.set(title=title, xlabel="step")
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
    fig.tight_layout()
    return fig


def sensor_map(layouts: Mapping[str, Channels]) -> Any:
    """Sensors from above, one panel a layout; colour is the kind, dashes the MEG coil normals.

    Layouts without any known position are named, with an empty panel.
    """
    fig, axes = figure(3.4 * len(layouts), 3.6, len(layouts))
    for ax, (title, channels) in zip(axes, layouts.items(), strict=True):
        known = np.isfinite(channels.pos_m).all(1)
        ax.set(title=title, aspect="equal", xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        if not known.any():
            ax.text(0.5, 0.5, "no positions known", ha="center", transform=ax.transAxes)
            continue
        pos = channels.pos_m[known]
        for i, kind in enumerate(np.unique(channels.kind)):
            colour = COLOURS[i % len(COLOURS)]
            rows = channels.kind[known] == kind
            ax.scatter(*pos[rows, :2].T, s=22, color=colour, label=Kind(kind).name)
        ori = channels.ori[known]
        turned = np.abs(ori[:, :2]).max(1) > 0
        if turned.any():  # EEG has no orientation, and arrows of no length divide by zero
            x, y, u, v = (*pos[turned, :2].T, *ori[turned, :2].T)
            ax.quiver(x, y, u, v, color="#94a3b8", width=0.004, headwidth=1)
        if known.sum() <= 24:
            for name, (x, y, _) in zip(np.array(channels.name)[known], pos, strict=True):
                ax.annotate(name, (x, y), fontsize=6, xytext=(3, 3), textcoords="offset points")
        centre = pos[:, :2].mean(0)
        reach = max(0.02, 1.25 * float(np.abs(pos[:, :2] - centre).max()))
        ax.set(xlim=centre[0] + np.array([-reach, reach]))
        ax.set(ylim=centre[1] + np.array([-reach, reach]))
        ax.legend(frameon=False, fontsize=7, loc="lower right")
        ax.set_xlabel(f"{2 * reach * 100:.0f} cm across, {channels.frame} frame", fontsize=8)
    fig.tight_layout()
    return fig
