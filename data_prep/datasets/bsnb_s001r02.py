"""S001R02: one minute of rest with closed eyes, 64 electrodes, from the package's samples."""

from __future__ import annotations

from pathlib import Path

from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.continuous import load_continuous
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.packages import BIOSIGNALSNOTEBOOKS, BSNB_FOLDER

FILE = "S001R02.edf"


class RestingS001(DataSet):
    """The same person as subject S001 of `eegmmidb`, so they share one side of every split."""

    name = "bsnb_s001r02"
    facts = Facts(
        title="S001R02: EEG, 64 channels, 61 s of rest with eyes closed (eegmmidb subject S001)",
        licence="package MIT; data ODC-BY 1.0 (PhysioNet)",
        citation="Schalk et al., IEEE TBME 51(6) 2004; Goldberger et al., Circulation 101(23) 2000",
        origin=BIOSIGNALSNOTEBOOKS,
        kinds=("EEG",),
        splits="one recording, on the side of eegmmidb/S001",
        nominal=("run 2 of eegmmidb is rest with eyes closed, by the protocol of that set",),
        line_freq=60.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(BIOSIGNALSNOTEBOOKS, {f"{BSNB_FOLDER}/{FILE}": FILE}, root, say)

    def jobs(self, root: Path) -> list[Job]:
        if not unpacked(BIOSIGNALSNOTEBOOKS, [FILE], root):
            return []
        path = source_folder(BIOSIGNALSNOTEBOOKS, root) / FILE
        return [Job(self.name, "S001R02", (str(path),))]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        return load_continuous(
            job.files[0],
            recipe,
            dataset=self.name,
            subject="S001",
            session="R02",
            name=job.name,
            split_group="eegmmidb/S001",
            line_freq=self.facts.line_freq,
            notes=list(self.facts.nominal),
            labels={"T0": "rest_eyes_closed"},
        )


DATASET = RestingS001()
