"""Responses to single images, one frame each, as a recording: what releases of betas hold.

A response is fitted to a stretch of signal; its frames follow each other in the order of trials,
and only their order is time. Each is an interval of its own, so no window crosses two.

Shapes: N trials, C voxels or vertices, D dimensions of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Event, Kind, Recording
from data_prep.atlases.volumes import read_nifti


def response_recording(
    rows_NC: NDArray[np.floating],
    images: Sequence[str],
    channels: Channels,
    every_s: float,
    recipe: Recipe,
    *,
    source: Path,
    **identity: Any,
) -> Recording:
    """A recording of one frame a trial, with an event `image:<name>` on each.

    Voxels that are not finite, or never change, are left out and counted.

    Parameters
    ----------
    rows_NC : responses, trials in order
    images : (N,) names of what was seen
    every_s : seconds from trial to trial, of the experiment
    identity : dataset, subject, session, name, split, split_group, notes: see `Recording`

    Raises
    ------
    DataError
        If rows and images differ in number, nothing is left, or the recipe resamples fMRI.
    """
    if recipe.bold_sfreq is not None:
        raise DataError(
            f"{source}: responses to trials cannot be brought to bold_sfreq = "
            f"{recipe.bold_sfreq:g} Hz, only their order is time; prepare them in a store of "
            "their own, without it"
        )
    if len(rows_NC) != len(images):
        raise DataError(
            f"{source}: {len(rows_NC)} responses but {len(images)} images; take the list of this "
            "release"
        )
    if not len(rows_NC):
        raise DataError(f"{source}: holds no trial; leave it out")
    good = np.isfinite(rows_NC).all(0)
    if len(rows_NC) > 1:
        good[good] = np.ptp(rows_NC[:, good], axis=0) > 0
    if not good.any():
        raise DataError(f"{source}: no voxel is finite and changes from trial to trial; check it")
    notes = list(identity.pop("notes", ()))
    if not good.all():
        notes.append(f"{int((~good).sum())} voxels that are not finite or never change left out")
    return Recording(
        signal=np.ascontiguousarray(rows_NC[:, good], np.float32),
        sfreq=1 / every_s,
        channels=channels.take(good),
        events=[Event(i * every_s, every_s, f"image:{name}") for i, name in enumerate(images)],
        intervals_s=[(i * every_s, (i + 1) * every_s) for i in range(len(images))],
        source=str(source),
        notes=notes,
        **identity,
    )


def voxel_channels(names: Sequence[str], pos_m: NDArray[np.floating] | None) -> Channels:
    """Voxels or vertices as channels; without places, in an unknown frame."""
    n = len(names)
    known = pos_m is not None and bool(np.isfinite(pos_m).all(1).any())
    return Channels(
        tuple(names),
        np.full(n, Kind.BOLD),
        pos_m if pos_m is not None else np.full((n, 3), np.nan),
        np.zeros((n, 3)),
        ("au",) * n,
        "mni" if known else "unknown",
        "none",
    )


def read_image(path: Path, dimensions: int) -> Any:
    """A NIfTI image with as many dimensions.

    Raises
    ------
    DataError
        If it is damaged, missing or of another shape.
    """
    img = read_nifti(path)
    if len(img.shape) != dimensions:
        raise DataError(
            f"{path}: has shape {img.shape}, expected {dimensions} dimensions; download it again"
        )
    return img


def voxels(img: Any, path: Path, take: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Frames of the voxels of a mask, (T, C), of an image (X, Y, Z, T).

    Raises
    ------
    DataError
        If the mask is of another shape, or the file ends within its data.
    """
    if img.shape[:3] != take.shape:
        raise DataError(
            f"{path}: its frames are {img.shape[:3]} voxels, the mask has {take.shape}; both must "
            "be of one preparation"
        )
    try:
        # One read of all: a slice of a compressed file reads all before it.
        content = np.asanyarray(img.dataobj)
    except (OSError, EOFError, ValueError) as e:
        raise DataError(f"{path}: ends within its data ({e}); download it again") from e
    return np.ascontiguousarray(content[take].T, np.float32)


def read_array(path: Path) -> NDArray[Any]:
    """A NumPy array of two dimensions, mapped and not read; pickles are refused.

    Raises
    ------
    DataError
        If it is none.
    """
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise DataError(f"{path}: no array of numbers ({e}); download it again") from e
    if not isinstance(content, np.ndarray) or content.dtype.kind not in "fiu":
        raise DataError(f"{path}: no array of numbers; download it again")
    return content


def read_lines(path: Path) -> list[str]:
    """Lines of a list, without blanks.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return [x.strip() for x in path.read_text(encoding="utf-8").splitlines() if x.strip()]
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: cannot be read ({e}); download it again") from e
