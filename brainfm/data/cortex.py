"""The cortex of simulated heads: fsaverage's folded surface, thinned to sources and parcels.

The surfaces are those that ship in the nilearn wheel (fsaverage5, MNI305, millimetres). Their
vertices come in the order in which an icosahedron was refined, so the first 642 of a hemisphere
are spread as evenly as all 10,242, and the first 42 of them are the seeds of parcels.

Shapes: V vertices, F faces, S sources, P parcels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types.space import MNI152_OF_MNI305

THIN_MM = 0.1
"""Where the cortex is thinner there is none: the wall between the hemispheres."""
SMOOTHED = 10
"""Times a normal is averaged with its neighbours': a source is a patch, not a point of a fold."""


@dataclass(frozen=True, eq=False)
class Cortex:
    """Sources on the folded cortex, grouped into parcels.

    Attributes
    ----------
    pos_m, normal : (S, 3) MNI152 metres, halfway between white matter and pia; unit vectors that
        point out of the cortex
    parcel : (S,) which parcel a source belongs to
    parcel_m : (P, 3) means of their sources, MNI152 metres
    parcel_name : "L01", ..., "R39": hemisphere, and number of the seed
    """

    pos_m: NDArray[np.float64]
    normal: NDArray[np.float64]
    parcel: NDArray[np.intp]
    parcel_m: NDArray[np.float64]
    parcel_name: tuple[str, ...]


@lru_cache(maxsize=4)
def fsaverage_cortex(sources: int = 3, parcels: int = 1) -> Cortex:
    """Sources and parcels of both hemispheres.

    Parameters
    ----------
    sources, parcels : how often the icosahedron was refined: 1, 2, 3, 4 leave 42, 162, 642, 2562
        vertices in a hemisphere, less the wall between the two

    Raises
    ------
    DataError
        If the parcels are not coarser than the sources, or nilearn is not installed.
    """
    if not 0 < parcels < sources <= 5:
        raise DataError(
            f"{parcels} and {sources} refinements for parcels and sources; parcels need 1 or more "
            "and fewer than sources, and the surface has 5"
        )
    pos, normal, parcel = [], [], []
    names: list[str] = []
    for side in ("left", "right"):
        white_V3, faces_F3 = _surface(f"white_{side}")
        pial_V3, _ = _surface(f"pial_{side}")
        sphere_V3, _ = _surface(f"sphere_{side}")
        there_V = _thickness(side) > THIN_MM
        n, many = 10 * 4**sources + 2, 10 * 4**parcels + 2
        keep = np.flatnonzero(there_V[:n])
        seeds = np.flatnonzero(there_V[:many])
        nearest = (sphere_V3[keep] @ sphere_V3[seeds].T).argmax(1)
        pos.append((white_V3[keep] + pial_V3[keep]) / 2000)
        normal.append(_normals(white_V3, faces_F3)[keep])
        parcel.append(nearest + len(names))
        names += [f"{side[0].upper()}{seed + 1:02d}" for seed in seeds]
    place_S3 = moved(np.concatenate(pos), MNI152_OF_MNI305)
    parcel_S = np.concatenate(parcel)
    size_P = np.bincount(parcel_S, minlength=len(names))
    parcel_m = np.zeros((len(names), 3))
    np.add.at(parcel_m, parcel_S, place_S3)
    return Cortex(
        place_S3,
        turned(np.concatenate(normal), MNI152_OF_MNI305),
        parcel_S,
        parcel_m / size_P[:, None],
        tuple(names),
    )


def moved(pos_N3: NDArray[np.floating], trans: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points under a 4 by 4 transform."""
    return np.asarray(pos_N3 @ trans[:3, :3].T + trans[:3, 3])


def turned(normal_N3: NDArray[np.floating], trans: NDArray[np.floating]) -> NDArray[np.float64]:
    """Unit normals of a surface whose points go under a 4 by 4 transform."""
    # Normals go with the inverse transpose; only then they stay upright on a stretched surface.
    out = normal_N3 @ np.linalg.inv(trans[:3, :3])
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))


def _arrays(name: str) -> list[NDArray]:
    import nibabel

    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the simulated cortex needs the fsaverage surfaces of nilearn: pip install nilearn"
        )
    folder = Path(spec.submodule_search_locations[0], "datasets", "data", "fsaverage5")
    path = folder / f"{name}.gii.gz"
    if not path.exists():
        raise DataError(f"{path}: missing; brainfm knows nilearn 0.10 to 0.14, install one of them")
    return [np.asarray(a.data) for a in nibabel.load(path).darrays]  # type: ignore[attr-defined]


def _surface(name: str) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    points, faces = _arrays(name)
    return points.astype(np.float64), faces.astype(np.intp)


def _thickness(side: str) -> NDArray[np.floating]:
    return np.asarray(_arrays(f"thick_{side}")[0])


def _normals(points_V3: NDArray[np.float64], faces_F3: NDArray[np.intp]) -> NDArray[np.float64]:
    """Normals of the vertices, averaged with those around them."""
    a, b, c = (points_V3[faces_F3[:, k]] for k in range(3))
    area_F3 = np.cross(b - a, c - a)
    out = np.zeros_like(points_V3)
    for k in range(3):
        np.add.at(out, faces_F3[:, k], area_F3)
    for _ in range(SMOOTHED):
        out /= np.linalg.norm(out, axis=1, keepdims=True).clip(1e-12)
        near = np.zeros_like(out)
        for k in range(3):
            np.add.at(near, faces_F3[:, k], out[faces_F3[:, (k + 1) % 3]])
            np.add.at(near, faces_F3[:, (k + 1) % 3], out[faces_F3[:, k]])
        out = out + near / 12
    return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True))
