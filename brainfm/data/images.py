"""Windows of fMRI around images that were seen, and a vector for each image.

The image side is a table of vectors, one a name, made by whatever looks at images; events
`image:<name>` say when each was shown. An image that another split is judged on is not learned
from.

Shapes: B batch, N images, E numbers of a vector.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from brainfm.data.collate import WindowDataset
from brainfm.data.store import Store
from brainfm.data.windows import SEGMENT, WindowIndex, bucketed
from brainfm.errors import DataError
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Event, SignalBatch, WindowRef

PREFIX = "image:"
JUDGED_ON = {"train": ("val", "test"), "val": ("test",), "test": ()}
"""An image of the splits on the right may not be seen in the split on the left."""


@dataclass(frozen=True)
class ImageTargets:
    """Which vectors stand for images, and what part of a run answers to one."""

    table: str = ""
    """File of an `ImageTable`."""
    since_s: float = 0.0
    """Where a window begins, after the onset of its image."""
    until_s: float = 12.0
    """Where it ends. Blood answers after 4 to 6 s and is back after some 12."""

    def __post_init__(self) -> None:
        if not self.table:
            raise ValueError("images has no table; give the file of the images' vectors")
        if not self.until_s > self.since_s:
            raise ValueError(
                f"a window from {self.since_s:g} to {self.until_s:g} s is empty; raise until_s"
            )


@dataclass(frozen=True, eq=False)
class ImageTable:
    """Vectors of images.

    Attributes
    ----------
    names : unique, without "image:"
    vector_NE : float32
    source : what made the vectors, one line
    """

    names: tuple[str, ...]
    vector_NE: NDArray[np.float32]
    source: str = ""

    def __post_init__(self) -> None:
        x = self.vector_NE
        if x.ndim != 2 or len(x) != len(self.names):
            raise DataError(
                f"vectors of shape {x.shape} for {len(self.names)} images; give one row an image"
            )
        if len(set(self.names)) < len(self.names):
            twice = next(n for n in self.names if self.names.count(n) > 1)
            raise DataError(f"image '{twice}' has several vectors; keep one")
        bad = np.flatnonzero(~np.isfinite(x).all(1) | ~x.any(1))
        if len(bad):
            raise DataError(
                f"the vector of image '{self.names[bad[0]]}' is not finite, or nothing but zeros; "
                "make it again"
            )

    @classmethod
    def read(cls, path: str | Path) -> ImageTable:
        """From a safetensors file that `write` wrote, or one like it.

        Raises
        ------
        DataError
            If it is none, or its names and vectors do not fit.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "np") as file:
                about = file.metadata() or {}
                vector_NE = np.asarray(file.get_tensor("vector"), np.float32)
            names = tuple(str(n) for n in json.loads(about["names"]))
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as e:
            raise DataError(
                f"{path}: no table of images ({e}); it wants an array 'vector' and, as metadata, "
                "'names' as a JSON list"
            ) from e
        try:
            return cls(names, vector_NE, about.get("source", ""))
        except DataError as e:
            raise DataError(f"{path}: {e}") from e

    def write(self, path: str | Path) -> Path:
        """As safetensors."""
        from safetensors.numpy import save_file

        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"names": json.dumps(self.names), "source": self.source}
        save_file({"vector": np.ascontiguousarray(self.vector_NE)}, path, metadata=about)
        return path

    def of(self, names: Sequence[str], where: str = "") -> NDArray[np.float32]:
        """(B, E) vectors of images.

        Raises
        ------
        DataError
            If one has none.
        """
        known = {n: i for i, n in enumerate(self.names)}
        missing = sorted(set(names) - set(known))
        if missing:
            raise DataError(
                f"{where}: image '{missing[0]}' and {len(missing) - 1} more have no vector among "
                f"the table's {len(known)}; make the table for all images that were shown"
            )
        return self.vector_NE[[known[n] for n in names]]


def shown(store: Store, row: int) -> list[Event]:
    """Events of images, their labels without "image:"."""
    return [
        e._replace(label=e.label.removeprefix(PREFIX))
        for e in store.events(row)
        if e.label.startswith(PREFIX)
    ]


def images_judged_on(store: Store, rows: pd.DataFrame, split: str) -> frozenset[str]:
    """Images among `rows` of those splits that `split` must not see; see `JUDGED_ON`."""
    others = rows[rows["split"].isin(JUDGED_ON[split])]
    return frozenset(e.label for row in others.index for e in shown(store, int(row)))


def image_windows(store: Store, row: int, targets: ImageTargets) -> dict[WindowRef, str]:
    """Windows of one recording, each with the name of its image; whole ones only."""
    sfreq, inside_K2 = store.sfreq(row), store.intervals(row)
    n = max(1, round((targets.until_s - targets.since_s) * sfreq))
    found = {}
    for e in shown(store, row):
        first = round((e.onset_s + targets.since_s) * sfreq)
        if ((inside_K2[:, 0] <= first) & (first + n <= inside_K2[:, 1])).any():
            found[WindowRef(row, first, n)] = e.label
    return found


def cut_images(
    store: Store,
    rows: pd.DataFrame,
    targets: ImageTargets,
    elsewhere: Collection[str] = frozenset(),
) -> tuple[WindowIndex, int]:
    """Windows of the chosen recordings, and how many were left out for their image.

    Parameters
    ----------
    rows : of `store.recordings`, of one split
    elsewhere : images that windows must not show; see `images_judged_on`

    Raises
    ------
    DataError
        If recordings show no image at all.
    """
    found = {
        ref: name
        for row in rows.index
        for ref, name in image_windows(store, int(row), targets).items()
    }
    if len(rows) and not found:
        raise DataError(
            f"{store.path(int(rows.index[0]))}: has no whole window after an event 'image:...', "
            f"like all {len(rows)} recordings chosen; choose data sets with images"
        )
    kept = [ref for ref, name in found.items() if name not in elsewhere]
    segments = np.zeros(len(kept), SEGMENT)
    for i, ref in enumerate(kept):
        span = (ref.start, ref.start + ref.length)
        segments[i] = (*span, ref.recording, ref.length, 1, 0, 1, ref.length)
    segments, buckets = bucketed(segments, rows)
    left_out = len(found) - len(kept)
    return WindowIndex(segments, buckets, left_out, store.index_hash), left_out


class ImageWindows(WindowDataset):
    """`WindowDataset` whose batches carry the vectors of the images, `stimulus_BNF` of one frame.

    Parameters
    ----------
    store, preprocess : as in `WindowDataset`
    targets : ImageTargets, those that the windows were cut with
    """

    def __init__(self, store: Store, preprocess: Preprocess, targets: ImageTargets) -> None:
        super().__init__(store, preprocess)
        self.targets, self.table = targets, ImageTable.read(targets.table)
        self._names: dict[int, dict[WindowRef, str]] = {}

    def __getitem__(self, refs: Sequence[WindowRef]) -> SignalBatch:
        batch = super().__getitem__(refs)
        vector_BE = self.table.of(self.names(refs), self.targets.table)
        batch.stimulus_BNF = torch.from_numpy(vector_BE)[:, None]
        return batch

    def names(self, refs: Sequence[WindowRef]) -> list[str]:
        """Images that these windows show.

        Raises
        ------
        DataError
            If a window is none of those that the targets give.
        """
        out = []
        for ref in refs:
            if ref.recording not in self._names:
                self._names[ref.recording] = image_windows(self.store, ref.recording, self.targets)
            name = self._names[ref.recording].get(ref)
            if name is None:
                raise DataError(
                    f"{self.store.path(ref.recording)}: no image has its window at samples "
                    f"{ref.start} to {ref.start + ref.length}; cut windows with the same targets"
                )
            out.append(name)
        return out
