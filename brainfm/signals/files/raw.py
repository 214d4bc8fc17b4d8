"""One door to every continuous format: pick the reader by content, read with MNE, heed warnings."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainfm.errors import DataError
from brainfm.signals.files.brainvision import check_brainvision
from brainfm.signals.files.edf import VOLTS, EdfHeader, check_edf
from brainfm.signals.files.fif import check_fif

SIGNATURES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    ("EDF", lambda b: b[:8] == b"0       "),
    ("BDF", lambda b: b[:8] == b"\xffBIOSEMI"),
    ("FIF", lambda b: b[:8] == b"\x00\x00\x00\x64\x00\x00\x00\x1f"),
    (
        "BrainVision",
        lambda b: (
            b[:40].lower().lstrip(b"\xef\xbb\xbf").startswith((b"brain vision", b"brainvision"))
        ),
    ),
    ("MATLAB", lambda b: b[:10] == b"MATLAB 5.0"),
    ("HDF5", lambda b: b[:8] == b"\x89HDF\r\n\x1a\n"),
    ("zip", lambda b: b[:4] == b"PK\x03\x04"),
    ("gzip", lambda b: b[:2] == b"\x1f\x8b"),
    ("NumPy", lambda b: b[:6] == b"\x93NUMPY"),
    ("HTML", lambda b: b[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))),
)
"""What the first bytes of a file say. KIT and CTF have no signature."""

COUNTED = "Number of records from the header does not match the file size"
"""MNE's warning where it counts the records of an EDF by its size; fine where the header leaves
the number open, as `check_edf` found it."""

SERIOUS = (
    "does not match the file size",
    "truncat",
    "scaling factor is not defined",
    "physical range is not defined",
    "not enough data",
    "could not read",
    "corrupt",
    "invalid",
    "expected .* samples",
)
"""MNE warnings that stand for wrong samples; each refuses the file. Others become notes."""

HARMLESS = (
    "measurement date",
    "naming conventions",
    "should end with",
    "channel names are not unique",
    "highpass cutoff",
    "lowpass cutoff",
    "startdate",
    "birth",
)
"""MNE warnings that say nothing on the samples (or that the readers judge themselves)."""

MNE_VOLTS = {"uV": 1e-6, "µV": 1e-6, "μV": 1e-6, "mV": 1e-3}
"""Physical dimensions that MNE 1.13 scales itself, spelled exactly so."""


@dataclass(frozen=True)
class Family:
    """A format: its extensions, what its content must be, MNE's reader and our check."""

    name: str
    suffixes: tuple[str, ...]
    content: tuple[str, ...]
    reader: str


FAMILIES = (
    Family("EDF", (".edf",), ("EDF",), "read_raw_edf"),
    Family("BDF", (".bdf",), ("BDF",), "read_raw_bdf"),
    Family("FIF", (".fif", ".fif.gz"), ("FIF", "gzip"), "read_raw_fif"),
    Family("BrainVision", (".vhdr",), ("BrainVision",), "read_raw_brainvision"),
    Family("EEGLAB", (".set",), ("MATLAB", "HDF5"), "read_raw_eeglab"),
    Family("CTF", (".ds",), (), "read_raw_ctf"),
    Family("KIT", (".sqd", ".con"), (), "read_raw_kit"),
)

SUFFIXES = tuple(s for f in FAMILIES for s in f.suffixes)


def family_of(path: Path) -> Family | None:
    """The format that a file's name announces."""
    name = path.name.lower()
    for family in FAMILIES:
        if name.endswith(family.suffixes):
            return family
    return None


def read_raw(
    path: str | Path, *, unit: str | None = None, duplicates: str = "raise", load: bool = True
) -> tuple[Any, list[str]]:
    """Read a recording with MNE.

    Parameters
    ----------
    path : file, or folder for CTF
    unit : physical unit of EDF signals that state none ("uV", "mV", "V")
    duplicates : "raise", or "first" to keep the first of several signals of one name
    load : False leaves the samples on disk where the format allows it; damage among them is then
        found when they are read

    Returns
    -------
    raw : mne.io.BaseRaw
    notes : sentences on what was odd

    Raises
    ------
    DataError
        If the file is missing, empty, of another format than its name says, damaged, or MNE
        cannot read it without guessing.
    """
    import mne

    path = Path(path)
    family = family_of(path)
    if family is None:
        raise DataError(
            f"{path}: no reader for this extension; known: {', '.join(SUFFIXES)}, or a BIDS root"
        )
    _check_content(path, family)
    notes: list[str] = []
    options: dict[str, Any] = {}
    header = None
    if family.name in ("EDF", "BDF"):
        header = check_edf(path)
        notes += header.notes
        _check_labels(path, [header.label[i] for i in header.signals], duplicates)
        if unit:
            options["units"] = {header.label[i]: unit for i in header.signals if not header.unit[i]}
            if options["units"] and unit.lower() not in VOLTS:
                raise DataError(f"{path}: unit '{unit}' is none of uV, mV, V, nV; correct --unit")
    elif family.name == "BrainVision":
        check_brainvision(path)
    elif family.name == "FIF" and not path.name.endswith(".gz"):
        check_fif(path)
    if family.name == "CTF":
        # Without this MNE closes gaps between trials silently.
        options["system_clock"] = "truncate"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            raw = getattr(mne.io, family.reader)(path, preload=False, verbose="WARNING", **options)
            # MNE brings slower signals to the highest rate; block by block it would leave edges.
            if load or (header is not None and _mixed_rates(header)):
                raw.load_data(verbose="WARNING")
            # Damaged kinds and frames are only found when somebody asks.
            raw.get_channel_types()
            raw.info._check_consistency()
        except DataError:
            raise
        except MemoryError as e:
            raise DataError(
                f"{path}: asks for more memory than there is ({e}); the header is damaged, or the "
                "file must be cut into parts"
            ) from e
        except Exception as e:
            # Damaged files raise whatever the damage leads to, from struct.error to KeyError.
            raise DataError(
                f"{path}: MNE cannot read it as {family.name} ({_short(e)}); the file is damaged, "
                "fetch or export it again"
            ) from e
    messages = [str(w.message) for w in caught]
    if header is not None and header.counted:
        messages = [m for m in messages if COUNTED not in m]
    notes += _judge_warnings(path, messages, family.name)
    if family.name == "FIF":
        notes += odd_calibrations(raw)
    if header is not None:
        notes += _correct_units(raw, header)
        if duplicates == "first":
            _number_repeats(raw, [header.label[i] for i in header.signals])
    return raw, notes


def _check_content(path: Path, family: Family) -> None:
    if not path.exists():
        raise DataError(f"{path}: missing; check the path, or fetch the data set again")
    if path.is_dir():
        if family.name != "CTF":
            raise DataError(f"{path}: is a folder, not a {family.name} file; give the file")
        return
    try:
        with open(path, "rb") as f:
            head = f.read(512)
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e}); check its permissions") from e
    if not head:
        raise DataError(f"{path}: is empty; fetch or export it again")
    if not os.access(path, os.R_OK):
        raise DataError(f"{path}: cannot be read; check its permissions")
    found = next((name for name, test in SIGNATURES if test(head)), None)
    if family.content and found not in family.content:
        what = f"its content is {found}" if found else "its content is something else"
        raise DataError(
            f"{path}: the name says {family.name}, but {what}; give it its right extension, or "
            "fetch or export it again"
        )
    if not family.content and found is not None:
        raise DataError(
            f"{path}: the name says {family.name}, but its content is {found}; give it its right "
            "extension"
        )


def _check_labels(path: Path, labels: list[str], duplicates: str) -> None:
    if duplicates == "first":
        return
    for i, name in enumerate(labels):
        if name in labels[:i]:
            raise DataError(
                f"{path}: channel '{name}' appears twice (columns {labels.index(name) + 1} and "
                f"{i + 1}); drop one of them, or pass --duplicates first"
            )


def odd_calibrations(raw: Any) -> list[str]:
    """A note on electrodes whose calibration differs from all others (MEG coils may differ)."""
    notes = []
    types = raw.get_channel_types()
    for kind in sorted(set(types) & {"eeg", "ecog", "seeg"}):
        cal = {
            c["ch_name"]: f"{float(c['cal']) * float(c['range']):.5g}"
            for c, t in zip(raw.info["chs"], types, strict=True)
            if t == kind
        }
        usual, n = Counter(cal.values()).most_common(1)[0]
        odd = [name for name, value in cal.items() if value != usual]
        if odd and n >= 0.7 * len(cal):
            notes.append(f"calibration of {', '.join(odd[:4])} differs from that of other {kind}")
    return notes


def _judge_warnings(path: Path, messages: list[str], family: str) -> list[str]:
    notes: list[str] = []
    sized = family in ("EDF", "BDF", "FIF")
    for text in messages:
        low = " ".join(text.lower().split())
        if any(re.search(p, low) for p in HARMLESS):
            continue
        if any(re.search(p, low) for p in SERIOUS):
            raise DataError(
                f"{path}: MNE warns: {_short(text)}; the samples cannot be trusted, fetch or "
                "export the file again"
            )
        if "outside data range" in low and not sized:
            raise DataError(
                f"{path}: markers lie behind the last sample; the data file is truncated, copy it "
                "again"
            )
        note = f"MNE: {_short(text)}"
        if note not in notes:
            notes.append(note)
    return notes


def _mixed_rates(header: EdfHeader) -> bool:
    return len({round(header.sfreq[i], 3) for i in header.signals}) > 1


def _correct_units(raw: Any, header: EdfHeader) -> list[str]:
    """Units that MNE does not know: nanovolt and odd spellings; degrees are no EEG at all."""
    if len(raw.ch_names) != len(header.signals):
        return []
    notes, other = [], {}
    for k, i in enumerate(header.signals):
        unit = header.unit[i]
        if not unit:
            continue
        factor = VOLTS.get(unit.lower())
        if factor is None and raw.get_channel_types([k])[0] == "eeg":
            other[raw.ch_names[k]] = "misc"
        elif factor is not None and factor != MNE_VOLTS.get(unit, 1.0):
            # The calibration counts when samples are read; those that were are scaled here.
            ratio = factor / MNE_VOLTS.get(unit, 1.0)
            if raw.preload:
                raw._data[k] *= ratio
            else:
                raw._cals[k] *= ratio
            notes.append(f"'{raw.ch_names[k]}' is scaled from {unit!r}, which MNE takes for volts")
    if other:
        raw.set_channel_types(other, on_unit_change="ignore", verbose="ERROR")
    return notes


def _number_repeats(raw: Any, labels: list[str]) -> None:
    if len(raw.ch_names) != len(labels):
        return
    names = [n if n not in labels[:i] else f"{n}__{i + 1}" for i, n in enumerate(labels)]
    changed = {a: b for a, b in zip(raw.ch_names, names, strict=True) if a != b}
    if changed:
        raw.rename_channels(changed, verbose="ERROR")


def _short(text: Any) -> str:
    name = f"{type(text).__name__}: " if isinstance(text, BaseException) else ""
    line = " ".join(str(text).split())
    return name + (line if len(line) <= 160 else line[:157] + "...")
