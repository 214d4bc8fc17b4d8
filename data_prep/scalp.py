"""Channels of scalp sets that name their electrodes but measured no positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from brainfm.signals.positions import montage_positions
from brainfm.types import Channels, Kind

MICROVOLT = 1e-6


def scalp_channels(
    names: Sequence[str], *, reference: str = "unknown", montage: str = "standard_1005"
) -> Channels:
    """EEG channels at their nominal places.

    Parameters
    ----------
    names : as the montage spells them
    reference : where the data set says it
    """
    n = len(names)
    return Channels(
        tuple(names),
        np.full(n, Kind.EEG),
        montage_positions(names, montage),
        np.zeros((n, 3)),
        ("V",) * n,
        "head",
        reference,
    )
