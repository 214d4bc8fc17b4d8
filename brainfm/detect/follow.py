"""A file that is still being written, as a source: EDF and BDF by record, or plain float32.

Shapes: T samples, C channels.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.detect.sources import BLOCK_S, Piece, Source, read_samples
from brainfm.errors import DataError
from brainfm.signals.files.edf import ANNOTATIONS
from brainfm.signals.files.raw import read_raw
from brainfm.signals.recording import pick_channels

POLL_S = 0.2
"""Seconds between two looks at a file that has not grown."""
MOST_BYTES = 2**24
"""That are read at a time where a lot has been written already."""
STREAM_SUFFIX = ".f32"
EDF_SUFFIXES = (".edf", ".bdf")
STAMP = re.compile(rb"([+-]\d+(?:\.\d+)?)[\x14\x15]")
"""Seconds at which a record of EDF+ begins (`brainfm.signals.files.edf`)."""
UNIT_V = {"V": 1.0, "mV": 1e-3, "uV": 1e-6, "nV": 1e-9}


def follow_file(path: str | Path, patience_s: float = 30.0) -> Source:
    """A file that is still being written, from its start.

    EDF and BDF are written record by record; the end has come when the header announces as many
    records as there are, or when the file has not grown for a while. Where the time stamps of EDF+
    jump ahead, the time between is missing.

    `NAME.f32` holds little-endian float32, one value per channel and then the next sample, and
    `NAME.json` beside it says what they are: ``{"sfreq": 256, "channels": ["Fp1", ...], "unit":
    "uV", "type": "eeg"}``; NaN where nothing was recorded.

    Parameters
    ----------
    path : .edf, .bdf or .f32
    patience_s : seconds without a new sample after which the recording is over

    Raises
    ------
    DataError
        If the file or its description is missing or makes no sense.
    """
    path = Path(path)
    if path.suffix.lower() in EDF_SUFFIXES:
        return _follow_edf(path, patience_s)
    if path.suffix.lower() == STREAM_SUFFIX:
        return _follow_stream(path, patience_s)
    raise DataError(
        f"{path}: cannot be followed while it grows; write .edf, .bdf, or {STREAM_SUFFIX} with a "
        "description beside it, or detect it when it is finished"
    )


def _follow_edf(path: Path, patience_s: float) -> Source:
    """Every piece is the header and new records, read by the reader of whole files."""
    head, record_bytes = _edf_header(path, patience_s)

    def read(records: bytes) -> tuple[Any, list[str]]:
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder, "part" + path.suffix)
            count = f"{len(records) // record_bytes:<8d}".encode()
            part.write_bytes(head[:236] + count + head[244:] + records)
            try:
                return read_raw(part)
            except DataError as e:
                raise DataError(str(e).replace(str(part), str(path))) from e

    grown = _grown(path, len(head), record_bytes, patience_s, lambda done: _announced(path) == done)
    first = next(grown, None)
    if first is None:
        raise DataError(f"{path}: no data record came within {patience_s:g} s; is it recording?")
    raw, notes = read(first[:record_bytes])
    _, channels, more = pick_channels(raw, str(path))
    without_gaps = _clock(head, record_bytes)
    length = max(1, round(BLOCK_S * raw.info["sfreq"] / raw.n_times)) * record_bytes

    def pieces() -> Iterator[Piece]:
        for records in chain([first], grown):
            for a in range(0, len(records), length):
                for gap_s, some in without_gaps(records[a : a + length]):
                    part = pick_channels(read(some)[0], str(path))[0]
                    yield Piece(read_samples(part, 0, part.n_times, str(path)), gap_s)

    start = raw.info["meas_date"] and raw.info["meas_date"].replace(tzinfo=None)
    return Source(
        str(path), channels, float(raw.info["sfreq"]), pieces, start=start, notes=[*notes, *more]
    )


def _edf_header(path: Path, patience_s: float) -> tuple[bytes, int]:
    """The header, and the bytes of a record."""
    give_up = time.monotonic() + patience_s
    size = 256
    while True:
        head = path.read_bytes()[:size] if path.exists() else b""
        if len(head) == size > 256:
            break
        try:
            size = 256 * (1 + int(head[252:256])) if len(head) == 256 else size
        except ValueError as e:
            raise DataError(f"{path}: {head[252:256]!r} is no number of signals; damaged") from e
        if len(head) < size and time.monotonic() > give_up:
            raise DataError(f"{path}: no EDF header within {patience_s:g} s; is it recording?")
        if len(head) < size:
            time.sleep(POLL_S)
    n = size // 256 - 1
    try:
        # Counts of samples are the ninth field of each signal (`signals.files.edf.FIELDS`).
        counts = [int(head[256 + 216 * n + 8 * i :][:8]) for i in range(n)]
    except ValueError as e:
        raise DataError(f"{path}: a number of samples is not a number; damaged") from e
    width = 3 if head[0] == 0xFF else 2
    return head, width * sum(counts)


def _clock(
    head: bytes, record_bytes: int
) -> Callable[[bytes], Iterator[tuple[float | None, bytes]]]:
    """Cuts records where their time stamps (EDF+) jump: seconds missing before, and records."""
    n = len(head) // 256 - 1
    labels = [head[256 + 16 * i :][:16].decode("latin-1").strip() for i in range(n)]
    at = next((i for i, label in enumerate(labels) if label in ANNOTATIONS), None)
    if at is None or head[192:196] not in (b"EDF+", b"BDF+"):
        return lambda records: iter([(None, records)])
    counts = [int(head[256 + 216 * n + 8 * i :][:8]) for i in range(n)]
    first = record_bytes // sum(counts) * sum(counts[:at])
    record_s = float(head[244:252])
    due_s: float | None = None

    def cut(records: bytes) -> Iterator[tuple[float | None, bytes]]:
        nonlocal due_s
        begun, gap_s = 0, None
        for a in range(0, len(records), record_bytes):
            stamp = STAMP.match(records, a + first)
            if stamp is None:
                # No time stamp is damage, which the reader of whole files names.
                continue
            onset_s = float(stamp[1])
            if due_s is not None and abs(onset_s - due_s) > max(1e-3, 1e-3 * record_s):
                if a > begun:
                    yield gap_s, records[begun:a]
                # Time cannot go back in a recording: a clock set back is no time lost.
                begun, gap_s = a, max(0.0, onset_s - due_s)
            due_s = onset_s + record_s
        yield gap_s, records[begun:]

    return cut


def _announced(path: Path) -> int:
    """Records that the header announces; -1 while it is written."""
    with open(path, "rb") as f:
        text = f.read(244)[236:].strip()
    return int(text) if text.isdigit() else -1


def _follow_stream(path: Path, patience_s: float) -> Source:
    import mne

    sidecar = path.with_suffix(".json")
    try:
        about = json.loads(sidecar.read_text())
        names, sfreq = list(about["channels"]), float(about["sfreq"])
        scale = UNIT_V[about.get("unit", "V")]
        info = mne.create_info(names, sfreq, about.get("type", "eeg"))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(
            f"{sidecar}: does not describe {path.name} ({type(e).__name__}: {e}); write sfreq in "
            f"Hz, channels, unit ({', '.join(UNIT_V)}) and type"
        ) from e
    raw = mne.io.RawArray(np.zeros((len(names), 2)), info, verbose="ERROR")
    picked, channels, notes = pick_channels(raw, str(path))
    columns = [names.index(n) for n in picked.ch_names]
    record_bytes = 4 * len(names)

    def pieces() -> Iterator[Piece]:
        length = max(1, round(BLOCK_S * sfreq)) * record_bytes
        for samples in _grown(path, 0, record_bytes, patience_s, lambda done: False):
            for a in range(0, len(samples), length):
                x_TC = np.frombuffer(samples[a : a + length], "<f4").reshape(-1, len(names))
                yield Piece(x_TC[:, columns] * scale)

    line_freq = about.get("line_freq")
    return Source(str(path), channels, sfreq, pieces, line_freq=line_freq, notes=notes)


def _grown(
    path: Path, offset: int, unit: int, patience_s: float, over: Callable[[int], bool]
) -> Iterator[bytes]:
    """Whole units of bytes behind `offset`, as they appear; waits in between."""
    done, last = 0, time.monotonic()
    most = max(unit, MOST_BYTES // unit * unit)
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < offset + done * unit and done:
            raise DataError(f"{path}: became shorter while it was followed; start again")
        new = max(0, (size - offset) // unit - done)
        if new:
            with open(path, "rb") as f:
                f.seek(offset + done * unit)
                found = f.read(min(new * unit, most))
            found = found[: len(found) // unit * unit]
            done, last = done + len(found) // unit, time.monotonic()
            yield found
        elif over(done) or time.monotonic() - last > patience_s:
            return
        else:
            time.sleep(POLL_S)
