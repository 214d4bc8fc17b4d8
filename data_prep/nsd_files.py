"""Files of the Natural Scenes Dataset, as its data manual describes them.

Shapes: X, Y, Z voxels, N trials, C voxels of a mask.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Event
from data_prep.trial_responses import read_image, voxels

TRIALS = 750
"""Trials of a session."""
IMAGES = 73_000
SHOWN_S = 3.0
SCALE = 300
"""Responses are stored as percent signal change times this, in 16 bits."""
OUTSIDE = 9000
"""Places of voxels without one are 9999."""
CORNER_MM = (90.0, 126.0, 72.0)
"""From the positive numbers of the transform to MNI millimetres; found by others, by trial."""


def read_design(path: Path, n_frames: int, tr_s: float) -> list[Event]:
    """Images of a run, one event `image:nsd00013` (counted from 0) where each appears.

    Raises
    ------
    DataError
        If the file has not one number a frame.
    """
    try:
        values = np.loadtxt(path, dtype=np.int64, ndmin=1)
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: not one number a frame ({e}); download it again") from e
    if values.shape != (n_frames,) or values.min() < 0 or values.max() > IMAGES:
        raise DataError(
            f"{path}: has {values.shape} numbers from {values.min()} to {values.max()} for "
            f"{n_frames} frames; expected one a frame, 0 to {IMAGES}"
        )
    new = (values > 0) & (np.diff(values, prepend=0) != 0)
    return [
        Event(float(k * tr_s), SHOWN_S, f"image:nsd{values[k] - 1:05d}")
        for k in np.flatnonzero(new)
    ]


def read_trials(path: Path, session: int) -> NDArray[np.int64]:
    """Images of a session in the order of its trials, counted from 1, (750,).

    Raises
    ------
    DataError
        If columns or trials are missing.
    """
    try:
        with open(path, encoding="utf-8", newline="") as f:
            rows = list(csv.DictReader(f, delimiter="\t"))
        images = [int(float(r["73KID"])) for r in rows if int(float(r["SESSION"])) == session]
    except (OSError, KeyError, TypeError, ValueError) as e:
        raise DataError(
            f"{path}: no table with columns SESSION and 73KID ({e!r}); download it again"
        ) from e
    if len(images) != TRIALS:
        raise DataError(
            f"{path}: session {session} has {len(images)} trials, not {TRIALS}; download it again"
        )
    return np.array(images, np.int64)


def read_shared(path: Path) -> NDArray[np.int64]:
    """The thousand images that all people share, counted from 1 (recalled for the counting).

    Raises
    ------
    DataError
        If the file is no MATLAB file with `sharedix`.
    """
    from scipy.io import loadmat

    try:
        shared = np.asarray(loadmat(path, variable_names=["sharedix"])["sharedix"]).reshape(-1)
    except Exception as e:
        # scipy's reader lets zlib's, struct's and its own errors through.
        raise DataError(f"{path}: no MATLAB file with 'sharedix' ({e}); download it again") from e
    if not len(shared) or shared.min() < 1 or shared.max() > IMAGES:
        raise DataError(f"{path}: 'sharedix' holds no images from 1 to {IMAGES}; download it again")
    return shared.astype(np.int64)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Voxels of a region, (X, Y, Z): values above 0 (-1 is outside of the cortex).

    Raises
    ------
    DataError
        If there is none.
    """
    take = np.asanyarray(read_image(path, 3).dataobj) > 0
    if not take.any():
        raise DataError(f"{path}: marks no voxel; download it again")
    return np.asarray(take)


def read_mni(path: Path) -> NDArray[np.float64]:
    """MNI metres of every voxel, (X, Y, Z, 3); NaN outside.

    Raises
    ------
    DataError
        If the file is no field of places.
    """
    img = read_image(path, 4)
    field = np.asarray(img.dataobj, np.float64)
    if field.shape[3] != 3:
        raise DataError(f"{path}: has shape {field.shape}, expected three numbers a voxel")
    field[(np.abs(field) > OUTSIDE).any(3)] = np.nan
    inside = field[np.isfinite(field).all(3)]
    if not len(inside) or inside.min() < -50 or inside.max() > 300:
        raise DataError(
            f"{path}: its places are not millimetres from MNI's corner; take MNI-to-func1pt8.nii.gz"
        )
    out: NDArray[np.float64] = (field - CORNER_MM) * 1e-3
    return out


def read_betas(path: Path, take: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Responses of a session in percent signal change, (750, C).

    The manual's units: 16-bit numbers, 300 times percent signal change.

    Raises
    ------
    DataError
        If the file is damaged, or of another preparation than the mask.
    """
    if path.suffix == ".hdf5":
        import h5py

        try:
            with h5py.File(path, "r") as f:
                # MATLAB's order of axes, turned around: (trials, Z, Y, X).
                stored = f["betas"]
                if stored.shape[1:] != take.shape[::-1]:
                    raise DataError(
                        f"{path}: 'betas' has shape {stored.shape}, the mask {take.shape}; both "
                        "must be of one preparation"
                    )
                rows_NC = stored[()].transpose(0, 3, 2, 1)[:, take]
        except (OSError, KeyError, AttributeError) as e:
            raise DataError(f"{path}: no HDF5 file with 'betas' ({e}); download it again") from e
    else:
        rows_NC = voxels(read_image(path, 4), path, take)
    if len(rows_NC) != TRIALS:
        raise DataError(f"{path}: has {len(rows_NC)} trials, not {TRIALS}; download it again")
    return np.asarray(rows_NC, np.float32) / SCALE
