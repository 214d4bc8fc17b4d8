"""NIfTI images of fMRI: voxels of a mask, or means of an atlas's parcels, as channels in metres.

Shapes: T frames, V voxels, C channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.bold import lost_frames, without_lost
from brainfm.types import Channels, Event, Kind, Recording
from data_prep.readers.inheritance import read_sidecar
from data_prep.readers.tr import timing

if TYPE_CHECKING:
    from data_prep.atlases import Atlas

LEAST_FRAMES = 8
LARGEST_M = 0.3
"""A voxel farther from the origin than this is in another unit, or of another body part."""
LEAST_INSIDE, MOSTLY_INSIDE = 0.4, 0.8
"""Shares of an image's voxels in the brain of MNI152: of a head that was not masked, half are."""
LEAST_SEEN = 0.5
"""Share of an atlas's parcels that an image must hold; below it they are in different spaces."""
MASKED_BY = 0.03
"""Without a mask, voxels whose mean is above this share of the largest are taken as brain."""


def read_nifti(
    path: str | Path,
    *,
    dataset: str,
    subject: str,
    name: str = "",
    tr_s: float | None = None,
    atlas: Atlas | None = None,
    mask: str | Path | None = None,
    frame: str = "mni",
    drop: int = 0,
    n_frames: int | None = None,
    events: list[Event] | None = None,
    slices_corrected: bool = False,
) -> Recording:
    """One run of fMRI from a 4-D image.

    Parameters
    ----------
    path : .nii or .nii.gz, its BIDS sidecar beside it
    tr_s : where no sidecar says it; see `tr.timing`
    atlas : channels are its parcels; None: voxels of the mask
    mask : image of the same grid; None: bright voxels
    frame : "mni", or "unknown" for images in the scanner's space
    drop : first frames that are left out (dummies); their time is kept in `start_s`
    n_frames : how many frames a table of events or confounds speaks of; others are refused
    events : seconds from the first frame of the file
    slices_corrected : see `tr.timing`

    Raises
    ------
    DataError
        If it is no 4-D image, has lost frames, a TR that nobody knows, values that are not finite
        in the brain, or lies in another space than mask or atlas.
    """
    import nibabel

    where = str(path)
    try:
        image: Any = nibabel.load(path)
        header, affine = image.header, np.asarray(image.affine, float)
        shape = tuple(int(n) for n in image.shape)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as e:
        raise DataError(f"{where}: no readable NIfTI image ({e}); fetch it again") from e
    if len(shape) != 4 or shape[3] - drop < LEAST_FRAMES:
        raise DataError(
            f"{where}: has shape {shape} and {drop} frames to drop; a run has x, y, z and at least "
            f"{LEAST_FRAMES} frames"
        )
    if n_frames is not None and n_frames != shape[3]:
        raise DataError(
            f"{where}: holds {shape[3]} frames, its table {n_frames} rows; frames were lost, use "
            "the image that the table was made for"
        )
    kind = np.dtype(image.get_data_dtype())
    if kind.kind not in "iuf":
        raise DataError(
            f"{where}: holds {kind} and not one number a voxel; export magnitudes of frames"
        )
    when = timing(
        where,
        sidecar=read_sidecar(path),
        tr_s=tr_s,
        header=float(header.get_zooms()[3]),
        header_unit=header.get_xyzt_units()[1],
        slices_corrected=slices_corrected,
    )
    to_m, notes = _affine_in_metres(where, affine, header, shape)
    try:
        x_XYZT = np.asarray(image.dataobj[..., drop:], np.float32)
    except (OSError, EOFError, ValueError) as e:
        raise DataError(f"{where}: its frames cannot be read ({e}); fetch it again") from e
    inside = _mask(where, x_XYZT, mask, affine)
    x_TV = x_XYZT[inside].T
    pos_V3 = _moved(to_m, np.argwhere(inside))
    # A frame without numbers is one lost frame, and no reason to give up every voxel.
    x_TV[lost_frames(x_TV)] = 0
    bad_V = ~np.isfinite(x_TV).all(0)
    if bad_V.mean() > 0.05:
        raise DataError(
            f"{where}: {int(bad_V.sum())} of {len(bad_V)} voxels are not finite at some frame; "
            "mask what lies outside the brain, or export the image again"
        )
    if bad_V.any():
        notes.append(f"{int(bad_V.sum())} voxels that are not finite left out")
        x_TV, pos_V3 = x_TV[:, ~bad_V], pos_V3[~bad_V]
    if atlas is None:
        signal, channels = x_TV, voxels(pos_V3, frame)
    else:
        signal, channels = _parcels(where, x_TV, pos_V3, atlas)
        few = f" of {len(atlas)}: the image shows no more" if len(channels) < len(atlas) else ""
        notes.append(f"means of {len(channels)} parcels of {atlas.name}{few}")
        notes += _lies_in_mni(where, pos_V3)
        if atlas.affine is None:
            from data_prep.atlases.atlas import RIBBON_M

            notes.append(
                f"{atlas.name} lies on a surface: voxels within {1000 * RIBBON_M:g} mm of the "
                "average cortex were taken, a few millimetres off in any one brain"
            )
    start_s = drop * when.tr_s + when.offset_s
    recording = Recording(
        signal=signal,
        sfreq=1 / when.tr_s,
        channels=channels,
        dataset=dataset,
        subject=subject,
        name=name or Path(path).name.split(".")[0],
        events=since(events or [], start_s),
        source=where,
        notes=[*notes, *when.notes],
        start_s=start_s,
    )
    return without_lost(recording)


def voxels(pos_V3: NDArray[np.floating], frame: str) -> Channels:
    """Channels of single voxels, named by their place in millimetres."""
    n = len(pos_V3)
    names = [f"{x:.0f}_{y:.0f}_{z:.0f}" for x, y, z in 1000 * pos_V3]
    if len(set(names)) < n:  # voxels below a millimetre
        names = [f"{name}.{i}" for i, name in enumerate(names)]
    nothing = np.zeros((n, 3), np.float32)
    return Channels(
        tuple(names), np.full(n, Kind.BOLD), pos_V3, nothing, ("au",) * n, frame, "none"
    )


def since(events: list[Event], start_s: float) -> list[Event]:
    """Events from the first kept frame on; what ended before it is left out."""
    moved = [e._replace(onset_s=e.onset_s - start_s) for e in events]
    return [e for e in moved if e.onset_s + e.duration_s > 0 and e.onset_s >= -0.5 * e.duration_s]


def _affine_in_metres(
    where: str, affine: NDArray[np.float64], header: Any, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], list[str]]:
    """Voxel to metres, and what was noticed."""
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(f"{where}: its affine places all voxels in one plane; export it again")
    notes = []
    has_s, has_q = (int(header[f"{k}form_code"]) > 0 for k in "sq")
    if not has_s and not has_q:
        notes.append("the header has neither sform nor qform: sides and places are assumed")
    if has_s and has_q:
        other = np.asarray(header.get_qform(), float)
        if np.linalg.det(other[:3, :3]) * np.linalg.det(affine[:3, :3]) < 0:
            raise DataError(
                f"{where}: sform and qform of its header swap left and right, and one of them is "
                "wrong; find out which, and set both alike"
            )
    unit = header.get_xyzt_units()[0]
    scale = {"meter": 1.0, "micron": 1e-6}.get(unit, 1e-3)
    to_m = affine.copy()
    to_m[:3] *= scale
    corners = np.array(np.meshgrid(*([0, n - 1] for n in shape[:3]))).reshape(3, -1).T
    size = float(np.ptp(corners @ to_m[:3, :3].T, axis=0).max())
    if not 0.01 < size < 2 * LARGEST_M:
        raise DataError(
            f"{where}: its voxels span {size:g} m in {unit or 'mm'}; a head has .2 m: correct the "
            "unit or the affine of the header"
        )
    if np.linalg.det(to_m[:3, :3]) < 0:
        notes.append("stored with left and right swapped; places come from the affine")
    return to_m, notes


def _mask(
    where: str, x_XYZT: NDArray[np.float32], mask: str | Path | None, affine: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Voxels of the brain."""
    mean = None
    if mask is not None:
        inside, theirs = _read_mask(where, mask)
        shape = x_XYZT.shape[:3]
        inside = inside.reshape(shape) if inside.size == x_XYZT[..., 0].size else inside
        if inside.shape != shape or not np.allclose(theirs, affine, atol=1e-2):
            raise DataError(
                f"{where}: its grid {shape} is not that of the mask {mask} {inside.shape}, or lies "
                "elsewhere; bring both to one space"
            )
        if not inside.any():
            raise DataError(f"{where}: the mask {mask} holds no voxel; make it again")
    else:
        finite = np.isfinite(x_XYZT)
        mean = np.where(finite, x_XYZT, 0).sum(-1) / finite.sum(-1).clip(1)
        inside = mean > MASKED_BY * mean.max()
    moving = np.nan_to_num(np.ptp(x_XYZT, axis=-1), nan=1.0) > 0
    if mean is not None and _was_centred(mean[moving], x_XYZT[moving]):
        inside = moving  # nothing is bright; what is outside the brain was set to one number
    inside = np.asarray(inside & moving, bool)
    if not inside.any():
        raise DataError(f"{where}: no voxel of the mask changes over time; check image and mask")
    return inside


def _moved(affine: NDArray[np.float64], pos_V3: NDArray[np.floating]) -> NDArray[np.float64]:
    out: NDArray[np.float64] = pos_V3 @ affine[:3, :3].T + affine[:3, 3]
    return out


def _was_centred(mean_V: NDArray[np.floating], x_VT: NDArray[np.floating]) -> bool:
    """Whether means were taken out before: brightness then says nothing of where the brain is."""
    if not len(mean_V):
        return False
    some = slice(None, None, max(1, len(mean_V) // 2000))
    with np.errstate(invalid="ignore"):
        spread = np.nanstd(x_VT[some], axis=1)
    return bool(np.median(mean_V[some]) < np.median(spread))


def _read_mask(where: str, mask: str | Path) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    import nibabel

    try:
        image: Any = nibabel.load(mask)
        inside = np.squeeze(np.asarray(image.dataobj)) > 0
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as e:
        raise DataError(f"{where}: its mask {mask} cannot be read ({e}); check --mask") from e
    return inside, np.asarray(image.affine, float)


def _lies_in_mni(where: str, pos_V3: NDArray[np.float64]) -> list[str]:
    """A note where many voxels lie outside the brain of MNI152, a refusal where most do."""
    from nilearn.datasets import load_mni152_brain_mask

    brain = load_mni152_brain_mask(resolution=4)
    seen = np.asarray(brain.dataobj) > 0
    ijk = np.rint(_moved(np.linalg.inv(brain.affine), 1000 * pos_V3)).astype(int)
    there = ((ijk >= 0) & (ijk < seen.shape)).all(1)
    there[there] = seen[tuple(ijk[there].T)]
    share = float(there.mean())
    if share < LEAST_INSIDE:
        raise DataError(
            f"{where}: {100 * share:.0f} % of its voxels lie in the brain of MNI152; it lies in "
            "another space, or its affine is shifted: bring it to MNI space, or use no atlas"
        )
    if share < MOSTLY_INSIDE:
        return [
            f"only {100 * share:.0f} % of the voxels lie in the brain of MNI152: a head that was "
            "not masked, or an image of another space"
        ]
    return []


def _parcels(
    where: str, x_TV: NDArray[np.float32], pos_V3: NDArray[np.float64], atlas: Atlas
) -> tuple[NDArray[np.floating], Channels]:
    from data_prep.atlases import parcel_means

    if np.abs(pos_V3).max() > LARGEST_M:
        raise DataError(
            f"{where}: voxels lie up to {np.abs(pos_V3).max():.2f} m from the origin, the atlas "
            f"{atlas.name} within {LARGEST_M} m; bring the image to MNI space"
        )
    labels_V = atlas.at(pos_V3)
    there = np.intersect1d(labels_V, atlas.ids)
    if len(there) < LEAST_SEEN * len(atlas.ids):
        raise DataError(
            f"{where}: holds {len(there)} of {len(atlas.ids)} parcels of {atlas.name}; image and "
            "atlas are in different spaces, or the image shows part of a brain: bring it to MNI "
            "space, or use voxels"
        )
    means, seen = parcel_means(x_TV, labels_V, atlas.ids)
    return means, atlas.channels(seen)
