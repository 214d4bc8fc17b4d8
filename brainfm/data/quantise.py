"""Samples as they are stored: 16 bits where nobody could see the difference, else float32.

Shapes: T samples, C channels.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Channels

LARGEST_STEP = 0.05
"""Largest 16-bit step, as a fraction of a channel's robust spread, before float32 is kept. At
0.05 the rounding noise (step / sqrt 12) lies 37 dB below the signal; a channel comes so far
only if single artefacts are 1600 times larger than its everyday values."""
CHUNK = 1 << 22
"""Samples converted at once: 32 MB of float64."""


def quantise(
    signal_TC: NDArray[Any], channels: Channels, dtype: str | None = None
) -> tuple[NDArray[Any], NDArray[np.float32], list[str]]:
    """Stored samples, scale per channel, and a note where 16 bits were not enough.

    Parameters
    ----------
    signal_TC : SI units
    channels : for the name in the note
    dtype : "int16", "float16", "float32", or None: int16 unless its step would exceed
        `LARGEST_STEP` of some channel's robust spread, or samples are not finite

    Returns
    -------
    stored_TC, scale_C float32, notes; SI value = stored * scale

    Raises
    ------
    DataError
        For samples that 16-bit integers were asked to hold and cannot.
    """
    peak_C, finite = _peaks(signal_TC)
    if peak_C.max() > 1e30:
        worst = channels.name[int(peak_C.argmax())]
        raise DataError(
            f"channel '{worst}' reaches {peak_C.max():.1g} {channels.unit[0]}; "
            "no sensor does: correct its unit or drop it"
        )
    scale_C = np.where(peak_C > 0, peak_C / 32767, 1.0).astype(np.float32)
    notes: list[str] = []
    if dtype is None:
        dtype, note = _choose(signal_TC, scale_C, channels, finite)
        notes += [note] if note else []
    if dtype == "float32":
        # SI values as they are: 1e-15 T is far above the smallest normal number.
        return np.ascontiguousarray(signal_TC, np.float32), np.ones_like(scale_C), notes
    if dtype == "float16":
        return np.ascontiguousarray(signal_TC / scale_C, np.float16), scale_C, notes
    if not finite:
        raise DataError("samples are not finite and cannot be 16-bit integers; use float32")
    stored = np.empty(signal_TC.shape, np.int16)
    for rows in _chunks(signal_TC):
        stored[rows] = np.clip(np.rint(signal_TC[rows] / scale_C), -32767, 32767)
    return stored, scale_C, notes


def _chunks(signal_TC: NDArray[Any]) -> Iterator[slice]:
    step = max(1, CHUNK // signal_TC.shape[1])
    return (slice(i, i + step) for i in range(0, len(signal_TC), step))


def _peaks(signal_TC: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
    """Largest finite magnitude of each channel, and whether all samples are finite."""
    peak_C, finite = np.zeros(signal_TC.shape[1]), True
    for rows in _chunks(signal_TC):
        size = np.abs(signal_TC[rows])
        known = np.isfinite(size)
        if not known.all():
            finite, size = False, np.where(known, size, 0)
        np.maximum(peak_C, size.max(0), out=peak_C)
    return peak_C, finite


def _choose(
    signal_TC: NDArray[Any], scale_C: NDArray[Any], channels: Channels, finite: bool
) -> tuple[str, str]:
    """Dtype that loses nothing anybody could see, and the reason if it is not int16."""
    if not finite:
        return "float32", "stored as float32: some samples are not finite"
    some = signal_TC[:: max(1, len(signal_TC) // 65536)]
    low, high = np.quantile(some, (0.25, 0.75), axis=0)
    spread_C = (high - low) / 1.349  # IQR of a normal distribution in standard deviations
    step_C = np.where(spread_C > 0, scale_C / np.where(spread_C > 0, spread_C, 1), 0)
    worst = int(step_C.argmax())
    if step_C[worst] > LARGEST_STEP:
        return "float32", (
            f"stored as float32: a 16-bit step of channel '{channels.name[worst]}' would be "
            f"{step_C[worst]:.2g} of its spread (at most {LARGEST_STEP:g})"
        )
    return "int16", ""


def fingerprint(stored_TC: NDArray[Any], n: int = 8) -> str:
    """The n smallest channel hashes: two recordings that share most channels share some.

    16-bit samples do not depend on the unit, so a copy in microvolts has the same hashes.
    Constant channels say nothing and are left out.
    """
    marks = [
        hashlib.sha256(column.tobytes()).hexdigest()[:16]
        for column in stored_TC.T
        if (column != column[0]).any()
    ]
    return " ".join(sorted(marks)[:n])
