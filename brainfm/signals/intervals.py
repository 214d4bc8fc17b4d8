"""Intervals of a recording as samples.

Shapes: K intervals, T samples.
"""

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Recording


def interval_samples(r: Recording) -> NDArray[np.int64]:
    """(K, 2) first and one-past-last samples, inside the recording, none empty."""
    seconds = np.asarray(r.intervals_s, float).reshape(-1, 2)
    if not np.isfinite(seconds).all():
        raise DataError(f"{r.source or r.name}: an interval is not a finite number; drop it")
    # The hair keeps 1.9999999999 s from losing its last sample.
    start, stop = np.ceil(seconds[:, 0] * r.sfreq - 1e-4), np.floor(seconds[:, 1] * r.sfreq + 1e-4)
    both = np.clip(np.stack([start, stop], 1), 0, len(r.signal)).astype(np.int64)
    return both[both[:, 1] > both[:, 0]]


def stretches(inside_T: NDArray[np.bool_], sfreq: float) -> list[tuple[float, float]]:
    """Seconds of each run of samples that are inside; `interval_samples` gives them back."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside_T, [False]]).astype(int)))
    return [(float(a / sfreq), float(b / sfreq)) for a, b in edges.reshape(-1, 2)]
