"""CHB-MIT: 23 cases of children with epilepsy, 18 bipolar scalp derivations, 198 seizures."""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.dataset import Facts
from data_prep.szcore_bids import Source, SzcoreBids
from data_prep.szcore_convert import blocks_of

COUNT = re.compile(r"^Number of Seizures in File:\s*(\d+)\s*$", re.MULTILINE)
"""The line of `chbNN-summary.txt` that each file has."""


class ChbMit(SzcoreBids):
    """Seizures of the summaries are counted again; a file in none of them is not annotated."""

    def announced(self, edf: Path) -> int:
        summary = edf.parent / f"{edf.parent.name}-summary.txt"
        mine = [t for name, t in blocks_of(summary.read_text("latin-1")) if name == edf.name]
        if not mine:
            raise LookupError(edf.name)
        return sum(int(n) for text in mine for n in COUNT.findall(text))


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
