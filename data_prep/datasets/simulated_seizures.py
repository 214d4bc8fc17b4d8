"""Simulated seizures: patients that no package holds, on real contact coordinates."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.patient_montages import Implantation
from brainfm.data.seizure_patients import DATASET as NAME
from brainfm.data.seizure_patients import seizure_patient
from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.signals.recording import recording_from_raw
from brainfm.types import Kind, Recording
from data_prep.dataset import DataSet, Facts, Job, Package, Progress
from data_prep.download import source_folder, unpack, unpacked

NEUROPROBE = Package(
    "neuroprobe",
    "0.1.8",
    "faaa83f6e9639344ce231a6b5f3590bfa90a1b83a8add5011573a61f14ca8a5a",
    mb=27,
)
TABLES = tuple(f"btbank{i}_mni_coords.csv" for i in range(1, 11))
"""One implantation each, millimetres in MNI space."""
SPLITS = {"train": (32, TABLES[:5]), "val": (16, TABLES[5:7]), "test": (24, TABLES[7:])}
"""Patients of each split, in this order, and implantations: no two splits share one."""
VERSION = 2
"""Raised when the simulator gives other samples for the same options."""
COLUMNS = ("electrode_label", "mni152_x", "mni152_y", "mni152_z")


class SimulatedSeizures(DataSet):
    """72 patients, half an hour each; every second one under a scalp cap.

    Parameters
    ----------
    minutes : of each recording
    seed : of the cohort; another one gives other patients
    """

    name = NAME
    facts = Facts(
        title="SIMULATED seizures: 36 scalp EEG and 36 depth-electrode patients, 30 minutes each",
        licence="made by brainfm; contact coordinates MIT (neuroprobe)",
        citation="Epileptor: Jirsa et al., Brain 137, 2014; Proix et al., Brain 140, 2017; "
        "contacts: Brain Treebank, Wang et al., NeurIPS 2024",
        origin=NEUROPROBE,
        kinds=("EEG", "SEEG"),
        splits="by patient, fixed: 32 train, 16 val, 24 test; no implantation is in two splits",
        nominal=(
            "simulated: Epileptor networks in artificial background and artefacts, no patient; "
            "numbers on it are no evidence of clinical performance",
        ),
    )

    def __init__(self, minutes: float = 30.0, seed: int = 11) -> None:
        self.minutes, self.seed = minutes, seed

    def fetch(self, root: Path, say: Progress) -> None:
        members = {f"neuroprobe/mni_coords/{table}": table for table in TABLES}
        unpack(NEUROPROBE, members, root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(NEUROPROBE, list(TABLES), root):
            return []
        folder = source_folder(NEUROPROBE, root)
        jobs = []
        for split, (many, tables) in SPLITS.items():
            files = tuple(str(folder / table) for table in tables)
            for _ in range(many):
                jobs.append(self.job(len(jobs) + 1, split, files))
        return jobs

    def job(self, number: int, split: str, files: tuple[str, ...]) -> Job:
        """Patient `number`, whose implantation is one of the tables `files`."""
        options: dict[str, Any] = {"number": number, "split": split, "version": VERSION}
        options |= {"minutes": self.minutes, "seed": self.seed}
        return Job(self.name, f"sub-sim{number:03d}", files, options)

    def load(self, job: Job, recipe: Recipe) -> Recording:
        contacts = [read_contacts(path) for path in job.files]
        made = seizure_patient(
            job.options["seed"],
            job.options["number"],
            minutes=job.options["minutes"],
            contacts=contacts,
        )
        recording = recording_from_raw(
            to_raw(made),
            recipe=recipe,
            dataset=self.name,
            subject=made.subject,
            name=job.name,
            source=job.name,
            line_freq=made.line_freq,
            split=job.options["split"],
        )
        recording.notes = [*made.notes, *recording.notes]
        return recording


def to_raw(recording: Recording) -> Any:
    """An `mne.io.RawArray` with kinds, places and events, so that what is simulated goes down the
    same road as what is recorded.
    """
    import mne
    from mne._fiff.constants import FIFF

    channels = recording.channels
    types = [Kind(int(k)).name.lower() for k in channels.kind]
    info = mne.create_info(list(channels.name), recording.sfreq, types, verbose="ERROR")
    frames = {"head": FIFF.FIFFV_COORD_HEAD, "mni": FIFF.FIFFV_MNE_COORD_MNI_TAL}
    for ch, pos in zip(info["chs"], channels.pos_m, strict=True):
        ch["loc"][:3] = pos
        ch["coord_frame"] = frames[channels.frame]
    raw = mne.io.RawArray(recording.signal.T.astype(np.float64), info, verbose="ERROR")
    onset, duration, label = zip(*recording.events, strict=True)
    raw.set_annotations(mne.Annotations(onset, duration, label), verbose="ERROR")
    return raw


@lru_cache(maxsize=16)
def read_contacts(path: str) -> Implantation:
    """The contacts of one table, in metres.

    Raises
    ------
    DataError
        If a column is missing or a value is no number.
    """
    names, places = [], []
    with open(path, newline="", encoding="utf-8") as f:
        table = csv.DictReader(f)
        missing = set(COLUMNS) - set(table.fieldnames or ())
        if missing:
            raise DataError(f"{path}: lacks the column '{min(missing)}'; fetch the data set again")
        for row in table:
            try:
                place = [float(row[c]) / 1000 for c in COLUMNS[1:]]
            except (TypeError, ValueError) as e:
                raise DataError(
                    f"{path}: line {table.line_num} holds no position ({e}); fetch the data set "
                    "again"
                ) from e
            names.append(row[COLUMNS[0]])
            places.append(place)
    if not names:
        raise DataError(f"{path}: holds no contact; fetch the data set again")
    return Implantation(tuple(names), np.array(places))


DATASET = SimulatedSeizures()
