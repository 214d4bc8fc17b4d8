"""What was shown before each frame of fMRI, in seconds, so that no TR matters.

A frame's design is the mean of every feature in bins of time before it: events by their names
(1 while they last), stimuli that lie beside the recording by their values.

Shapes: T frames, K features, L lags, C channels, E events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.types import Event, Stimulus, WindowRef

BIN_S = 2.0
LAGS = 8
"""Bins before a frame: 16 s, about as long as blood answers."""
AFTER_S = 8.0
"""A frame belongs to an event until so long after its end."""
NO_STIMULUS = ("bad", "motion", "sz")
AUDIBLE = 0.1
"""Channels with a lower ceiling answer to nothing; shares of the ceiling leave them out."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A run of fMRI and what was shown before each frame.

    Attributes
    ----------
    x_TC : frames, each channel of mean 0 and spread 1 in the run
    design_TLK : means of features in bins before each frame, the latest first
    names : of features, those of events first
    n_labels : how many of them are events
    events : what was shown, onsets in seconds from the first frame
    kept_T : bool, frames inside the recording's intervals
    person, sfreq, row : of the store's table
    """

    x_TC: NDArray[np.float64]
    design_TLK: NDArray[np.float64]
    names: tuple[str, ...]
    n_labels: int
    events: tuple[Event, ...]
    kept_T: NDArray[np.bool_]
    person: str
    sfreq: float
    row: int

    def answers(self) -> NDArray[np.bool_]:
        """(T,) frames from an event's onset to `AFTER_S` after its end."""
        out = np.zeros(len(self.x_TC), bool)
        for e in self.events:
            first = round(e.onset_s * self.sfreq)
            out[max(first, 0) : round((e.onset_s + e.duration_s + AFTER_S) * self.sfreq)] = True
        return out & self.kept_T


def read_shown(store: Store, dataset: str) -> list[Shown]:
    """All fMRI runs of a data set in which something was shown.

    Raises
    ------
    DataError
        If there are none, or people were seen through different channels.
    """
    table = store.recordings
    rows = np.flatnonzero(((table["dataset"] == dataset) & (table["kind"] == "BOLD")).to_numpy())
    told = {int(row): _told(store.events(int(row))) for row in rows}
    stimuli = {int(row): store.stimulus(int(row)) for row in rows}
    rows_shown = [r for r in told if told[r] or stimuli[r]]
    if not rows_shown:
        raise DataError(
            f"{store.root}: holds {len(rows)} fMRI runs of '{dataset}', none with events or a "
            "stimulus; an encoding model wants to know what was shown"
        )
    labels = sorted({e.label for r in rows_shown for e in told[r]})
    beside = sorted({n for r in rows_shown for n in stimuli[r]})
    return [_shown(store, r, told[r], stimuli[r], labels, beside) for r in rows_shown]


def _told(events: Sequence[Event]) -> tuple[Event, ...]:
    return tuple(
        e for e in events if e.duration_s > 0 and not e.label.lower().startswith(NO_STIMULUS)
    )


def _shown(
    store: Store,
    row: int,
    events: tuple[Event, ...],
    stimuli: dict[str, Stimulus],
    labels: list[str],
    beside: list[str],
) -> Shown:
    n = int(store.recordings["n_samples"].iat[row])
    x_TC = store.read(WindowRef(row, 0, n)).astype(np.float64)
    kept_T = np.zeros(n, bool)
    for a, b in store.intervals(row):
        kept_T[a:b] = True
    # By the run's own frames, all of them: nothing of what was shown enters, and no other run.
    x_TC = (x_TC - x_TC[kept_T].mean(0)) / x_TC[kept_T].std(0).clip(1e-12)
    sfreq = store.sfreq(row)
    frame_T = np.arange(n) / sfreq
    columns, names = [], []
    for label in labels:
        mine = [e for e in events if e.label == label]
        columns.append(event_means(mine, frame_T))
        names.append(label)
    for name in beside:
        if name not in stimuli:
            raise DataError(
                f"{store.path(row)}: lacks the stimulus '{name}' that other runs have; prepare "
                "the data set again"
            )
        means_TLN = stimulus_means(stimuli[name], frame_T)
        columns += list(np.moveaxis(means_TLN, 2, 0))
        names += [f"{name} {i}" for i in range(means_TLN.shape[2])]
    table = store.recordings
    person = f"{table['dataset'].iat[row]}/{table['subject'].iat[row]}"
    design_TLK = np.stack(columns, 2)
    return Shown(x_TC, design_TLK, tuple(names), len(labels), events, kept_T, person, sfreq, row)


def event_means(events: Sequence[Event], frame_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, L) share of each bin before a frame in which one of the events was on."""
    out = np.zeros((len(frame_T), LAGS))
    late_TL = frame_T[:, None] - BIN_S * np.arange(LAGS)
    for e in events:
        since = np.maximum(late_TL - BIN_S, e.onset_s)
        until = np.minimum(late_TL, e.onset_s + e.duration_s)
        out += np.maximum(until - since, 0.0) / BIN_S
    return np.minimum(out, 1.0)


def stimulus_means(stimulus: Stimulus, frame_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, L, N) mean of a stimulus in each bin before a frame; 0 before it began."""
    values_MN = np.asarray(stimulus.values_NF, np.float64)
    values_MN = (values_MN - values_MN.mean(0)) / values_MN.std(0).clip(1e-12)
    total = np.concatenate((np.zeros((1, values_MN.shape[1])), values_MN.cumsum(0)))
    late_TL = frame_T[:, None] - BIN_S * np.arange(LAGS)

    def upto(at_TL: NDArray[np.float64]) -> NDArray[np.float64]:
        index = np.clip(at_TL * stimulus.rate_hz, 0, len(values_MN))
        whole = np.floor(index).astype(int)
        after = np.minimum(whole + 1, len(values_MN))
        share = (index - whole)[..., None]
        out: NDArray[np.float64] = (1 - share) * total[whole] + share * total[after]
        return out

    return (upto(late_TL) - upto(late_TL - BIN_S)) / (BIN_S * stimulus.rate_hz)


def repeats(runs: Sequence[Shown]) -> NDArray[np.float64] | None:
    """Answers to the same events, (R, P, C): repeats, points, channels; None without repeats.

    Points are frames from onset to `AFTER_S` after the end, event name after event name.
    """
    found: dict[str, list[NDArray[np.float64]]] = {}
    span_s = _span_s(runs)
    for run in runs:
        n = round(span_s * run.sfreq)
        for e in run.events:
            first = round(e.onset_s * run.sfreq)
            if first >= 0 and run.kept_T[first : first + n].sum() == n:
                found.setdefault(e.label, []).append(run.x_TC[first : first + n])
    least = min((len(v) for v in found.values()), default=0)
    if least < 2:
        return None
    return np.stack([np.concatenate([v[r] for v in found.values()]) for r in range(least)])


def overlap(runs: Sequence[Shown]) -> bool:
    """Whether most answers run into the next event's, so that repeats never are alike."""
    after_s = [np.diff(sorted(e.onset_s for e in run.events)) for run in runs]
    between_s = np.concatenate(after_s) if after_s else np.zeros(0)
    return bool(len(between_s)) and float(np.median(between_s)) < _span_s(runs)


def _span_s(runs: Sequence[Shown]) -> float:
    return min((e.duration_s for run in runs for e in run.events), default=0.0) + AFTER_S


def ceiling(repeats_RPC: NDArray[np.float64]) -> NDArray[np.float64]:
    """(C,) the correlation that a perfect model would have with one repeat.

    Two repeats that share a signal correlate by its share of the variance; a perfect guess of the
    signal correlates with a repeat by the root of that (Schoppe et al., Front Comput Neurosci 10,
    2016, have the general case).
    """
    x = repeats_RPC - repeats_RPC.mean(1, keepdims=True)
    x = x / np.sqrt((x**2).sum(1, keepdims=True)).clip(1e-12)
    r = len(x)
    among = ((x.sum(0) ** 2).sum(0) - r) / (r * (r - 1))
    out: NDArray[np.float64] = np.sqrt(among.clip(0))
    return out
