"""The 15 tasks of Neuroprobe: which words are samples, and of which class, as published.

Rules: `neuroprobe` 0.1.8, datasets.py; compared with that program on its own tables. A sample is
the second after the onset of a word, or a second without speech. Numeric tasks compare the words of
one trial by rank: the lowest against the highest quarter. A word whose value is missing ranks
lowest, as in the published program.

Shapes: N samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from data_prep.readers.neuroprobe import SFREQ, Timeline, numbers

SEED = 42
LITE, NANO = 3500, 1000
"""Most samples of a trial and task."""

RANKED = {
    "frame_brightness": "mean_pixel_brightness",
    "global_flow": "max_global_magnitude",
    "local_flow": "max_vector_magnitude",
    "volume": "rms",
    "pitch": "enhanced_pitch",
    "delta_volume": "delta_rms",
    "gpt2_surprisal": "gpt2_surprisal",
    "word_length": "word_length",
}
"""Tasks that compare quarters of a number, and its column."""
COUNTED = {
    "face_num": "face_num",
    "word_index": "idx_in_sentence",
    "word_head_pos": "bin_head",
}
"""Tasks that compare whole numbers, and their column."""
TASKS = ("onset", "speech", *RANKED, *COUNTED, "word_part_speech", "word_gap")
PARTS_OF_SPEECH = ("NOUN", "VERB", "PRON", "DET", "ADJ", "ADV")
SECOND = SFREQ
"""Samples that a window lasts."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Windows of one trial with their classes, in the order of the benchmark.

    Attributes
    ----------
    subject, trial, task : whose
    start_N : first sample of each window
    label_N : class of each
    """

    subject: int
    trial: int
    task: str
    start_N: NDArray[np.int64]
    label_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start_N)

    def take(self, index: Any) -> Samples:
        return replace(self, start_N=self.start_N[index], label_N=self.label_N[index])


def task_samples(
    timeline: Timeline, task: str, *, binary: bool = True, most: int | None = LITE
) -> Samples:
    """The samples of a task in one trial, as many of each class.

    Parameters
    ----------
    timeline : words of the trial
    task : one of `TASKS`
    binary : two classes; else three, or six parts of speech, where the task has them
    most : samples in all; `LITE`, `NANO`, or None for all

    Raises
    ------
    DataError
        If the task is unknown, a column it needs is not there, or a class has no sample.
    """
    if task not in TASKS:
        raise DataError(f"task '{task}' is none of Neuroprobe's: {', '.join(TASKS)}")
    classes = _classes(timeline, task, binary)
    n = min(len(rows) for rows in classes.values())
    if not n:
        empty = next(label for label, rows in classes.items() if not len(rows))
        raise DataError(
            f"subject {timeline.subject} trial {timeline.trial}: task '{task}' has no sample of "
            f"class {empty}; leave the trial out"
        )
    n = n if most is None else min(n, most // len(classes))
    # The draw goes class by class from the highest down: the order is part of the benchmark.
    draw = np.random.RandomState(SEED)
    chosen = {c: np.sort(draw.choice(rows, size=n, replace=False)) for c, rows in classes.items()}
    k = len(classes)
    label_N = (np.arange(n * k) + 1) % k
    row_N = np.array([chosen[c][i // k] for i, c in enumerate(label_N.tolist())], np.int64)
    start_N = timeline.start_N
    if task in ("onset", "speech"):
        silent = label_N == 0
        start_N = np.where(
            silent,
            timeline.silence_N[np.where(silent, row_N, 0)],
            start_N[np.where(silent, 0, row_N)],
        )
    else:
        start_N = start_N[row_N]
    return Samples(timeline.subject, timeline.trial, task, start_N, label_N)


def _classes(t: Timeline, task: str, binary: bool) -> dict[int, NDArray[np.int64]]:
    """Rows of each class, from the highest class down."""
    if task in ("onset", "speech"):
        every = np.arange(len(t.words))
        spoken = every if task == "speech" else np.flatnonzero(numbers(t, "is_onset") == 1)
        return {1: spoken, 0: np.arange(len(t.silence_N))}
    if task in RANKED:
        values = t.pitch_N if task == "pitch" else numbers(t, RANKED[task])
        rank_N = _rank(values, values)
        if binary:
            return _rows({1: rank_N > 0.75, 0: rank_N < 0.25})
        return _rows(_three(rank_N))
    if task == "word_gap":
        return _gaps(t, binary)
    if task == "word_part_speech":
        if "pos" not in t.words:
            numbers(t, "pos")
        pos = t.words["pos"].to_numpy()
        known = range(1 if binary else len(PARTS_OF_SPEECH) - 1, -1, -1)
        return _rows({c: pos == PARTS_OF_SPEECH[c] for c in known})
    values = numbers(t, COUNTED[task])
    # A word without a value is of no class.
    values = np.where(np.isnan(values), -1, values).astype(np.int64)
    if task == "face_num":
        if binary:
            return _rows({1: values > 0, 0: values == 0})
        return _rows({2: values > 1, 1: values == 1, 0: values == 0})
    if task == "word_index" and not binary:
        return _rows({2: values >= 2, 1: values == 1, 0: values == 0})
    return _rows({1: values == 0, 0: values == 1})


def _gaps(t: Timeline, binary: bool) -> dict[int, NDArray[np.int64]]:
    """Silence before a word of the same sentence, ranked among all of them."""
    if "sentence" not in t.words:
        numbers(t, "sentence")
    sentence = t.words["sentence"].to_numpy()
    start, end = (t.words[c].to_numpy(np.float64) for c in ("start", "end"))
    inside = np.flatnonzero((sentence[1:] == sentence[:-1]) & (sentence[1:] != "")) + 1
    gap = start[inside] - end[inside - 1]
    rank = _rank(gap, gap)
    if binary:
        return {1: inside[rank >= 0.75], 0: inside[rank < 0.25]}
    return {c: inside[keep] for c, keep in _three(rank).items()}


def _rank(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of `among` below each value; 0 where it is missing."""
    below = np.searchsorted(np.sort(among[~np.isnan(among)]), values, side="left")
    return np.where(np.isnan(values), 0, below) / max(len(among), 1)


def _three(rank: NDArray[np.float64]) -> dict[int, NDArray[np.bool_]]:
    return {2: rank >= 0.75, 1: (rank < 0.625) & (rank >= 0.375), 0: rank < 0.25}


def _rows(classes: dict[int, Any]) -> dict[int, NDArray[np.int64]]:
    return {c: np.flatnonzero(keep) for c, keep in classes.items()}
