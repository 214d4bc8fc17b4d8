"""The two tables of a store: one row a recording, one row a sensor of a layout.

They are made from the headers of the recordings, so they can always be made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from brainfm.data.format import TEMPORARY, publish, read_header, verify_samples
from brainfm.data.splits import assert_disjoint
from brainfm.data.stimulus import is_stimulus, verify_stimulus
from brainfm.errors import ContractError, DataError
from brainfm.signals.filters import NO_HIGHPASS
from brainfm.signals.preprocess import Recipe, require_same
from brainfm.types import Channels, Kind

if TYPE_CHECKING:
    from brainfm.data.store import Store

log = logging.getLogger(__name__)

RECORDINGS, CHANNELS, STORE = "recordings.parquet", "channels.parquet", "store.json"
TEMPORARY_AGE_S = 24 * 3600
"""A temporary file older than this belongs to a writer that was killed."""
FROM_HEADER = (
    *("dataset", "subject", "session", "name", "split", "split_group", "sfreq"),
    *("n_samples", "n_channels", "dtype", "line_freq", "source", "fingerprint"),
    *("start_s", "clock"),
)


def build_tables(root: str | Path, *, verify: str = "new") -> pd.DataFrame:
    """Read every header under `root`, check it, and publish both tables.

    Damaged recordings are left out and named in the log and in `.attrs["rejected"]`; the
    others go through. Tables are replaced one by one, each whole; `store.json`, which holds their
    checksums, comes last, so that tables which do not belong together are never read.

    Parameters
    ----------
    root : folder of the store
    verify : whose samples are read and compared with their checksum: "new" (files that are
        not in the present table), "all" or "none"

    Returns
    -------
    DataFrame, the recordings table; `.attrs["rejected"]` is a list of sentences

    Raises
    ------
    DataError
        If no recording is left, recipes differ, or two splits share a person or a signal.
    """
    root = Path(root)
    if verify not in ("new", "all", "none"):
        raise DataError(f"verify is '{verify}'; it must be 'new', 'all' or 'none'")
    known = _known(root) if verify == "new" else {}
    rows: list[dict[str, Any]] = []
    layouts: dict[str, Channels] = {}
    rejected: list[str] = []
    recipe: tuple[Recipe, str] | None = None
    for path in sorted(p for p in root.glob("*/*.safetensors") if not is_stimulus(p)):
        relative, status = path.relative_to(root).as_posix(), path.stat()
        mark = (status.st_size, status.st_mtime_ns)
        try:
            header = read_header(path)
            if verify != "none" and known.get(relative) != (*mark, header["signal_sha256"]):
                verify_samples(path, header)
                verify_stimulus(path, header["stimulus"])
        except DataError as e:
            log.warning("%s", e)
            rejected.append(str(e))
            continue
        if recipe is None:
            recipe = (header["recipe"], relative)
        _same_recipe(header["recipe"], relative, *recipe)
        row = _row(header)
        layouts.setdefault(row["layout"], header["channels"])
        rows.append({"path": relative, **row, "file_size": mark[0], "file_mtime_ns": mark[1]})
    _remove_old_temporaries(root)
    if recipe is None:
        raise DataError(
            f"{root}: holds no readable recording ({len(rejected)} rejected); "
            "run `python -m data_prep run` first"
        )
    table = pd.DataFrame(rows)
    assert_disjoint(table)
    _write_table(_channels_table(layouts), root / CHANNELS)
    _write_table(table, root / RECORDINGS)
    sums = {name: _sha256((root / name).read_bytes()) for name in (RECORDINGS, CHANNELS)}
    content = {"format": 1, "recipe": asdict(recipe[0]), "sha256": sums}
    with publish(root / STORE) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
    table.attrs["rejected"] = rejected
    return table


def select(store: Store, query: str | None) -> pd.DataFrame:
    """Rows of the recordings table that match a pandas query; all of them if it is empty.

    Raises
    ------
    DataError
        If the query names an unknown column or cannot be parsed.
    """
    table = store.recordings
    if not query or not query.strip():
        return table
    columns = [c for c in table.columns if c not in ("intervals", "fingerprint")]
    try:
        rows = table.query(query)
    except pd.errors.UndefinedVariableError as e:
        raise DataError(f'recordings query "{query}": {e}; columns are {", ".join(columns)}') from e
    except (SyntaxError, ValueError, TypeError, KeyError, NotImplementedError) as e:
        raise DataError(
            f'recordings query "{query}" cannot be evaluated ({e}); write it like '
            "\"kind == 'EEG' and sfreq == 256\""
        ) from e
    if not isinstance(rows, pd.DataFrame):
        raise DataError(f'recordings query "{query}" must be true or false for every row')
    return rows


def modality(channels: Channels) -> str:
    """What most channels are: MAG and GRAD are both "MEG"."""
    names = ["MEG" if k in (Kind.MAG, Kind.GRAD) else Kind(k).name for k in channels.kind]
    return max(sorted(set(names)), key=names.count)


def _row(header: dict[str, Any]) -> dict[str, Any]:
    channels: Channels = header["channels"]
    recipe: Recipe = header["recipe"]
    bold = modality(channels) == "BOLD"
    kinds = sorted({Kind(k).name for k in channels.kind})
    return {
        **{k: header[k] for k in FROM_HEADER},
        "kind": modality(channels),
        "kinds": "+".join(kinds),
        "hours": header["n_samples"] / header["sfreq"] / 3600,
        "layout": channels.layout(),
        # Trials and other short recordings lose their mean instead of being filtered.
        "highpass_hz": None
        if any(n.startswith(NO_HIGHPASS) for n in header["notes"])
        else (recipe.bold_highpass_hz if bold else recipe.highpass_hz),
        "lowpass_hz": recipe.bold_lowpass_hz if bold else recipe.lowpass_hz,
        "n_events": len(header["events"]),
        "stimulus": "+".join(sorted(header["stimulus"].get("rate_hz", {}))),
        "notes": " | ".join(header["notes"]),
        "sha256": header["signal_sha256"],
        "intervals": header["intervals"].ravel(),
    }


def _channels_table(layouts: dict[str, Channels]) -> pd.DataFrame:
    parts = []
    for layout, c in sorted(layouts.items()):
        columns: dict[str, Any] = {
            "layout": layout,
            "name": c.name,
            "kind": [Kind(k).name for k in c.kind],
            "unit": c.unit,
            "frame": c.frame,
            "reference": c.reference,
        }
        columns |= {f"{a}_m": c.pos_m[:, i] for i, a in enumerate("xyz")}
        columns |= {f"ori_{a}": c.ori[:, i] for i, a in enumerate("xyz")}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def channels_of(table: pd.DataFrame) -> Channels:
    """Channels of one layout, from its rows of the channels table."""
    return Channels(
        tuple(table["name"]),
        np.array([Kind[k] for k in table["kind"]], np.int8),
        table[["x_m", "y_m", "z_m"]].to_numpy(np.float32),
        table[["ori_x", "ori_y", "ori_z"]].to_numpy(np.float32),
        tuple(table["unit"]),
        table["frame"].iloc[0],
        table["reference"].iloc[0],
    )


def _known(root: Path) -> dict[str, tuple[Any, ...]]:
    """Size, time and checksum of the files whose samples were verified before."""
    try:
        table = pd.read_parquet(root / RECORDINGS)
        marks = zip(table["file_size"], table["file_mtime_ns"], table["sha256"], strict=True)
        return dict(zip(table["path"], marks, strict=True))
    except (OSError, ValueError, KeyError):
        # No table yet, or a damaged one: then everything is verified again.
        return {}


def _same_recipe(mine: Recipe, path: str, other: Recipe, other_path: str) -> None:
    try:
        require_same(mine, other, my_name=path, their_name=other_path)
    except ContractError as e:
        raise DataError(f"one store has one recipe: {e}, or use another root") from e


def _write_table(table: pd.DataFrame, path: Path) -> None:
    with publish(path) as temporary:
        table.to_parquet(temporary, index=False)


def read_tables(root: Path) -> tuple[Recipe, pd.DataFrame, pd.DataFrame]:
    """Recipe, recordings and channels of a finished store, checked against their checksums.

    Raises
    ------
    DataError
        If one is missing or damaged, or `build_tables` was interrupted between two of them.
    """
    again = "run `python -m data_prep finalize`"
    try:
        content = json.loads((root / STORE).read_text())
        raw = {name: (root / name).read_bytes() for name in (RECORDINGS, CHANNELS)}
        recipe = Recipe(**content["recipe"])
        damaged = [name for name in raw if _sha256(raw[name]) != content["sha256"][name]]
        if damaged:
            raise DataError(
                f"{root / damaged[0]}: is not the table that {STORE} names (a byte changed, or "
                f"finalize was interrupted); {again}"
            )
        tables = [pd.read_parquet(BytesIO(raw[name])) for name in (RECORDINGS, CHANNELS)]
        for column, missing in (("start_s", 0.0), ("clock", "")):
            if column not in tables[0]:  # written before recordings had a clock
                tables[0][column] = missing
    except FileNotFoundError as e:
        raise DataError(
            f"{root}: no finished store there ({Path(str(e.filename)).name} is missing); "
            f"{again}, or set BRAINFM_DATA"
        ) from e
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise DataError(f"{root}: its tables cannot be read ({e}); {again}") from e
    return recipe, tables[0], tables[1]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _remove_old_temporaries(root: Path) -> None:
    for path in root.glob(f"*/.*{TEMPORARY}"):
        if time.time() - path.stat().st_mtime > TEMPORARY_AGE_S:
            log.info("%s: left by a killed writer, removed", path)
            path.unlink(missing_ok=True)
