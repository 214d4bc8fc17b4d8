"""CHB-MIT: 23 cases of children with epilepsy, 18 bipolar scalp derivations, 198 seizures."""

from __future__ import annotations

import re
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.szcore import is_seizure, read_tsv
from data_prep.dataset import Facts
from data_prep.szcore_bids import Source, SzcoreBids

COUNT = re.compile(r"^Number of Seizures in File:\s*(\d+)\s*$", re.MULTILINE)
"""The line of `chbNN-summary.txt` that each file has."""


class ChbMit(SzcoreBids):
    """Seizures of the summaries are counted again after converting."""

    def check_conversion(self, original: Path, bids: Path) -> None:
        """A summary with other line ends or file names reads as seizure-free; that is refused."""
        summaries = original.glob("chb*/chb*-summary.txt")
        said = sum(sum(map(int, COUNT.findall(p.read_text("latin-1")))) for p in summaries)
        tables = bids.glob("sub-*/**/*_events.tsv")
        # Not through seizures_of: what it merges would look lost.
        found = sum(_n_seizures(p) for p in tables)
        if found != said:
            raise DataError(
                f"{original}: the summaries announce {said} seizures, {found} were converted; "
                "fetch the chbNN-summary.txt and all recordings again, with Unix line ends"
            )


def _n_seizures(table: Path) -> int:
    events, _, notes = read_tsv(table)
    merged = sum("merged" in n or "left out" in n for n in notes)
    return sum(is_seizure(e.label) for e in events) + merged


DATASET = ChbMit(
    "chbmit",
    Facts(
        title="CHB-MIT scalp EEG: 22 children, 664 recordings of mostly an hour, 198 seizures",
        licence="ODC-BY 1.0",
        citation="Shoeb, PhD thesis, MIT 2009; Goldberger et al., Circulation 101(23) 2000; "
        "converted as in epilepsy2bids (Dan et al.)",
        origin="https://physionet.org/content/chbmit/1.0.0/",
        kinds=("EEG",),
        splits="by person, by a hash; cases chb01 and chb21 are one girl and one group",
        nominal=(
            "18 derivations of the double banana; other channels of the original are left out",
            "gaps between consecutive files are not known to the files",
        ),
        line_freq=60.0,
    ),
    Source(
        "chbmit",
        "chb[0-9][0-9]/*.edf",
        needs=("SUBJECT-INFO", "chb[0-9][0-9]/chb*-summary.txt"),
        # The converter makes sub-01/ses-02 of chb21; other BIDS copies keep sub-21.
        same_person={"21": "01", "chb21": "chb01"},
    ),
)
