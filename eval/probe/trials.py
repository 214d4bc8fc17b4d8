"""Labelled trials of a store, with the test trials sealed until everything is fitted.

Shapes: N trials, C channels, T samples. SI units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from brainfm.types import Channels, WindowRef


@dataclass(frozen=True)
class ProbeSpec:
    """What to decode in a data set, and how trials are divided."""

    dataset: str
    """Name in the store's table."""
    title: str = ""
    labels: tuple[str, ...] = ()
    """Event labels that are classes; empty: every label that occurs."""
    split: str = "official"
    """"official": train and val against test. "leave-one-run-out": each run once the test."""
    seconds: float | None = None
    """Length of a trial from its onset; None: the shortest event of a class."""
    imagery: bool = False
    """Add the 8 to 30 Hz baselines of motor execution and imagery."""


SPECS = {
    s.dataset: s
    for s in (
        ProbeSpec("aeon_hmd", "HandMovementDirection (MEG)"),
        ProbeSpec("aeon_blink", "Blink (EEG)"),
        ProbeSpec("aeon_eyes", "EyesOpenShut (EEG)"),
        ProbeSpec(
            "eegmmidb",
            "eegmmidb S001, left or right fist (EEG)",
            ("left_fist", "right_fist"),
            "leave-one-run-out",
            # The shortest cue lasts 4.1 s; the first four seconds exist in every trial.
            seconds=4.0,
            imagery=True,
        ),
    )
}

ALIASES = {
    "HandMovementDirection": "aeon_hmd",
    "Blink": "aeon_blink",
    "EyesOpenShut": "aeon_eyes",
}


def spec_of(name: str) -> ProbeSpec:
    """The spec of a data set by its store name or its common name; unknown ones get defaults."""
    name = ALIASES.get(name, name)
    return SPECS.get(name, ProbeSpec(name, name))


@dataclass
class Trials:
    """Trials of one channel layout, ready for decoders.

    Attributes
    ----------
    x_NCT : float32, SI units
    y_N : int64, index into `classes`
    group_N : the recording or run each trial comes from
    """

    x_NCT: NDArray[np.float32]
    y_N: NDArray[np.int64]
    group_N: NDArray[np.str_]
    classes: tuple[str, ...]
    channels: Channels
    sfreq: float

    def __len__(self) -> int:
        return len(self.y_N)


@dataclass
class SealedTrials:
    """References to test trials. No sample or label is read before `open`, which comes once.

    `open` asks for the fitted decoders, so that nothing can still be chosen after it.
    """

    store: Store
    refs: list[WindowRef]
    labels: list[str]
    groups: list[str]
    classes: tuple[str, ...]
    opened: bool = field(default=False, init=False)

    def __len__(self) -> int:
        return len(self.refs)

    def open(self, fitted: Mapping[str, Any]) -> Trials:
        """Read the test trials.

        Parameters
        ----------
        fitted : route -> decoders; every one must already be fitted

        Raises
        ------
        ContractError
            If there is nothing fitted yet, or the seal was broken before.
        """
        if self.opened:
            raise ContractError(
                "the test trials were read before; fit every route first, then open once"
            )
        if not fitted or any(not decoders for decoders in fitted.values()):
            raise ContractError("the test trials stay sealed until every route is fitted")
        self.opened = True
        return _read(self.store, self.refs, self.labels, self.groups, self.classes)


@dataclass
class Fold:
    """One training set and the sealed trials it is judged on."""

    train: Trials
    test: SealedTrials
    name: str = "official"
    left_out: int = 0
    """Trials of the data set with other channels than these."""


def folds_of(store: Store, spec: ProbeSpec) -> Iterator[Fold]:
    """Folds of a data set, one for official splits, one a run for leave-one-run-out.

    Raises
    ------
    DataError
        If the data set is not in the store, has no labels, or no trials on one side.
    """
    table = store.recordings
    rows = np.flatnonzero((table["dataset"] == spec.dataset).to_numpy())
    if len(rows) == 0:
        known = ", ".join(sorted(table["dataset"].unique())) or "nothing"
        raise DataError(
            f"{store.root}: holds no data set '{spec.dataset}' (it has {known}); prepare it with "
            f"`python -m data_prep run {spec.dataset}`"
        )
    found = [_events(store, int(r), spec) for r in rows]
    all_labels = sorted({label for events in found for _, _, label in events})
    classes = spec.labels or tuple(all_labels)
    if len(set(all_labels)) < 2:
        raise DataError(
            f"{spec.dataset}: its events name {len(all_labels)} class; a probe needs at least two"
        )
    longest = min(n for events in found for _, n, _ in events)
    n_samples = longest if spec.seconds is None else round(spec.seconds * store.recipe.sfreq)
    pool = [
        (WindowRef(int(row), start, n_samples), label, int(row))
        for row, events in zip(rows, found, strict=True)
        for start, n, label in events
        if n >= n_samples
    ]
    # A decoder needs one set of channels: the layout with most trials stays.
    layout = table["layout"].to_numpy()
    most = Counter(layout[row] for _, _, row in pool).most_common(1)[0][0]
    left_out = sum(layout[row] != most for _, _, row in pool)
    pool = [p for p in pool if layout[p[2]] == most]
    if spec.split == "official":
        split = table["split"].to_numpy()
        pairs = [("official", [p for p in pool if split[p[2]] == "test"])]
    else:
        sides = sorted({p[2] for p in pool})
        pairs = [(_name(store, row), [p for p in pool if p[2] == row]) for row in sides]
    for name, test in pairs:
        out = {id(p) for p in test}
        train = [p for p in pool if id(p) not in out]
        if not test or not train:
            side = "test" if not test else "training"
            raise DataError(
                f"{spec.dataset}: no {side} trial; prepare all of its splits and runs first"
            )
        yield Fold(
            _read(store, *_columns(store, train), classes),
            SealedTrials(store, *_columns(store, test), classes),
            name,
            left_out,
        )


def _events(store: Store, row: int, spec: ProbeSpec) -> list[tuple[int, int, str]]:
    """(first sample, samples, label) of the events that lie inside one interval."""
    sfreq = store.recipe.sfreq
    out = []
    intervals = store.intervals(row)
    for e in store.events(row):
        if spec.labels and e.label not in spec.labels:
            continue
        start, n = round(e.onset_s * sfreq), round(e.duration_s * sfreq)
        inside = (intervals[:, 0] <= start) & (start + n <= intervals[:, 1])
        if n > 0 and inside.any():
            out.append((start, n, e.label))
    return out


def _name(store: Store, row: int) -> str:
    table = store.recordings
    return str(table["name"].iat[row] or table["path"].iat[row])


def _columns(store: Store, pool: list) -> tuple[list[WindowRef], list[str], list[str]]:
    return [p[0] for p in pool], [p[1] for p in pool], [_name(store, p[2]) for p in pool]


def _read(
    store: Store,
    refs: list[WindowRef],
    labels: list[str],
    groups: list[str],
    classes: tuple[str, ...],
) -> Trials:
    x_NCT = np.stack([store.read(ref).T for ref in refs])
    return Trials(
        np.ascontiguousarray(x_NCT, np.float32),
        np.array([classes.index(label) for label in labels], np.int64),
        np.array(groups),
        tuple(classes),
        store.channels(refs[0].recording),
        float(store.recipe.sfreq),
    )
