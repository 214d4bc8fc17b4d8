"""Simulated heads: a cortex, shells around it, and sensors on, around and inside it.

Every head is fsaverage, stretched, turned and pulled about a little, and wears a cap, a helmet and
electrodes of its own. What its parcels do reaches the sensors through closed forms (`sphere.py`),
so one activity can be seen by all of them at once. No head is a person's.

Frames: everything is computed in the head frame (MNE's: origin between the ears, x right, y
front). Caps and helmets are given in it, contacts and parcels in MNI152; `Head.head_from_mni`
joins the two.

Shapes: C channels, S sources, P parcels. Metres.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from brainfm.data.coils import HELMETS, Coils, coil_gain, helmet
from brainfm.data.cortex import Cortex, fsaverage_cortex, moved, turned
from brainfm.data.patient_montages import middle_of_head
from brainfm.data.sensors import TEN_TWENTY
from brainfm.data.sphere import Shells, inner_potential, scalp_potential
from brainfm.errors import DataError
from brainfm.signals.positions import standard_positions
from brainfm.types import UNIT_OF_KIND, Channels, Kind
from brainfm.types.space import MNI152_OF_MNI305

KINDS = ("EEG", "MEG", "SEEG", "ECOG", "BOLD")
"""What a head can be seen by. "MEG" is magnetometers and gradiometers, as the helmet has them."""
CAPS = ("ten-twenty", "biosemi32", "biosemi64", "easycap-M1", "biosemi128")
"""The first has the 19 names of the 10-20 system, the others are montages of MNE."""
CENTRE_M, RADIUS_M = (0.0, 0.0135, 0.042), 0.095
"""Of the scalp, in the head frame. With MNE's shells all but 1.5 % of fsaverage's cortex then
lies within `DEEPEST` of the brain's radius; MNE's own default has the same radius."""
DEEPEST = 0.97
"""Sources farther out than this share of the brain's radius are pulled in to it."""
CONTACT_M = 0.0035
"""From one contact of a shaft to the next, centre to centre; usual (recalled)."""
GRID_M = 0.01
"""From one contact of a grid to the next; usual (recalled)."""
ABOVE_M = 0.002
"""How far a grid lies above the middle of the cortex."""


@dataclass(frozen=True)
class HeadConfig:
    """What heads have in common, and by how much they differ."""

    sources: int = 3
    """Refinements of the icosahedron: 3 leaves 1231 sources."""
    parcels: int = 1
    """1 leaves 82 parcels, 2 leaves 313."""
    variation: float = 1.0
    """Multiplies all that makes anatomies differ; 0: all heads are the template's."""
    size: float = 0.04
    """Deviation of a head's size; half as much again for each axis."""
    turn_deg: float = 4.0
    """Deviation of the brain's turn within the head."""
    shift_m: float = 0.003
    """Deviation of its place."""
    fold: float = 0.5
    """Deviation of what is added to each unit normal: no two cortices fold alike."""
    gain: float = 0.4
    """Deviation of the logarithm of each source's share in its parcel."""
    pattern_m: float = 0.006
    """How far a function sits from where it sits in others (`activity.py`)."""
    hrf: float = 0.05
    """Deviation of how fast the blood follows."""
    cap: str | None = None
    """One of `CAPS`; None draws."""
    cap_turn_deg: float = 3.0
    """Deviation of a cap's turn: nobody puts it on straight."""
    electrode_m: float = 0.002
    """Error of the electrodes' measured places."""
    helmet: str | None = None
    """"vectorview" or "ctf"; None draws."""
    seat_m: float = 0.005
    """Deviation of the head's place in the helmet."""
    shafts: tuple[int, int] = (5, 9)
    """Fewest and most depth electrodes; each has 8 to 12 contacts."""
    grid: tuple[int, int] = (6, 8)
    """Rows and columns of the grid on the cortex."""

    def __post_init__(self) -> None:
        for name, known in (("cap", CAPS), ("helmet", tuple(HELMETS))):
            if getattr(self, name) not in (None, *known):
                raise DataError(
                    f"no {name} '{getattr(self, name)}'; choose one of {', '.join(known)}"
                )


class Head:
    """One simulated subject; the same seed and configuration give the same head.

    Anatomy and each montage are drawn apart: two heads of one seed with different caps have the
    same brain.

    Parameters
    ----------
    seed : of the subject
    config : HeadConfig

    Attributes
    ----------
    subject : "sim" and the seed
    cortex : the template, in MNI152
    head_from_mni : (4, 4) transform from MNI152 to this head's frame, metres
    source_m, normal : (S, 3) places and directions in the head frame
    share_S : what a source adds to its parcel's dipole; shares of a parcel sum to 1
    shells : the spheres
    hrf_stretch : how much slower this head's blood is than Glover's subjects'
    """

    def __init__(self, seed: int, config: HeadConfig | None = None) -> None:
        self.seed, self.config = seed, config or HeadConfig()
        self.subject = f"sim{seed:03d}"
        self.cortex: Cortex = fsaverage_cortex(self.config.sources, self.config.parcels)
        rng = self.rng("anatomy")
        vary = self.config.variation
        size = 1 + vary * self.config.size * (rng.normal() + 0.5 * rng.normal(size=3))
        centre_m = np.array(CENTRE_M)
        own = np.eye(4)
        own[:3, :3] = rotation(rng, vary * self.config.turn_deg) @ np.diag(size)
        own[:3, 3] = centre_m + vary * self.config.shift_m * rng.normal(size=3)
        own[:3, 3] -= own[:3, :3] @ centre_m
        self.head_from_mni: NDArray[np.float64] = own @ template_head_from_mni()
        self.shells = Shells(centre_m, RADIUS_M * float(size.mean()))

        away = moved(self.cortex.pos_m, self.head_from_mni) - centre_m
        apart = np.linalg.norm(away, axis=1, keepdims=True)
        self.source_m = centre_m + away * np.minimum(1, DEEPEST * self.shells.brain_m / apart)
        normal = turned(self.cortex.normal, self.head_from_mni)
        normal += vary * self.config.fold * rng.normal(size=normal.shape)
        self.normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        share = np.exp(vary * self.config.gain * rng.normal(size=len(apart)))
        self.share_S = share / np.bincount(self.cortex.parcel, share)[self.cortex.parcel]
        slower = 1 + vary * self.config.hrf * self.rng("blood").normal()
        self.hrf_stretch = float(np.clip(slower, 0.85, 1.15))
        self._seen: dict[str, tuple[Channels, NDArray[np.float64]]] = {}

    def __repr__(self) -> str:
        return (
            f"Head({self.subject}: {len(self.source_m)} sources in "
            f"{len(self.cortex.parcel_name)} parcels, radius {1e3 * self.shells.radius_m:.0f} mm)"
        )

    def rng(self, what: str, *more: int) -> np.random.Generator:
        """Random numbers for one thing of this head, whatever else was drawn."""
        return np.random.default_rng([self.seed, zlib.crc32(what.encode()), *more])

    def channels(self, kind: str) -> Channels:
        """Sensors, contacts or parcels of a kind (`KINDS`)."""
        return self._see(kind)[0]

    def gain(self, kind: str) -> NDArray[np.float64]:
        """What each sensor sees of each parcel, (C, P): V, T or T/m for a dipole of 1 A m.

        EEG is against infinity. For "BOLD" it is the identity: a parcel sees itself.
        """
        return self._see(kind)[1]

    def _see(self, kind: str) -> tuple[Channels, NDArray[np.float64]]:
        if kind not in KINDS:
            raise DataError(f"no simulated '{kind}'; choose among {', '.join(KINDS)}")
        if kind not in self._seen:
            if kind == "BOLD":
                seen = self._parcels(), np.eye(len(self.cortex.parcel_name))
            elif kind == "MEG":
                coils = self.coils()
                field = coil_gain(coils, self.shells.centre_m, self.source_m, self._moment())
                seen = coils.channels(), self._by_parcel(field)
            elif kind == "EEG":
                channels, true_m = self._cap()
                volts = scalp_potential(self.shells, true_m, self.source_m, self._moment())
                seen = channels, self._by_parcel(volts)
            else:
                names, at_m = self._shafts() if kind == "SEEG" else self._grid()
                volts = inner_potential(at_m, self.source_m, self._moment())
                mni_m = moved(at_m, np.linalg.inv(self.head_from_mni))
                seen = _bare(names, Kind[kind], mni_m, "mni"), self._by_parcel(volts)
            self._seen[kind] = seen
        return self._seen[kind]

    def coils(self) -> Coils:
        """The helmet round this head, in the head frame."""
        rng = self.rng("helmet")
        kind = str(rng.choice(list(HELMETS)))
        worn = helmet(self.config.helmet or kind)
        seat = self.shells.centre_m + self.config.seat_m * rng.normal(size=3)
        placed = Coils(worn.pos_m + seat, worn.axes_C33, worn.coil, worn.name)
        return placed.outside(self.shells.centre_m, self.shells.radius_m)

    def _moment(self) -> NDArray[np.float64]:
        return np.asarray(self.normal * self.share_S[:, None])

    def _by_parcel(self, gain_CS: NDArray[np.float64]) -> NDArray[np.float64]:
        belongs_SP = self.cortex.parcel[:, None] == np.arange(len(self.cortex.parcel_name))
        return np.asarray(gain_CS @ belongs_SP.astype(np.float64))

    def _parcels(self) -> Channels:
        return _bare(self.cortex.parcel_name, Kind.BOLD, self.cortex.parcel_m, "mni")

    def _cap(self) -> tuple[Channels, NDArray[np.float64]]:
        """Channels as measured, and where the electrodes truly are."""
        rng = self.rng("cap")
        cap = self.config.cap or str(rng.choice(CAPS))
        known = standard_positions("standard_1005" if cap == CAPS[0] else cap)
        names = TEN_TWENTY if cap == CAPS[0] else list(known)
        away = np.array([known[n] for n in names]) - middle_of_head(np.array([*known.values()]))
        away = away @ rotation(rng, self.config.cap_turn_deg).T
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        true_m = self.shells.centre_m + self.shells.radius_m * away
        measured = true_m + self.config.electrode_m * rng.normal(size=true_m.shape)
        return _bare(names, Kind.EEG, measured, "head"), true_m

    def _shafts(self) -> tuple[list[str], NDArray[np.float64]]:
        """Straight shafts that end in the cortex and come in from the side, in the head frame."""
        rng = self.rng("shafts")
        names: list[str] = []
        at: list[NDArray[np.float64]] = []
        many = int(rng.integers(self.config.shafts[0], self.config.shafts[1] + 1))
        target = rng.choice(len(self.source_m), many, replace=False)
        for k, source in enumerate(target):
            tip = self.source_m[source]
            away = tip - self.shells.centre_m
            side = np.array([np.sign(away[0]), 0.0, 0.0])
            along = side + 0.3 * rng.normal(size=3) + 0.2 * away / np.linalg.norm(away)
            along /= np.linalg.norm(along)
            contacts = np.arange(int(rng.integers(8, 13)))
            # Backwards from a tip beyond the target, so that also shallow targets hold a shaft.
            deep = tip - along * CONTACT_M * int(rng.integers(2, 6))
            line = deep + np.outer(contacts * CONTACT_M, along)
            inside = np.linalg.norm(line - self.shells.centre_m, axis=1) < self.shells.brain_m
            at.append(line[inside])
            names += [f"{chr(65 + k)}{c + 1}" for c in contacts[inside]]
        return names, np.concatenate(at)

    def _grid(self) -> tuple[list[str], NDArray[np.float64]]:
        """A grid that follows the cortex under the side of the head, in the head frame."""
        rng = self.rng("grid")
        away = self.source_m - self.shells.centre_m
        apart = np.linalg.norm(away, axis=1)
        unit = away / apart[:, None]
        lateral = np.flatnonzero((np.abs(unit[:, 0]) > 0.6) & (unit[:, 2] > -0.2))
        up = unit[rng.choice(lateral)]
        front = np.cross(up, rng.normal(size=3))
        front /= np.linalg.norm(front)
        rows, columns = self.config.grid
        i, j = (a.ravel() for a in np.mgrid[:rows, :columns])
        flat = np.outer(i - (rows - 1) / 2, front) + np.outer(
            j - (columns - 1) / 2, np.cross(up, front)
        )
        toward = up * self.shells.brain_m + GRID_M * flat
        toward /= np.linalg.norm(toward, axis=1, keepdims=True)
        # As high as the highest cortex within about a centimetre: grids do not dip into sulci.
        near = toward @ unit.T > np.cos(GRID_M / self.shells.brain_m)
        height = np.where(near, apart, 0.8 * self.shells.brain_m).max(1) + ABOVE_M
        height = np.minimum(height, self.shells.brain_m)
        return [f"G{k + 1}" for k in range(len(i))], self.shells.centre_m + toward * height[:, None]


@lru_cache(maxsize=1)
def template_head_from_mni() -> NDArray[np.float64]:
    """(4, 4) from MNI152 to the head frame of fsaverage, by the transform that MNE ships."""
    import mne

    path = f"{mne.__path__[0]}/data/fsaverage/fsaverage-trans.fif"
    mri_from_head = mne.read_trans(path, verbose="ERROR")["trans"]
    return np.asarray(np.linalg.inv(mri_from_head) @ np.linalg.inv(MNI152_OF_MNI305))


def rotation(rng: np.random.Generator, degrees: float) -> NDArray[np.float64]:
    """A small turn about a random axis, (3, 3); `degrees` is the deviation about each."""
    v = np.deg2rad(degrees) * rng.normal(size=3)
    angle = np.linalg.norm(v)
    x, y, z = v / max(float(angle), 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # Rodrigues.
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _bare(names: list[str] | tuple[str, ...], kind: Kind, pos_m: NDArray, frame: str) -> Channels:
    """Channels of one kind without directions."""
    n = len(names)
    return Channels(
        tuple(names),
        np.full(n, kind, np.int8),
        np.asarray(pos_m, np.float32),
        np.zeros((n, 3), np.float32),
        (UNIT_OF_KIND[kind],) * n,
        frame,
        "average" if kind is Kind.EEG else "none",
    )
