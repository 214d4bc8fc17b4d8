"""Prepared recordings on disk, and windows cut from them when they are needed.

Shapes: T samples, C channels, K intervals. A store is a folder: `<dataset>/<key>.safetensors`
(one recording each, see `format.py`; what was heard lies beside it, see `stimulus.py`),
`recordings.parquet`, `channels.parquet`, `store.json`.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.format import map_samples, read_header, write_recording
from brainfm.data.index import build_tables, channels_of, read_tables
from brainfm.data.parts import split_into_parts
from brainfm.data.paths import store_root
from brainfm.data.stimulus import map_stimulus
from brainfm.data.transcript import Transcript, transcript_of
from brainfm.errors import DataError
from brainfm.types import Channels, Event, Stimulus, WindowRef, subject_id

__all__ = ["Store", "build_tables", "read_header", "split_into_parts", "write_recording"]

MAX_OPEN = 256
"""Recordings kept mapped by one process. Each holds a file descriptor, of which a process often
has 1024; opening one again costs 40 microseconds."""
MAX_SPOKEN = 1_000_000
"""Words, phonemes and sentences kept by one process (some 200 MB, 20 hours of speech); what is
beyond is read again, a header of a thousand events in 10 ms."""

Handle = tuple[NDArray[Any], NDArray[np.float32] | None]


class Store:
    """A folder of prepared recordings.

    Windows are cut at read time from memory-mapped files: nothing is copied per window on disk,
    and all processes of a machine share one page cache. Handles are opened on first use in each
    process, so a store may be used before and after a fork.

    Parameters
    ----------
    root : folder; default `$BRAINFM_DATA/store`

    Attributes
    ----------
    recordings : DataFrame, one row a recording; row numbers are `WindowRef.recording`
    recipe : what was done to every signal in it

    Raises
    ------
    DataError
        If there is no store, or its tables are damaged or do not belong together.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root) if root is not None else store_root()
        self.recipe, self.recordings, sensors = read_tables(self.root)
        self._sensors = {str(k): rows for k, rows in sensors.groupby("layout", sort=False)}
        self._paths = self.recordings["path"].tolist()
        self._shapes = self.recordings[["n_samples", "n_channels"]].to_numpy()
        self._sfreq, self._start_s = (self.recordings[c].to_numpy() for c in ("sfreq", "start_s"))
        self._bold = (self.recordings["kind"] == "BOLD").to_numpy()
        self._channels: dict[str, Channels] = {}
        self._persons: list[int] | None = None
        self._open: OrderedDict[int, Handle] = OrderedDict()
        self._pid = os.getpid()
        self._said: dict[int, Transcript] = {}
        self._spoken = 0

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        t = self.recordings
        return (
            f"Store({self.root}: {len(t)} recordings, {t['hours'].sum():.2f} h, "
            f"{t['layout'].nunique()} layouts)"
        )

    def __getstate__(self) -> dict[str, Any]:
        # Mapped files and transcripts do not travel to a spawned worker; it opens its own.
        return {**self.__dict__, "_open": OrderedDict(), "_said": {}, "_spoken": 0}

    def sfreq(self, row: int) -> float:
        """Hz of a recording as it is stored: the recipe's, or one over the TR for fMRI."""
        return float(self._sfreq[row])

    def start_s(self, row: int) -> float:
        """When the first sample of a recording was taken, on its clock."""
        return float(self._start_s[row])

    def is_bold(self, row: int) -> bool:
        """Whether a recording is fMRI."""
        return bool(self._bold[row])

    def path(self, row: int) -> Path:
        """File of a recording."""
        return self.root / self._paths[row]

    def channels(self, row: int) -> Channels:
        """Sensors of a recording, one object a layout."""
        layout = str(self.recordings["layout"].iat[row])
        if layout not in self._channels:
            self._channels[layout] = channels_of(self._sensors[layout])
        return self._channels[layout]

    def person(self, row: int) -> int:
        """Who was recorded, as `types.subject_id` says it."""
        if self._persons is None:
            t = self.recordings
            names = zip(t["dataset"], t["subject"], strict=True)
            self._persons = [subject_id(f"{d}/{s}") for d, s in names]
        return self._persons[row]

    def events(self, row: int) -> list[Event]:
        """Events of a recording, read from its header."""
        events: list[Event] = read_header(self.path(row))["events"]
        return events

    def transcript(self, row: int) -> Transcript:
        """What was said during a recording; read and checked once.

        Raises
        ------
        DataError
            If the transcript does not fit the recording; see `transcript.transcript_of`.
        """
        if row in self._said:
            return self._said[row]
        duration_s = float(self._shapes[row, 0]) / self.sfreq(row)
        said = transcript_of(self.events(row), duration_s, str(self.path(row)))
        if self._spoken + len(said) <= MAX_SPOKEN:
            self._said[row] = said
            self._spoken += len(said)
        return said

    def stimulus(self, row: int) -> dict[str, Stimulus]:
        """Features of what was heard, by name, mapped and not read; empty where there are none.

        Raises
        ------
        DataError
            If the recording names features whose file is missing or damaged.
        """
        path = self.path(row)
        return map_stimulus(path, read_header(path)["stimulus"])

    def intervals(self, row: int) -> NDArray[np.int64]:
        """(K, 2) first and one-past-last sample of the stretches that windows stay inside."""
        return np.asarray(self.recordings["intervals"].iat[row], np.int64).reshape(-1, 2)

    def read(self, ref: WindowRef) -> NDArray[np.float32]:
        """Samples of a window, (length, C) float32, SI units.

        Raises
        ------
        DataError
            If the window lies outside its recording, or the file is damaged or changed.
        """
        stored, scale = self.read_stored(ref)
        if scale is None:
            return stored.copy()
        x_TC = stored.astype(np.float32)
        x_TC *= scale
        return x_TC

    def read_stored(self, ref: WindowRef) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
        """Samples of a window as they are stored, and the scale (None: already SI)."""
        row, start, length = ref
        if start < 0 or length <= 0 or start + length > self._shapes[row, 0]:
            raise DataError(
                f"{self.path(row)}: window {start} to {start + length} lies outside its "
                f"{self._shapes[row, 0]} samples; make the plan from the present store"
            )
        signal, scale = self._handle(row)
        return signal[start : start + length], scale

    @cached_property
    def index_hash(self) -> str:
        """Hash of everything a sampling plan depends on: files, contents, intervals, splits."""
        h = hashlib.sha256()
        t = self.recordings
        for path, sha, split, group, intervals in zip(
            *(t[c] for c in ("path", "sha256", "split", "split_group", "intervals")), strict=True
        ):
            h.update("\0".join((path, sha, split, group)).encode())
            h.update(np.asarray(intervals, "<i8").tobytes())
        return h.hexdigest()[:16]

    def _handle(self, row: int) -> Handle:
        if self._pid != os.getpid():
            self._open, self._pid = OrderedDict(), os.getpid()
        handle = self._open.get(row)
        if handle is None:
            handle = self._open[row] = self._map(row)
            if len(self._open) > MAX_OPEN:
                # Oldest first: under random access as good as least recently used.
                self._open.popitem(last=False)
        return handle

    def _map(self, row: int) -> Handle:
        path = self.path(row)
        signal, scale = map_samples(path)
        if signal.shape != tuple(self._shapes[row]):
            raise DataError(
                f"{path}: holds {signal.shape} samples and channels, the table says "
                f"{tuple(int(n) for n in self._shapes[row])}; run `python -m data_prep finalize`"
            )
        return signal, None if signal.dtype == np.float32 else scale
