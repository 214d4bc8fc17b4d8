"""Probabilities of whole recordings: from a store, or from samples in blocks.

Shapes: S steps, T samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.collate import require_store_recipe
from brainfm.data.store import Store
from brainfm.detect.engine import Engine
from brainfm.errors import DataError
from brainfm.types import Channels, WindowRef

BLOCK_S = 60.0
"""Seconds that are read at a time."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a detector says about one recording.

    Attributes
    ----------
    time_S : seconds, END of each step, when its probability is known; steps lie on one grid from
        the first sample on, also across gaps
    proba_S : probability of seizure; NaN is "no signal"
    step_s : seconds of a step
    duration_s : of the recording; what is behind the last whole step was not looked at
    """

    time_S: NDArray[np.float64]
    proba_S: NDArray[np.float64]
    step_s: float
    duration_s: float

    @classmethod
    def of(cls, proba_S: NDArray[np.floating], step_s: float, duration_s: float) -> Scores:
        """Of all steps in order."""
        proba_S = np.asarray(proba_S, np.float64)
        return cls((np.arange(len(proba_S)) + 1) * step_s, proba_S, step_s, duration_s)

    @property
    def no_signal_share(self) -> float:
        """Share of steps without a probability."""
        return float(np.isnan(self.proba_S).mean()) if len(self.proba_S) else 1.0


def score_recording(
    detector: Any,
    blocks: Iterable[NDArray[np.floating]],
    channels: Channels,
    sfreq: float | None = None,
    *,
    line_freq: float | None = None,
    intervals_s: Iterable[tuple[float, float]] | None = None,
    where: str = "recording",
) -> Scores:
    """Score samples that come in blocks, in constant memory.

    Parameters
    ----------
    detector : SeizureDetector
    blocks : arrays (T, C) of any lengths, SI units, end to end
    channels : of the columns
    sfreq : Hz as recorded. None: the samples are prepared already
    line_freq : Hz, for the notch
    intervals_s : stretches that may be looked at; nothing is remembered across their ends
    where : the recording, for sentences

    Raises
    ------
    DataError
        If the recording is shorter than a step, or no channel shows a brain.
    """
    inside = None if intervals_s is None else list(intervals_s)
    engine = Engine(detector, channels, sfreq, line_freq, intervals_s=inside, where=where)
    n, found = 0, []
    for x_TC in blocks:
        n += len(x_TC)
        found.append(engine.push(x_TC))
    found.append(engine.finish())
    duration_s = n / (sfreq or detector.preprocess.recipe.sfreq)
    if not engine.n_steps:
        raise DataError(
            f"{where}: lasts {duration_s:g} s, less than a step of {engine.step_s:g} s; leave it "
            "out"
        )
    return Scores.of(np.concatenate(found), engine.step_s, duration_s)


def score_stored(detector: Any, store: Store, row: int) -> Scores:
    """Score a prepared recording.

    Parameters
    ----------
    detector : SeizureDetector
    store : prepared with the detector's recipe
    row : of `store.recordings`

    Raises
    ------
    ContractError
        If the store was prepared otherwise.
    """
    require_store_recipe(detector.preprocess, store)
    sfreq, n = store.recipe.sfreq, int(store.recordings["n_samples"].iat[row])
    length = round(BLOCK_S * sfreq)
    starts = range(0, n, length)
    return score_recording(
        detector,
        (store.read(WindowRef(row, a, min(length, n - a))) for a in starts),
        store.channels(row),
        intervals_s=[(a / sfreq, b / sfreq) for a, b in store.intervals(row).tolist()],
        where=str(store.path(row)),
    )
