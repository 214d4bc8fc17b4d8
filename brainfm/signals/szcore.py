"""Seizure annotations as SzCORE writes them: HED-SCORE tables of events beside a recording.

A table has one row an event and says how long the recording was. A recording without seizures
has one row "bckg" over all of it; a recording without any row is not annotated. The columns and
their spelling are those of epilepsy2bids 0.0.7 (`epilepsy2bids.annotations`); SzCORE: Dan et al.,
arXiv 2402.13005, Epilepsia 66(S3):14-24 2025.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from brainfm.errors import DataError
from brainfm.types import Event

SEIZURE = "sz"
BACKGROUND = "bckg"

COLUMNS = (
    *("onset", "duration", "eventType", "confidence"),
    *("channels", "dateTime", "recordingDuration"),
)
NEEDED = ("onset", "duration", "eventType")
UNKNOWN = "n/a"

SLACK_S = 2.0
"""How far the table's recordingDuration may be from the recording's: writers of EDF fill up the
last data record, usually of one second, and tables keep hundredths."""


def is_seizure(label: str) -> bool:
    """Whether a label is a SzCORE seizure: "sz", or a kind of it such as "sz_foc_ia"."""
    return label == SEIZURE or label.startswith(SEIZURE + "_")


def is_annotated(events: Iterable[Event]) -> bool:
    """Whether somebody looked: a seizure, or the statement that there is none."""
    return any(is_seizure(e.label) or e.label == BACKGROUND for e in events)


def seizures_of(events: Iterable[Event], duration_s: float) -> tuple[list[Event], list[str]]:
    """The seizures alone: in order, inside the recording, none on top of another.

    Parameters
    ----------
    events : of any label, in any order
    duration_s : length of the recording

    Returns
    -------
    seizures : merged where they overlap (not where they only touch); kinds that differ become "sz"
    notes : one sentence for each seizure that was cut, left out or merged

    Raises
    ------
    DataError
        If an onset or a duration is no number, or a duration is not above zero.
    """
    notes: list[str] = []
    kept: list[Event] = []
    for e in sorted((e for e in events if is_seizure(e.label)), key=_onset_first):
        end = e.onset_s + e.duration_s
        if not math.isfinite(end) or e.duration_s <= 0:
            raise DataError(
                f"a seizure '{e.label}' begins at {e.onset_s:g} s and lasts {e.duration_s:g} s; "
                "correct the annotation, or leave the recording out"
            )
        if end <= 0 or e.onset_s >= duration_s:
            notes.append(f"{_span(e)} lies outside the recording of {duration_s:g} s: left out")
            continue
        inside = Event(max(0.0, e.onset_s), 0.0, e.label)
        inside = inside._replace(duration_s=min(end, duration_s) - inside.onset_s)
        if e.onset_s < 0 or end > duration_s:
            notes.append(f"{_span(e)} is cut at the recording's ends (0 to {duration_s:g} s)")
        last = kept[-1] if kept else None
        if last is not None and inside.onset_s < last.onset_s + last.duration_s - 1e-9:
            stop = max(last.onset_s + last.duration_s, inside.onset_s + inside.duration_s)
            label = last.label if last.label == inside.label else SEIZURE
            kept[-1] = Event(last.onset_s, stop - last.onset_s, label)
            notes.append(f"{_span(e)} overlaps the one before and is merged with it")
        else:
            kept.append(inside)
    return kept, notes


def read_tsv(
    path: str | Path, duration_s: float | None = None
) -> tuple[list[Event], float, list[str]]:
    """Events of a table.

    Parameters
    ----------
    path : tab-separated; only onset, duration and eventType must be there
    duration_s : length of the recording itself, where the caller knows it

    Returns
    -------
    events : seizures as `seizures_of` gives them; else one `Event(0, duration, "bckg")`; empty
        if the table has no such row, then nobody looked
    duration_s : of the recording
    notes : sentences on what was corrected or ignored

    Raises
    ------
    DataError
        If the table is missing, empty, has other columns, holds a seizure without numbers, or
        was made for a recording of another length.
    """
    path = Path(path)
    rows = _rows(path)
    lengths = [_length(path, i, row["recordingDuration"]) for i, row in rows]
    said = sorted({s for s in lengths if s is not None})
    if len(said) > 1:
        raise DataError(
            f"{path}: recordingDuration is {' and '.join(f'{s:g}' for s in said)} in one table; "
            "one table describes one recording"
        )
    stated = said[0] if said else None
    length_s = duration_s if duration_s is not None else stated
    if length_s is None:
        raise DataError(f"{path}: nothing says how long the recording is; fill recordingDuration")
    if stated is not None and abs(stated - length_s) > SLACK_S:
        raise DataError(
            f"{path}: made for a recording of {stated:g} s, but this one lasts {length_s:g} s; "
            "take the table that belongs to it"
        )
    events: list[Event] = []
    notes: list[str] = []
    ignored: list[str] = []
    for i, row in rows:
        label = row["eventType"]
        if is_seizure(label):
            onset, lasts = (_number(path, i, k, row[k]) for k in ("onset", "duration"))
            events.append(Event(onset, lasts, label))
        elif label != BACKGROUND:
            ignored.append(f"'{label}' (line {i})")
    if ignored:
        notes.append(f"events that are neither seizure nor background are ignored: {_few(ignored)}")
    try:
        seizures, more = seizures_of(events, length_s)
    except DataError as e:
        raise DataError(f"{path}: {e}") from e
    if seizures:
        return seizures, length_s, notes + more
    if events or any(row["eventType"] == BACKGROUND for _, row in rows):
        return [Event(0.0, length_s, BACKGROUND)], length_s, notes + more
    return [], length_s, [*notes, "the table has no row for a seizure or background: not annotated"]


def write_tsv(
    path: str | Path,
    events: Sequence[Event],
    duration_s: float,
    *,
    start: datetime | None = None,
    confidence: Sequence[float | None] | None = None,
) -> None:
    """Write a table; the file appears whole or not at all.

    Parameters
    ----------
    path : `..._events.tsv`
    events : seizures; without one, the table gets one row "bckg"
    duration_s : length of the recording
    start : when the recording began
    confidence : 0 to 1 for each event, None where there is none

    Raises
    ------
    DataError
        If an event is none of SzCORE's, lies outside the recording, or a number is no number.
    """
    path = Path(path)
    if not math.isfinite(duration_s) or duration_s <= 0:
        raise DataError(f"{path}: a recording cannot last {duration_s:g} s")
    sure = list(confidence) if confidence is not None else [None] * len(events)
    if len(sure) != len(events):
        raise DataError(f"{path}: {len(sure)} confidences for {len(events)} events; give one each")
    for e, c in zip(events, sure, strict=True):
        if not is_seizure(e.label) and e.label != BACKGROUND:
            raise DataError(
                f"{path}: '{e.label}' is no SzCORE event (sz, sz_..., bckg); leave it out"
            )
        inside = e.onset_s >= 0 and 0 < e.duration_s <= duration_s - e.onset_s + 1e-6
        if not inside or not (c is None or 0 <= c <= 1):
            raise DataError(
                f"{path}: {_span(e)} with confidence {c} does not fit a recording of "
                f"{duration_s:g} s; cut it with seizures_of"
            )
    pairs = [(e, c) for e, c in zip(events, sure, strict=True) if is_seizure(e.label)]
    pairs = sorted(pairs, key=lambda p: p[0].onset_s) or [
        (Event(0.0, duration_s, BACKGROUND), None)
    ]
    when = start.strftime("%Y-%m-%d %H:%M:%S") if start else UNKNOWN
    lines = ["\t".join(COLUMNS)]
    for e, c in pairs:
        how_sure = UNKNOWN if c is None else f"{c:.2f}"
        # The table keeps hundredths; what is shorter must not read as no duration at all.
        lasts = max(e.duration_s, 0.01)
        cells = [f"{e.onset_s:.2f}", f"{lasts:.2f}", e.label, how_sure, UNKNOWN, when]
        lines.append("\t".join([*cells, f"{duration_s:.2f}"]))
    _replace(path, "\n".join(lines) + "\n")


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Line number and cells of each row; cells that are not there read "n/a"."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as e:
        raise DataError(f"{path}: missing; a seizure-free recording has one row 'bckg'") from e
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: is no readable table ({e}); write it as UTF-8 text") from e
    lines = text.splitlines()
    if not text.strip():
        raise DataError(f"{path}: is empty; a seizure-free recording has one row 'bckg'")
    reader = csv.reader(lines, delimiter="\t")
    names = [n.strip() for n in next(reader)]
    missing = [n for n in NEEDED if n not in names]
    if missing:
        raise DataError(
            f"{path}: has no column {', '.join(missing)} (first line: {lines[0][:80]!r}); the "
            "columns are separated by tabs and named as in SzCORE"
        )
    rows = []
    for i, cells in enumerate(reader, 2):
        if len(cells) > len(names):
            raise DataError(f"{path}: line {i} has {len(cells)} cells for {len(names)} columns")
        if any(c.strip() for c in cells):
            filled = [c.strip() or UNKNOWN for c in cells] + [UNKNOWN] * (len(names) - len(cells))
            rows.append(
                (i, dict.fromkeys(COLUMNS, UNKNOWN) | dict(zip(names, filled, strict=True)))
            )
    return rows


def _number(path: Path, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}: line {line}: {name} of a seizure is {text!r}, not a number of seconds; "
            "correct it, or leave the recording out"
        )
    return value


def _length(path: Path, line: int, text: str) -> float | None:
    if text == UNKNOWN:
        return None
    value = _number(path, line, "recordingDuration", text)
    if value <= 0:
        raise DataError(f"{path}: line {line}: recordingDuration is {text}; correct it")
    return value


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "w", encoding="utf-8", newline="\n") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, path)
    except OSError as e:
        raise DataError(
            f"{path}: could not be written ({e}); free space on that disk, or check its permissions"
        ) from e
    finally:
        temporary.unlink(missing_ok=True)


def _onset_first(e: Event) -> tuple[float, float]:
    return (e.onset_s if math.isfinite(e.onset_s) else -math.inf, e.duration_s)


def _span(e: Event) -> str:
    return f"'{e.label}' from {e.onset_s:g} to {e.onset_s + e.duration_s:g} s"


def _few(items: list[str]) -> str:
    return ", ".join(items[:4]) + (f" and {len(items) - 4} more" if len(items) > 4 else "")
