"""Which windows there are: stretches of recordings, from which windows are computed.

Shapes: K segments, N windows. A segment costs 32 bytes however long it is, so that 10,000 hours
are as quick to open as one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brainfm.data.permute import uniform
from brainfm.errors import DataError
from brainfm.types import WindowRef

if TYPE_CHECKING:
    from brainfm.data.store import Store

SEGMENT = np.dtype(
    [
        ("start", "<i8"),  # first sample of the stretch
        ("stop", "<i8"),  # one past its last sample
        ("recording", "<i4"),  # row of the recordings table
        ("length", "<i4"),  # samples in each of its windows
        ("count", "<i4"),  # windows
        ("bucket", "<i4"),
    ]
)


@dataclass(frozen=True)
class Bucket:
    """Windows that fit into one batch: same sensors, same length."""

    layout: str
    dataset: str
    n_channels: int
    n_samples: int
    first: int
    """Number of its first window; the others follow it."""
    count: int


class WindowIndex:
    """Windows cut from the intervals of some recordings, numbered bucket by bucket.

    Parameters
    ----------
    segments : array of `SEGMENT`, sorted by bucket
    buckets : what the bucket numbers mean
    stride : samples from one window to the next inside a segment
    skipped : intervals that were too short for a window
    store_hash : `Store.index_hash`, for the identity of a plan

    Attributes
    ----------
    hash : short hash of the store and of every window; two plans with one hash are the same
    """

    def __init__(
        self,
        segments: NDArray[np.void],
        buckets: list[Bucket],
        stride: int,
        skipped: int = 0,
        store_hash: str = "",
    ) -> None:
        self.segments, self.buckets = segments, buckets
        self.stride, self.skipped = stride, skipped
        self._first = np.concatenate([[0], np.cumsum(segments["count"], dtype=np.int64)])
        h = hashlib.sha256(f"{store_hash} {stride}".encode())
        h.update(segments.tobytes())
        self.hash = h.hexdigest()[:16]

    def __len__(self) -> int:
        return int(self._first[-1])

    def __repr__(self) -> str:
        return f"WindowIndex({len(self)} windows, {len(self.buckets)} buckets)"

    def refs(self, number: ArrayLike, jitter_key: int | None = None) -> list[WindowRef]:
        """Windows by number.

        Parameters
        ----------
        number : integers below `len(self)`
        jitter_key : if given, each start moves by up to half a stride, inside its segment, by
            an amount that depends on number and key only
        """
        n = np.atleast_1d(np.asarray(number, np.int64))
        k = np.searchsorted(self._first, n, side="right") - 1
        s = self.segments[k]
        start = s["start"] + (n - self._first[k]) * self.stride
        if jitter_key is not None:
            start += np.floor((uniform(n, jitter_key) - 0.5) * self.stride).astype(np.int64)
            start = np.clip(start, s["start"], s["stop"] - s["length"])
        columns = (s["recording"].tolist(), start.tolist(), s["length"].tolist())
        return [WindowRef(*ref) for ref in zip(*columns, strict=True)]

    @property
    def n_samples(self) -> int:
        """Samples in all windows of one channel; overlapping ones count twice."""
        return int((self.segments["count"].astype(np.int64) * self.segments["length"]).sum())


def cut_windows(
    store: Store,
    rows: pd.DataFrame,
    *,
    window_s: float,
    stride_s: float | None = None,
    patch: int = 1,
    min_s: float | None = None,
) -> WindowIndex:
    """Windows of the chosen recordings, inside their intervals.

    An interval shorter than `window_s` (a trial) gives one window of its own length, rounded
    down to whole steps of `patch`; one shorter than `min_s` gives none.

    Parameters
    ----------
    store : Store
    rows : of `store.recordings`
    window_s : seconds
    stride_s : seconds from window to window. Default: `window_s`
    patch : samples in a step of the model
    min_s : shortest window. Default: one step

    Raises
    ------
    DataError
        If a window holds no step, or the stride is not positive.
    """
    sfreq = store.recipe.sfreq
    longest = int(round(window_s * sfreq)) // patch * patch
    stride = int(round((stride_s or window_s) * sfreq))
    least = max(patch, int(round((min_s or 0) * sfreq)))
    if longest < least or stride < 1:
        raise DataError(
            f"window_s is {window_s:g} and stride_s {stride_s or window_s:g}: at {sfreq:g} Hz a "
            f"window must hold at least {least} samples ({least / sfreq:g} s); lengthen window_s"
        )
    parts, skipped = [], 0
    for row in rows.index:
        bounds = store.intervals(int(row))
        span = bounds[:, 1] - bounds[:, 0]
        length = np.minimum(longest, span // patch * patch)
        fits = length >= least
        skipped += int((~fits).sum())
        part = np.zeros(int(fits.sum()), SEGMENT)
        part["start"], part["stop"] = bounds[fits].T
        part["recording"], part["length"] = row, length[fits]
        part["count"] = 1 + (span[fits] - length[fits]) // stride
        # A trial is one window, whatever its stride: its rest is less than a step.
        part["count"][part["length"] < longest] = 1
        parts.append(part)
    segments = np.concatenate(parts) if parts else np.zeros(0, SEGMENT)
    segments, buckets = bucketed(segments, rows)
    return WindowIndex(segments, buckets, stride, skipped, store.index_hash)


def bucketed(
    segments: NDArray[np.void], rows: pd.DataFrame
) -> tuple[NDArray[np.void], list[Bucket]]:
    """Segments sorted into buckets of one layout, data set and length, and these buckets."""
    # Every recording gets the number of its (layout, data set); no loop over a million trials.
    groups = rows.groupby(["layout", "dataset", "n_channels"], sort=True)
    group_of = np.zeros(int(rows.index.max()) + 1 if len(rows) else 1, np.int64)
    group_of[rows.index] = groups.ngroup()
    facts = [(str(a), str(b), int(c)) for a, b, c in groups.size().index]
    pairs = np.stack([group_of[segments["recording"]], segments["length"]], 1)
    keys, number = np.unique(pairs, axis=0, return_inverse=True)
    segments["bucket"] = number.reshape(-1)
    segments = segments[np.argsort(segments["bucket"], kind="stable")]
    counts = np.bincount(segments["bucket"], segments["count"], len(keys)).astype(np.int64)
    buckets, first = [], 0
    for (group, n_samples), count in zip(keys.tolist(), counts.tolist(), strict=True):
        layout, dataset, n_channels = facts[group]
        buckets.append(Bucket(layout, dataset, n_channels, n_samples, first, count))
        first += count
    return segments, buckets
