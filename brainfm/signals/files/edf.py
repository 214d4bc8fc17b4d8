"""EDF, EDF+ and BDF headers, checked against the file before MNE decodes a sample.

MNE warns where a file is shorter than its header says and reads on; a store must not. EDF has no
checksum: what can be checked is that rates, counts, sizes and time stamps fit each other.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from brainfm.errors import DataError

ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
VOLTS = {"uv": 1e-6, "µv": 1e-6, "μv": 1e-6, "mv": 1e-3, "v": 1.0, "nv": 1e-9}
"""Physical dimensions that MNE turns into volts, in lower case."""

FIELDS: tuple[tuple[int, str], ...] = (
    (16, "label"),
    (80, "transducer"),
    (8, "unit"),
    (8, "pmin"),
    (8, "pmax"),
    (8, "dmin"),
)
FIELDS += ((8, "dmax"), (80, "prefilter"), (8, "samples"), (32, "reserved"))
"""Bytes of each per-signal field, in file order (Kemp et al. 1992; EDF+ 2003)."""


@dataclass(frozen=True)
class EdfHeader:
    """What the header says, already found to fit the file.

    Attributes
    ----------
    label, unit : of the signals in file order, annotations included
    sfreq : Hz of each signal
    n_records, record_s : data records and their length in seconds
    counted : the header leaves the number of records open (-1), as it does while a file is being
        written or where writing was broken off: whole records of the file were counted
    notes : oddities worth keeping
    """

    label: tuple[str, ...]
    unit: tuple[str, ...]
    sfreq: tuple[float, ...]
    n_records: int
    record_s: float
    notes: tuple[str, ...]
    counted: bool = False

    @property
    def signals(self) -> list[int]:
        """Numbers of the signals that are no annotations."""
        return [i for i, n in enumerate(self.label) if n not in ANNOTATIONS]


def check_edf(path: Path) -> EdfHeader:
    """Read the header and compare it with the file.

    Raises
    ------
    DataError
        If a field is no number, the counts do not give the file's size, a rate is absurd, a
        range is empty, or the time stamps of EDF+ records contradict the record length.
    """
    size = path.stat().st_size
    with open(path, "rb") as f:
        fixed = f.read(256)
        if len(fixed) < 256:
            raise DataError(f"{path}: {size} bytes are no EDF header; fetch or export it again")
        width = 3 if fixed[0] == 0xFF else 2
        n_signals = _whole(path, fixed[252:256], "number of signals")
        header_bytes = _whole(path, fixed[184:192], "header size")
        if not 1 <= n_signals <= 4096 or header_bytes != 256 * (n_signals + 1):
            raise DataError(
                f"{path}: {n_signals} signals need a header of {256 * (n_signals + 1)} bytes, it "
                f"says {header_bytes}; the header is damaged, export the file again"
            )
        table = f.read(256 * n_signals)
    if len(table) < 256 * n_signals:
        raise DataError(f"{path}: ends inside its header; fetch or export it again")
    cols = _columns(table, n_signals)
    label = [_text(path, b, f"label {i + 1}") for i, b in enumerate(cols["label"])]
    unit = [b.decode("latin-1").strip() for b in cols["unit"]]
    samples = [_whole(path, b, f"samples of '{label[i]}'") for i, b in _each(cols["samples"])]
    record_s = _number(path, fixed[244:252], "record duration")
    n_records = _whole(path, fixed[236:244], "number of records")
    notes: list[str] = []

    if not 0 < record_s <= 86_400 and set(label) - set(ANNOTATIONS):
        raise DataError(
            f"{path}: a record lasts {record_s:g} s, so there is no sampling rate; correct the "
            "header"
        )
    if min(samples) < 1:
        i = samples.index(min(samples))
        raise DataError(
            f"{path}: '{label[i]}' has {samples[i]} samples a record, a rate of 0 Hz; correct "
            "the header or drop the signal"
        )
    record_bytes = width * sum(samples)
    data = size - header_bytes
    counted = n_records == -1 and data >= record_bytes
    if counted:
        n_records, rest = divmod(data, record_bytes)
        data -= rest
        notes.append(
            f"the header leaves the number of records open: {n_records} are in the file"
            + (f", and a part of another ({rest} bytes) that is not read" if rest else "")
        )
    if n_records < 1 or n_records * record_bytes != data:
        raise DataError(
            f"{path}: the header announces {n_records} records of {record_bytes} bytes, the file "
            f"has room for {data / record_bytes:.2f}; it is truncated or damaged, fetch or export "
            "it again"
        )
    _ranges(path, cols, label, unit, width, notes)
    reserved = fixed[192:236].decode("latin-1")
    _time_stamps(path, label, samples, n_records, record_s, header_bytes, width, reserved)
    rates = tuple(n / record_s for n in samples)
    main = {round(rates[i], 3) for i, n in enumerate(label) if n not in ANNOTATIONS}
    if len(main) > 1:
        notes.append(
            f"signals have different rates ({', '.join(f'{r:g}' for r in sorted(main)[:4])} Hz); "
            "MNE brings the slower ones to the highest"
        )
    return EdfHeader(tuple(label), tuple(unit), rates, n_records, record_s, tuple(notes), counted)


def _columns(table: bytes, n: int) -> dict[str, list[bytes]]:
    out, at = {}, 0
    for width, name in FIELDS:
        out[name] = [table[at + i * width : at + (i + 1) * width] for i in range(n)]
        at += n * width
    return out


def _each(values: list[bytes]) -> list[tuple[int, bytes]]:
    return list(enumerate(values))


def _number(path: Path, raw: bytes, what: str) -> float:
    text = raw.decode("latin-1").strip().strip("\0")
    # float() takes "nan", "1_0" and "1e9"; a header field is plain decimal.
    if not re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?|[+-]?\.\d+", text):
        raise DataError(f"{path}: {what} is {text!r}, not a number; the header is damaged")
    return float(text)


def _whole(path: Path, raw: bytes, what: str) -> int:
    value = _number(path, raw, what)
    if value != int(value):
        raise DataError(f"{path}: {what} is {value:g}, not a whole number; the header is damaged")
    return int(value)


def _text(path: Path, raw: bytes, what: str) -> str:
    if any(b < 32 or b == 127 for b in raw.rstrip(b"\0")):
        raise DataError(f"{path}: {what} holds control characters ({raw!r}); the header is damaged")
    return raw.decode("latin-1").strip().strip("\0")


def _ranges(
    path: Path,
    cols: dict[str, list[bytes]],
    label: list[str],
    unit: list[str],
    width: int,
    notes: list[str],
) -> None:
    """Physical and digital ranges; a gain unlike that of all other signals is worth a note."""
    gain: dict[int, tuple[float, float]] = {}
    for i, name in enumerate(label):
        if name in ANNOTATIONS:
            continue
        pmin, pmax = (_number(path, cols[k][i], f"{k} of '{name}'") for k in ("pmin", "pmax"))
        dmin, dmax = (_whole(path, cols[k][i], f"{k} of '{name}'") for k in ("dmin", "dmax"))
        limit = 1 << (8 * width - 1)
        if not -limit <= dmin < dmax <= limit - 1 or pmin == pmax:
            raise DataError(
                f"{path}: '{name}' maps {dmin}..{dmax} to {pmin:g}..{pmax:g} {unit[i]}, which is "
                "no range; correct the header or drop the signal"
            )
        step = (pmax - pmin) / (dmax - dmin)
        gain[i] = (step, pmin - step * dmin)
        if unit[i] and unit[i].lower() not in VOLTS and "deg" not in unit[i].lower():
            notes.append(f"'{name}' is in {unit[i]!r}, which is no voltage")
    if len(gain) < 3:
        return
    usual, n = Counter((f"{s:.6g}", unit[i]) for i, (s, _) in gain.items()).most_common(1)[0]
    odd = [label[i] for i, (s, _) in gain.items() if (f"{s:.6g}", unit[i]) != usual]
    if n >= 0.5 * len(gain) and odd:
        notes.append(f"gain of {', '.join(odd[:4])} differs from that of the other signals")
    offset, n = Counter(f"{o:.6g}" for _, o in gain.values()).most_common(1)[0]
    odd = [label[i] for i, (_, o) in gain.items() if f"{o:.6g}" != offset]
    if n >= 0.5 * len(gain) and odd:
        notes.append(f"offset of {', '.join(odd[:4])} differs from that of the other signals")


def _time_stamps(
    path: Path,
    label: list[str],
    samples: list[int],
    n_records: int,
    record_s: float,
    header_bytes: int,
    width: int,
    reserved: str,
) -> None:
    """EDF+ writes when each record begins; that must agree with the record's length."""
    which = [i for i, n in enumerate(label) if n in ANNOTATIONS]
    if not which or not reserved.startswith(("EDF+", "BDF+")):
        return
    first = which[0]
    before = int(width * sum(samples[:first]))
    length, record = int(width * samples[first]), int(width * sum(samples))
    onsets = []
    with open(path, "rb") as f:
        for k in range(n_records):
            f.seek(header_bytes + k * record + before)
            stamp = f.read(length).split(b"\x14", 1)[0]
            try:
                onsets.append(float(stamp.split(b"\x15")[0].decode("ascii")))
            except ValueError as e:
                raise DataError(
                    f"{path}: record {k + 1} of {n_records} has no time stamp ({stamp[:12]!r}); "
                    "the file is damaged, fetch or export it again"
                ) from e
    for k, onset in enumerate(onsets):
        if abs(onset - onsets[0] - k * record_s) > max(1e-3, 1e-3 * record_s):
            raise DataError(
                f"{path}: record {k + 1} begins at {onset:g} s where {onsets[0] + k * record_s:g} "
                "s is due; the recording has gaps or a damaged header, export it continuous"
            )
