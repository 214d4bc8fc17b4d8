"""Seizure labels for every step of a window, and plans that show seizures often enough.

Shapes: W steps of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from brainfm.data.collate import WindowDataset
from brainfm.data.store import Store
from brainfm.data.windows import SEGMENT, WindowIndex, bucketed
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess
from brainfm.signals.szcore import BACKGROUND, is_annotated, seizures_of
from brainfm.types import Event, SignalBatch, WindowRef


@dataclass(frozen=True)
class SeizureSampling:
    """How often training looks at seizures; they last 1 to 5 % of a recording."""

    ictal_share: float = 0.5
    """Share of training windows that hold some of a seizure. Windows around seizures are repeated,
    each time at another place, until they make up so much."""
    most_repeats: int = 200
    """A lone short seizure is not repeated more often than this."""

    def __post_init__(self) -> None:
        if not 0 <= self.ictal_share < 1:
            raise ValueError(f"ictal_share is {self.ictal_share}; it must lie in [0, 1)")
        if self.most_repeats < 1:
            raise ValueError(f"most_repeats is {self.most_repeats}; it must be at least 1")


def annotated(store: Store, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows in which somebody looked for seizures.

    Raises
    ------
    DataError
        If there are rows, and none of them is annotated.
    """
    mask = [is_annotated(store.events(int(row))) for row in rows.index]
    if len(rows) and not any(mask):
        raise DataError(
            f"{store.path(int(rows.index[0]))}: carries neither a seizure ('sz...') nor '"
            f"{BACKGROUND}', like all {len(rows)} recordings chosen; choose annotated data sets, "
            "or annotate a recording without seizures as one event 'bckg'"
        )
    return rows[np.array(mask, bool)]


def label_steps(
    seizures: Sequence[Event], start_s: float, n_steps: int, step_s: float
) -> NDArray[np.int64]:
    """1 for every step that shares time with a seizure, else 0 (the rule of MVPFormer).

    Parameters
    ----------
    seizures : onsets and durations in seconds of the recording
    start_s : of the first step
    """
    label_W = np.zeros(n_steps, np.int64)
    for e in seizures:
        first = np.floor((e.onset_s - start_s) / step_s + 1e-9)
        last = np.ceil((e.onset_s + e.duration_s - start_s) / step_s - 1e-9)
        label_W[int(max(first, 0)) : int(max(last, 0))] = 1
    return label_W


class SeizureWindows(WindowDataset):
    """`WindowDataset` of annotated recordings, whose batches carry `label_BW`."""

    def __init__(self, store: Store, preprocess: Preprocess, patch: int | None = None) -> None:
        super().__init__(store, preprocess, patch)
        self._seizures: dict[int, list[Event]] = {}

    def __getitem__(self, refs: Sequence[WindowRef]) -> SignalBatch:
        batch = super().__getitem__(refs)
        n_steps, patch = batch.x_BCWP.shape[2:]
        sfreq = self.store.recipe.sfreq
        rows = [
            label_steps(self._of(r.recording), r.start / sfreq, n_steps, patch / sfreq)
            for r in refs
        ]
        batch.label_BW = torch.from_numpy(np.stack(rows))
        return batch

    def _of(self, row: int) -> list[Event]:
        if row not in self._seizures:
            self._seizures[row] = seizures_in(self.store, row)
        return self._seizures[row]


def seizures_in(store: Store, row: int) -> list[Event]:
    """Seizures of a recording: sorted, merged, cut at its ends."""
    duration_s = float(store.recordings["n_samples"].to_numpy()[row]) / store.recipe.sfreq
    return seizures_of(store.events(row), duration_s)[0]


def repeat_around_seizures(
    store: Store, rows: pd.DataFrame, index: WindowIndex, sampling: SeizureSampling
) -> WindowIndex:
    """The plan's windows, and those around seizures once more, as often as the share wants.

    Parameters
    ----------
    store : Store
    rows : of `store.recordings`, those that the plan was cut from
    index : the plan
    sampling : SeizureSampling
    """
    sfreq = store.recipe.sfreq
    extra, touching = [], 0
    for segment in index.segments:
        length = int(segment["length"])
        for e in seizures_in(store, int(segment["recording"])):
            onset, offset = round(e.onset_s * sfreq), round((e.onset_s + e.duration_s) * sfreq)
            start = max(int(segment["start"]), onset - length + 1)
            stop = min(int(segment["stop"]), offset + length - 1)
            if min(offset, stop) <= max(onset, start) or stop - start < length:
                continue
            around = segment.copy()
            around["start"], around["stop"] = start, stop
            around["count"] = 1 + (stop - start - length) // int(segment["stride"])
            extra.append(around)
            touching += int(around["count"])
    if not extra:
        return index
    # About `touching` windows of the plan hold some of a seizure already, the others do not.
    others = max(len(index) - touching, 0)
    wanted = others * sampling.ictal_share / (1 - sampling.ictal_share) - touching
    repeats = int(np.clip(np.ceil(wanted / touching), 0, sampling.most_repeats))
    again = [np.array(extra, SEGMENT) for _ in range(repeats)]
    segments, buckets = bucketed(np.concatenate([index.segments, *again]), rows)
    return WindowIndex(segments, buckets, index.skipped, store.index_hash)
