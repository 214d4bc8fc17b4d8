"""MEG-MASC (Gwilliams et al. 2022): 27 people, four stories, each heard twice, KIT MEG.

Layout (`pnpl` 0.2.0): the BIDS root under `<data root>/gwilliams2022`, with
`sub-01/ses-0/meg/sub-01_ses-0_task-0_meg.con` or pnpl's serialised
`derivatives/serialised/sub-01/ses-0/sub-01_ses-0_task-0_proc-..._meg.h5`, and
`..._task-0_events.tsv`: columns onset and duration in s, and trial_type, a Python dict as text
with kind ("word", "phoneme", "sound"), word or phoneme ("ih_I"), pronounced, condition
("sentence" or "word_list") and sequence_id.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.datasets.armeni2022 import signal_of
from data_prep.readers.serialised_meg import load_meg
from data_prep.readers.speech_tables import Heard, read_rows, say, seconds

TABLE = re.compile(r"(sub-(?P<sub>\d{2})_ses-(?P<ses>\d)_task-(?P<task>[0-3]))_events\.tsv")
STORIES = {"0": "lw1", "1": "cable_spool_fort", "2": "easy_money", "3": "the_black_widow"}
HELD_OUT = {"0": "val", "1": "test"}
"""Stories by number. Both sessions of a person repeat the same stories."""


class Gwilliams2022(DataSet):
    """One recording a story and session, with its words, phonemes and sentences."""

    name = "gwilliams2022"
    facts = Facts(
        title="MEG-MASC: KIT MEG of 27 people, four stories in two sessions",
        licence="CC0 1.0 (recalled; read the page)",
        citation="Gwilliams et al., Scientific Data 2023, doi:10.1038/s41597-023-02752-5",
        origin="https://osf.io/ag3kj/",
        kinds=("MEG",),
        splits="by story, for all people and both sessions alike: lw1 is val, cable_spool_fort is "
        "test; the data come with none, and a split by session or person leaks every sentence",
        nominal=(
            "Défossez et al. 2023 divide sentences 70/20/10 within stories: their candidates are "
            "others, do not compare scores",
            "words of lists are words without a sentence",
            "phonemes of TIMIT are folded into the 39 of ARPAbet as in pnpl",
        ),
        line_freq=50.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get it from {self.facts.origin} "
                f"({self.facts.licence}; four parts, pip install pnpl fetches them) and put its "
                f"root under {root / self.name}"
            )

    def jobs(self, root: Path) -> list[Job]:
        home = root / self.name
        jobs = []
        for table in sorted(home.glob("sub-*/ses-*/meg/*_events.tsv")):
            match = TABLE.fullmatch(table.name)
            if match is None:
                continue
            signal = signal_of(home, table, match[1], ".con")
            options = {"table": str(table), **match.groupdict()}
            jobs.append(Job(self.name, match[1], (str(signal), str(table)), options))
        return jobs

    def load(self, job: Job, recipe: Recipe) -> Recording:
        o, table = job.options, Path(job.options["table"])
        heard = read_events(table)
        recording = load_meg(
            job.files[0],
            recipe,
            dataset=self.name,
            subject=o["sub"],
            session=o["ses"],
            name=job.name,
            split=HELD_OUT.get(o["task"], "train"),
            split_group=f"{self.name}/{STORIES[o['task']]}",
            line_freq=self.facts.line_freq,
        )
        recording.notes += self.facts.nominal
        return say(recording, heard, table)


def read_events(table: Path) -> Heard:
    """Words and phonemes that were pronounced; sentences by their number.

    Raises
    ------
    DataError
        If the table is missing or damaged, or a phoneme unknown.
    """
    heard = Heard()
    for line, row in enumerate(read_rows(table, ("onset", "duration", "trial_type")), 2):
        said = _dict(table, line, row["trial_type"])
        kind = said.get("kind")
        if kind not in ("word", "phoneme"):
            continue
        if not float(said.get("pronounced", 1) or 0):
            heard.left_out["words and phonemes that were not pronounced"] += 1
            continue
        onset = seconds(table, line, row["onset"], "onset")
        lasts = seconds(table, line, row["duration"], "duration")
        if kind == "phoneme":
            heard.phoneme(onset, lasts, str(said.get("phoneme", "")), f"{table}: line {line}")
        else:
            told = said.get("condition") == "sentence" and "sequence_id" in said
            number = str(said["sequence_id"]) if told else ""
            heard.word(onset, lasts, str(said.get("word", "")), number)
    return heard


def _dict(table: Path, line: int, text: str) -> dict[str, Any]:
    """A dict of plain values; nothing in it is run."""
    try:
        said = ast.literal_eval(re.sub(r":\s*nan\b", ": None", text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise DataError(f"{table}: trial_type in line {line} is no dict; fetch it again")
    return said


DATASET = Gwilliams2022()
