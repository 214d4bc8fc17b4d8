"""A recording as something that gives its samples piece by piece, and a file as one of them.

Shapes: T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.files.raw import read_raw
from brainfm.signals.recording import events_of, pick_channels, stretches_of
from brainfm.types import Channels, Event

BLOCK_S = 60.0
"""Seconds of a file that are read at a time."""


class Piece(NamedTuple):
    """Samples (T, C) in SI units, and seconds without any before them (None: none missing)."""

    x_TC: NDArray[np.floating]
    gap_s: float | None = None


@dataclass
class Source:
    """A recording that can be read from its start, once.

    Attributes
    ----------
    where : file or stream, for sentences
    channels : of the columns of every piece
    sfreq : Hz
    pieces : gives the pieces in order; a live one waits for them
    line_freq : Hz, None where nobody says
    duration_s : None while nobody knows
    intervals_s : stretches outside "bad" annotations; None: everything
    events : annotations of the file
    start : when the recording began
    notes : sentences
    """

    where: str
    channels: Channels
    sfreq: float
    pieces: Callable[[], Iterator[Piece]]
    line_freq: float | None = None
    duration_s: float | None = None
    intervals_s: list[tuple[float, float]] | None = None
    events: list[Event] = field(default_factory=list)
    start: datetime | None = None
    notes: list[str] = field(default_factory=list)


def open_file(path: str | Path, duplicates: str = "raise") -> Source:
    """A finished file of any format that MNE reads; samples stay on disk until their turn.

    Parameters
    ----------
    path : of the file
    duplicates : "raise" or "first", what to do with names that two columns share

    Raises
    ------
    DataError
        If it is missing, damaged, not what its name says, or without a channel to read; damage
        among the samples is found when they are read.
    """
    raw, notes = read_raw(path, load=False)
    picked, channels, more = pick_channels(raw, str(path), duplicates=duplicates)
    sfreq, n = float(raw.info["sfreq"]), int(raw.n_times)
    length = max(1, round(BLOCK_S * sfreq))

    def pieces() -> Iterator[Piece]:
        for a in range(0, n, length):
            yield Piece(read_samples(picked, a, min(a + length, n), str(path)))

    return Source(
        where=str(path),
        channels=channels,
        sfreq=sfreq,
        pieces=pieces,
        line_freq=raw.info["line_freq"],
        duration_s=n / sfreq,
        intervals_s=[(a / sfreq, b / sfreq) for a, b in stretches_of(raw)],
        events=events_of(raw),
        start=raw.info["meas_date"] and raw.info["meas_date"].replace(tzinfo=None),
        notes=[*notes, *more],
    )


def read_samples(raw: Any, start: int, stop: int, where: str) -> NDArray[np.float64]:
    """Samples (T, C), or the sentence on what is damaged."""
    try:
        x_CT: NDArray[np.float64] = raw.get_data(start=start, stop=stop, verbose="ERROR")
    except Exception as e:
        # Damage raises whatever it leads to inside MNE's readers.
        at_s = start / float(raw.info["sfreq"])
        raise DataError(
            f"{where}: cannot be read from {at_s:g} s on ({type(e).__name__}: {e}); fetch or "
            "export it again"
        ) from e
    return x_CT.T
