"""Trials around events of all recordings of a kind, read as the encoder's contract wants them.

A trial is read with what lies around it: windows are normalised one by one, and in one that is
nothing but the trial, how strong a response was is gone before the encoder sees it.

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
from brainfm.types import Event, SignalBatch, WindowRef

SPAN_S = {"BOLD": (2.0, 12.0)}
"""Seconds after the onset that a trial lasts; blood answers late. Other kinds: the event itself."""
CONTEXT_S = {"BOLD": 40.0}
"""Seconds of the window in whose middle a trial lies, about. Other kinds: `CONTEXT`."""
CONTEXT = 10.0
WORTH = 0.9
"""Share of trials that must be left for what lies around them to be read."""
NO_CLASS = ("bad", "motion", "sz")
"""Beginnings of labels that say something of the recording, not of what was shown."""
MOST = 32
"""Trials read at once."""


@dataclass
class Trials:
    """Trials of one kind, recording by recording.

    Attributes
    ----------
    batches : windows that hold a trial each; one batch a recording or more, each of one recording
    since_N : seconds into its window at which each trial begins
    length_s : of a trial
    y_N : class of each trial, index into `classes`
    recording_N : row of the store's table
    split_N : "train", "val" or "test"
    classes : names
    """

    batches: list[SignalBatch]
    since_N: NDArray[np.float64]
    length_s: float
    y_N: NDArray[np.int64]
    recording_N: NDArray[np.int64]
    split_N: NDArray[np.str_]
    classes: tuple[str, ...]

    def parts(self) -> list[tuple[SignalBatch, NDArray[np.float64]]]:
        """Batches, and the seconds at which their trials begin."""
        ends = np.cumsum([len(b) for b in self.batches])
        return list(zip(self.batches, np.split(self.since_N, ends[:-1]), strict=True))

    def of(self, *splits: str) -> NDArray[np.bool_]:
        """Which trials belong to these splits."""
        return np.isin(self.split_N, splits)


def read_trials(
    store: Store, kind: str, preprocess: Preprocess, query: str = "", step_s: float = 1.0
) -> Trials:
    """Labelled trials of every recording of a kind.

    Events named "..:..", boundaries and those that the recording does not hold whole, with what
    lies around them, are left out.

    Parameters
    ----------
    step_s : seconds of an encoder's step; trials begin at the beginning of one

    Raises
    ------
    DataError
        If there are fewer than two classes, or a split without trials.
    """
    chosen = select(store, query)
    chosen = chosen[chosen["kind"] == kind]
    rows = chosen.index.tolist()
    alone = _windows(store, rows, kind, 0.0, step_s)
    found = _windows(store, rows, kind, CONTEXT_S.get(kind, CONTEXT), step_s)
    if len(found) < WORTH * len(alone):  # recordings that were cut into trials have nothing around
        found = alone
    classes = tuple(sorted({f[2] for f in found}))
    if len(classes) < 2:
        raise DataError(
            f"{store.root}: {kind} has trials of {len(classes)} class; a probe needs two or more: "
            "prepare simulated_heads, or a data set with events"
        )
    data = WindowDataset(store, preprocess)
    batches = []
    for row in rows:
        mine = [f[0] for f in found if f[0].recording == row]
        batches += [data[mine[i : i + MOST]] for i in range(0, len(mine), MOST)]
    split = store.recordings["split"].to_numpy()
    trials = Trials(
        batches,
        np.array([f[1] for f in found]),
        _shortest(store, rows, kind),
        np.array([classes.index(f[2]) for f in found]),
        np.array([f[0].recording for f in found]),
        np.array([split[f[0].recording] for f in found]),
        classes,
    )
    for name in ("train", "test"):
        if not trials.of(name).any():
            raise DataError(f"{store.root}: no {kind} trial of split '{name}'; prepare more heads")
    return trials


def _windows(
    store: Store, rows: list[int], kind: str, window_s: float, step_s: float
) -> list[tuple[WindowRef, float, str]]:
    """A window for every trial, seconds into it, and what was shown."""
    length_s, found = _shortest(store, rows, kind), []
    for row in rows:
        sfreq, inside_K2 = store.sfreq(row), store.intervals(row)
        for e in _shown(store, row):
            start_s = e.onset_s + SPAN_S.get(kind, (0.0, 0.0))[0]
            for first, since_s, n in _around(start_s, length_s, window_s, step_s, sfreq):
                if ((inside_K2[:, 0] <= first) & (first + n <= inside_K2[:, 1])).any():
                    found.append((WindowRef(row, first, n), since_s, e.label))
                    break
    return found


def _shown(store: Store, row: int) -> list[Event]:
    """Events that say what was shown."""
    return [
        e
        for e in store.events(row)
        if e.duration_s > 0 and ":" not in e.label and not e.label.lower().startswith(NO_CLASS)
    ]


def _shortest(store: Store, rows: list[int], kind: str) -> float:
    """Seconds of every trial: those of the shortest; a sample more or less is rounding."""
    if kind in SPAN_S:
        since_s, until_s = SPAN_S[kind]
        return until_s - since_s
    return min((e.duration_s for row in rows for e in _shown(store, row)), default=0.0)


def _around(
    start_s: float, length_s: float, window_s: float, step_s: float, sfreq: float
) -> list[tuple[int, float, int]]:
    """Windows around a trial, best first: first sample, seconds to the trial, samples.

    The trial is in the middle as far as whole steps before it allow; near an end of the recording
    it comes earlier or later.
    """
    room = max(0, round((window_s - length_s) / step_s))
    n = round((length_s + room * step_s) * sfreq)
    before = sorted(range(room + 1), key=lambda k: abs(k - room / 2))
    return [(round((start_s - k * step_s) * sfreq), k * step_s, n) for k in before]


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
