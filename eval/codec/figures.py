"""Pictures of a comparison of codecs: rate against error, coherence bars, pieces of signal.

Shapes: T samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.codec.curves import REFERENCE
from eval.codec.pages import db

INK, GRID = "#1c2430", "#dde3ea"
CODECS = ("#0f766e", "#1d4ed8", "#9d174d", "#4d7c0f", "#7c3aed", "#0891b2")
BASELINES = {
    "DCT": "#b45309",
    "MDCT": "#ea580c",
    "wavelet": "#57534e",
    "PCA + DCT": "#d4a017",
    "int16 + LPC": "#64748b",
}
BARS_AT = 500.0
"""Bits/s/channel whose nearest setting the coherence bars show."""


def _axes(width: float, height: float, **kwargs: Any) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        figsize=(width, height), layout="constrained", squeeze=False, **kwargs
    )
    for ax in axes.ravel():
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GRID)
        ax.tick_params(colors=INK, labelsize=8)
        ax.grid(color=GRID, lw=0.5)
        ax.set_axisbelow(True)
    return figure, axes


def colours(result: dict[str, Any]) -> dict[str, str]:
    """Coder -> its colour in every figure."""
    names = dict.fromkeys(r["coder"] for r in result["rows"] if r["sort"] == "codec")
    return {n: CODECS[i % len(CODECS)] for i, n in enumerate(names)} | BASELINES


def rate_curves(result: dict[str, Any], kind: str) -> Any:
    """NMSE in dB against kbit/s/channel on a logarithmic axis, with intervals."""
    figure, axes = _axes(7.4, 4.4)
    ax = axes[0, 0]
    for coder, colour in colours(result).items():
        mine = [r for r in result["rows"] if (r["kind"], r["coder"]) == (kind, coder)]
        if not mine:
            continue
        mine.sort(key=lambda r: r["bits_per_s"]["mean"])
        rate = np.array([r["bits_per_s"]["mean"] for r in mine]) / 1000
        level = np.array([db(r["nmse"]["mean"]) for r in mine])
        codec = mine[0]["sort"] == "codec"
        style = "o-" if codec else "s--"
        width = 1.9 if codec else 1.2
        ax.plot(rate, level, style, color=colour, ms=4, lw=width, label=coder, zorder=3)
        if mine[0]["nmse"]["low"] is not None:
            low, high = ([db(r["nmse"][k]) for r in mine] for k in ("low", "high"))
            if len(rate) > 1:
                ax.fill_between(rate, low, high, color=colour, alpha=0.15, lw=0)
            ax.vlines(rate, low, high, color=colour, lw=0.9, alpha=0.6)
    ax.axhline(0, color=INK, lw=0.8, ls=":")
    ax.annotate("the mean", (1, 0), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                textcoords="offset points", ha="right", fontsize=7.5, color=INK)  # fmt: skip
    _rate_axis(ax)
    ax.set_ylabel("NMSE, dB", fontsize=9, color=INK)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5)
    return figure


def coherence_bars(result: dict[str, Any], kind: str) -> Any:
    """Coherence band by band, each coder at its rate nearest to `BARS_AT`."""
    shown = {}
    for coder in colours(result):
        mine = [r for r in result["rows"] if (r["kind"], r["coder"]) == (kind, coder)]
        if mine and coder != "int16 + LPC":
            shown[coder] = min(
                mine, key=lambda r: abs(np.log(max(r["bits_per_s"]["mean"], 1) / BARS_AT))
            )
    bands = list(next(iter(shown.values()))["coherence"])
    figure, axes = _axes(7.4, 3.2)
    ax, width = axes[0, 0], 0.8 / len(shown)
    for i, (coder, row) in enumerate(shown.items()):
        value = [row["coherence"][b] for b in bands]
        at = np.arange(len(bands)) + (i - (len(shown) - 1) / 2) * width
        label = f"{coder}, {row['bits_per_s']['mean'] / 1000:.2g} kbit/s"
        mean = [v["mean"] for v in value]
        ax.bar(at, mean, width * 0.92, color=colours(result)[coder], label=label)
        if value[0]["low"] is not None:
            ax.vlines(at, *([v[k] for v in value] for k in ("low", "high")), color=INK, lw=1)
    ax.set_xticks(range(len(bands)), bands)
    ax.set_ylim(0, 1.02)
    ax.grid(axis="x", visible=False)
    ax.set_ylabel("coherence with the original", fontsize=9, color=INK)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5)
    return figure


def traces(result: dict[str, Any], kind: str) -> Any:
    """The same stretch of one channel, original grey and decoded in colour."""
    t = next(t for t in result["traces"] if t["kind"] == kind)
    factor, unit = _readable(np.asarray(t["original"]), t["unit"])
    time = np.arange(len(t["original"])) / t["sfreq"]
    rows = list(t["decoded"].items())
    n = max(len(shown) for _, shown in rows)
    figure, axes = _axes(9.6, 1.35 * len(rows) + 0.5, nrows=len(rows), ncols=n, sharex=True,
                         sharey=True)  # fmt: skip
    most = 1.25 * np.abs(np.asarray(t["original"]) - np.mean(t["original"])).max() * factor
    middle = float(np.mean(t["original"])) * factor
    for line, (coder, shown) in zip(axes, rows, strict=True):
        for ax, one in zip(line, sorted(shown, key=lambda s: s["bits_per_s"]), strict=False):
            ax.plot(time, np.asarray(t["original"]) * factor, color="#94a3b8", lw=1.4)
            y = np.asarray(one["y"]) * factor
            ax.plot(time[: len(y)], y, color=colours(result)[coder], lw=1.0)
            name = f"{coder}, {one['bits_per_s'] / 1000:.2g} kbit/s"
            ax.set_title(name, fontsize=8.5, color=INK, loc="left", pad=2)
            ax.set_ylim(middle - most, middle + most)
        for ax in line[len(shown) :]:
            ax.set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("seconds", fontsize=8.5, color=INK)
    figure.supylabel(f"{t['channel']}, {unit}", fontsize=8.5, color=INK)
    return figure


def accuracy_curves(result: dict[str, Any], task: dict[str, Any]) -> Any:
    """Balanced accuracy on decoded trials against kbit/s/channel, one panel a probe."""
    probes = list(dict.fromkeys(r["probe"] for r in task["rows"]))
    figure, axes = _axes(9.6, 3.6, ncols=len(probes), sharey=True)
    chance = task["original"]["majority class"]["mean"]
    for ax, probe in zip(axes[0], probes, strict=True):
        level = task["original"][probe]
        ax.axhline(level["mean"], color=INK, lw=1.2, label="original signal")
        ax.axhspan(level["low"], level["high"], color=INK, alpha=0.07, lw=0)
        ax.axhline(chance, color=INK, lw=0.8, ls=":", label="majority class")
        for coder, colour in colours(result).items():
            mine = [r for r in task["rows"] if (r["coder"], r["probe"]) == (coder, probe)]
            mine.sort(key=lambda r: r["bits_per_s"])
            if mine:
                style = "o-" if mine[0]["sort"] == "codec" else "s--"
                rate = [r["bits_per_s"] / 1000 for r in mine]
                value = [r["accuracy"]["mean"] for r in mine]
                ax.plot(rate, value, style, color=colour, ms=3.5, lw=1.3, label=coder)
        ax.set_title(probe, fontsize=9, color=INK, loc="left")
        _rate_axis(ax)
    axes[0, 0].set_ylabel("balanced accuracy", fontsize=9, color=INK)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper",
                  frameon=False, fontsize=8.5)  # fmt: skip
    return figure


def _rate_axis(ax: Any) -> None:
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ticks = [t for t in (0.03, 0.06, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16) if low <= t <= high]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.minorticks_off()
    ax.set_xlabel("kbit/s a channel, entropy-coded", fontsize=9, color=INK)


def _readable(x_T: np.ndarray, unit: str) -> tuple[float, str]:
    """Factor and unit that bring a signal between 1 and 1000."""
    size = float(np.std(x_T))
    for factor, prefix in ((1e15, "f"), (1e12, "p"), (1e9, "n"), (1e6, "µ"), (1e3, "m")):
        if size * factor < 1e3 and unit in ("V", "T", "T/m"):
            return factor, prefix + unit
    return 1.0, unit


def pictures(result: dict[str, Any], kind: str) -> dict[str, Any]:
    """Caption -> figure, in reading order."""
    t = next(t for t in result["traces"] if t["kind"] == kind)
    few = "" if result["data"]["kinds"][kind]["groups"] > 1 else " One person: no intervals."
    return {
        f"{kind}: rate and error of held-out recordings; lower and further left is better. Bands: "
        f"95 % intervals over whoever was recorded.{few}": rate_curves(result, kind),
        f"{kind}: coherence of decoded with original signal, each coder at its rate nearest to "
        f"{BARS_AT / 1000:g} kbit/s a channel.": coherence_bars(result, kind),
        f"{kind}: {t['path']}, {t['channel']}: original (grey) and decoded at the settings nearest "
        f"to .25 and 1 kbit/s a channel, codecs and {REFERENCE}.": traces(result, kind),
    }
