"""`report.html`: hours by data set and kind, what was rejected and why, and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from brainfm.data.index import RECORDINGS


def load_table(store: Path) -> pd.DataFrame | None:
    """The recordings table, or None before `finalize`."""
    path = store / RECORDINGS
    return pd.read_parquet(path) if path.exists() else None


def hours_by_kind(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row a data set and kind."""
    grouped = table.groupby(["dataset", "kind"], sort=True)
    return [
        {"dataset": d, "kind": k, "recordings": len(g), "hours": round(float(g["hours"].sum()), 4)}
        for (d, k), g in grouped
    ]


def write_report(store: Path) -> Path:
    return store / "report.html"
