"""Files of fMRI on the cortical surface: CIFTI series, pairs of GIFTI or FreeSurfer files.

Shapes: T frames, V vertices (left hemisphere first), X voxels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError

ENDINGS = (".dtseries.nii", ".ptseries.nii", ".func.gii", ".mgz", ".mgh")
SPACES = {
    10242: "fsaverage5",
    32492: "conte69_32k",
    2562: "fsaverage4",
    40962: "fsaverage6",
    163842: "fsaverage",
}
"""Vertices of one hemisphere to the mesh; conte69_32k is fs_LR 32k."""
CORTEX = ("CIFTI_STRUCTURE_CORTEX_LEFT", "CIFTI_STRUCTURE_CORTEX_RIGHT")


def is_surface(path: str | Path) -> bool:
    """Whether a file's name is that of fMRI on a surface."""
    return Path(path).name.lower().endswith(ENDINGS)


def partner(path: Path) -> Path | None:
    """The other hemisphere's file; None for CIFTI, which has both."""
    name = path.name
    if name.lower().endswith((".dtseries.nii", ".ptseries.nii")):
        return None
    for mine, other in (("hemi-L", "hemi-R"), ("hemi-R", "hemi-L"), ("lh.", "rh."), ("rh.", "lh.")):
        if mine in name:
            return path.with_name(name.replace(mine, other, 1))
    raise DataError(
        f"{path}: does not say its hemisphere; name pairs hemi-L and hemi-R, or lh. and rh."
    )


@dataclass
class Frames:
    """What a file holds.

    Attributes
    ----------
    x_TV : vertices of both hemispheres, NaN where the file has none
    space : name of the mesh, "" for parcels
    step, unit : TR as the header has it
    x_TX, pos_X3 : voxels below the cortex (CIFTI), metres
    names : of parcels, where the file holds parcels
    """

    x_TV: NDArray[np.float32]
    space: str
    step: float
    unit: str
    x_TX: NDArray[np.float32] | None = None
    pos_X3: NDArray[np.float64] | None = None
    names: tuple[str, ...] = field(default=())


def read_frames(path: Path) -> Frames:
    """What a file (and the other hemisphere's) holds.

    Raises
    ------
    DataError
        If it is damaged, no time series, or a hemisphere is missing or of another run.
    """
    other = partner(path)
    if other is None:
        return _cifti(path)
    if not other.is_file():
        raise DataError(
            f"{path}: its other hemisphere {other.name} is missing; put both side by side"
        )
    left, right = sorted((path, other), key=lambda p: "rh." in p.name or "hemi-R" in p.name)
    read = _gifti if path.name.lower().endswith(".gii") else _freesurfer
    (a_TV, step, unit), (b_TV, step_b, _) = read(left), read(right)
    if a_TV.shape != b_TV.shape or step != step_b:
        raise DataError(
            f"{path}: hemispheres have {a_TV.shape} and {b_TV.shape} frames and vertices, TRs "
            f"{step:g} and {step_b:g}; use files of one run and mesh"
        )
    space = SPACES.get(a_TV.shape[1])
    if space is None:
        raise DataError(
            f"{path}: has {a_TV.shape[1]} vertices; meshes known are "
            + ", ".join(f"{v} ({n})" for n, v in SPACES.items())
            + ": resample it to one of them"
        )
    return Frames(np.concatenate((a_TV, b_TV), 1), space, step, unit)


def _load(path: Path) -> Any:
    import nibabel

    try:
        return nibabel.load(path)
    except Exception as e:  # nibabel lets zlib's, expat's and its own errors through
        raise DataError(
            f"{path}: cannot be read ({' '.join(str(e).split())}); fetch it again"
        ) from e


def _gifti(path: Path) -> tuple[NDArray[np.float32], float, str]:
    image = _load(path)
    arrays = getattr(image, "darrays", [])
    if not arrays or len({np.shape(a.data) for a in arrays}) != 1:
        raise DataError(f"{path}: holds no frames of one mesh; export a func.gii time series")
    x_TV = np.stack([np.asarray(a.data, np.float32) for a in arrays])
    if len(arrays) == 1 and x_TV.ndim == 3:  # all frames in one array, (V, T)
        x_TV = x_TV[0].T
    said = arrays[0].meta.get("TimeStep", image.meta.get("TimeStep", 0.0))
    try:
        return x_TV, float(said), "msec"
    except ValueError as e:
        raise DataError(f"{path}: its TimeStep is {said!r}, no number; mend it") from e


def _freesurfer(path: Path) -> tuple[NDArray[np.float32], float, str]:
    image = _load(path)
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[1:3] != (1, 1):
        raise DataError(f"{path}: has shape {shape}; surface frames have (vertices, 1, 1, frames)")
    x_TV = np.asarray(image.dataobj, np.float32)[:, 0, 0].T
    return x_TV, float(image.header.get_zooms()[3]), "msec"


def _cifti(path: Path) -> Frames:
    from nibabel.cifti2 import BrainModelAxis, ParcelsAxis, SeriesAxis

    image = _load(path)
    try:
        rows, columns = (image.header.get_axis(i) for i in range(2))
    except (AttributeError, ValueError, IndexError) as e:
        raise DataError(
            f"{path}: is no CIFTI-2 file; export a .dtseries.nii or .ptseries.nii"
        ) from e
    if not isinstance(rows, SeriesAxis):
        raise DataError(
            f"{path}: its rows are no series of frames; use a dtseries or ptseries file"
        )
    if str(rows.unit).upper() != "SECOND":
        raise DataError(
            f"{path}: its series counts in {str(rows.unit).lower()}, not in seconds; export a time "
            "series"
        )
    x = np.asarray(image.dataobj, np.float32)
    step = float(rows.step)
    if isinstance(columns, ParcelsAxis):
        return Frames(x, "", step, "sec", names=tuple(str(n) for n in columns.name))
    if not isinstance(columns, BrainModelAxis):
        raise DataError(f"{path}: its columns are neither grey matter nor parcels; export it again")
    sides: list[NDArray[np.float32]] = []
    parts, places = [], []
    n_vertices = set(columns.nvertices.values())
    for structure, where, model in columns.iter_structures():
        if structure in CORTEX:
            full = np.full((len(x), model.nvertices[structure]), np.nan, np.float32)
            full[:, model.vertex] = x[:, where]
            sides.append(full)
        elif len(model.voxel) and (model.voxel >= 0).all():
            affine = np.asarray(columns.affine, float)
            parts.append(x[:, where])
            places.append((model.voxel @ affine[:3, :3].T + affine[:3, 3]) / 1000)
    if len(sides) != 2 or len(n_vertices) != 1 or sides[0].shape[1] not in SPACES:
        raise DataError(
            f"{path}: has {len(sides)} hemispheres with {sorted(n_vertices)} vertices; a series "
            f"has two of one mesh ({', '.join(map(str, SPACES))})"
        )
    return Frames(
        np.concatenate(sides, 1),
        SPACES[sides[0].shape[1]],
        step,
        "sec",
        np.concatenate(parts, 1) if parts else None,
        np.concatenate(places) if places else None,
    )
