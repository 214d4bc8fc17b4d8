"""Channel names as people write them, turned into the names that montages know.

One table of rules, applied in order; each change is reported, nothing is renamed in silence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from brainfm.errors import DataError

PREFIX = re.compile(
    r"^(?:EEG|SEEG|ECOG|IEEG|POL|MEG|EOG|EMG|ECG|EKG)(?:[\s_:]+|-(?=[A-Za-z]))(?=\S)", re.IGNORECASE
)
"""Words that name the kind of a channel (EDF+ labels "EEG Fp1"); the kind is kept elsewhere."""

SUFFIX = re.compile(r"[-_/](?:REF|LE|AR|AVG|AVE|CAR|GND|0|M1M2|A1A2|A1\+A2)\s*$", re.IGNORECASE)
"""How a reference is written behind a name: TUH "-REF" and "-LE", averages "-AVG"."""

OLD_NAME = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
"""10-20 names that the 10-10 system renamed (ACNS guideline 2; Klem et al. 1999)."""

KIND_BY_NAME = (
    (re.compile(r"^(?:EOG|E[OC]G[LRHV]|[HV]EOG|LOC|ROC)(?![A-Za-z])", re.IGNORECASE), "eog"),
    (re.compile(r"^(?:ECG|EKG)(?![A-Za-z]{3})", re.IGNORECASE), "ecg"),
    (re.compile(r"^(?:EMG|CHIN|TIB|LEG)(?![a-z]{4})", re.IGNORECASE), "emg"),
    (
        re.compile(r"^(?:STI|STIM|TRIG|TRIGGER|STATUS|MARKER|EVENT)\b|^STI\s?\d", re.IGNORECASE),
        "stim",
    ),
    (
        re.compile(
            r"^(?:RESP|AIRFLOW|FLOW|SNORE|SPO2|SAO2|OSAT|PULSE|PLETH|PR\b|HR\b|TEMP|GSR|EDA|PHOTIC"
            r"|IBI|BURSTS|SUPPR|ACC[XYZ]?\b|GYRO|BATTERY|COUNTER|DC\d+\b|RATE\b|ANNOTATIONS)",
            re.IGNORECASE,
        ),
        "misc",
    ),
)
"""What a channel typed "EEG" by its file really measures, told by its name (MNE type)."""


@dataclass
class NameReport:
    """Cleaned names and what was done.

    Attributes
    ----------
    names : list of str, cleaned, in the order given
    kinds : list of str or None; MNE channel type where the name tells another than EEG
    reference : str, how names say the recording was referenced ("-LE"), else "unknown"
    notes : list of str, one sentence a change
    """

    names: list[str]
    kinds: list[str | None]
    reference: str = "unknown"
    notes: list[str] = field(default_factory=list)


def kind_from_name(name: str) -> str | None:
    """MNE channel type that a name gives away ("EKG1" -> "ecg"), or None."""
    bare = re.sub(r"^(?:EEG|POL)[\s_:-]+", "", name.strip(), flags=re.IGNORECASE)
    for pattern, kind in KIND_BY_NAME:
        if pattern.search(bare):
            return kind
    return None


def clean_name(name: str) -> str:
    """One name through the table; montage spelling where the montage knows it.

    Examples
    --------
    >>> clean_name("EEG FP1-LE"), clean_name("Fc5."), clean_name("T3")
    ('Fp1', 'FC5', 'T7')
    """
    bare = name.strip().strip(".").strip("'\"").strip()
    if kind_from_name(name) is None:
        # "MEG 0113" and "EEG 053" would be left without a word.
        shorter = SUFFIX.sub("", PREFIX.sub("", bare, count=1)).strip()
        bare = bare if shorter.isdigit() else shorter
    bare = re.sub(r"\s+", " ", bare)
    known = _montage_spelling()
    upper = bare.upper()
    upper = OLD_NAME.get(upper, upper)
    return known.get(upper, bare)


def clean_names(
    names: Sequence[str], *, where: str = "recording", duplicates: str = "raise"
) -> NameReport:
    """Clean all names of a recording.

    Parameters
    ----------
    names : as the file spells them
    where : the file, for the sentence
    duplicates : "raise", or "first" to leave later columns of a name under their own spelling

    Raises
    ------
    DataError
        If a name is empty, or two columns have one name after cleaning.
    """
    cleaned = [clean_name(n) for n in names]
    report = NameReport(cleaned, [kind_from_name(n) for n in names])
    first: dict[str, int] = {}
    for i, name in enumerate(cleaned):
        if not name or not name.isprintable():
            raise DataError(
                f"{where}: the name of column {i + 1} is {names[i]!r}; give it a printable name "
                "or drop the column"
            )
        if name in first:
            j = first[name]
            if duplicates != "first":
                raise DataError(
                    f"{where}: channel '{name}' appears twice (columns {j + 1}, {names[j]!r}, and "
                    f"{i + 1}, {names[i]!r}); drop one of them, or pass --duplicates first"
                )
            cleaned[i] = f"{name}__{i + 1}"
            report.notes.append(
                f"column {i + 1} repeats the name '{name}' of column {j + 1} and is kept out"
            )
        else:
            first[name] = i
    changed = [(a, b) for a, b in zip(names, cleaned, strict=True) if a != b]
    if changed:
        shown = ", ".join(f"{a!r} to '{b}'" for a, b in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        report.notes.append(f"channel names cleaned: {shown}{more}")
    report.reference = _reference(names)
    return report


def _reference(names: Sequence[str]) -> str:
    ends = {m.group(0).strip("-_/ ").upper() for n in names if (m := SUFFIX.search(n.strip()))}
    if len(ends) != 1:
        return "unknown"
    end = ends.pop()
    words = {"LE": "linked ears", "AR": "average", "AVG": "average", "AVE": "average"}
    return {**words, "CAR": "average", "A1A2": "linked ears", "A1+A2": "linked ears"}.get(
        end, "unknown"
    )


@lru_cache(maxsize=1)
def _montage_spelling() -> dict[str, str]:
    from brainfm.signals.positions import standard_positions

    return {name.upper(): name for name in standard_positions("standard_1005")}
