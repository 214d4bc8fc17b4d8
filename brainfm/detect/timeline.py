"""One picture of a recording: signal, probability, alarms, and where nothing can be said.

Shapes: T samples, C channels, S steps, K channels shown, N bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.format import publish
from brainfm.detect.alarms import AlarmRule, alarms, no_signal, smooth
from brainfm.detect.score import Scores
from brainfm.types import Channels, Event

N_SHOWN = 8
N_BINS = 2400
"""Columns of the picture, about: more would not be seen."""
INK, ALARM, TRUTH, SILENT = "#1f3b57", "#d1495b", "#edae49", "#c9c9c9"


class Envelope:
    """Smallest and largest sample in each of at most `N_BINS` stretches, in constant memory.

    A bin is one sample at first; when the bins are full, pairs become one.
    """

    def __init__(self, channels: Channels, sfreq: float) -> None:
        n = min(N_SHOWN, len(channels))
        self.columns = np.unique(np.linspace(0, len(channels) - 1, n).round().astype(int))
        self.name = [channels.name[c] for c in self.columns]
        self.unit = channels.unit[self.columns[0]]
        self.sfreq, self.width = sfreq, 1
        self.low_NK = np.full((N_BINS, len(self.columns)), np.nan)
        self.high_NK = self.low_NK.copy()

    def add(self, first: int, x_TC: NDArray[np.floating]) -> None:
        """Samples, and the number of the first of them."""
        if not len(x_TC):
            return
        while (first + len(x_TC) - 1) // self.width >= N_BINS:
            for a, pick in ((self.low_NK, np.fmin), (self.high_NK, np.fmax)):
                a[: N_BINS // 2] = pick(a[::2], a[1::2])
                a[N_BINS // 2 :] = np.nan
            self.width *= 2
        bin_T = (first + np.arange(len(x_TC))) // self.width
        starts = np.flatnonzero(np.diff(bin_T, prepend=-1))
        bins, x_TK = bin_T[starts], x_TC[:, self.columns]
        self.low_NK[bins] = np.fmin(self.low_NK[bins], np.fmin.reduceat(x_TK, starts))
        self.high_NK[bins] = np.fmax(self.high_NK[bins], np.fmax.reduceat(x_TK, starts))

    @property
    def time_N(self) -> NDArray[np.float64]:
        """Seconds, middle of each bin."""
        return (np.arange(N_BINS) + 0.5) * self.width / self.sfreq


def draw_timeline(
    path: Path,
    envelope: Envelope,
    scores: Scores,
    rule: AlarmRule,
    *,
    title: str,
    annotated: Sequence[Event] = (),
) -> None:
    """Write the picture as PNG; it appears whole or not at all.

    Parameters
    ----------
    path : of the PNG
    envelope : of the prepared signal
    scores, rule : what is drawn and how it became alarms
    title : one line; a simulated recording's must say so
    annotated : seizures that somebody saw, if the recording knows
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    signal, probability = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.3))
    per, unit = _clock(scores.duration_s)
    # What the picture cannot tell apart is not drawn: a hairline would vanish.
    thin = scores.duration_s / N_BINS
    marks = [
        (alarms(scores.proba_S, scores.step_s, rule), ALARM, "alarm", 0.25),
        (annotated, TRUTH, "annotated seizure", 0.35),
        (no_signal(scores.proba_S, scores.step_s), SILENT, "no signal", 0.55),
    ]
    strip = _signal(signal, envelope, per)
    _probability(probability, scores, rule, per)
    for events, colour, label, alpha in marks:
        for k, e in enumerate(events):
            stop = e.onset_s + max(e.duration_s, thin)
            shown = {"color": colour, "alpha": alpha, "lw": 0, "zorder": 0}
            low, high = (strip, 1.0) if events is annotated else (0.0, 1.0)
            signal.axvspan(
                e.onset_s / per, stop / per, low, high, label=label if not k else None, **shown
            )
            if events is not annotated:
                probability.axvspan(e.onset_s / per, stop / per, **shown)
    if any(len(events) for events, *_ in marks):
        signal.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
    signal.set_title(title, loc="left", fontsize=10)
    probability.set_xlabel(f"time / {unit}")
    probability.set_xlim(0, scores.duration_s / per)
    with publish(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _signal(axis: Any, envelope: Envelope, per: float) -> float:
    """Draws the channels; the height (0 to 1) above which nothing is drawn."""
    size_NK = envelope.high_NK - envelope.low_NK
    size_N = np.sort(size_NK[np.isfinite(size_NK)])
    # One spacing for all, so that sizes can be compared; what is larger runs into its neighbours.
    usual, large = size_N[[len(size_N) // 2, int(0.97 * len(size_N))]] if len(size_N) else (0, 0)
    spacing = float(max(2 * usual, 0.6 * large)) or 1.0
    for k in range(len(envelope.columns)):
        between_N = (envelope.low_NK[:, k] + envelope.high_NK[:, k]) / 2
        between_N = between_N[np.isfinite(between_N)]
        middle = np.median(between_N) if len(between_N) else 0.0
        low, high = (
            np.clip((a[:, k] - middle) / spacing, -0.95, 0.95) - k
            for a in (envelope.low_NK, envelope.high_NK)
        )
        axis.fill_between(envelope.time_N / per, low, high, color=INK, lw=0.4)
    axis.set_yticks(-np.arange(len(envelope.name)), envelope.name, fontsize=8)
    low, high = 0.2 - len(envelope.name), 1.4
    axis.set_ylim(low, high)
    axis.set_ylabel(f"signal as the model sees it\n(spacing {_si(spacing, envelope.unit)})")
    _plain(axis)
    return (1.05 - low) / (high - low)


def _probability(axis: Any, scores: Scores, rule: AlarmRule, per: float) -> None:
    edges_S = np.r_[0.0, scores.time_S] / per
    axis.stairs(scores.proba_S, edges_S, color=INK, lw=0.6, alpha=0.45, label="each step")
    smoothed_S = smooth(scores.proba_S, scores.step_s, rule.smooth_s)
    axis.stairs(smoothed_S, edges_S, color=INK, lw=1.2, label=f"mean of {rule.smooth_s:g} s")
    axis.axhline(
        rule.threshold, color=ALARM, lw=0.9, ls="--", label=f"threshold {rule.threshold:.2g}"
    )
    axis.set_ylim(-0.03, 1.03)
    axis.set_ylabel("p(seizure)")
    axis.legend(loc="upper left", fontsize=8, ncols=3, framealpha=0.8)
    _plain(axis)


def _plain(axis: Any) -> None:
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _clock(duration_s: float) -> tuple[float, str]:
    """Seconds of a unit of the time axis, and its name."""
    for per, unit, least in ((3600.0, "h", 2 * 3600), (60.0, "min", 600)):
        if duration_s >= least:
            return per, unit
    return 1.0, "s"


def _si(value: float, unit: str) -> str:
    for factor, prefix in ((1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f")):
        if value >= factor:
            return f"{value / factor:.0f} {prefix}{unit}" if unit != "au" else f"{value:.2g}"
    return f"{value:.2g} {unit}"
