"""fMRI on the cortical surface: CIFTI, pairs of GIFTI or FreeSurfer files, as vertices or parcels.

The number of vertices says which mesh it is. Places are those of the mesh in MNI space where a
package of ours holds it (fsaverage5, fs_LR 32k); else nobody knows them here.

Shapes: T frames, V vertices (left hemisphere first), X voxels, C channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.bold import lost_frames, without_lost
from brainfm.types import Channels, Event, Kind, Recording
from data_prep.readers.inheritance import read_sidecar
from data_prep.readers.nifti import LEAST_FRAMES, since, voxels
from data_prep.readers.surface_files import Frames, read_frames
from data_prep.readers.tr import timing

if TYPE_CHECKING:
    from data_prep.atlases import Atlas

MESHES = {"fsaverage5": "desikan_killiany_fsaverage5", "conte69_32k": "schaefer_100"}
"""Atlases that bring places of all vertices of a mesh."""
MOST_CHANNELS = 30_000
MOST_BROKEN = 0.3
"""Share of vertices that may be without a value: the medial wall is a tenth."""


def read_surface(
    path: str | Path,
    *,
    dataset: str,
    subject: str,
    name: str = "",
    tr_s: float | None = None,
    atlas: Atlas | None = None,
    drop: int = 0,
    events: list[Event] | None = None,
    slices_corrected: bool = False,
) -> Recording:
    """One run of fMRI on a surface; parameters as of `nifti.read_nifti`.

    Parameters
    ----------
    path : CIFTI series, or the left one of two files
    atlas : channels are its parcels; None: every vertex (and voxel of a CIFTI file) that changes

    Raises
    ------
    DataError
        If a hemisphere is missing, the mesh is unknown or not the atlas's, channels are too many,
        or the TR is not known.
    """
    path = Path(path)
    where = str(path)
    frames = read_frames(path)
    if len(frames.x_TV) - drop < LEAST_FRAMES:
        raise DataError(
            f"{where}: holds {len(frames.x_TV)} frames and {drop} to drop; a run has at least "
            f"{LEAST_FRAMES}"
        )
    when = timing(
        where,
        sidecar=read_sidecar(path),
        tr_s=tr_s,
        header=frames.step,
        header_unit=frames.unit,
        slices_corrected=slices_corrected,
    )
    frames.x_TV[lost_frames(frames.x_TV)] = 0
    x_TC, channels, notes = _channels(where, frames, atlas)
    start_s = drop * when.tr_s + when.offset_s
    recording = Recording(
        signal=x_TC[drop:],
        sfreq=1 / when.tr_s,
        channels=channels,
        dataset=dataset,
        subject=subject,
        name=name or path.name.split(".")[0],
        events=since(events or [], start_s),
        source=where,
        notes=[*notes, *when.notes],
        start_s=start_s,
    )
    return without_lost(recording)


def _channels(
    where: str, frames: Frames, atlas: Atlas | None
) -> tuple[NDArray[np.floating], Channels, list[str]]:
    """Frames of the channels, and what was left out."""
    if frames.names:
        return frames.x_TV, *_named(where, frames.names, atlas)
    broken = ~np.isfinite(frames.x_TV).all(0)
    if broken.mean() > MOST_BROKEN:
        raise DataError(
            f"{where}: {int(broken.sum())} of {len(broken)} vertices have no finite value; the "
            "medial wall is a tenth: export the run again"
        )
    n_below = 0 if frames.x_TX is None else frames.x_TX.shape[1]
    if atlas is not None:
        from data_prep.atlases import parcel_means

        fitted = on_mesh(where, atlas, frames.space)
        means, seen = parcel_means(frames.x_TV, fitted.labels, fitted.ids)
        notes = [f"means of {len(seen)} parcels of {atlas.name}", *fitted.notes]
        if n_below:
            notes.append(f"{n_below} voxels below the cortex left out: the atlas has cortex only")
        return means, fitted.channels(seen), notes
    kept = ~broken
    kept[kept] = np.ptp(frames.x_TV[:, kept], axis=0) > 0
    index = np.flatnonzero(kept)
    if len(index) + n_below > MOST_CHANNELS:
        raise DataError(
            f"{where}: {len(index)} vertices and {n_below} voxels are too many channels (at most "
            f"{MOST_CHANNELS}); name an atlas with --atlas"
        )
    channels, x_TC = vertices(frames.space, index), frames.x_TV[:, index]
    notes = [f"{len(kept) - len(index)} vertices without a value that changes left out"]
    if frames.x_TX is not None and frames.pos_X3 is not None and channels.frame == "mni":
        channels = joined(channels, voxels(frames.pos_X3, "mni"))
        x_TC = np.concatenate((x_TC, frames.x_TX), 1)
    return x_TC, channels, notes


def on_mesh(where: str, atlas: Atlas, space: str) -> Atlas:
    """An atlas on the mesh of a file, brought there by place where it lies on another one.

    Raises
    ------
    DataError
        If nobody here knows the places of that mesh.
    """
    if atlas.space == space:
        return atlas
    if space not in MESHES:
        raise DataError(
            f"{where}: lies on {space}, the atlas {atlas.name} in {atlas.space}, and places of "
            f"{space} are not known here; resample the run to {' or '.join(MESHES)}"
        )
    from data_prep.atlases import load_atlas

    mesh = load_atlas(MESHES[space])
    assert mesh.vertex_m is not None
    return atlas.on_surface(mesh.vertex_m, space)


def vertices(space: str, index: NDArray[np.intp]) -> Channels:
    """Channels of single vertices, in MNI space where the mesh is known here."""
    pos_C3, frame = np.full((len(index), 3), np.nan), "unknown"
    if space in MESHES:
        from data_prep.atlases import load_atlas

        mesh = load_atlas(MESHES[space])
        assert mesh.vertex_m is not None
        pos_C3, frame = mesh.vertex_m[index], "mni"
    names = tuple(f"{space}.{i}" for i in index)
    return _bold(names, pos_C3, frame)


def joined(a: Channels, b: Channels) -> Channels:
    """Channels of both, which share a frame."""
    return _bold((*a.name, *b.name), np.concatenate((a.pos_m, b.pos_m)), a.frame)


def _named(where: str, names: tuple[str, ...], atlas: Atlas | None) -> tuple[Channels, list[str]]:
    """Parcels as the file names them, at the places of an atlas that has all of them."""
    if atlas is None:
        unknown = np.full((len(names), 3), np.nan)
        note = "places of the file's parcels are not known; an --atlas with their names gives them"
        return _bold(names, unknown, "unknown"), [note]
    missing = sorted(set(names) - set(atlas.names))
    if missing:
        raise DataError(
            f"{where}: its parcel '{missing[0]}' and {len(missing) - 1} more are not in the atlas "
            f"{atlas.name}; name the atlas that the file was made with"
        )
    index = np.array([atlas.names.index(n) for n in names])
    return atlas.channels(index), [f"places of {len(names)} parcels from {atlas.name}"]


def _bold(names: tuple[str, ...], pos_C3: NDArray[np.floating], frame: str) -> Channels:
    n = len(names)
    nothing = np.zeros((n, 3))
    return Channels(names, np.full(n, Kind.BOLD), pos_C3, nothing, ("au",) * n, frame, "none")
