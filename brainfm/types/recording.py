"""What was recorded: sensors, events, stimuli, and the recording they belong to.

Shapes: B batch, C channels, T samples, W window steps, P samples in a step, S latent
sources, Q quantiser levels, D width, E events, L symbols, N frames or tokens, G slots, F features.
SI units (V, T, T/m, metres, seconds).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Kind(IntEnum):
    """What a channel measures. EEG, MAG and GRAD carry the ids of released BrainOmni weights."""

    EEG = 0
    MAG = 1
    GRAD = 2
    ECOG = 3
    SEEG = 4
    BOLD = 5
    EMG = 6
    ECG = 7


N_KINDS = len(Kind)

UNIT_OF_KIND = {
    Kind.EEG: "V",
    Kind.MAG: "T",
    Kind.GRAD: "T/m",
    Kind.ECOG: "V",
    Kind.SEEG: "V",
    Kind.BOLD: "au",
    Kind.EMG: "V",
    Kind.ECG: "V",
}

FRAMES = ("head", "mni", "device", "unknown")


@dataclass(frozen=True, eq=False)
class Channels:
    """Sensors, contacts or parcels, in the order of the signal's columns.

    Attributes
    ----------
    name : tuple of str, unique
    kind : (C,) int8, values of `Kind`
    pos_m : (C, 3) float32, metres in `frame`; NaN where unknown
    ori : (C, 3) float32, unit vectors; zeros where a sensor has no direction
    unit : tuple of str, SI (a data set in arbitrary units says "au")
    frame : one of `FRAMES`
    reference : how the recording was referenced, "unknown" if nobody wrote it down

    Raises
    ------
    ValueError
        If names repeat, lengths differ, or a position is farther than 1 m from its origin
        (millimetres called metres).
    """

    name: tuple[str, ...]
    kind: NDArray[np.int8]
    pos_m: NDArray[np.float32]
    ori: NDArray[np.float32]
    unit: tuple[str, ...]
    frame: str = "unknown"
    reference: str = "unknown"

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "name", tuple(self.name))
        set_(self, "unit", tuple(self.unit))
        n = len(self.name)
        set_(self, "kind", np.asarray(self.kind, np.int8).reshape(-1))
        set_(self, "pos_m", np.asarray(self.pos_m, np.float32).reshape(-1, 3))
        set_(self, "ori", np.asarray(self.ori, np.float32).reshape(-1, 3))
        for key in ("kind", "pos_m", "ori", "unit"):
            if len(getattr(self, key)) != n:
                raise ValueError(f"{n} channel names but {len(getattr(self, key))} of '{key}'")
        if len(set(self.name)) != n:
            twice = sorted({c for c in self.name if self.name.count(c) > 1})
            raise ValueError(f"channel names must be unique; repeated: {', '.join(twice)}")
        if self.frame not in FRAMES:
            raise ValueError(f"frame '{self.frame}' is none of {', '.join(FRAMES)}")
        unknown_kind = set(self.kind.tolist()) - set(int(k) for k in Kind)
        if unknown_kind:
            raise ValueError(f"unknown channel kind {sorted(unknown_kind)}; known: {list(Kind)}")
        known = np.asarray(np.isfinite(self.pos_m).all(1))
        far = known & (np.linalg.norm(np.where(known[:, None], self.pos_m, 0), axis=1) > 1.0)
        if far.any():
            i = int(np.flatnonzero(far)[0])
            raise ValueError(
                f"channel '{self.name[i]}' lies {np.linalg.norm(self.pos_m[i]):.1f} m from the "
                "origin; positions are metres: divide millimetres by 1000"
            )

    def __len__(self) -> int:
        return len(self.name)

    def __repr__(self) -> str:
        kinds = ", ".join(
            f"{int((self.kind == k).sum())} {Kind(k).name}" for k in np.unique(self.kind)
        )
        n_pos = int(np.isfinite(self.pos_m).all(1).sum())
        return f"Channels({kinds}; {n_pos} of {len(self)} with position, frame {self.frame})"

    def take(self, index: Any) -> Channels:
        """The channels at `index` (integers or a boolean mask), in that order."""
        i = np.arange(len(self))[np.asarray(index)]
        return Channels(
            tuple(self.name[k] for k in i),
            self.kind[i],
            self.pos_m[i],
            self.ori[i],
            tuple(self.unit[k] for k in i),
            self.frame,
            self.reference,
        )

    def layout(self) -> str:
        """Short hash of everything a model can see of the channels; batches share one layout."""
        h = hashlib.sha256()
        for part in (self.kind, self.pos_m, self.ori):
            h.update(np.ascontiguousarray(part).tobytes())
        h.update("\0".join((*self.name, *self.unit, self.frame, self.reference)).encode())
        return h.hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, for JSON; unknown positions become None."""
        pos = [None if not np.isfinite(p).all() else [float(v) for v in p] for p in self.pos_m]
        return {
            "name": list(self.name),
            "kind": [Kind(k).name for k in self.kind],
            "pos_m": pos,
            "ori": self.ori.tolist(),
            "unit": list(self.unit),
            "frame": self.frame,
            "reference": self.reference,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> Channels:
        """Inverse of `to_dict`."""
        pos = [[np.nan] * 3 if p is None else p for p in d["pos_m"]]
        return cls(
            tuple(d["name"]),
            np.array([Kind[k] for k in d["kind"]], np.int8),
            np.array(pos, np.float32).reshape(-1, 3),
            np.array(d["ori"], np.float32).reshape(-1, 3),
            tuple(d["unit"]),
            d["frame"],
            d["reference"],
        )


class Event(NamedTuple):
    """Something that happened: onset and duration in seconds from the first sample."""

    onset_s: float
    duration_s: float
    label: str


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Features of what was heard during a recording, from its first sample on.

    Attributes
    ----------
    values_NF : float32, one row a frame
    rate_hz : frames a second
    """

    values_NF: NDArray[np.float32]
    rate_hz: float

    def __post_init__(self) -> None:
        if self.values_NF.ndim != 2 or not self.rate_hz > 0:
            raise ValueError(
                f"stimulus features have shape {self.values_NF.shape} at {self.rate_hz} Hz; they "
                "must be (frames, features) at a positive rate"
            )


@dataclass
class Recording:
    """One continuous recording, or trials laid end to end, as a reader hands it over.

    Attributes
    ----------
    signal : (T, C) array, SI units
    sfreq : Hz (fMRI: 1 / TR)
    channels : Channels, in column order
    events : list of Event
    intervals_s : list of (start, stop) seconds; a window never crosses one. Trials, or the
        stretches between discontinuities and bad annotations. Default: everything.
    dataset, subject, session, name : identity; `subject` is "unknown" where nobody says
    split : official split ("train", "val", "test") where the data set has one, else None
    split_group : the unit splits keep apart. Default `dataset/subject`
    line_freq : Hz, None if unknown
    source : path of the file it came from, for error messages
    notes : what the reader corrected or dropped, one sentence each
    stimulus : name of a feature to its `Stimulus`; kept beside the signal in the store
    start_s : when the first sample was taken, on the recording's clock; events and intervals
        count from that sample. fMRI: frames left out at the start, and when a frame was taken
        within its TR
    clock : recordings of a data set that share one were made at once, and their `start_s` can be
        compared. Empty: its own
    """

    signal: NDArray[np.floating]
    sfreq: float
    channels: Channels
    dataset: str
    subject: str
    session: str = ""
    name: str = ""
    events: list[Event] = field(default_factory=list)
    intervals_s: list[tuple[float, float]] = field(default_factory=list)
    split: str | None = None
    split_group: str = ""
    line_freq: float | None = None
    source: str = ""
    notes: list[str] = field(default_factory=list)
    stimulus: dict[str, Stimulus] = field(default_factory=dict)
    start_s: float = 0.0
    clock: str = ""

    def __post_init__(self) -> None:
        if self.signal.ndim != 2 or self.signal.shape[1] != len(self.channels):
            raise ValueError(
                f"{self.source or self.name}: signal has shape {self.signal.shape}, "
                f"but there are {len(self.channels)} channels; it must be (samples, channels)"
            )
        if not self.split_group:
            self.split_group = f"{self.dataset}/{self.subject}"
        if not self.intervals_s:
            self.intervals_s = [(0.0, self.duration_s)]

    @property
    def duration_s(self) -> float:
        return self.signal.shape[0] / self.sfreq

    @property
    def is_bold(self) -> bool:
        """fMRI: frames at a rate of their own, and filters of their own."""
        return bool((self.channels.kind == Kind.BOLD).all())

    def __repr__(self) -> str:
        return (
            f"Recording({self.dataset}/{self.subject}/{self.name}: {self.duration_s:.1f} s at "
            f"{self.sfreq:g} Hz, {self.channels!r}, {len(self.events)} events)"
        )


def subject_id(name: str) -> int:
    """Number that stands for "dataset/subject" in a batch: the same in every store."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")
