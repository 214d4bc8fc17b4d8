"""Scalp sets for seizures in the layout of SzCORE: BIDS, EDF at 256 Hz, one table of events each.

epilepsy2bids converts the originals (`data_prep.szcore_convert`): 19 electrodes of the 10-20 system
against their average, or 18 bipolar derivations, at 256 Hz. Everything else of the original is
lost: other electrodes, the reference, EKG, what lies above 128 Hz.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.files.edf import check_edf
from brainfm.signals.preprocess import Recipe
from brainfm.signals.szcore import is_seizure, read_tsv, seizures_of
from brainfm.types import Recording
from data_prep.continuous import load_continuous
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.bids import bids_identity
from data_prep.szcore_convert import LEDGER, convert_set, read_ledger

OFFICIAL = {"train": "train", "dev": "val", "eval": "test"}
"""What TUH calls its parts, and what brainfm does."""


@dataclass(frozen=True)
class Source:
    """How an original download looks, and what is known about its people.

    Attributes
    ----------
    converter : module of `epilepsy2bids.bids` that converts it; "" where the set is BIDS itself
    files : pattern of its recordings below `<data root>/<name>/original`
    needs : other files that must lie there
    same_person : BIDS subjects that are other subjects once more
    official : whether `participants.tsv` says train, dev or eval
    """

    converter: str
    files: str
    needs: tuple[str, ...] = ()
    same_person: Mapping[str, str] = field(default_factory=dict)
    official: bool = False


class SzcoreBids(DataSet):
    """One recording a file; `<data root>/<name>/bids/sub-XX/ses-YY/eeg/*_eeg.edf`."""

    def __init__(self, name: str, facts: Facts, source: Source) -> None:
        self.name, self.facts, self.source = name, facts, source

    def fetch(self, root: Path, say: Progress) -> None:
        bids, original = root / self.name / "bids", root / self.name / "original"
        if any(bids.glob("sub-*")) or (bids / LEDGER).exists():
            return
        if not self.source.converter:
            raise DataError(
                f"{self.name}: brainfm does not download it; get it from {self.facts.origin} "
                f"({self.facts.licence}) and put its folders sub-* under {bids}"
            )
        lacking = [f for f in (self.source.files, *self.source.needs) if not any(original.glob(f))]
        if lacking:
            raise DataError(
                f"{self.name}: brainfm does not download it; get it from {self.facts.origin} "
                f"({self.facts.licence}) and put it under {original} (lacks {', '.join(lacking)}), "
                f"or a copy converted by epilepsy2bids under {bids}"
            )
        self.check_original(original)
        say(f"converting {original} to BIDS with epilepsy2bids; this takes long")
        # A conversion that was interrupted must not look like a finished one.
        partial = bids.with_name("bids.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        fates = convert_set(self.source.converter, original, partial, self.announced)
        partial.rename(bids)
        lost = sum(bool(f.problem) for f in fates)
        if lost:
            say(f"{lost} of {len(fates)} files could not be converted; {bids / LEDGER} says why")

    def check_original(self, original: Path) -> None:
        """Refuse originals that cannot be converted as a whole; sets that can tell say how."""

    def announced(self, edf: Path) -> int | None:
        """How many seizures the set's own lists give an original file; None: it has no lists.

        Raises
        ------
        LookupError
            If there is a list and it does not mention the file; then nobody looked.
        """
        return None

    def jobs(self, root: Path) -> list[Job]:
        bids = root / self.name / "bids"
        people = [bids / "participants.tsv"] if self.source.official else []
        fates = read_ledger(bids)
        origin = {f.converted: f.original for f in fates}
        found = []
        for edf in sorted(bids.glob("sub-*/**/eeg/*_eeg.edf")):
            files = (edf, _table_of(edf), *people)
            there = tuple(str(f) for f in files if f.exists())
            was = origin.get(edf.relative_to(bids).as_posix())
            options = {"original": was} if was else {}
            found.append(Job(self.name, edf.stem.removesuffix("_eeg"), there, options))
        for f in fates:
            if f.problem:
                path = root / self.name / "original" / f.original
                why = (
                    f"{path}: was not converted ({f.problem}); mend or fetch it, remove {bids} and "
                    "run again"
                )
                found.append(Job(self.name, f.original, (str(bids / LEDGER),), {"damaged": why}))
        return found

    def load(self, job: Job, recipe: Recipe) -> Recording:
        if "damaged" in job.options:
            raise DataError(job.options["damaged"])
        path = Path(job.files[0])
        entities = bids_identity(path)
        if entities is None:
            raise DataError(f"{path}: not named like sub-01_ses-01_task-sz_run-01_eeg.edf")
        subject = entities["sub"]
        person = self.source.same_person.get(subject, subject)
        recording = load_continuous(
            path,
            recipe,
            notes=list(self.facts.nominal),
            dataset=self.name,
            subject=subject,
            session=entities.get("ses", ""),
            name=job.name,
            line_freq=self.facts.line_freq,
            split=_official_split(path, subject) if self.source.official else None,
            split_group=f"{self.name}/{person}",
        )
        if "original" in job.options:
            recording.notes.append(f"converted from {job.options['original']}")
        annotate(recording, _table_of(path), _length_s(path))
        return recording


def annotate(recording: Recording, table: Path, duration_s: float) -> None:
    """Put the seizures of a table into a recording, or say that there is no table.

    Parameters
    ----------
    recording : its other events stay
    table : of SzCORE
    duration_s : of the file as recorded; the recording may have lost padding at its end

    Raises
    ------
    DataError
        If the table is wrong or belongs to another recording.
    """
    if not table.exists():
        recording.notes.append(f"{table.name} is missing: seizures are not annotated")
        return
    events, _, notes = read_tsv(table, duration_s)
    if any(is_seizure(e.label) for e in events):
        events, more = seizures_of(events, recording.duration_s)
        notes += more
    else:
        events = [e._replace(duration_s=recording.duration_s) for e in events]
    recording.events = sorted([*recording.events, *events])
    recording.notes += [f"{table.name}: {n}" for n in notes]


def _table_of(edf: Path) -> Path:
    return edf.with_name(edf.name.removesuffix("_eeg.edf") + "_events.tsv")


def _length_s(path: Path) -> float:
    header = check_edf(path)
    return header.n_records * header.record_s


def _official_split(edf: Path, subject: str) -> str:
    table = next(
        (p / "participants.tsv" for p in edf.parents if (p / "participants.tsv").exists()), None
    )
    if table is None:
        raise DataError(
            f"{edf}: no participants.tsv above it says to which official part sub-{subject} "
            "belongs; convert the original again"
        )
    with open(table, encoding="utf-8-sig", newline="") as f:
        rows = list(csv.DictReader(f, delimiter="\t"))
    said = {r.get("split", "") for r in rows if r.get("participant_id") == f"sub-{subject}"}
    if len(said) != 1 or not said <= set(OFFICIAL):
        raise DataError(
            f"{table}: sub-{subject} is in {' and '.join(sorted(s or '?' for s in said)) or 'no'} "
            f"split; it must be in one of {', '.join(OFFICIAL)}"
        )
    return OFFICIAL[said.pop()]
