"""Metrics as plain CSV that survives kills: `train.csv` and `val.csv` in the run folder.

Lightning's CSVLogger starts a new file or deletes the old one when a run resumes. Here a resumed
run cuts the rows it will repeat and appends, so one file always tells the whole story; numbers are
written with every digit, so two runs can be compared to the bit.
"""

import csv
import io
import os
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from brainfm.errors import DataError

FILES = {"train": "train.csv", "val": "val.csv"}


def read_metrics(run_dir: str | Path, which: str = "train") -> pd.DataFrame:
    """Rows of `train.csv` or `val.csv` of a run, one a logged step, sorted by step.

    A last line that a killed writer left unfinished is ignored.

    Raises
    ------
    DataError
        If the run has written no such file.
    """
    path = Path(run_dir, FILES[which])
    rows = _rows(path)
    if not rows:
        raise DataError(f"{path}: no metrics there; is this the folder of a run that has started?")
    return pd.DataFrame(rows).apply(pd.to_numeric).sort_values("step", ignore_index=True)


class MetricsCSV(Logger):
    """Lightning logger that appends to `train.csv` and `val.csv` (keys that start with "val/")."""

    def __init__(self, run_dir: str | Path) -> None:
        super().__init__()
        self._folder = Path(run_dir)
        self._columns: dict[str, list[str]] = {}

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def log_dir(self) -> str:
        return str(self._folder)

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `config.yaml` beside the metrics holds them."""

    @rank_zero_only
    def rewind(self, step: int) -> None:
        """Forget every row after `step`: the run goes on from there (0: it starts afresh)."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in FILES.values():
            path = self._folder / name
            if path.exists():
                rows = [r for r in _rows(path) if int(r["step"]) <= step]
                _replace(path, _text(list(rows[0]) if rows else [], rows))
        self._columns.clear()

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        which = "val" if any(k.startswith("val/") for k in metrics) else "train"
        row = {"step": str(step)}
        row |= {k: repr(float(v)) for k, v in metrics.items() if k not in ("step", "epoch")}
        path = self._folder / FILES[which]
        columns = self._columns.get(which) or _header(path)
        if set(row) - set(columns):
            columns = [*columns, *(k for k in row if k not in columns)]
            _replace(path, _text(columns, _rows(path)))
        self._columns[which] = columns
        with path.open("a", newline="") as f:
            csv.DictWriter(f, columns, restval="").writerow(row)


def _header(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as f:
        return next(csv.reader(f), [])


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    return list(csv.DictReader(io.StringIO(whole, newline="")))


def _text(columns: list[str], rows: list[dict[str, str]]) -> str:
    out = io.StringIO(newline="")
    if columns:
        writer = csv.DictWriter(out, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)
