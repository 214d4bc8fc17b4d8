"""Small array files: `.npz` and `.h5` with a few named fields, `.npy` with a JSON beside it.

Shapes: C channels, T samples.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.files.edf import VOLTS
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording

ARRAY_SUFFIXES = (".npz", ".npy", ".h5", ".hdf5")

FIELDS = "data (channels, samples), sfreq, ch_names; optional ch_types, unit, pos_m"
"""What a file must hold. `ch_types` are MNE's, "eeg" by default; `unit` of volts is uV, mV, V."""

SI_UNITS = {**VOLTS, "t": 1.0, "ft": 1e-15, "pt": 1e-12, "t/m": 1.0, "ft/cm": 1e-13}


def load_array(
    path: str | Path,
    recipe: Recipe,
    *,
    unit: str | None = None,
    montage: str | None = "standard_1005",
    **identity: Any,
) -> Recording:
    """Read an array file and prepare it like any other recording.

    Raises
    ------
    DataError
        If fields are missing, shapes do not fit, or the unit is not stated.
    """
    path = Path(path)
    raw = raw_from_fields(path, read_fields(path), unit)
    return recording_from_raw(raw, recipe=recipe, montage=montage, source=str(path), **identity)


def read_fields(path: Path) -> dict[str, Any]:
    """The named fields of a file; no pickle is ever loaded."""
    if not path.exists():
        raise DataError(f"{path}: missing; check the path")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as f:
                return {k: f[k] for k in f.files}
        if path.suffix == ".npy":
            side = path.with_suffix(".json")
            if not side.exists():
                raise DataError(f"{path}: needs {side.name} beside it with {FIELDS}")
            return {**json.loads(side.read_text()), "data": np.load(path, allow_pickle=False)}
        import h5py

        with h5py.File(path) as f:
            fields = {k: f[k][()] for k in f if isinstance(f[k], h5py.Dataset)}
            return {**fields, **dict(f.attrs)}
    except DataError:
        raise
    except Exception as e:
        # zipfile, numpy, h5py and json each have their own kinds of error for a damaged file.
        raise DataError(
            f"{path}: cannot be read ({type(e).__name__}: {e}); it is damaged, export it again"
        ) from e


def raw_from_fields(path: Path, fields: dict[str, Any], unit: str | None = None) -> Any:
    """An MNE `RawArray` of the fields, in SI units."""
    import mne

    missing = [k for k in ("data", "sfreq", "ch_names") if k not in fields]
    if missing:
        raise DataError(f"{path}: lacks {', '.join(missing)}; it must hold {FIELDS}")
    data = np.asarray(fields["data"], np.float64)
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in np.ravel(fields["ch_names"])]
    if data.ndim != 2 or data.shape[0] != len(names):
        raise DataError(
            f"{path}: data has shape {data.shape} for {len(names)} channel names; it must be "
            "(channels, samples)"
        )
    types = fields.get("ch_types", "eeg")
    types = [t.decode() if isinstance(t, bytes) else str(t) for t in np.ravel(types)]
    types = types * len(names) if len(types) == 1 else types
    said = np.ravel(fields["unit"])[0] if "unit" in fields else unit
    said = said.decode() if isinstance(said, bytes) else said
    said = None if said is None else str(said)
    if said is None or said.lower() not in SI_UNITS:
        raise DataError(
            f"{path}: unit is {said!r}; state one of {', '.join(SI_UNITS)} in the file or by --unit"
        )
    if len(types) != len(names):
        raise DataError(f"{path}: {len(types)} channel types for {len(names)} channels")
    sfreq = float(np.ravel(fields["sfreq"])[0])
    if not np.isfinite(sfreq) or sfreq <= 0:
        raise DataError(f"{path}: the sampling rate is {sfreq} Hz; correct it")
    try:
        info = mne.create_info(names, sfreq, types, verbose="ERROR")
    except (ValueError, KeyError) as e:
        raise DataError(f"{path}: {' '.join(str(e).split())[:200]}; correct ch_types") from e
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise DataError(f"{path}: channel '{twice}' appears twice; rename one")
    raw = mne.io.RawArray(data * SI_UNITS[said.lower()], info, verbose="ERROR")
    if "pos_m" in fields:
        for channel, xyz in zip(raw.info["chs"], np.asarray(fields["pos_m"], float), strict=True):
            channel["loc"][:3] = xyz
    return raw
