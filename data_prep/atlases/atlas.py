"""What an atlas is: parcels with a name, a place and a network, on a surface or in a volume.

Shapes: V vertices (left then right) or voxels, P parcels, T frames, N points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Channels, Kind

VOLUME = "mni_volume"
SPACES = (VOLUME, "conte69_32k", "fsaverage5")
VERTICES = {"conte69_32k": 64_984, "fsaverage5": 20_484}
"""Of both hemispheres together. conte69's 32k mesh is that of fs_LR."""
MILLIMETRE = 1e-3
RIBBON_M = 0.004
"""Voxels nearer to a vertex of the average cortex are of its parcel: 98 % of them are grey matter
of MNI152, and three of four lie in the parcel that an independent volume of the same 360 parcels
has there (docs/benchmarks.md)."""
NEAR_M = 0.008
"""Farther from every vertex of an atlas, a point belongs to none of its parcels."""
SIDE = re.compile(r"(?:^|[_.\- ])(l|r|lh|rh|left|right)(?=$|[_.\- ])", re.IGNORECASE)
"""How names of parcels say their hemisphere."""


@dataclass(frozen=True, eq=False)
class Atlas:
    """Parcels, and which of them every vertex or voxel belongs to.

    Attributes
    ----------
    name : as `load_atlas` takes it
    space : "conte69_32k" or "fsaverage5", vertices; "mni_volume", voxels
    names : (P,) of the parcels, unique
    ids : (P,) what stands for them in `labels`; 0 is no parcel
    pos_m : (P, 3) means over their vertices or voxels, MNI152 metres
    hemisphere : (P,) "L", "R", or "" for both and neither
    network : (P,) name of a network, "" where nobody says
    labels : (V,) of a surface, left hemisphere first, or (X, Y, Z) of a volume
    affine : (4, 4) voxel index to MNI152 metres; None on a surface
    vertex_m : (V, 3) MNI152 metres of the vertices; None in a volume
    notes : what is derived and what is left out, one sentence each
    citation, licence : one line each
    """

    name: str
    space: str
    names: tuple[str, ...]
    ids: NDArray[np.int64]
    pos_m: NDArray[np.float64]
    hemisphere: tuple[str, ...]
    network: tuple[str, ...]
    labels: NDArray[np.int32]
    affine: NDArray[np.float64] | None = None
    vertex_m: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    citation: str = ""
    licence: str = ""

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Atlas({self.name}: {len(self)} parcels, {self.space})"

    def channels(self, index: NDArray[np.intp] | None = None) -> Channels:
        """Parcels as channels of an fMRI recording, all or those at `index`."""
        i = np.arange(len(self)) if index is None else np.asarray(index)
        return Channels(
            tuple(self.names[k] for k in i),
            np.full(len(i), Kind.BOLD),
            self.pos_m[i],
            np.zeros((len(i), 3)),
            ("au",) * len(i),
            "mni",
            "none",
        )

    def at(self, pos_m: NDArray[np.floating]) -> NDArray[np.int32]:
        """Label of the voxel in which each point lies, (N,); 0 outside of every parcel.

        On a surface: of the nearest vertex, where it is within `RIBBON_M`.

        Parameters
        ----------
        pos_m : (N, 3) MNI152 metres, such as the voxel centres of another image
        """
        if self.affine is None:
            return self._nearest(pos_m, RIBBON_M)
        pos_m = np.asarray(pos_m, np.float64).reshape(-1, 3)
        inverse = np.linalg.inv(self.affine)
        ijk = np.rint(pos_m @ inverse[:3, :3].T + inverse[:3, 3])
        inside = (np.isfinite(ijk) & (ijk >= 0) & (ijk < self.labels.shape)).all(1)
        out = np.zeros(len(pos_m), np.int32)
        i, j, k = ijk[inside].astype(np.intp).T
        out[inside] = self.labels[i, j, k]
        return out

    def _nearest(self, pos_m: NDArray[np.floating], reach_m: float) -> NDArray[np.int32]:
        """Label of the vertex that is nearest to each point, 0 where none is within reach."""
        from scipy.spatial import cKDTree

        # A place that nobody knows is far from everything.
        points = np.nan_to_num(np.asarray(pos_m, np.float64).reshape(-1, 3), nan=1.0)
        distance_N, nearest_N = cKDTree(self.vertex_m).query(points)
        out: NDArray[np.int32] = np.where(distance_N < reach_m, self.labels[nearest_N], 0)
        return out

    def on_surface(self, vertex_m: NDArray[np.floating], space: str) -> Atlas:
        """The atlas on another surface, by place in MNI space: near, and never exact.

        A vertex takes the label of its voxel, or of the vertex of this atlas that is nearest.

        Parameters
        ----------
        vertex_m : (V, 3) MNI152 metres, left hemisphere first
        space : name of the surface
        """
        if self.vertex_m is None:
            labels_V = self.at(vertex_m)
        else:
            labels_V = self._nearest(vertex_m, NEAR_M)
        return make_atlas(
            self.name,
            space,
            dict(zip(self.ids.tolist(), self.names, strict=True)),
            labels_V,
            vertex_m=vertex_m,
            networks=dict(zip(self.ids.tolist(), self.network, strict=True)),
            notes=(
                *self.notes,
                f"brought from {self.space} to {space} by nearness in MNI space, some millimetres "
                "off",
            ),
            citation=self.citation,
            licence=self.licence,
        )


def make_atlas(
    name: str,
    space: str,
    names: dict[int, str],
    labels: NDArray[np.integer],
    *,
    affine: NDArray[np.floating] | None = None,
    vertex_m: NDArray[np.floating] | None = None,
    networks: dict[int, str] | None = None,
    notes: tuple[str, ...] = (),
    citation: str = "",
    licence: str = "",
) -> Atlas:
    """An atlas of labels and a table of names; places and hemispheres follow from the labels.

    Parameters
    ----------
    names : label to name, parcels in order; labels that are not in it become 0
    labels, affine, vertex_m : see `Atlas`; parcels without one vertex or voxel are left out
    networks : label to network

    Raises
    ------
    DataError
        If labels and places do not fit each other, or nothing is left.
    """
    labels = np.asarray(labels)
    where = f"atlas {name}"
    if (affine is None) == (vertex_m is None):
        raise DataError(f"{where}: needs either an affine or the places of its vertices")
    if vertex_m is not None and labels.shape != (len(vertex_m),):
        raise DataError(
            f"{where}: {labels.shape} labels but {len(vertex_m)} vertices; labels and surface are "
            "of different meshes"
        )
    flat = labels.reshape(-1)
    members = np.flatnonzero(flat)
    known, row = np.unique(flat[members], return_inverse=True)
    if vertex_m is not None:
        place_m = np.asarray(vertex_m, np.float64)[members]
    else:
        matrix = np.asarray(affine, np.float64)
        ijk = np.stack(np.unravel_index(members, labels.shape), 1)
        place_m = ijk @ matrix[:3, :3].T + matrix[:3, 3]
    _in_metres(place_m, where)
    count = np.bincount(row, minlength=len(known))
    mean_m = np.stack([np.bincount(row, x, len(known)) for x in place_m.T], 1) / count[:, None]
    at = {int(k): i for i, k in enumerate(known)}
    kept = [k for k in names if k in at]
    if not kept:
        raise DataError(f"{where}: none of its {len(names)} names has a vertex or voxel")
    empty = [names[k] for k in names if k not in at]
    if empty:
        notes = (*notes, f"{len(empty)} parcels without a vertex or voxel left out: {_few(empty)}")
    rows = [at[k] for k in kept]
    left = np.bincount(row, place_m[:, 0] < 0, len(known))[rows] / count[rows]
    hemisphere = _hemispheres([names[k] for k in kept], left, where)
    table = np.zeros(int(known.max()) + 1, np.int32)
    table[kept] = kept
    return Atlas(
        name,
        space,
        _unique([names[k] for k in kept], where),
        np.array(kept, np.int64),
        mean_m[rows],
        hemisphere,
        tuple((networks or {}).get(k, "") for k in kept),
        table[flat].reshape(labels.shape),
        None if affine is None else np.asarray(affine, np.float64),
        None if vertex_m is None else np.asarray(vertex_m, np.float64),
        notes,
        citation,
        licence,
    )


def parcel_means(
    frames_TV: NDArray[np.floating], labels_V: NDArray[np.integer], ids: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Mean over the members of each parcel, frame by frame.

    A member that never changes (outside of the field of view) or is not finite is left out.

    Returns
    -------
    means : (T, K)
    index : (K,) which of `ids` have members

    Raises
    ------
    DataError
        If the frames have another number of columns than there are labels, or no parcel is seen.
    """
    if frames_TV.ndim != 2 or frames_TV.shape[1] != len(labels_V):
        raise DataError(
            f"frames of shape {frames_TV.shape} do not fit an atlas of {len(labels_V)} vertices or "
            "voxels; bring both to one space"
        )
    seen = np.isfinite(frames_TV).all(0)
    seen[seen] = np.ptp(frames_TV[:, seen], axis=0) > 0
    columns = [np.flatnonzero(seen & (labels_V == k)) for k in ids]
    index = np.array([i for i, c in enumerate(columns) if len(c)], np.intp)
    if not len(index):
        raise DataError("no parcel of the atlas has a vertex or voxel that changes in these frames")
    means = [frames_TV[:, columns[i]].mean(1, dtype=np.float64) for i in index]
    return np.stack(means, 1), index


def _hemispheres(names: list[str], left: NDArray[np.float64], where: str) -> tuple[str, ...]:
    """Hemispheres by name ("L", "R"), and else by the share of a parcel at x < 0 ("": both)."""
    said = []
    for name in names:
        found = SIDE.findall(name)
        said.append(found[-1][0].upper() if found else "")
    shares = [x if side == "L" else 1 - x for x, side in zip(left, said, strict=True) if side]
    if shares and np.mean(np.array(shares) > 0.5) < 0.5:
        raise DataError(
            f"{where}: most parcels called left lie at x > 0; the image is flipped, correct its "
            "affine"
        )
    pairs = zip(said, left, strict=True)
    return tuple(side or ("L" if x > 0.9 else "R" if x < 0.1 else "") for side, x in pairs)


def _in_metres(place_m: NDArray[np.float64], where: str) -> None:
    far = np.abs(place_m).max(initial=0.0)
    if not far < 0.3:
        raise DataError(
            f"{where}: a place lies {far:g} m from the origin; MNI space is metres here, divide "
            "millimetres by 1000"
        )


def _unique(names: list[str], where: str) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise DataError(f"{where}: two parcels are called '{twice[0]}'; tell them apart")
    return tuple(names)


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
