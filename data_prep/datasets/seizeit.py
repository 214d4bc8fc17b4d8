"""SeizeIT1 and SeizeIT2: adults in hospital, with scalp electrodes and with a wearable."""

from data_prep.dataset import Facts
from data_prep.szcore_bids import Source, SzcoreBids

DATASET = SzcoreBids(
    "seizeit",
    Facts(
        title="SeizeIT1: 42 adults with epilepsy, 19 scalp electrodes, days in the hospital",
        licence="custom KU Leuven licence, by agreement",
        citation="Chatzichristos et al., SeizeIT1, KU Leuven RDR V1 2023, doi:10.48804/P5Q0OJ",
        origin="https://doi.org/10.48804/P5Q0OJ",
        kinds=("EEG",),
        splits="by subject, by a hash",
        nominal=(
            "12 seizures without an end are taken as 30 s long (epilepsy2bids 0.0.7)",
            "electrodes behind the ear are left out; SeizeIT2 is the data set seizeit2",
        ),
        line_freq=50.0,
    ),
    Source("seizeit", "P_ID*/*.edf", needs=("P_ID*/*_a1.tsv",)),
)

SEIZEIT2 = SzcoreBids(
    "seizeit2",
    Facts(
        title="SeizeIT2: focal epilepsy, two wearable EEG channels behind the ears, in hospital",
        licence="not known here; read the page",
        citation="SeizeIT2, Scientific Data 2025, doi:10.1038/s41597-025-05580-x; OpenNeuro "
        "ds005873",
        origin="https://openneuro.org/datasets/ds005873",
        kinds=("EEG",),
        splits="by subject, by a hash; the authors' own is another one",
        nominal=(
            "layout as public readers of it show: sub-NNN/ses-01/eeg with SzCORE tables; ECG, EMG "
            "and movement lie in files beside and are not read",
            "two channels (one ear, and across the head) that stand in no montage: no positions",
            "'impd' (impedance) is neither seizure nor background and is ignored",
        ),
        line_freq=50.0,
    ),
    Source("", "sub-*/ses-*/eeg/*_eeg.edf"),
)
"""Its EDF and tables are read as they are; nothing is converted."""
