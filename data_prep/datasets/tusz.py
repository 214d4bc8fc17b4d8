"""TUSZ: the seizure corpus of Temple University Hospital, with its official three parts."""

from __future__ import annotations

from pathlib import Path

from brainfm.errors import DataError
from data_prep.dataset import Facts
from data_prep.szcore_bids import OFFICIAL, Source, SzcoreBids


class Tusz(SzcoreBids):
    """A patient of two parts would be trained and tested on; that is refused."""

    def check_original(self, original: Path) -> None:
        first: dict[str, str] = {}
        for part in OFFICIAL:
            for patient in sorted(p for p in (original / part).glob("*") if p.is_dir()):
                if first.setdefault(patient.name, part) != part:
                    raise DataError(
                        f"{patient}: this patient lies in {first[patient.name]} too; the official "
                        "parts share no patient, keep one of the two folders"
                    )


DATASET = Tusz(
    "tusz",
    Facts(
        title="TUH EEG seizure corpus (v2.0.3): hospital EEG, seizures with their kind",
        licence="by agreement with Temple University (custom)",
        citation="Shah et al., Frontiers in Neuroinformatics 12:83 2018; "
        "Obeid and Picone, Frontiers in Neuroscience 10:196 2016",
        origin="https://isip.piconepress.com/projects/nedc/html/tuh_eeg/",
        kinds=("EEG",),
        splits="official, by patient: train, dev (val) and eval (test)",
        nominal=(
            "original: the folder edf/ with train, dev and eval in it",
            "seizures come from the .csv_bi files, which do not name channels or kinds",
        ),
        line_freq=60.0,
    ),
    Source("tuh", "train/*/*/**/*.edf", needs=("dev", "eval"), official=True),
)
