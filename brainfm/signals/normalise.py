"""Window normalisation and position scaling, in numpy, as BrainOmni publishes them or fairer.

Shapes: C channels, T samples. SI value = x * scale + offset, so a window can be undone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brainfm.signals.preprocess import Normalise
from brainfm.types import Kind

FLOOR = {Kind.EEG: 1e-5, Kind.MAG: 1e-13, Kind.GRAD: 1e-13}
"""Added to the standard deviation in published order (BrainOmni 340d6b5), in V, T and T/m.
1e-5 V is not negligible against EEG of 2e-5 V; released weights expect it."""

FLOOR_ELSE = {Kind.ECOG: 1e-5, Kind.SEEG: 1e-5, Kind.EMG: 1e-5, Kind.ECG: 1e-5, Kind.BOLD: 1e-5}
"""Kinds that the publication does not have: the value of EEG."""

FLOOR_AU = 1e-6
"""Data in arbitrary units have no natural floor; this only avoids a division by zero."""

IQR_TO_STD = 1.349
"""Interquartile range of a unit normal."""


def normalise_window(
    x_CT: NDArray[np.floating],
    kind_C: ArrayLike,
    spec: Normalise,
    unit_C: Sequence[str] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Normalise one window per channel kind.

    Parameters
    ----------
    x_CT : SI units
    kind_C : values of `Kind`
    spec : which reference, which scale, which clip
    unit_C : units; channels in "au" get a floor of their own

    Returns
    -------
    x_CT, scale_C, offset_C : float32. SI = x * scale + offset, except where samples were
        clipped. With ``reference="average"`` that gives the re-referenced signal: the mean over
        channels, which differs at every sample, is gone for good.

    Notes
    -----
    ``Normalise("average", "kind_std", None)`` is the publication (arXiv 2505.18185): at every
    sample the mean over channels of a kind is removed, then the kind is divided by one global
    standard deviation plus a floor. Its offset is 0.
    """
    x = np.array(x_CT, np.float64)
    kinds = np.asarray(kind_C).astype(int)
    scale = np.ones(len(x))
    offset = np.zeros(len(x))
    for k in np.unique(kinds):
        rows = np.flatnonzero(kinds == k)
        # One kind is the usual case: a view of everything saves two copies a window.
        part = x if len(rows) == len(x) else x[rows]
        floor = _floor(Kind(int(k)), rows, unit_C)
        if spec.reference == "average":
            part -= part.mean(0, keepdims=True)
            if part is not x:
                x[rows] = part
        if spec.scale == "kind_std":
            scale[rows] = _std(part) + floor
        else:
            low, middle, high = np.percentile(part, [25, 50, 75], axis=1)
            offset[rows] = middle
            # A flat channel among others must not become pure noise at full scale.
            spread = (high - low) / IQR_TO_STD
            scale[rows] = np.maximum(spread, 0.01 * np.median(spread)) + 1e-3 * floor
    if offset.any():
        x -= offset[:, None]
    x *= 1 / scale[:, None]
    out = x.astype(np.float32)
    if spec.clip is not None:
        np.clip(out, -spec.clip, spec.clip, out=out)
    return out, scale.astype(np.float32), offset.astype(np.float32)


def _std(x: NDArray[np.float64]) -> float:
    """Standard deviation, in one temporary array; no BLAS, whose threads spin in a loader."""
    away = x - x.mean()
    np.square(away, out=away)
    return float(np.sqrt(away.mean()))


def centre_positions(pos_CD: NDArray[np.floating], kind_C: ArrayLike) -> NDArray[np.float32]:
    """Centre and scale positions per modality, as BrainOmni does before its sensor embedding.

    MAG and GRAD are one set, every other kind another: subtract the mean of the set, divide by
    ``sqrt(3 * mean(|xyz|^2))``.

    Parameters
    ----------
    pos_CD : (C, 3) metres, or (C, 6) with the orientation behind; NaN rows (unknown) stay NaN
    kind_C : values of `Kind`

    Returns
    -------
    array like `pos_CD`, float32; orientations unchanged
    """
    out = np.array(pos_CD, np.float32)
    kinds = np.asarray(kind_C).astype(int)
    meg = np.isin(kinds, (Kind.MAG, Kind.GRAD))
    known = np.isfinite(out[:, :3]).all(1)
    for rows in (np.flatnonzero(meg & known), np.flatnonzero(~meg & known)):
        if rows.size == 0:
            continue
        xyz = out[rows, :3] - out[rows, :3].mean(0, keepdims=True)
        size = np.sqrt(3 * np.mean(np.sum(xyz**2, axis=1)))
        # One electrode, or all on one point, sits at the origin of its set.
        out[rows, :3] = xyz / size if size > 0 else xyz
    return out


def _floor(kind: Kind, rows: NDArray[np.intp], unit_C: Sequence[str] | None) -> float:
    if unit_C is not None and all(unit_C[i] == "au" for i in rows):
        return FLOOR_AU
    return FLOOR[kind] if kind in FLOOR else FLOOR_ELSE[kind]
