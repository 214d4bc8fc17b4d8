"""Which windows there are: stretches of recordings, from which windows are computed.

Shapes: K segments, N windows. A segment costs 40 bytes however long it is, so that 10,000 hours
are as quick to open as one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from brainfm.data.collate import whole_frames
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
        ("stride", "<i4"),  # samples from one window to the next
        ("patch", "<i4"),  # samples in a step of the model
    ]
)


@dataclass(frozen=True)
class Bucket:
    """Windows that fit into one batch: same sensors, rate and length."""

    layout: str
    dataset: str
    sfreq: float
    n_channels: int
    n_samples: int
    patch: int
    """Samples in a step; a window has `n_samples // patch` of them."""
    first: int
    """Number of its first window; the others follow it."""
    count: int


class WindowIndex:
    """Windows cut from the intervals of some recordings, numbered bucket by bucket.

    Parameters
    ----------
    segments : array of `SEGMENT`, sorted by bucket
    buckets : what the bucket numbers mean
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
        skipped: int = 0,
        store_hash: str = "",
    ) -> None:
        self.segments, self.buckets = segments, buckets
        self.skipped = skipped
        self._first = np.concatenate([[0], np.cumsum(segments["count"], dtype=np.int64)])
        h = hashlib.sha256(store_hash.encode())
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
        start = s["start"] + (n - self._first[k]) * s["stride"]
        if jitter_key is not None:
            start += np.floor((uniform(n, jitter_key) - 0.5) * s["stride"]).astype(np.int64)
            start = np.clip(start, s["start"], s["stop"] - s["length"])
        columns = (s["recording"].tolist(), start.tolist(), s["length"].tolist())
        return [WindowRef(*ref) for ref in zip(*columns, strict=True)]

    @property
    def seconds(self) -> float:
        """Of all windows; where they overlap it counts twice."""
        return sum(b.count * b.n_samples / b.sfreq for b in self.buckets)


@dataclass(frozen=True)
class Cut:
    """How long windows are, and the steps in them; fMRI may have its own lengths.

    Parameters
    ----------
    window_s : seconds a window lasts; a shorter interval (a trial) gives one of its own length
    stride_s : seconds from window to window. Default: `window_s`
    min_s : shortest window. Default: one step
    patch_s : seconds of a step; windows hold whole ones. None: a window is one step
    """

    window_s: float
    stride_s: float | None = None
    min_s: float | None = None
    patch_s: float | None = None

    def patch(self, sfreq: float) -> int | None:
        """Samples in a step.

        Raises
        ------
        DataError
            If it is no whole number of them.
        """
        if self.patch_s is None:
            return None
        samples = self.patch_s * sfreq
        if abs(samples - round(samples)) > 1e-6 or samples < 1:
            raise DataError(
                f"patch_s {self.patch_s:g} is {samples:g} samples at {sfreq:g} Hz; choose a whole "
                "number of samples"
            )
        return round(samples)


def cut_windows(store: Store, rows: pd.DataFrame, cut: Cut, bold: Cut | None = None) -> WindowIndex:
    """Windows of the chosen recordings, inside their intervals.

    Parameters
    ----------
    store : Store
    rows : of `store.recordings`
    cut : of electrophysiology
    bold : of fMRI, whose steps are rounded to whole frames (a step of 20 s is 28 frames of 0.72 s,
        20.16 s). Default: `cut`

    Raises
    ------
    DataError
        If a window holds no step, a step is no whole number of samples, or the stride is not
        positive.
    """
    parts, skipped = [], 0
    for row in rows.index:
        found, short = _cut_one(store, int(row), cut, bold or cut)
        parts.append(found)
        skipped += short
    segments = np.concatenate(parts) if parts else np.zeros(0, SEGMENT)
    segments, buckets = bucketed(segments, rows)
    return WindowIndex(segments, buckets, skipped, store.index_hash)


def _cut_one(store: Store, row: int, cut: Cut, bold: Cut) -> tuple[NDArray[np.void], int]:
    """Segments of one recording, and how many intervals were too short."""
    sfreq = store.sfreq(row)
    if store.is_bold(row):
        cut, patch = bold, whole_frames(bold.patch_s, sfreq)
    else:
        patch = cut.patch(sfreq)
    step = patch or 1
    longest = int(round(cut.window_s * sfreq)) // step * step
    stride = int(round((cut.stride_s or cut.window_s) * sfreq))
    # Without steps all windows are one length, unless somebody asks for shorter ones.
    least_s = cut.window_s if patch is None and cut.min_s is None else cut.min_s
    least = max(step, int(round((least_s or 0) * sfreq)))
    if longest < least or stride < 1:
        raise DataError(
            f"window_s is {cut.window_s:g} and stride_s {cut.stride_s or cut.window_s:g}: at "
            f"{sfreq:g} Hz a window must hold at least {least} samples ({least / sfreq:g} s); "
            "lengthen window_s"
        )
    bounds = store.intervals(row)
    span = bounds[:, 1] - bounds[:, 0]
    length = np.minimum(longest, span // step * step)
    fits = length >= least
    part = np.zeros(int(fits.sum()), SEGMENT)
    part["start"], part["stop"] = bounds[fits].T
    part["recording"], part["length"], part["stride"] = row, length[fits], stride
    part["patch"] = part["length"] if patch is None else patch
    part["count"] = 1 + (span[fits] - length[fits]) // stride
    # A trial is one window, whatever its stride: its rest is less than a step.
    part["count"][part["length"] < longest] = 1
    return part, int((~fits).sum())


def bucketed(
    segments: NDArray[np.void], rows: pd.DataFrame
) -> tuple[NDArray[np.void], list[Bucket]]:
    """Segments sorted into buckets of one layout, data set, rate and length, and these buckets."""
    # Every recording gets the number of its (layout, data set, rate); no loop over trials.
    groups = rows.groupby(["layout", "dataset", "sfreq", "n_channels"], sort=True)
    group_of = np.zeros(int(rows.index.max()) + 1 if len(rows) else 1, np.int64)
    group_of[rows.index] = groups.ngroup()
    facts = [(str(a), str(b), float(c), int(d)) for a, b, c, d in groups.size().index]
    triples = [group_of[segments["recording"]], segments["length"], segments["patch"]]
    keys, number = np.unique(np.stack(triples, 1), axis=0, return_inverse=True)
    segments["bucket"] = number.reshape(-1)
    segments = segments[np.argsort(segments["bucket"], kind="stable")]
    counts = np.bincount(segments["bucket"], segments["count"], len(keys)).astype(np.int64)
    buckets, first = [], 0
    for (group, n_samples, patch), count in zip(keys.tolist(), counts.tolist(), strict=True):
        layout, dataset, sfreq, n_channels = facts[group]
        buckets.append(Bucket(layout, dataset, sfreq, n_channels, n_samples, patch, first, count))
        first += count
    return segments, buckets
