"""Recordings made at once: windows of the same seconds from all that share a clock.

One recording leads: the first of the fastest. Its windows are cut where all others have samples
too; the others follow by the clock, fMRI by the frames that were taken during the window.

Shapes: K intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from brainfm.data.collate import WindowDataset
from brainfm.data.windows import SEGMENT, Cut, WindowIndex, bucketed
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Simultaneous, WindowRef

if TYPE_CHECKING:
    from brainfm.data.store import Store


def made_at_once(store: Store, rows: pd.DataFrame) -> dict[int, tuple[int, ...]]:
    """Row of each leading recording to the rows of those made with it.

    Raises
    ------
    DataError
        If no clock is shared, or recordings of one clock are in different splits.
    """
    found: dict[int, tuple[int, ...]] = {}
    for (dataset, clock), group in rows[rows["clock"] != ""].groupby(["dataset", "clock"]):
        if len(group) < 2:
            continue
        if group["split"].nunique() > 1:
            raise DataError(
                f"{dataset}: recordings of the clock '{clock}' are in the splits "
                f"{', '.join(sorted(group['split'].unique()))}; give them one split_group and "
                "prepare again"
            )
        order = group.sort_values(["sfreq", "path"], ascending=[False, True]).index
        found[int(order[0])] = tuple(int(r) for r in order[1:])
    if not found:
        raise DataError(
            f"none of {len(rows)} chosen recordings share a clock, so none were made at once; "
            "leave data.simultaneous out, or choose others (the column 'clock')"
        )
    return found


def cut_simultaneous(
    store: Store, rows: pd.DataFrame, others: Mapping[int, Sequence[int]], cut: Cut
) -> WindowIndex:
    """Windows of leading recordings, where all recordings of their clock have samples.

    Parameters
    ----------
    store : Store
    rows : of `store.recordings`
    others : of `made_at_once`
    cut : of the leading recordings
    """
    leading = rows.loc[[r for r in rows.index if r in others]].copy()
    layout = store.recordings["layout"]
    # A batch holds one layout of every recording, not of the leading one alone.
    leading["layout"] = ["+".join(layout[[r, *others[r]]]) for r in leading.index]
    many = store.recordings["n_channels"]
    leading["n_channels"] = [int(many[[r, *others[r]]].sum()) for r in leading.index]
    parts, skipped = [], 0
    for row in leading.index:
        sfreq = store.sfreq(row)
        patch = cut.patch(sfreq) or 1
        length = round(cut.window_s * sfreq) // patch * patch
        stride = max(1, round((cut.stride_s or cut.window_s) * sfreq))
        shared_K2 = _shared(store, [row, *others[row]]) - store.start_s(row)
        first_K = np.ceil(shared_K2[:, 0] * sfreq - 1e-4).astype(np.int64)
        last_K = np.floor(shared_K2[:, 1] * sfreq + 1e-4).astype(np.int64)
        fits = last_K - first_K >= max(length, 1)
        skipped += int((~fits).sum())
        part = np.zeros(int(fits.sum()), SEGMENT)
        part["start"], part["stop"] = first_K[fits], last_K[fits]
        part["recording"], part["length"], part["stride"] = row, length, stride
        part["patch"] = length if cut.patch_s is None else patch
        part["count"] = 1 + (last_K[fits] - first_K[fits] - length) // stride
        parts.append(part)
    segments = np.concatenate(parts) if parts else np.zeros(0, SEGMENT)
    return WindowIndex(*bucketed(segments, leading), skipped, store.index_hash)


class SimultaneousWindows(WindowDataset):
    """`WindowDataset` whose batches hold the same seconds of all recordings of a clock.

    Parameters
    ----------
    store, preprocess, patch : see `WindowDataset`; fMRI is one step, however many frames it has
    others : of `made_at_once`
    """

    def __init__(
        self,
        store: Store,
        preprocess: Preprocess,
        patch: int | None,
        others: Mapping[int, Sequence[int]],
    ) -> None:
        super().__init__(store, preprocess, patch)
        self.others = others

    def __getitem__(self, refs: Sequence[WindowRef]) -> Any:
        return Simultaneous(
            (
                super().__getitem__(refs),
                *(
                    super(SimultaneousWindows, self).__getitem__([self._of(r, k) for r in refs])
                    for k in range(len(self.others[refs[0].recording]))
                ),
            )
        )

    def _of(self, ref: WindowRef, k: int) -> WindowRef:
        """The window of the k-th other recording during `ref`."""
        store, row = self.store, self.others[ref.recording][k]
        sfreq, lead_hz = store.sfreq(row), store.sfreq(ref.recording)
        since_s = store.start_s(ref.recording) + ref.start / lead_hz - store.start_s(row)
        length = int(np.floor(ref.length / lead_hz * sfreq + 1e-4))
        if length < 1:
            raise DataError(
                f"{store.path(row)}: a window of {ref.length / lead_hz:g} s holds none of its "
                f"frames, which come every {1 / sfreq:g} s; lengthen window_s"
            )
        # The first frame that was taken inside the window; then as many as always fit.
        start = int(np.ceil(since_s * sfreq - 1e-4))
        last = int(store.recordings["n_samples"].to_numpy()[row]) - length
        return WindowRef(row, min(start, last), length)


def _shared(store: Store, rows: Sequence[int]) -> NDArray[np.float64]:
    """(K, 2) seconds on the clock that lie inside an interval of every recording."""
    shared = np.array([[-np.inf, np.inf]])
    for row in rows:
        mine = store.intervals(row) / store.sfreq(row) + store.start_s(row)
        start = np.maximum(shared[:, None, 0], mine[None, :, 0])
        stop = np.minimum(shared[:, None, 1], mine[None, :, 1])
        both = np.stack([start, stop], -1).reshape(-1, 2)
        shared = both[both[:, 1] > both[:, 0]]
    return shared[np.argsort(shared[:, 0])]
