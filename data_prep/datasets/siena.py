"""Siena scalp EEG: 14 adults with focal epilepsy, 19 electrodes, hours around seizures."""

from data_prep.dataset import Facts
from data_prep.szcore_bids import Source, SzcoreBids

DATASET = SzcoreBids(
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
