"""Trials around events of all recordings of a kind, read as the encoder's contract wants them.

Shapes: N trials, C channels, T samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.collate import WindowDataset
from brainfm.data.index import select
from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import SignalBatch, WindowRef

SPAN_S = {"BOLD": (2.0, 12.0)}
"""Seconds after the onset that a trial lasts; blood answers late. Other kinds: the event itself."""
NO_CLASS = ("bad", "motion", "sz")
"""Beginnings of labels that say something of the recording, not of what was shown."""
MOST = 32
"""Trials read at once."""


@dataclass
class Trials:
    """Trials of one kind, recording by recording.

    Attributes
    ----------
    batches : one a recording or more, each of one recording
    y_N : class of each trial, index into `classes`
    recording_N : row of the store's table
    split_N : "train", "val" or "test"
    classes : names
    """

    batches: list[SignalBatch]
    y_N: NDArray[np.int64]
    recording_N: NDArray[np.int64]
    split_N: NDArray[np.str_]
    classes: tuple[str, ...]

    def of(self, *splits: str) -> NDArray[np.bool_]:
        """Which trials belong to these splits."""
        return np.isin(self.split_N, splits)


def read_trials(store: Store, kind: str, preprocess: Preprocess, query: str = "") -> Trials:
    """Labelled trials of every recording of a kind.

    Events named "..:..", boundaries and those that the recording does not hold whole are left out.

    Raises
    ------
    DataError
        If there are fewer than two classes, or a split without trials.
    """
    chosen = select(store, query)
    chosen = chosen[chosen["kind"] == kind]
    found: list[tuple[int, int, int, str]] = []
    for row in chosen.index.tolist():
        sfreq, inside_K2 = store.sfreq(row), store.intervals(row)
        for e in store.events(row):
            if e.duration_s <= 0 or ":" in e.label or e.label.lower().startswith(NO_CLASS):
                continue
            since, until = SPAN_S.get(kind, (0.0, e.duration_s))
            start = round((e.onset_s + since) * sfreq)
            length = round((until - since) * sfreq)
            if ((inside_K2[:, 0] <= start) & (start + length <= inside_K2[:, 1])).any():
                found.append((row, start, length, e.label))
    classes = tuple(sorted({f[3] for f in found}))
    if len(classes) < 2:
        raise DataError(
            f"{store.root}: {kind} has trials of {len(classes)} class; a probe needs two or more: "
            "prepare simulated_heads, or a data set with events"
        )
    # One length: the shortest there is; a sample more or less is rounding.
    least = min(f[2] for f in found)
    data = WindowDataset(store, preprocess)
    batches, order = [], []
    for row in chosen.index.tolist():
        mine = [f for f in found if f[0] == row]
        for i in range(0, len(mine), MOST):
            part = mine[i : i + MOST]
            batches.append(data[[WindowRef(r, start, least) for r, start, _, _ in part]])
            order += part
    split = store.recordings["split"].to_numpy()
    trials = Trials(
        batches,
        np.array([classes.index(f[3]) for f in order]),
        np.array([f[0] for f in order]),
        np.array([split[f[0]] for f in order]),
        classes,
    )
    for name in ("train", "test"):
        if not trials.of(name).any():
            raise DataError(f"{store.root}: no {kind} trial of split '{name}'; prepare more heads")
    return trials


def by_recording(x_NF: NDArray, recording_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Features with mean 0 and spread 1 over the trials of each recording.

    No label enters; it takes out what differs from head to head, for every row of a table alike.
    """
    out = np.empty(x_NF.shape, np.float32)
    for row in np.unique(recording_N):
        mine = x_NF[recording_N == row]
        spread = mine.std(0)
        out[recording_N == row] = (mine - mine.mean(0)) / np.where(spread > 1e-9, spread, 1.0)
    return out


def to_si(batch: SignalBatch) -> torch.Tensor:
    """(N, C, T) as recorded, without the window's scale."""
    return batch.signal_BCT * batch.scale_BC[..., None] + batch.offset_BC[..., None]
