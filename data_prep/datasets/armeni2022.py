"""Armeni et al. 2022: three people, ten sessions each of Sherlock Holmes, CTF MEG.

Layout (`pnpl` 0.2.0): the BIDS root under `<data root>/armeni2022`, with
`sub-001/ses-001/meg/sub-001_ses-001_task-compr_meg.ds` (8 GB a session) or pnpl's serialised
`derivatives/serialised/sub-001/ses-001/sub-001_ses-001_task-compr_proc-..._meg.h5`, and
`..._task-compr_events.tsv`: columns onset and duration in s, type ("word_onset_01",
"phoneme_onset_01", the number being that of the run) and value, in quotes.
"""

from __future__ import annotations

import re
from pathlib import Path

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.serialised_meg import load_meg
from data_prep.readers.speech_tables import PAUSES, Heard, read_rows, say, seconds

TABLE = re.compile(r"(sub-(?P<sub>\d{3})_ses-(?P<ses>\d{3})_task-compr)_events\.tsv")
HELD_OUT = {"009": "val", "010": "test"}
"""Sessions; the stories of a session are the same for all three people."""


class Armeni2022(DataSet):
    """One recording a session, with its words and phonemes."""

    name = "armeni2022"
    facts = Facts(
        title="Armeni 2022: CTF MEG, 3 people, 10 sessions of about an hour of Sherlock Holmes",
        licence="RU-DI-HD-1.0, access on request (recalled; read the page)",
        citation="Armeni et al., Scientific Data 9:278 2022 (recalled)",
        origin="https://webdav.data.ru.nl/dccn/DSC_3011085.05_995_v1/",
        kinds=("MEG",),
        splits="by session, for all three people alike: 9 is val, 10 is test, as in the temporal "
        "split of MEG-XL (commit c26f0fe); the data come with none",
        nominal=(
            "the tables have no sentences, only words and phonemes",
            "a session as recorded is 8 GB and needs twice that in memory; where that is too much, "
            "have pnpl serialise it and leave the .ds folders out",
            "libribrain heard stories of the same author; do not test one on the other without "
            "comparing sentences",
        ),
        line_freq=50.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; ask for access at "
                f"{self.facts.origin} ({self.facts.licence}) and put its root under "
                f"{root / self.name}"
            )

    def jobs(self, root: Path) -> list[Job]:
        home = root / self.name
        jobs = []
        for table in sorted(home.glob("sub-*/ses-*/meg/*_events.tsv")):
            match = TABLE.fullmatch(table.name)
            if match is None:
                continue
            signal = signal_of(home, table, match[1], ".ds")
            options = {"table": str(table), "subject": match["sub"], "session": match["ses"]}
            jobs.append(Job(self.name, match[1], (str(signal), str(table)), options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o, table = job.options, Path(job.options["table"])
        heard = read_events(table)
        recording = load_meg(
            job.files[0],
            recipe,
            dataset=self.name,
            subject=o["subject"],
            session=o["session"],
            name=job.name,
            split=HELD_OUT.get(o["session"], "train"),
            # Everybody hears the same session: it is what splits must not divide.
            split_group=f"{self.name}/ses-{o['session']}",
            line_freq=self.facts.line_freq,
        )
        recording.notes += self.facts.nominal
        return say(recording, heard, table)


def signal_of(home: Path, table: Path, stem: str, suffix: str) -> Path:
    """The file with the samples: as recorded, else as pnpl preprocessed or serialised it."""
    who, when = stem.split("_")[:2]
    recorded = table.with_name(f"{stem}_meg{suffix}")
    derived = home / "derivatives"
    found = sorted((derived / "preproc" / who / when / "meg").glob(f"{stem}_proc-*_meg.fif"))
    found += sorted((derived / "serialised" / who / when).glob(f"{stem}_*meg.h5"))
    found += sorted((derived / "serialised" / who / when).glob(f"{stem}_meg.h5"))
    return recorded if recorded.exists() or not found else found[0]


def read_events(table: Path) -> Heard:
    """Words and phonemes of a session.

    Raises
    ------
    DataError
        If the table is missing or damaged, or a phoneme unknown.
    """
    heard = Heard()
    for line, row in enumerate(read_rows(table, ("onset", "duration", "type", "value")), 2):
        kind, value = row["type"].strip(), row["value"].strip().strip('"')
        if not kind.startswith(("word_onset", "phoneme_onset")):
            continue
        onset = seconds(table, line, row["onset"], "onset")
        lasts = seconds(table, line, row["duration"], "duration")
        if onset <= 0:
            # pnpl leaves them out: marks before the story begins.
            heard.left_out["marks before the recording"] += 1
        elif kind.startswith("phoneme"):
            heard.phoneme(onset, lasts, value, f"{table}: line {line}")
        elif value and value.lower() in PAUSES:
            heard.left_out["pauses among the words"] += 1
        else:
            heard.word(onset, lasts, value)
    return heard


DATASET = Armeni2022()
