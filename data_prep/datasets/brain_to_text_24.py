"""Brain-to-Text '24: one person speaks, 256 electrodes in areas 6v and 44, 24 sessions.

Layout (the baseline of the authors, cffan/neural_seq_decoder, commit 387b743):
`<data root>/brain_to_text_24/competitionData/train/t12.2022.04.28.mat`, likewise `test` and
`competitionHoldOut`. A file holds, a trial each, `tx1` and `spikePow` (bins of 20 ms, 256),
`sentenceText` and `blockIdx`. A trial ends with its sentence: cut windows with
`SpeechTargets(unit="sentence", stop_s=0, round_s=0.02)`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from brainfm.types import Channels, Kind, Recording
from data_prep.dataset import DataSet, Facts, Job, Progress
from data_prep.readers.spoken_trials import SpokenTrial, end_to_end, sentence_events, unplaced

SPLITS = {"train": "train", "test": "val", "competitionHoldOut": "test"}
"""Folder to split: the labelled "test" of the release is what everybody validates on."""
SESSION = re.compile(r"t12\.\d{4}\.\d{2}\.\d{2}")
SFREQ = 50.0
"""Bins of 20 ms."""
N_ELECTRODES = 256
FIELDS = ("tx1", "spikePow")
"""Threshold crossings, at the first of four thresholds (recalled), and power of the spike band."""


class BrainToText24(DataSet):
    """One recording a session and split: its sentences end to end."""

    name = "brain_to_text_24"
    facts = Facts(
        title="Brain-to-Text '24: 512 features of 256 electrodes, one person, 24 sessions",
        licence="CC0 1.0 (Dryad; recalled, read the page)",
        citation="Willett et al., Nature 2023 (recalled); the same, Brain-to-Text Benchmark '24",
        origin="https://doi.org/10.5061/dryad.x69p8czpq",
        kinds=("ECOG",),
        splits="as published: train; val is the labelled folder test; test is competitionHoldOut, "
        "whose sentences are held back",
        nominal=(
            "no volts: threshold crossings and spike band power in bins of 20 ms, unit au, at "
            "50 Hz; prepare them with --sfreq 50; no filter is applied",
            "each feature is scaled by the mean and spread of its block and split, as the "
            "published baseline does",
            "the baseline takes the first 128 electrodes, of area 6v; all 256 are kept, the others "
            "called area 44 (recalled)",
            "microelectrodes in the cortex are called ECOG, the nearest kind that brainfm has; "
            "they have no positions",
            "the release has sentences but no phonemes: the baseline makes them from the text",
        ),
    )

    def fetch(self, root: Path, say: Progress) -> None:
        if not self.jobs(root):
            raise DataError(
                f"{self.name}: brainfm does not download it; get competitionData.tar.gz from "
                f"{self.facts.origin} ({self.facts.licence}) and unpack it to "
                f"{root / self.name}/competitionData"
            )

    def jobs(self, root: Path) -> list[Job]:
        home = root / self.name / "competitionData"
        return [
            Job(
                self.name,
                f"{path.stem}_{split}",
                (str(path),),
                {"session": path.stem, "split": split},
            )
            for folder, split in SPLITS.items()
            for path in sorted((home / folder).glob("t12.*.mat"))
            if SESSION.fullmatch(path.stem)
        ]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        session, split = job.options["session"], job.options["split"]
        return end_to_end(
            read_trials(Path(job.files[0]), labelled=split != "test"),
            sfreq=SFREQ,
            recipe=recipe,
            channels=channels(),
            source=job.files[0],
            notes=self.facts.nominal,
            dataset=self.name,
            subject="T12",
            session=session,
            name=job.name,
            split=split,
            # One person is in all splits; a session's part is in one.
            split_group=f"{self.name}/{job.name}",
        )


def read_trials(path: Path, labelled: bool = True) -> list[SpokenTrial]:
    """The trials of a file, scaled block by block.

    Parameters
    ----------
    labelled : whether an empty sentence is refused

    Raises
    ------
    DataError
        If the file is damaged, or features, blocks and sentences do not fit each other.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        fields: list[list[Any]] = [list(content[name].ravel()) for name in FIELDS]
        blocks: list[int] = np.asarray(content["blockIdx"]).ravel().tolist()
        texts = [str(t).strip() for t in np.asarray(content["sentenceText"]).ravel()]
    except Exception as e:
        # Damaged .mat files raise zlib, struct, value and key errors.
        raise DataError(
            f"{path}: no file of Brain-to-Text '24 ({type(e).__name__}: "
            f"{' '.join(str(e).split())[:120]}); fetch it again"
        ) from e
    n, parts = len(fields[0]), [*fields, blocks]
    # MATLAB keeps no empty lines of text: where all are held back, none is there.
    texts = texts or [""] * n
    if not n or len(texts) != n or any(len(part) != n for part in parts):
        counts = ", ".join(str(len(part)) for part in parts)
        raise DataError(f"{path}: {len(texts)} sentences for {counts} trials; fetch it again")
    features = [_features(path, i, pair) for i, pair in enumerate(zip(*fields, strict=True), 1)]
    for block in sorted(set(blocks)):
        rows = [i for i, mine in enumerate(blocks) if mine == block]
        together = np.concatenate([features[i] for i in rows])
        mean_C, spread_C = together.mean(0), together.std(0) + 1e-8
        for i in rows:
            features[i] = (features[i] - mean_C) / spread_C
    trials = []
    for i, (x_TC, text) in enumerate(zip(features, texts, strict=True), 1):
        if labelled and not text:
            raise DataError(f"{path}: trial {i} has no sentence; fetch it again")
        events = sentence_events(text, (), len(x_TC) / SFREQ, f"{path}: trial {i}")
        trials.append(SpokenTrial(x_TC, tuple(events)))
    return trials


def channels() -> Channels:
    """512 features, named by area, electrode and what was counted."""
    names = [
        f"{'6v' if i < N_ELECTRODES // 2 else '44'}-{i + 1:03d}-{field}"
        for field in FIELDS
        for i in range(N_ELECTRODES)
    ]
    return unplaced(names, Kind.ECOG, "au")


def _features(path: Path, number: int, pair: tuple[Any, ...]) -> NDArray[np.float64]:
    parts = [np.asarray(x, np.float64) for x in pair]
    n = len(parts[0]) if parts[0].ndim else 0
    if n < 2 or any(x.shape != (n, N_ELECTRODES) for x in parts):
        shapes = " and ".join(str(x.shape) for x in parts)
        raise DataError(
            f"{path}: trial {number} has features of shape {shapes}; they must be (bins, "
            f"{N_ELECTRODES}), fetch it again"
        )
    return np.concatenate(parts, axis=1)


DATASET = BrainToText24()
