"""Siena scalp EEG: 14 adults with focal epilepsy, 19 electrodes, hours around seizures."""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.dataset import Facts
from data_prep.szcore_bids import Source, SzcoreBids
from data_prep.szcore_convert import blocks_of

ONSET = re.compile(r"^(?!.*registration).*start time", re.IGNORECASE | re.MULTILINE)
"""A line of `Seizures-list-PNxx.txt` that begins a seizure."""


class Siena(SzcoreBids):
    """Seizures of the lists are counted again; a file in none of them is not annotated."""

    def announced(self, edf: Path) -> int:
        listed = edf.parent / f"Seizures-list-{edf.parent.name}.txt"
        # The lists write the letter O for a zero ("PNO6-1.edf"), as epilepsy2bids 0.0.7 knows.
        mine = [
            said
            for name, said in blocks_of(listed.read_text("latin-1"))
            if name.upper().replace("PNO", "PN0") == edf.name.upper()
        ]
        if not mine:
            raise LookupError(edf.name)
        return sum(len(ONSET.findall(said)) for said in mine)


DATASET = Siena(
    "siena",
    Facts(
        title="Siena scalp EEG: 14 adults with focal epilepsy, seizures with their kind",
        # PhysioNet's page (recalled); the README of epilepsy2bids 0.0.7 says ODC-BY 1.0.
        licence="CC BY 4.0 (recalled; epilepsy2bids says ODC-BY 1.0: read the page)",
        citation="Detti et al., Processes 8(7):846 2020 (recalled); Detti, PhysioNet 2020; "
        "Goldberger et al., Circulation 101(23) 2000",
        origin="https://physionet.org/content/siena-scalp-eeg/1.0.0/",
        kinds=("EEG",),
        splits="by subject, by a hash",
        nominal=(
            "the kind of seizure is one per patient (subject_info.csv), not one per seizure",
            "typing errors of the lists of seizures are corrected as epilepsy2bids 0.0.7 does",
        ),
        line_freq=50.0,
    ),
    Source(
        "siena", "PN[0-9][0-9]/*.edf", needs=("subject_info.csv", "PN[0-9][0-9]/Seizures-list-*")
    ),
)
