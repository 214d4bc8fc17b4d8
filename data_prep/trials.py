"""Labelled trials with an official split, laid end to end into recordings.

Shapes: T samples, C channels. One interval and one event a trial; windows never cross a trial.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.signals.filters import NO_HIGHPASS, resample_trial
from brainfm.signals.preprocess import Recipe
from brainfm.signals.quality import check_quality, repair_spikes
from brainfm.types import Channels, Event, Recording
from data_prep.dataset import DataSet, Facts, Job, Package, Progress
from data_prep.download import source_folder, unpack, unpacked
from data_prep.readers.ts import Trials, read_ts

VAL_SHARE = 0.1
"""Share of the official training trials that only ever validates."""


@dataclass(frozen=True)
class TrialSpec:
    """How the files of a trial set are to be understood.

    Attributes
    ----------
    train, test : paths inside the package
    sfreq : Hz
    scale : SI value of one unit of the file
    """

    train: str
    test: str
    sfreq: float
    scale: float


class TrialSet(DataSet):
    """A data set of trials in two `.ts` files, TRAIN and TEST.

    Three recordings: "test" holds the official TEST trials; "train" and "val" the official TRAIN
    trials, about 9 to 1 by a hash of each trial's index. Trials are too short for a 0.1 Hz
    high-pass; the mean of each channel over the TRAIN trials is removed instead, also from TEST.
    """

    def __init__(self, name: str, facts: Facts, spec: TrialSpec) -> None:
        self.name, self.facts, self.spec = name, facts, spec

    def channels(self) -> Channels:
        """Channels in the order of the file; nominal where the file names none."""
        raise NotImplementedError

    def fetch(self, root: Path, say: Progress) -> None:
        unpack(self._package(), self._members(), root, say)

    def jobs(self, root: Path) -> list[Job]:
        names = list(self._members().values())
        if not unpacked(self._package(), names, root):
            return []
        files = tuple(str(source_folder(self._package(), root) / n) for n in names)
        return [Job(self.name, split, files) for split in ("train", "val", "test")]

    def load(self, job: Job, recipe: Recipe) -> Recording:
        train, test = (_read(f, Path(f).stat().st_mtime_ns) for f in job.files)
        channels, spec = self.channels(), self.spec
        if train.x[0].shape[0] != len(channels) or test.x[0].shape[0] != len(channels):
            raise DataError(
                f"{job.files[0]}: has {train.x[0].shape[0]} channels, not the {len(channels)} of "
                f"{self.name}; fetch it again"
            )
        keep, notes = without_repeats(train, test)
        train_x = [train.x[i].T * spec.scale for i in keep]
        test_x = [x.T * spec.scale for x in test.x]
        # All official trials are judged together: channels dropped in one part only would
        # leave TRAIN and TEST with different sensors.
        everything = np.concatenate(train_x + test_x)
        lengths = [len(x) for x in train_x + test_x]
        edges = np.concatenate([[0], np.cumsum(lengths)])
        spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
        report = check_quality(everything, spec.sfreq, channels, self.facts.line_freq, spans)
        if report.refusal:
            raise DataError(
                f"{self.name}: {report.refusal}; in the file as published, leave the data set out"
            )
        repair_spikes(everything, report)
        good = report.good(len(channels))
        notes += report.notes + [
            f"channel '{channels.name[c]}' is dropped: {why}" for c, why in report.bad.items()
        ]
        trials = [everything[a:b, good] for a, b in spans]
        mean_C = np.concatenate(trials[: len(train_x)]).mean(0)
        if job.name == "test":
            chosen = range(len(train_x), len(trials))
        else:
            chosen = [k for k, i in enumerate(keep) if _part(self.name, i) == job.name]
        labels = [train.label[i] for i in keep] + test.label
        return lay_out(
            [trials[k] - mean_C for k in chosen],
            [labels[k] for k in chosen],
            sfreq=spec.sfreq,
            recipe=recipe,
            channels=channels.take(good),
            dataset=self.name,
            name=job.name,
            source=job.files[1 if job.name == "test" else 0],
            line_freq=self.facts.line_freq,
            notes=[*self.facts.nominal, *notes],
        )

    def _members(self) -> dict[str, str]:
        return {m: m.rsplit("/", 1)[-1] for m in (self.spec.train, self.spec.test)}

    def _package(self) -> Package:
        assert isinstance(self.facts.origin, Package)
        return self.facts.origin


def lay_out(
    trials: Sequence[NDArray[np.floating]],
    labels: Sequence[str],
    *,
    sfreq: float,
    recipe: Recipe,
    channels: Channels,
    dataset: str,
    name: str,
    source: str,
    line_freq: float | None,
    notes: list[str],
) -> Recording:
    """Resample trials one by one and put them end to end.

    Parameters
    ----------
    trials : (T, C) arrays, SI units, without their TRAIN mean
    labels : class of each, becomes the label of its event
    name : "train", "val" or "test", also the official split

    Returns
    -------
    Recording; `split_group` is the part itself, because the files name no subjects
    """
    if not trials:
        raise DataError(f"{source}: no trial falls into '{name}'; leave the part out")
    parts = [resample_trial(x, sfreq, recipe.sfreq) for x in trials]
    edges = np.concatenate([[0], np.cumsum([len(p) for p in parts])]) / recipe.sfreq
    spans = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    return Recording(
        signal=np.concatenate(parts).astype(np.float32),
        sfreq=recipe.sfreq,
        channels=channels,
        dataset=dataset,
        subject="unknown",
        name=name,
        events=[Event(a, b - a, label) for (a, b), label in zip(spans, labels, strict=True)],
        intervals_s=spans,
        split=name,
        split_group=f"{dataset}/{name}",
        line_freq=line_freq,
        source=source,
        notes=[
            f"{NO_HIGHPASS} (trials are too short for it); the mean of each channel over the "
            "official TRAIN trials is removed, no notch and no low-pass beyond anti-aliasing",
            "subjects are not named in the files: the split is the official one, by trial",
            *notes,
        ],
    )


def without_repeats(train: Trials, test: Trials) -> tuple[list[int], list[str]]:
    """Indices of TRAIN trials that are neither in TEST nor earlier in TRAIN, and what was found.

    A trial that lies in both files would be seen in training and scored afterwards.
    """
    in_test = {_digest(x) for x in test.x}
    seen: set[str] = set()
    keep, leaked, repeated = [], [], []
    for i, x in enumerate(train.x):
        mark = _digest(x)
        if mark in in_test:
            leaked.append(i)
        elif mark in seen:
            repeated.append(i)
        else:
            keep.append(i)
        seen.add(mark)
    notes = []
    for what, rows in (
        ("also lie in TEST and are left out of training", leaked),
        ("repeat earlier TRAIN trials and are left out", repeated),
    ):
        if rows:
            notes.append(f"{len(rows)} TRAIN trials (numbers {_ranges(rows)}, from 0) {what}")
    n_test = len(test.x) - len(in_test)
    if n_test:
        notes.append(f"{n_test} TEST trials repeat other TEST trials; the official set keeps them")
    return keep, notes


def _part(dataset: str, index: int) -> str:
    digest = hashlib.sha256(f"{dataset}/{index}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") / 2**64 < VAL_SHARE else "train"


def _digest(x: NDArray[np.float64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()


def _ranges(rows: list[int]) -> str:
    out: list[str] = []
    start = last = rows[0]
    for i in [*rows[1:], -1]:
        if i == last + 1:
            last = i
            continue
        out.append(f"{start}" if start == last else f"{start} to {last}")
        start = last = i
    return ", ".join(out[:4]) + (", ..." if len(out) > 4 else "")


@lru_cache(maxsize=2)
def _read(path: str, mtime_ns: int) -> Trials:
    # The three recordings of a set read the same two files.
    return read_ts(path)
