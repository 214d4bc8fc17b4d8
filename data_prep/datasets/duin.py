"""Du-IN: 12 people with depth electrodes read 61 Mandarin words aloud, in trials of 3 s.

Layout, as the program of its authors reads it (liulab-repository/Du-IN, commit 33a2455):
`<data root>/duin/001/word-recitation/<run>/dataset.bipolar.default.unaligned/` with two pickles:
`data`, a list of trials with `name` (the word) and `data_s` (channels, samples), and `info` with
`ch_names`. Trials run from 0.5 s before the cue to 2.5 s after it, at 1000 Hz, bipolar.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.phonemes import WORD
from brainfm.signals.preprocess import Recipe
from brainfm.types import Event, Kind, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.safe_pickle import read_pickle
from data_prep.readers.spoken_trials import SpokenTrial, end_to_end, unplaced

RUNS = "[0-9][0-9][0-9]/word-recitation/*/dataset.bipolar.default.unaligned"
SFREQ = 1000.0
CUE_S = 0.5
"""The word is shown so long after a trial begins."""
TRAIN_SHARE = 0.8

CHANNELS = {
    "001": "SM8 SM9 SM7 SM11 P4 SM10 SM6 P3 SM5 CI9",
    "002": "TI'2 TI'3 TI'1 TI'6 TI'4 TI'7 ST'3 ST'2 ST'4 FP'4",
    "003": "ST3 ST1 ST2 ST9 TI'4 TI'3 ST4 TI'2 ST7 TI'8",
    "004": "D12 D13 C4 C3 D11 D14 D10 D9 D5 C15",
    "005": "E8 E9 E6 E7 E11 E12 E5 E10 C10 E4",
    "006": "D3 D1 D6 D2 D5 D4 D7 D8 G8 E13",
    "007": "H2 H4 H3 H1 H6 H5 E4 H7 C13 E5",
    "008": "TI3 TI4 TI2 TI5 B9 TI6 TI7 TI9 TI10 B5",
    "009": "K9 K8 K6 K7 K11 K10 K5 K4 K3 I9",
    "010": "PI5 PI6 PI7 PI8 PI1 PI9 PI2 SM2 SP3 PI4",
    "011": "T2 T3 C9 T4 T5 C7 C8 T1 s1 C4",
    "012": "TI'4 TI'2 TI'3 TI'5 TI'8 TI'6 TI'7 TO'9 P'5 TO'8",
}
"""The ten channels of each person on which the published accuracies rest (`train/duin/run_cls.py`,
commit 6f404ea). They were chosen by how well they decode, which flatters every score on them."""


class DuIn(DataSet):
    """Three recordings a person: train, val and test trials of the published proportions."""

    name = "duin"
    facts = Facts(
        title="Du-IN: 12 people, depth electrodes, 61 Mandarin words read aloud, about 3 hours",
        licence="CC BY 4.0",
        citation="Zheng et al., Du-IN, NeurIPS 2024, arXiv 2405.11459",
        origin="https://huggingface.co/datasets/liulab-repository/Du-IN",
        kinds=("SEEG",),
        splits="by trial within each person and word, 80/10/10 as published; models are of one "
        "person each",
        nominal=(
            "which trials fall where is drawn by a hash: the published draw shuffles with a random "
            "state that is not kept with the data",
            "channels have no positions; the unit is not stated, each channel is scaled by the "
            "mean and spread of the person's training trials (the published program takes all "
            "trials)",
            "the ten channels of each person are the published choice, made by decoding accuracy",
            "the word is shown 0.5 s after a trial begins; when it was spoken is not stated",
        ),
        line_freq=50.0,
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get the folder of each person from "
                f"{self.facts.origin} ({self.facts.licence}) and put it under "
                f"{root / self.name}/001/word-recitation"
            )

    def jobs(self, root: Path) -> list[Job]:
        runs: dict[str, list[Path]] = defaultdict(list)
        for folder in sorted((root / self.name).glob(RUNS)):
            runs[folder.parents[2].name].append(folder)
        return [
            Job(
                self.name,
                f"{who}_{split}",
                tuple(str(f / n) for f in folders for n in ("data", "info")),
                {"person": who, "split": split},
            )
            for who, folders in sorted(runs.items())
            for split in ("train", "val", "test")
        ]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        who, split = job.options["person"], job.options["split"]
        source = str(Path(job.files[0]).parents[2])
        folders = list(dict.fromkeys(Path(f).parent for f in job.files))
        wanted = CHANNELS[who].split() if who in CHANNELS else None
        words: list[str] = []
        trials: list[NDArray[np.float32]] = []
        for folder in folders:
            names, mine, theirs = read_run(folder, wanted)
            wanted = wanted or names
            words += mine
            trials += theirs
        parts = divide(who, words)
        if not all(parts.values()):
            counts = ", ".join(f"{len(rows)} {part}" for part, rows in parts.items())
            raise DataError(f"{source}: its {len(trials)} trials give {counts}; fetch all runs")
        lengths = sorted({len(x) for x in trials})
        if len(lengths) > 1:
            raise DataError(f"{source}: trials last {lengths} samples; fetch the runs again")
        train = np.concatenate([trials[i] for i in parts["train"]]).astype(np.float64)
        mean_C, spread_C = train.mean(0), train.std(0)
        dead = [n for n, s in zip(wanted or [], spread_C, strict=True) if not s > 0]
        if dead:
            raise DataError(
                f"{source}: channel '{dead[0]}' is constant or not finite; leave it out"
            )
        last_s = lengths[0] / SFREQ - CUE_S
        return end_to_end(
            [
                SpokenTrial(
                    (trials[i] - mean_C) / spread_C, (Event(CUE_S, last_s, WORD + words[i]),)
                )
                for i in parts[split]
            ],
            sfreq=SFREQ,
            recipe=recipe,
            channels=unplaced(wanted or [], Kind.SEEG, "au", reference="bipolar"),
            source=source,
            notes=self.facts.nominal,
            dataset=self.name,
            subject=who,
            name=job.name,
            split=split,
            split_group=f"{self.name}/{who}/{split}",
            line_freq=self.facts.line_freq,
        )


def read_run(
    folder: Path, wanted: Sequence[str] | None = None
) -> tuple[list[str], list[str], list[NDArray[np.float32]]]:
    """Channel names, words and trials (samples, channels) of one run.

    Parameters
    ----------
    folder : with `data` and `info`
    wanted : channels to keep, in this order; all where None

    Raises
    ------
    DataError
        If a file is missing or another thing, a channel is not there, or a trial has no word.
    """
    info = read_pickle(folder / "info", mappings=("DotDict",))
    names = [str(n) for n in _field(folder / "info", info, "ch_names")]
    missing = [n for n in wanted or () if n not in names]
    if missing:
        raise DataError(
            f"{folder / 'info'}: has no channel '{missing[0]}' of the published choice; fetch it "
            "again"
        )
    columns = [names.index(n) for n in wanted or names]
    path = folder / "data"
    items = read_pickle(path, mappings=("DotDict",))
    if not isinstance(items, list) or not items:
        raise DataError(f"{path}: holds {type(items).__name__}, not a list of trials; fetch it")
    words, trials = [], []
    for number, item in enumerate(items, 1):
        word = str(_field(path, item, "name")).strip()
        x_CT = np.asarray(_field(path, item, "data_s"))
        if not word:
            raise DataError(f"{path}: trial {number} has no word; fetch it again")
        if x_CT.ndim != 2 or x_CT.shape[0] != len(names) or x_CT.dtype.kind not in "fiu":
            raise DataError(
                f"{path}: trial {number} has shape {x_CT.shape} of {x_CT.dtype} for {len(names)} "
                "channels; fetch it again"
            )
        words.append(word)
        trials.append(np.asarray(x_CT[columns].T, np.float32))
    return [names[i] for i in columns], words, trials


def divide(who: str, words: Sequence[str]) -> dict[str, list[int]]:
    """Trials of train, val and test: 80 % of each word trains, the others are halved."""
    by_word: dict[str, list[int]] = defaultdict(list)
    for i, word in enumerate(words):
        by_word[word].append(i)
    train: list[int] = []
    rest: list[int] = []
    for rows in by_word.values():
        drawn = sorted(rows, key=lambda i: _mark(who, i))
        n = int(TRAIN_SHARE * len(rows))
        train += drawn[:n]
        rest += drawn[n:]
    rest.sort(key=lambda i: _mark(who, i))
    half = len(rest) // 2
    return {"train": sorted(train), "val": sorted(rest[:half]), "test": sorted(rest[half:])}


def _mark(who: str, i: int) -> bytes:
    return hashlib.sha256(f"duin/{who}/{i}".encode()).digest()


def _field(path: Path, item: Any, key: str) -> Any:
    if not isinstance(item, dict) or key not in item:
        raise DataError(f"{path}: holds no '{key}'; fetch it again")
    return item[key]


DATASET = DuIn()
