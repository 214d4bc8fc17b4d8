"""MEG as the `pnpl` package serialises it: HDF5 with `data` (channels, samples) and its names.

Layout (`pnpl` 0.2.0, preprocessing/serialization.py): `data` float32 in SI units, and of the file
the attributes `sample_frequency` in Hz, `channel_names` and `channel_types`, lists joined by ", ",
`highpass_cutoff` and `lowpass_cutoff`. Sensors have no positions in it.

Shapes: C channels, T samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.files.raw import read_raw
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording

LOUDEST_T = 1e-6
"""Nothing that a magnetometer of a brain records comes near; larger values are scaled ones."""


def load_meg(path: str | Path, recipe: Recipe, **identity: Any) -> Recording:
    """A recording of MEG, from `pnpl`'s HDF5 or from any file that brainfm reads itself.

    Parameters
    ----------
    identity : see `recording_from_raw`

    Raises
    ------
    DataError
        If it cannot be read or is refused by the checks.
    """
    path = Path(path)
    if path.suffix == ".h5":
        raw, notes = raw_of_serialised(path)
    else:
        raw, notes = read_raw(path)
    recording = recording_from_raw(raw, recipe=recipe, source=str(path), montage=None, **identity)
    recording.notes += notes
    return recording


def raw_of_serialised(path: Path) -> tuple[Any, list[str]]:
    """An MNE `RawArray` of the file, and what is to be said of it.

    Raises
    ------
    DataError
        If it is damaged, or its names, types and data do not fit each other.
    """
    import h5py
    import mne

    try:
        with h5py.File(path) as f:
            data_CT = f["data"][()].astype(np.float64)
            said = dict(f.attrs)
    except (OSError, KeyError, AttributeError, ValueError, TypeError) as e:
        raise DataError(
            f"{path}: no serialised MEG ({type(e).__name__}: {' '.join(str(e).split())[:120]}); "
            "fetch it again"
        ) from e
    missing = [k for k in ("sample_frequency", "channel_names", "channel_types") if k not in said]
    if missing:
        raise DataError(f"{path}: lacks the attribute {', '.join(missing)}; fetch it again")
    names, types = (_list(said[k]) for k in ("channel_names", "channel_types"))
    sfreq = float(np.ravel(said["sample_frequency"])[0])
    if data_CT.ndim != 2 or not len(data_CT) == len(names) == len(types) or not sfreq > 0:
        raise DataError(
            f"{path}: data of shape {data_CT.shape} at {sfreq:g} Hz for {len(names)} names and "
            f"{len(types)} types; it must be (channels, samples), fetch it again"
        )
    if not np.nanmax(np.abs(data_CT), initial=0) < LOUDEST_T:
        raise DataError(
            f"{path}: values reach {np.nanmax(np.abs(data_CT)):.3g}, which is no tesla; it was "
            "scaled after it was serialised, use the file as published"
        )
    odd = sorted(set(types) - {"mag", "grad"})
    if odd:
        raise DataError(f"{path}: channels of type {', '.join(odd)} are no MEG; fetch it again")
    info = mne.create_info(names, sfreq, types, verbose="ERROR")
    return mne.io.RawArray(data_CT, info, verbose="ERROR"), [
        "sensors have no positions in serialised files; they are unknown"
    ]


def _list(text: Any) -> list[str]:
    text = text.decode() if isinstance(text, bytes) else str(text)
    return [part.strip() for part in text.split(",")]
