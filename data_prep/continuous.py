"""Continuous files of any readable format, as one recording each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainfm.signals.files.raw import read_raw
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Recording


def load_continuous(
    path: str | Path,
    recipe: Recipe,
    *,
    notes: list[str] | None = None,
    labels: Mapping[str, str] | None = None,
    unit: str | None = None,
    duplicates: str = "raise",
    **identity: Any,
) -> Recording:
    """Read, check, filter and resample one file.

    Parameters
    ----------
    path : a file that `read_raw` knows
    recipe : rate and filters
    notes : sentences of the data set that go before those of the file
    labels : names for annotations, such as T1 of eegmmidb
    unit, duplicates : see `read_raw`
    identity : dataset, subject, line_freq, ...; see `recording_from_raw`
    """
    raw, read_notes = read_raw(path, unit=unit, duplicates=duplicates)
    recording = recording_from_raw(
        raw, recipe=recipe, source=str(path), duplicates=duplicates, **identity
    )
    recording.notes = [*recording.notes[:1], *(notes or []), *read_notes, *recording.notes[1:]]
    if labels:
        recording.events = [
            e._replace(label=labels.get(e.label, e.label)) for e in recording.events
        ]
    return recording
