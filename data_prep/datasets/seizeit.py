"""SeizeIT1: adults in presurgical evaluation in Leuven, nights and days of scalp EEG."""

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
            "electrodes behind the ear are left out; SeizeIT2 is another set and not read here",
        ),
        line_freq=50.0,
    ),
    Source("seizeit", "P_ID*/*.edf", needs=("P_ID*/*_a1.tsv",)),
)
