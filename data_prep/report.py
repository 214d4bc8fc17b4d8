"""`report.html`: hours by data set and kind, what was rejected and why, and pictures."""

from __future__ import annotations

import base64
import html
import io
import time
from pathlib import Path
from typing import Any

import pandas as pd

from brainfm.data.format import publish
from brainfm.data.index import RECORDINGS
from data_prep.state import read_failures

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}img{max-width:100%}
.bad{color:#a11}.quiet{color:#777}details{margin:.3rem 0}code{font-size:.9em}
"""

SHOWN_CHANNELS = 8
SLOW_HZ = 20.0
SHOWN_SECONDS = 4.0


def load_table(store: Path) -> pd.DataFrame | None:
    """The recordings table, or None before `finalize`."""
    path = store / RECORDINGS
    return pd.read_parquet(path) if path.exists() else None


def hours_by_kind(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a data set and kind."""
    grouped = table.groupby(["dataset", "kind"], sort=True)
    return [
        {
            "dataset": d,
            "kind": k,
            "recordings": len(g),
            "subjects": int(g["subject"].where(g["subject"] != "unknown").nunique()),
            "hours": round(float(g["hours"].sum()), 4),
        }
        for (d, k), g in grouped
    ]


def write_report(store: Path) -> Path:
    """Write `report.html` into the store; one file, figures inside.

    Returns
    -------
    its path
    """
    table, failures = load_table(store), read_failures(store)
    body = ["<h1>Prepared recordings</h1>"]
    body.append(f"<p class=quiet>{_e(store)}, {time.strftime('%Y-%m-%d %H:%M')}</p>")
    if table is None:
        body.append("<p>No tables yet: run <code>python -m data_prep finalize</code>.</p>")
    else:
        body.append(
            f"<p>{len(table)} recordings, {table['hours'].sum():.2f} hours, "
            f"{table['layout'].nunique()} sensor layouts; {len(failures)} did not get through.</p>"
        )
        body += ["<h2>Hours by data set and kind</h2>", _hours(table), _figure(hours_figure(table))]
        body += ["<h2>Splits</h2>", _splits(table)]
    body += ["<h2>Rejected, and why</h2>", _failures(failures)]
    if table is not None:
        body += ["<h2>What the signals look like</h2>", *_pictures(store, table)]
        body += ["<h2>What was corrected, dropped or assumed</h2>", *_notes(table)]
    text = (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Prepared recordings</title>"
        f"<style>{STYLE}</style><body>{''.join(body)}</body></html>"
    )
    path = store / "report.html"
    with publish(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def hours_figure(table: pd.DataFrame) -> Any:
    """Stacked bars: hours of each data set by split."""
    from matplotlib.figure import Figure

    hours = table.pivot_table(
        index="dataset", columns="split", values="hours", aggfunc="sum", fill_value=0.0
    )
    kind = table.groupby("dataset")["kind"].agg(lambda k: "+".join(sorted(set(k))))
    fig = Figure(figsize=(8, 0.6 + 0.42 * len(hours)), layout="constrained")
    ax = fig.subplots()
    left = pd.Series(0.0, index=hours.index)
    colours = {"train": "#33658a", "val": "#86bbd8", "test": "#f26419"}
    for split in [s for s in colours if s in hours]:
        ax.barh(hours.index, hours[split], left=left, color=colours[split], label=split)
        left = left + hours[split]
    ax.set_yticks(range(len(hours)), [f"{d} ({kind[d]})" for d in hours.index])
    ax.invert_yaxis()
    ax.set_xlabel("hours")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderpad=0)
    return fig


def signal_figure(x_TC: Any, sfreq: float, channels: Any, title: str) -> Any:
    """A stretch of signal, its spectrum, and where the sensors are (from above).

    Parameters
    ----------
    x_TC : SI units
    """
    import numpy as np
    from matplotlib.figure import Figure
    from scipy.signal import welch

    fig = Figure(figsize=(10, 2.6), layout="constrained")
    ax, spectrum, head = fig.subplots(1, 3, width_ratios=(3, 1.5, 1.1))
    pick = np.unique(np.linspace(0, len(channels) - 1, SHOWN_CHANNELS).astype(int))
    # A run of fMRI is shown whole: ten seconds of it are a few frames.
    slow = sfreq < SLOW_HZ
    n = len(x_TC) if slow else min(len(x_TC), int(SHOWN_SECONDS * sfreq))
    part = x_TC[:n, pick] - x_TC[:n, pick].mean(0)
    step = 4 * float(np.median(part.std(0))) or 1.0
    for row in range(len(pick)):
        ax.plot(np.arange(n) / sfreq, part[:, row] - row * step, lw=0.6, color="#33658a")
    ax.set_yticks([-row * step for row in range(len(pick))], [channels.name[c] for c in pick])
    ax.set_xlabel("s")
    ax.set_title(f"{title}: bar {step:.1e} {channels.unit[0]}", fontsize=9, loc="left")
    ax.plot([1.005 * n / sfreq] * 2, [-step / 2, step / 2], color="k", lw=2, clip_on=False)
    piece = min(len(x_TC), 64 if slow else int(2 * sfreq))
    f, p = welch(x_TC if slow else x_TC[: int(120 * sfreq)], sfreq, nperseg=piece, axis=0)
    spectrum.semilogy(f[1:], np.median(p[1:], axis=1), lw=0.9, color="#f26419")
    spectrum.set_xlabel("Hz")
    spectrum.set_title("median power", fontsize=9, loc="left")
    known = np.isfinite(channels.pos_m).all(1)
    if known.any():
        xy = channels.pos_m[known]
        head.scatter(xy[:, 0] * 1e3, xy[:, 1] * 1e3, s=8, c=xy[:, 2], cmap="viridis")
        head.set_aspect("equal")
        head.set_title(f"mm, frame {channels.frame}", fontsize=9, loc="left")
        head.tick_params(labelsize=7)
    else:
        head.text(0.5, 0.5, "positions\nunknown", ha="center", va="center", color="#777")
        head.set_axis_off()
    for a in (ax, spectrum):
        a.spines[["top", "right"]].set_visible(False)
        a.tick_params(labelsize=7)
    return fig


def _pictures(store: Path, table: pd.DataFrame) -> list[str]:
    """One picture a data set and kind: its first recording that is not a test split."""
    from brainfm.data.store import Store
    from brainfm.types import WindowRef

    opened = Store(store)
    out = []
    for (dataset, kind), rows in table.groupby(["dataset", "kind"], sort=True):
        seen = rows[rows["split"] != "test"]
        if seen.empty or len(out) >= 24:
            continue
        i = int(seen.index[0])
        length = min(int(table["n_samples"].iat[i]), int(60 * table["sfreq"].iat[i]))
        x = opened.read(WindowRef(i, 0, length))
        title = f"{dataset} ({kind}), {table['name'].iat[i]}"
        out.append(_figure(signal_figure(x, table["sfreq"].iat[i], opened.channels(i), title)))
    return out


def _hours(table: pd.DataFrame) -> str:
    rows = "".join(
        f"<tr><td>{_e(r['dataset'])}<td>{_e(r['kind'])}<td class=n>{r['recordings']}"
        f"<td class=n>{r['subjects'] or 'unknown'}<td class=n>{r['hours']:.3f}</tr>"
        for r in hours_by_kind(table)
    )
    return (
        "<table><tr><th>data set<th>kind<th class=n>recordings<th class=n>subjects"
        f"<th class=n>hours</tr>{rows}</table>"
    )


def _splits(table: pd.DataFrame) -> str:
    rows = "".join(
        f"<tr><td>{_e(s)}<td class=n>{len(g)}<td class=n>{g['split_group'].nunique()}"
        f"<td class=n>{g['hours'].sum():.3f}</tr>"
        for s, g in table.groupby("split", sort=True)
    )
    return (
        "<table><tr><th>split<th class=n>recordings<th class=n>groups<th class=n>hours</tr>"
        f"{rows}</table>"
    )


def _failures(failures: list[dict[str, Any]]) -> str:
    if not failures:
        return "<p>Nothing was rejected.</p>"
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for f in failures:
        by_reason.setdefault(f["reason"], []).append(f)
    rows = ""
    for reason, group in by_reason.items():
        names = ", ".join(f"{f['dataset']}/{f['name']}" for f in group[:6])
        more = f" and {len(group) - 6} more" if len(group) > 6 else ""
        rows += (
            f"<tr><td>{_e(names)}{more}<td>{_e(group[0]['status'])}<td class=bad>{_e(reason)}</tr>"
        )
    return f"<table><tr><th>recording<th>how<th>why and what to do</tr>{rows}</table>"


def _notes(table: pd.DataFrame) -> list[str]:
    out = []
    for dataset, rows in table.groupby("dataset", sort=True):
        seen: dict[str, int] = {}
        for text in rows["notes"]:
            for note in filter(None, str(text).split(" | ")):
                seen[note] = seen.get(note, 0) + 1
        items = "".join(
            f"<li>{_e(note)} <span class=quiet>({n} of {len(rows)})</span>"
            for note, n in sorted(seen.items(), key=lambda kv: -kv[1])[:60]
        )
        out.append(f"<details><summary>{_e(dataset)}</summary><ul>{items}</ul></details>")
    return out


def _figure(fig: Any) -> str:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=110)
    return (
        f"<img alt='' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
    )


def _e(text: Any) -> str:
    return html.escape(str(text))
