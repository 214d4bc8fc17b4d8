"""MEG helmets of simulated heads: where coils sit, what they are made of, what they measure.

The shapes of helmets and the points over which a coil averages ship with MNE (`helmets/`,
`coil_def.dat`). Sites are spread evenly over a helmet; no table of a real device's sites ships.

Shapes: C coils, K points of coils, S sources. Metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.data.patient_montages import middle_of_head
from brainfm.data.sphere import magnetic_field
from brainfm.errors import DataError
from brainfm.types import UNIT_OF_KIND, Channels, Kind

VV_PLANAR, VV_MAG, CTF_AXIAL = 3012, 3024, 5001
"""Ids in MNE's table: Vectorview planar gradiometer (baseline 16.8 mm) and magnetometer, CTF
axial gradiometer (50 mm)."""
HELMETS = {"vectorview": ("306m", 102), "ctf": ("CTF_275", 151)}
"""Name of MNE's surface, and sites on it: as many as Vectorview and CTF-151 have."""
RIM_M = -0.06
"""Below this height, in the helmet's own frame, a helmet ends; the surfaces go on to the face."""
GAP_M = 0.012
"""No coil comes nearer to the scalp than this; 17 to 20 mm are usual (recalled)."""


@dataclass(frozen=True, eq=False)
class Coils:
    """Coils of one helmet.

    Attributes
    ----------
    pos_m : (C, 3)
    axes_C33 : rows are the coil's x, y and z; z points out of the helmet, and planar gradiometers
        measure along x
    coil : (C,) ids in MNE's table
    name : of each
    """

    pos_m: NDArray[np.float64]
    axes_C33: NDArray[np.float64]
    coil: NDArray[np.intp]
    name: tuple[str, ...]

    def channels(self) -> Channels:
        """Kind, place and direction of each coil, as a reader would give them.

        CTF's gradiometers are `Kind.MAG`, as everywhere in brainfm: they measure tesla.
        """
        planar = self.coil == VV_PLANAR
        kind = np.where(planar, Kind.GRAD, Kind.MAG).astype(np.int8)
        ori = np.where(planar[:, None], self.axes_C33[:, 0], self.axes_C33[:, 2])
        return Channels(
            self.name,
            kind,
            self.pos_m.astype(np.float32),
            ori.astype(np.float32),
            tuple(UNIT_OF_KIND[Kind(int(k))] for k in kind),
            "head",
            "none",
        )

    def outside(self, centre_m: NDArray[np.floating], radius_m: float) -> Coils:
        """The same coils, with those too near to the head pushed away from its centre."""
        away = self.pos_m - centre_m
        apart = np.linalg.norm(away, axis=1, keepdims=True)
        return replace(self, pos_m=centre_m + away * np.maximum(1, (radius_m + GAP_M) / apart))


def coil_gain(
    coils: Coils,
    centre_m: NDArray[np.floating],
    source_S3: NDArray[np.floating],
    moment_S3: NDArray[np.floating],
    accuracy: int = 2,
) -> NDArray[np.float64]:
    """What each coil measures of each dipole, (C, S): T, planar gradiometers T/m.

    Parameters
    ----------
    centre_m : of the sphere that conducts
    accuracy : of MNE's table, 0 to 2: over how many points a coil averages; MNE's own default is 2
    """
    out = np.empty((len(coils.coil), len(source_S3)))
    for coil in np.unique(coils.coil):
        rows = coils.coil == coil
        weight_K, at_K3, normal_K3 = coil_points(int(coil), accuracy)
        axes = coils.axes_C33[rows]
        out[rows] = 0.0
        for weight, at, normal in zip(weight_K, at_K3, normal_K3, strict=True):
            points = coils.pos_m[rows] + at @ axes
            out[rows] += weight * magnetic_field(
                centre_m, points, normal @ axes, source_S3, moment_S3
            )
    return out


@lru_cache(maxsize=16)
def coil_points(coil: int, accuracy: int = 2) -> tuple[NDArray, NDArray, NDArray]:
    """Weights, points and normals of a coil in its own frame, from MNE's table.

    Raises
    ------
    DataError
        If the table has no such coil.
    """
    lines = iter((_mne_data() / "coil_def.dat").read_text().splitlines())
    for line in lines:
        part = line.split()
        # A header begins with the class of a coil, its points with a blank or a minus.
        if line[:1].isdigit() and part[1:3] == [str(coil), str(accuracy)]:
            rows = np.array([next(lines).split() for _ in range(int(part[3]))], float)
            return rows[:, 0], rows[:, 1:4], rows[:, 4:7]
    raise DataError(f"coil_def.dat: no coil {coil} at accuracy {accuracy}; use 0, 1 or 2")


@lru_cache(maxsize=4)
def helmet(kind: str) -> Coils:
    """Coils of a helmet, in a frame whose origin is the middle of the helmet's sphere.

    Parameters
    ----------
    kind : "vectorview" (a magnetometer and two planar gradiometers at each of 102 sites) or "ctf"
        (an axial gradiometer at each of 151)

    Raises
    ------
    DataError
        If there is no such helmet.
    """
    import mne

    if kind not in HELMETS:
        raise DataError(f"no helmet '{kind}'; choose {' or '.join(HELMETS)}")
    surface, many = HELMETS[kind]
    path = _mne_data() / "helmets" / f"{surface}.fif.gz"
    (read,) = mne.read_bem_surfaces(path, on_defects="ignore", verbose="ERROR")
    inside = read["rr"][:, 2] > RIM_M
    place, out = read["rr"][inside], read["nn"][inside]
    place = place - middle_of_head(place)
    out = out * np.sign((out * place).sum(1, keepdims=True))
    site = _spread(place, many)
    place, out = place[site], out[site]
    east = np.cross((0.0, 0.0, 1.0), out)
    # At the very top any direction is east.
    east = np.where(np.linalg.norm(east, axis=1, keepdims=True) > 1e-3, east, (0.0, 1.0, 0.0))
    east -= (east * out).sum(1, keepdims=True) * out
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    axes = np.stack([east, np.cross(out, east), out], 1)
    if kind == "ctf":
        names = tuple(f"CTF{i + 1:03d}" for i in range(many))
        return Coils(place, axes, np.full(many, CTF_AXIAL), names)
    # The second gradiometer of a site is the first, turned by 90 degrees.
    turned = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], 1)
    three = np.stack([axes, axes, turned], 1).reshape(-1, 3, 3)
    return Coils(
        np.repeat(place, 3, axis=0),
        three,
        np.tile([VV_MAG, VV_PLANAR, VV_PLANAR], many),
        tuple(f"MEG{i + 1:03d}{k}" for i in range(many) for k in (1, 2, 3)),
    )


def _spread(place_N3: NDArray[np.floating], many: int) -> list[int]:
    """Points far from each other: each next one is the farthest from all before. From the top."""
    chosen = [int(place_N3[:, 2].argmax())]
    apart = np.full(len(place_N3), np.inf)
    while len(chosen) < many:
        apart = np.minimum(apart, np.linalg.norm(place_N3 - place_N3[chosen[-1]], axis=1))
        chosen.append(int(apart.argmax()))
    return sorted(chosen)


def _mne_data() -> Path:
    spec = find_spec("mne")
    if spec is None or not spec.submodule_search_locations:
        raise DataError("simulated MEG needs the helmets and coils of MNE: pip install mne")
    return Path(spec.submodule_search_locations[0], "data")
