"""Sensors for simulated recordings: named and placed in metres as real caps and helmets are.

Shapes: C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import UNIT_OF_KIND, Channels, Kind

HEAD_M, HELMET_M = 0.095, 0.12
"""Radii of an adult head and of a MEG helmet around it."""
SIMULATED = {k.name: k for k in Kind if k is not Kind.BOLD}
"""Kinds that can be simulated, besides "MEG" (magnetometers and gradiometers)."""
TEN_TWENTY = "Fp1 Fp2 F7 F3 Fz F4 F8 T7 C3 Cz C4 T8 P7 P3 Pz P4 P8 O1 O2".split()


def ten_ten_positions() -> dict[str, NDArray[np.float64]]:
    """69 positions of the 10-10 system on a sphere of `HEAD_M`: x right, y front, z up.

    Every row of electrodes is the arc between the two ends on the ring 18 degrees above the
    equator and its middle electrode on the midline (Oostenveld and Praamstra 2001).
    """
    found: dict[str, NDArray[np.float64]] = {}
    ring, ends = np.deg2rad(72), {"AF": 36, "F": 54, "FT": 72, "T": 90, "TP": 108, "P": 126}
    ends["PO"] = 144

    def on_sphere(inclination: float, azimuth: float) -> NDArray[np.float64]:
        """Inclination from the vertex, azimuth from the front to the left; radians."""
        flat = np.sin(inclination)
        return np.array([-flat * np.sin(azimuth), flat * np.cos(azimuth), np.cos(inclination)])

    rows = {"AF": "AF", "F": "F", "FC": "FT", "C": "T", "CP": "TP", "P": "P", "PO": "PO"}
    for step, (row, end) in enumerate(rows.items()):
        middle = on_sphere(np.deg2rad(54 - 18 * step), 0.0)
        found[f"{row}z"] = middle
        for side, numbers in ((1, "1357"), (-1, "2468")):
            edge = on_sphere(ring, side * np.deg2rad(ends[end]))
            angle = np.arccos(np.clip(middle @ edge, -1, 1))
            for k, number in enumerate(numbers, 1):
                a, b = np.sin((1 - k / 4) * angle), np.sin(k / 4 * angle)
                name = f"{end if k == 4 else row}{number}"
                found[name] = (a * middle + b * edge) / np.sin(angle)
    for name, azimuth in (("Fp1", 18), ("Fpz", 0), ("Fp2", -18)):
        found[name] = on_sphere(ring, np.deg2rad(azimuth))
    for name, azimuth in (("O1", 162), ("Oz", 180), ("O2", -162)):
        found[name] = on_sphere(ring, np.deg2rad(azimuth))
    return {name: HEAD_M * xyz for name, xyz in found.items()}


def synthetic_channels(kind: str = "EEG", n_channels: int | None = None) -> Channels:
    """Sensors with metric positions.

    Parameters
    ----------
    kind : "EEG" (10-10 names, the 10-20 first), "MAG", "GRAD", "MEG" (every third a
        magnetometer, the others planar gradiometers, on a helmet), "SEEG" (shafts of 8
        contacts), "ECOG" (a grid), "EMG" or "ECG" (no positions)
    n_channels : default 19 EEG, 30 MEG, 16 intracranial, 2 others

    Raises
    ------
    DataError
        For an unknown kind, or more EEG channels than the 10-10 system names.
    """
    if kind != "MEG" and kind not in SIMULATED:
        raise DataError(f"no simulated '{kind}'; choose MEG or one of {', '.join(SIMULATED)}")
    n = (
        n_channels
        or {"EEG": 19, "MAG": 30, "GRAD": 30, "MEG": 30}.get(kind, 0)
        or (16 if kind in ("SEEG", "ECOG") else 2)
    )
    kinds = np.full(n, SIMULATED.get(kind, Kind.GRAD), np.int8)
    ori = np.zeros((n, 3))
    frame, names = "head", [f"{kind}{i:03d}" for i in range(n)]
    if kind == "EEG":
        known = ten_ten_positions()
        order = TEN_TWENTY + [name for name in known if name not in TEN_TWENTY]
        if n > len(order):
            raise DataError(
                f"{n} EEG channels, but the 10-10 system names {len(order)}; ask for fewer"
            )
        names = order[:n]
        pos = np.array([known[name] for name in names])
    elif kind in ("MAG", "GRAD", "MEG"):
        site = np.arange(n) // 3 if kind == "MEG" else np.arange(n)
        kinds[np.diff(site, prepend=-1) > 0] = Kind.MAG if kind == "MEG" else kinds[0]
        pos, ori = _helmet(site, kinds)
        frame = "device"
    elif kind == "SEEG":
        shaft, contact = np.arange(n) // 8, np.arange(n) % 8
        pos = np.stack([0.02 + 0.0035 * contact, 0.02 * shaft - 0.02, 0.01 * shaft], 1)
        names, frame = (
            [
                f"{chr(65 + s % 26)}{s // 26 or ''}{c + 1}"
                for s, c in zip(shaft, contact, strict=True)
            ],
            "mni",
        )
    elif kind == "ECOG":
        row, column = np.arange(n) // 8, np.arange(n) % 8
        pos = np.stack([np.full(n, 0.06), 0.01 * column - 0.04, 0.01 * row], 1)
        frame = "mni"
    else:
        pos, frame = np.full((n, 3), np.nan), "unknown"
    units = tuple(UNIT_OF_KIND[Kind(int(k))] for k in kinds)
    return Channels(
        tuple(names),
        kinds,
        pos.astype(np.float32),
        ori.astype(np.float32),
        units,
        frame,
        "simulated",
    )


def _helmet(site: NDArray[np.intp], kinds: NDArray[np.int8]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sites on the upper half of a sphere; magnetometers point outwards, gradiometers along it."""
    n = int(site.max()) + 1
    z = 1 - (np.arange(n) + 0.5) / n
    turn = np.arange(n) * np.pi * (3 - np.sqrt(5))
    out = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], 1)
    east = np.stack([-np.sin(turn), np.cos(turn), 0 * turn], 1)
    north = np.cross(out, east)
    ori = out[site].copy()
    grad = np.flatnonzero(kinds == Kind.GRAD)
    ori[grad[0::2]], ori[grad[1::2]] = east[site[grad[0::2]]], north[site[grad[1::2]]]
    return HELMET_M * out[site], ori
