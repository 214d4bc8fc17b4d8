"""Scalp sets for seizures in the layout of SzCORE: BIDS, EDF at 256 Hz, one table of events each.

epilepsy2bids converts the originals: 19 electrodes of the 10-20 system against their average, or
18 bipolar derivations, at 256 Hz. Everything else of the original is lost: other electrodes, the
reference, EKG, what lies above 128 Hz. Two things it does are not taken over: an electrode that a
file lacks becomes zeros, and the average then makes a signal of them; and a derivation that is
lacking ends the whole conversion. Here both are left out of that file.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.errors import DataError
from brainfm.signals.files.edf import check_edf
from brainfm.signals.preprocess import Recipe
from brainfm.signals.szcore import is_seizure, read_tsv, seizures_of
from brainfm.types import Recording
from data_prep.continuous import load_continuous
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.bids import bids_identity

OFFICIAL = {"train": "train", "dev": "val", "eval": "test"}
"""What TUH calls its parts, and what brainfm does."""


@dataclass(frozen=True)
class Source:
    """How an original download looks, and what is known about its people.

    Attributes
    ----------
    converter : module of `epilepsy2bids.bids` that converts it
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
        if any(bids.glob("sub-*")):
            return
        lacking = [f for f in (self.source.files, *self.source.needs) if not any(original.glob(f))]
        if lacking:
            raise DataError(
                f"{self.name}: brainfm does not download it; get it from {self.facts.origin} "
                f"({self.facts.licence}) and put it under {original} (lacks {', '.join(lacking)}), "
                f"or a copy converted by epilepsy2bids under {bids}"
            )
        say(f"converting {original} to BIDS with epilepsy2bids; this takes long")
        # A conversion that was interrupted must not look like a finished one.
        partial = bids.with_name("bids.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        with _as_recorded(self.source.converter) as convert:
            try:
                convert(original, partial)
            except Exception as e:
                # The converter meets whatever a download holds; the sentence carries it.
                raise DataError(
                    f"{self.name}: epilepsy2bids cannot convert {original} ({type(e).__name__}: "
                    f"{' '.join(str(e).split())[:200]}); compare it with {self.facts.origin}"
                ) from e
        self.check_conversion(original, partial)
        partial.rename(bids)

    def check_conversion(self, original: Path, bids: Path) -> None:
        """Refuse a conversion that lost something; sets that can be counted say how."""

    def jobs(self, root: Path) -> list[Job]:
        bids = root / self.name / "bids"
        people = [bids / "participants.tsv"] if self.source.official else []
        found = []
        for edf in sorted(bids.glob("sub-*/**/eeg/*_eeg.edf")):
            files = (edf, _table_of(edf), *people)
            there = tuple(str(f) for f in files if f.exists())
            found.append(Job(self.name, edf.stem.removesuffix("_eeg"), there))
        return found

    def load(self, job: Job, recipe: Recipe) -> Recording:
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


@contextlib.contextmanager
def _as_recorded(converter: str) -> Iterator[Any]:
    """The converter of epilepsy2bids, quiet, and without channels that it makes up."""
    try:
        module = importlib.import_module(f"epilepsy2bids.bids.{converter}.convert2bids")
        shared = importlib.import_module("epilepsy2bids.bids.convert2bids")
        eeg = importlib.import_module("epilepsy2bids.eeg").Eeg
    except ImportError as e:
        raise DataError(
            f"converting needs epilepsy2bids ({e}); run pip install 'brainfm-decoding[seizure]'"
        ) from e

    class Recorded(eeg):  # type: ignore[misc, valid-type]
        def standardize(self, fs: int, electrodes: Any, reference: str) -> None:
            # loadEdf gives one row for each electrode asked for, zeros where there is none.
            there = [i for i, x in enumerate(self.data) if np.any(x)]
            self.data = self.data[there]
            self.channels = [self.channels[i] for i in there]
            super().standardize(fs, [electrodes[i] for i in there], reference)

    users = [m for m in (module, shared) if hasattr(m, "Eeg")]
    for user in users:
        user.Eeg = Recorded
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield module.convert
    finally:
        for user in users:
            user.Eeg = eeg
