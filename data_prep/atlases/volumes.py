"""Atlases that ship as labelled volumes in MNI space.

Shapes: (X, Y, Z) voxels, P parcels.
"""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from data_prep.atlases.atlas import MILLIMETRE, VOLUME, Atlas, make_atlas

NOT_GREY = re.compile(
    r"white.?matter|ventric|lat-vent|csf|vessel|choroid|hypointens|chiasm|^CC_|corpus.?callosum|"
    r"callosal.?body|optic.?tract|^WM_|unknown|background|\?\?\?",
    re.IGNORECASE,
)
"""Names of what is no grey matter; such labels are left out."""
LEAST_PROBABILITY = 25
"""Percent; where no parcel is likelier, probabilistic atlases have none (FSL's "thr25" maps)."""


def read_volume(
    name: str,
    image: Path,
    table: Path,
    *,
    both_sides: bool = False,
    citation: str = "",
    licence: str = "",
) -> Atlas:
    """An atlas of a NIfTI image and a table of its labels.

    Parameters
    ----------
    image : labels (X, Y, Z), or probabilities in percent (X, Y, Z, P), in MNI millimetres
    table : label and name on each line, with or without a header, by comma, blank or tab
    both_sides : its labels are of both hemispheres; each is cut in two

    Raises
    ------
    DataError
        If a file is damaged, or holds labels the table does not know.
    """
    names = read_names(table)
    img = read_nifti(image)
    notes = []
    if len(img.shape) == 4:
        labels = _likeliest(img, image)
        # The tables of these packages count maps from 0; a label of 0 is no parcel here.
        names = {k + 1: v for k, v in names.items()}
        notes.append(
            f"the likeliest parcel of each voxel, where it has {LEAST_PROBABILITY} percent or more"
        )
    else:
        values = np.asanyarray(img.dataobj)
        labels = np.rint(values).astype(np.int32)
        if not np.array_equal(labels, values):
            raise DataError(
                f"{image}: its labels are no whole numbers; an atlas must be resampled by nearest "
                "neighbour"
            )
    nameless = sorted(set(np.unique(labels).tolist()) - {0} - set(names))
    if nameless:
        notes.append(f"{len(nameless)} labels without a name left out: {nameless[:4]}")
    grey = {k: v for k, v in names.items() if k and not NOT_GREY.search(v)}
    if len(grey) < len(names):
        notes.append("white matter, ventricles, vessels and what is unknown are left out")
    affine = np.array(img.affine, np.float64)
    affine[:3] *= MILLIMETRE
    if both_sides:
        labels, grey = _cut_in_two(labels, grey, affine)
        notes.append("labels of both hemispheres, cut in two at x = 0")
    return make_atlas(
        name,
        VOLUME,
        grey,
        labels,
        affine=affine,
        notes=tuple(notes),
        citation=citation,
        licence=licence,
    )


def read_nifti(path: Path) -> Any:
    """A NIfTI image, its samples not read yet.

    Raises
    ------
    DataError
        If it is none.
    """
    nibabel = need_nibabel()
    try:
        return nibabel.load(path)
    except (OSError, EOFError, ValueError, nibabel.filebasedimages.ImageFileError) as e:
        raise DataError(f"{path}: no NIfTI image ({e}); fetch it again") from e


def need_nibabel() -> Any:
    """The module, or a sentence on how to get it."""
    try:
        import nibabel
    except ModuleNotFoundError as e:
        raise DataError(
            f"images of the brain are read with nibabel, and '{e.name}' is not installed: "
            "pip install 'brainfm-decoding[fmri]'"
        ) from e
    return nibabel


def read_names(table: Path) -> dict[int, str]:
    """Label to name, of a table in any of the shapes these packages use.

    Raises
    ------
    DataError
        If a line has no label and name.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{table}: cannot be read ({e}); fetch it again") from e
    lines = [x for x in text.splitlines() if x.strip()]
    rows = list(csv.reader(lines)) if "," in text else [x.split(None, 1) for x in lines]
    if not rows:
        raise DataError(f"{table}: holds no names; fetch it again")
    side = None
    if not rows[0][0].strip().isdigit():
        head = [x.strip().lower() for x in rows.pop(0)]
        side = head.index("hemisphere") if "hemisphere" in head else None
    names: dict[int, str] = {}
    for row in rows:
        if len(row) < 2 or not row[0].strip().isdigit():
            raise DataError(f"{table}: the line {row!r} is no label and name; fetch it again")
        name = row[1].strip()
        if side is not None and row[side].strip() in ("L", "R"):
            name = f"{row[side].strip()}_{name}"
        names[int(row[0])] = name
    return names


def _cut_in_two(
    labels: NDArray[np.int32], names: dict[int, str], affine: NDArray[np.float64]
) -> tuple[NDArray[np.int32], dict[int, str]]:
    """Labels at x > 0 raised by a step, and names of both halves."""
    step = int(labels.max()) + 1
    ijk = np.indices(labels.shape).reshape(3, -1)
    right = (affine[0, :3] @ ijk + affine[0, 3] > 0).reshape(labels.shape)
    both: dict[int, str] = {}
    for k, name in names.items():
        both |= {k: f"L_{name}", k + step: f"R_{name}"}
    return np.where(right & (labels > 0), labels + step, labels).astype(np.int32), both


def _likeliest(img: Any, path: Path) -> NDArray[np.int32]:
    """Number of the likeliest map, counted from 1; one map in memory at a time."""
    header = img.header
    if header.get_slope_inter() not in ((None, None), (1.0, 0.0)):
        raise DataError(f"{path}: its probabilities are scaled; take the published file")
    shape, dtype = img.shape[:3], header.get_data_dtype()
    size = int(np.prod(shape)) * dtype.itemsize
    best = np.full(shape, LEAST_PROBABILITY - 1, np.float32)
    labels = np.zeros(shape, np.int32)
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as f:
            # The header of an image in memory says 0.
            f.seek(int(img.dataobj.offset))
            for k in range(img.shape[3]):
                x = np.frombuffer(f.read(size), dtype).reshape(shape, order="F")
                more = x > best
                labels[more], best[more] = k + 1, x[more]
    except (OSError, EOFError, ValueError) as e:
        raise DataError(f"{path}: ends within its data ({e}); fetch it again") from e
    return labels
