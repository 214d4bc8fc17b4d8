"""LibriBrain: one person, more than 50 hours of MEG while listening to Sherlock Holmes.

Layout (`pnpl` 0.2.0): `<data root>/libribrain/Sherlock1/derivatives/serialised/` with
`sub-0_ses-1_task-Sherlock1_run-1_proc-..._meg.h5`, and `.../derivatives/events/` with
`sub-0_ses-1_task-Sherlock1_run-1_events.tsv`: columns kind ("word", "phoneme", "silence"),
segment (the word, or a phoneme such as "ih_B"), timemeg and duration in s, sentenceidx.
"""

from __future__ import annotations

import re
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.serialised_meg import load_meg
from data_prep.readers.speech_tables import Heard, read_rows, say, seconds

NAME = re.compile(
    r"(sub-(?P<sub>\d+)_ses-(?P<ses>\d+)_task-(?P<task>[A-Za-z0-9]+)_run-(?P<run>\d+))"
    r"_proc-(?P<proc>[^_]+)_meg\.h5"
)
HELD_OUT = {("0", "11", "Sherlock1", "2"): "val", ("0", "12", "Sherlock1", "2"): "test"}
"""Subject, session, book and run of the published validation and test sets; all others train."""


class LibriBrain(DataSet):
    """One recording a run, with its words, phonemes and sentences."""

    name = "libribrain"
    facts = Facts(
        title="LibriBrain: MEG of one person, 7 books of Sherlock Holmes, more than 50 hours",
        licence="CC BY-NC 4.0 (recalled; read the page)",
        citation="Özdogan et al., LibriBrain, 2025 (recalled); Landau et al., The 2025 PNPL "
        "Competition, NeurIPS 2025",
        origin="https://huggingface.co/datasets/pnpl/LibriBrain",
        kinds=("MEG",),
        splits="by run, as published (pnpl 0.2.0): val is session 11 and test session 12 of "
        "Sherlock1, all others train",
        nominal=(
            "as serialised by pnpl: Maxwell-filtered, band-passed and at 250 Hz; sensors have no "
            "positions",
            "phonemes of TIMIT are folded into the 39 of ARPAbet as in pnpl",
            "phoneme scores are published on averages of 100 trials; single trials score far lower",
            "armeni2022 heard stories of the same author; do not test one on the other without "
            "comparing sentences",
        ),
        line_freq=50.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get the folders Sherlock1 to "
                f"Sherlock7 from {self.facts.origin} ({self.facts.licence}), by pip install pnpl "
                f"or by hand, and put them under {root / self.name}"
            )

    def jobs(self, root: Path) -> list[Job]:
        jobs: dict[str, Job] = {}
        for h5 in sorted((root / self.name).glob("*/derivatives/serialised/*_meg.h5")):
            match = NAME.fullmatch(h5.name)
            if match is None:
                continue
            if match[1] in jobs:
                other = Path(jobs[match[1]].files[0]).name
                raise DataError(
                    f"{h5}: is the same run as {other}, preprocessed otherwise; keep one of them"
                )
            table = h5.parents[1] / "events" / f"{match[1]}_events.tsv"
            files = (str(h5), *([str(table)] if table.exists() else []))
            jobs[match[1]] = Job(self.name, match[1], files, {"table": str(table)})
        return list(jobs.values())

    def load(self, job: Job, recipe: Recipe) -> Recording:
        match = NAME.fullmatch(Path(job.files[0]).name)
        assert match is not None
        key = (match["sub"], match["ses"], match["task"], match["run"])
        table = Path(job.options["table"])
        heard = read_events(table)
        recording = load_meg(
            job.files[0],
            recipe,
            dataset=self.name,
            subject=match["sub"],
            session=match["ses"],
            name=job.name,
            split=HELD_OUT.get(key, "train"),
            # One person is in all splits; a run is in one.
            split_group=f"{self.name}/{job.name}",
            line_freq=self.facts.line_freq,
        )
        recording.notes += self.facts.nominal
        return say(recording, heard, table)


def read_events(table: Path) -> Heard:
    """Words, with the number of their sentence, and phonemes of one run.

    Raises
    ------
    DataError
        If the table is missing or damaged, or a phoneme unknown.
    """
    heard = Heard()
    rows = read_rows(table, ("kind", "segment", "timemeg", "duration"))
    for line, row in enumerate(rows, 2):
        if row["kind"] not in ("word", "phoneme"):
            continue
        onset, lasts = (seconds(table, line, row[c], c) for c in ("timemeg", "duration"))
        if row["kind"] == "word":
            heard.word(onset, lasts, row["segment"], (row.get("sentenceidx") or "").strip())
        else:
            heard.phoneme(onset, lasts, row["segment"], f"{table}: line {line}")
    return heard


DATASET = LibriBrain()
