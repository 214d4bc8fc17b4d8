"""Bipolar derivations ("FP1-F7"): where they are, and what they are called.

A derivation measures between two electrodes; its place is the point half way. Against an ear
("C3-A2"), or with one and the same electrode on the right of all names, the second is a reference,
and the place is the first electrode's. C channels, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from brainfm.signals.names import clean_name
from brainfm.signals.positions import channels_from_info, standard_positions
from brainfm.types import Channels, Kind

EARS = ("A1", "A2", "M1", "M2")
"""Ear lobes and mastoids: where references sit, as little of the brain as can be had."""


def electrodes_of(name: str, montage: str = "standard_1005") -> tuple[str, str] | None:
    """The two electrodes of a derivation as the montage spells them, or None for any other name.

    Examples
    --------
    >>> electrodes_of("FP1-F7"), electrodes_of("T3-T5"), electrodes_of("Fp1-REF")
    (('Fp1', 'F7'), ('T7', 'P7'), None)
    """
    parts = name.split("-")
    if len(parts) != 2:
        return None
    first, second = (clean_name(p) for p in parts)
    known = standard_positions(montage)
    return (first, second) if first in known and second in known and first != second else None


def place_derivations(
    channels: Channels, montage: str = "standard_1005"
) -> tuple[Channels, list[str]]:
    """Give scalp derivations that have no position the point between their electrodes.

    Electrodes named with their reference are put where they are themselves.

    Parameters
    ----------
    channels : as a reader made them
    montage : of MNE, says where electrodes are

    Returns
    -------
    channels : `reference` is "bipolar" if every scalp channel is a derivation, or the electrode
        that all scalp channels are measured against
    notes : a sentence for each way of placing
    """
    known = standard_positions(montage)
    pairs = {
        c: pair
        for c, name in enumerate(channels.name)
        if channels.kind[c] == Kind.EEG
        and not np.isfinite(channels.pos_m[c]).all()
        and (pair := electrodes_of(name, montage)) is not None
    }
    if not pairs:
        return channels, []
    names, pos = list(channels.name), channels.pos_m.copy()
    seconds = {second for _, second in pairs.values()}
    one = len(pairs) >= 3 and len(seconds) == 1
    referred = {c for c, (_, second) in pairs.items() if one or second in EARS}
    for c, (first, second) in pairs.items():
        here, there = np.array(known[first]), np.array(known[second])
        pos[c] = here if c in referred else (here + there) / 2
        spelled = f"{first}-{second}"
        names[c] = spelled if spelled not in names else names[c]
    every = len(pairs) == int((channels.kind == Kind.EEG).sum())
    reference = channels.reference
    if every and not referred:
        reference = "bipolar"
    elif every and len(seconds) == 1 and reference == "unknown":
        reference = seconds.pop()
    placed = replace(
        channels,
        name=tuple(names),
        pos_m=pos.astype(np.float32),
        frame="head" if channels.frame == "unknown" else channels.frame,
        reference=reference,
    )
    notes = []
    if n := len(pairs) - len(referred):
        notes.append(
            f"{n} channels are bipolar derivations; their positions are the midpoints of two "
            f"electrodes ({montage}), nominal"
        )
    if referred:
        notes.append(
            f"{len(referred)} channels name their reference; their positions are those of the "
            f"first electrode ({montage}), nominal"
        )
    return placed, notes


def placed_channels(
    info: Any,
    names: Sequence[str],
    *,
    montage: str | None = "standard_1005",
    reference: str = "unknown",
) -> tuple[Channels, list[str]]:
    """`channels_from_info`, with derivations between their electrodes where it knows no place.

    The one road of preparation and of detection: a model meets a montage as it was trained on it.
    """
    channels, notes = channels_from_info(info, names, montage=montage, reference=reference)
    if montage is None:
        return channels, notes
    channels, placed = place_derivations(channels, montage)
    if placed and np.isfinite(channels.pos_m).all():
        notes = [n for n in notes if not n.startswith("no position for")]
    return channels, [*notes, *placed]
