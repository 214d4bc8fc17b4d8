"""Where the electrodes of simulated patients lie, what they are measured against, how they fail.

Caps carry the nominal places of the 10-20 system; depth electrodes are shafts of a real
implantation, if one is given.

Shapes: C channels, T samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.interictal import Rows, bursts
from brainfm.data.sensors import TEN_TWENTY, synthetic_channels
from brainfm.signals.positions import montage_positions
from brainfm.types import Channels, Kind

OLD_NAMES = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
"""Of the 10-20 system before 1991; both are in use."""


@dataclass(frozen=True)
class Implantation:
    """Where the depth electrodes of one person lie.

    Attributes
    ----------
    name : contacts, "SHAFT" and a number
    pos_m : (contacts, 3), MNI
    """

    name: tuple[str, ...]
    pos_m: NDArray[np.floating]


def draw_cap(rng: np.random.Generator) -> Channels:
    """The 10-20 system, sometimes with Fpz and Oz, by new names or old ones."""
    names = list(TEN_TWENTY)
    names += [extra for extra in ("Fpz", "Oz") if rng.uniform() < 0.3]
    if rng.uniform() < 0.5:
        names = [OLD_NAMES.get(name, name) for name in names]
    n = len(names)
    pos = montage_positions(names)
    return Channels(
        tuple(names),
        np.full(n, Kind.EEG, np.int8),
        pos,
        np.zeros((n, 3), np.float32),
        ("V",) * n,
        "head",
    )


def draw_shafts(
    rng: np.random.Generator, contacts: Sequence[Implantation] | None
) -> tuple[Channels, NDArray[np.floating]]:
    """Whole shafts of one implantation, 20 to 60 contacts, and the places of all its contacts."""
    if not contacts:
        made = synthetic_channels("SEEG", 8 * int(rng.integers(4, 9)))
        contacts = [Implantation(made.name, made.pos_m)]
    person = contacts[int(rng.integers(len(contacts)))]
    shafts: dict[str, list[int]] = {}
    for i, name in enumerate(person.name):
        shafts.setdefault(name.rstrip("0123456789"), []).append(i)
    wanted = min(int(rng.integers(20, 61)), len(person.name))
    chosen: list[int] = []
    for shaft in rng.permutation(sorted(shafts)):
        chosen += shafts[str(shaft)][: wanted - len(chosen)]
    n = len(chosen)
    pos = np.asarray(person.pos_m, np.float32)
    channels = Channels(
        tuple(person.name[i] for i in chosen),
        np.full(n, Kind.SEEG, np.int8),
        pos[chosen],
        np.zeros((n, 3), np.float32),
        ("V",) * n,
        "mni",
    )
    return channels, pos


def middle_of_head(pos_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """Centre of the sphere through the electrodes, least squares."""
    known = np.column_stack([2 * pos_m, np.ones(len(pos_m))])
    return np.asarray(np.linalg.lstsq(known, (pos_m**2).sum(1), rcond=None)[0][:3])


def referenced(
    rng: np.random.Generator, x_CT: Rows, channels: Channels
) -> tuple[Rows, Channels, str]:
    """What the amplifier subtracted: an electrode, the ears, or the mean of all."""
    if channels.kind[0] == Kind.SEEG:
        how = str(rng.choice(("a distant reference", "average reference")))
    else:
        how = str(rng.choice(("reference Cz", "average reference", "reference near the ears")))
    if how == "average reference":
        return x_CT - x_CT.mean(0), channels, how
    if how == "reference Cz":
        cz = channels.name.index("Cz")
        keep = np.array([i for i in range(len(channels)) if i != cz])
        return x_CT[keep] - x_CT[cz], channels.take(keep), how
    if how == "reference near the ears":
        ears = [i for i, name in enumerate(channels.name) if name in ("T7", "T8", "T3", "T4")]
        x_CT -= 0.6 * x_CT[ears].mean(0)
    return x_CT, channels, how


def break_one(rng: np.random.Generator, x_CT: Rows, channels: Channels, sfreq: float) -> str:
    """In some patients one electrode is off (flat), or loose (hum and crackle), in place."""
    fate = rng.uniform()
    c = int(rng.integers(len(channels)))
    n = x_CT.shape[1]
    if fate < 0.15:
        x_CT[c] = 0.0
        return f"{channels.name[c]} is flat"
    if fate < 0.35:
        crackle = rng.standard_normal(n, np.float32) * bursts(rng, n, sfreq, 2, 20)
        x_CT[c] += rng.uniform(1, 4) * crackle
        return f"{channels.name[c]} is loose"
    return "all electrodes hold"
