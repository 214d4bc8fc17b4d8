"""The three splits of Neuroprobe, and the refusal of those that leak.

Words of a movie follow each other by less than a second: a window beside a training window is all
but seen. Folds therefore are stretches of time, never draws of words; other sessions are other
movies, and other subjects hear other movies.

Rules: `neuroprobe` 0.1.8, train_test_splits.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brainfm.errors import DataError
from data_prep.readers.neuroprobe import MOVIES
from data_prep.readers.neuroprobe_tasks import SECOND, Samples

LITE_TRIALS = (
    *((1, 1), (1, 2), (2, 0), (2, 4), (3, 0), (3, 1)),
    *((4, 0), (4, 1), (7, 0), (7, 1), (10, 0), (10, 1)),
)
"""Subjects and trials that are scored."""
NANO_TRIALS = ((1, 1), (2, 4), (3, 1), (4, 0), (7, 1), (10, 1))
TRAIN_TRIAL = (2, 4)
"""What the cross-subject split trains on."""
FOLDS = 2
KINDS = ("within session", "cross session", "cross subject")
"""SS-SM, SS-DM and DS-DM of the benchmark."""


@dataclass(frozen=True)
class Split:
    """Samples to train on, to choose by, and to score.

    Attributes
    ----------
    kind : one of `KINDS`
    """

    kind: str
    train: Samples
    val: Samples
    test: Samples


def within_session(samples: Samples, folds: int = FOLDS) -> list[Split]:
    """Folds of one trial, each a stretch of time; the first half of a fold validates (SS-SM)."""
    n = len(samples)
    sizes = [n // folds + (i < n % folds) for i in range(folds)]
    edges = np.concatenate([[0], np.cumsum(sizes)])
    out = []
    for a, b in zip(edges[:-1], edges[1:], strict=True):
        half = a + (b - a) // 2
        rest = np.r_[0:a, b:n]
        out.append(
            Split(
                "within session",
                samples.take(rest),
                samples.take(slice(a, half)),
                samples.take(slice(half, b)),
            )
        )
    return [refuse_leaks(split) for split in out]


def cross_session(train: Samples, test: Samples) -> Split:
    """Train on another trial of the same subject; half of the test trial validates (SS-DM)."""
    return refuse_leaks(Split("cross session", train, *_halves(test)))


def cross_subject(train: Samples, test: Samples) -> Split:
    """Train on one trial of subject 2; half of the test trial validates (DS-DM).

    Raises
    ------
    DataError
        If training is another trial than the published one, or see `refuse_leaks`.
    """
    if (train.subject, train.trial) != TRAIN_TRIAL:
        raise DataError(
            f"cross subject: trains on subject {train.subject} trial {train.trial}; the published "
            f"split trains on subject {TRAIN_TRIAL[0]} trial {TRAIN_TRIAL[1]}"
        )
    return refuse_leaks(Split("cross subject", train, *_halves(test)))


def partner(subject: int, trial: int) -> tuple[int, int]:
    """The trial on which the cross-session split trains to be tested on this one.

    Raises
    ------
    DataError
        If the trial is not scored.
    """
    if (subject, trial) not in LITE_TRIALS:
        raise DataError(
            f"subject {subject} trial {trial} is not scored by Neuroprobe; choose one of "
            f"{', '.join(f'{s}/{t}' for s, t in LITE_TRIALS)}"
        )
    return next(st for st in LITE_TRIALS if st[0] == subject and st[1] != trial)


def refuse_leaks(split: Split) -> Split:
    """The split itself, if what it scores was not seen in training.

    Raises
    ------
    DataError
        If a trial is trained on and scored but in stretches of its own, or another subject's
        training movie is scored.
    """
    train = (split.train.subject, split.train.trial)
    for part in (split.val, split.test):
        mine = (part.subject, part.trial)
        if mine != train:
            if split.kind == "within session" or MOVIES[mine] == MOVIES[train]:
                raise DataError(
                    f"{split.kind}: subject {mine[0]} trial {mine[1]} and subject {train[0]} trial "
                    f"{train[1]} are '{MOVIES[mine]}' and '{MOVIES[train]}'; train on another movie"
                )
            continue
        if split.kind != "within session":
            raise DataError(
                f"{split.kind}: subject {mine[0]} trial {mine[1]} is trained on and scored; train "
                "on another trial"
            )
        for label in np.unique(part.label_N):
            scored = part.start_N[part.label_N == label]
            inside = split.train.start_N[split.train.label_N == label]
            n = int(((inside > scored.min()) & (inside < scored.max())).sum())
            if n:
                raise DataError(
                    f"within session: {n} training windows of class {label} lie between windows "
                    "that are scored; neighbouring words are all but the same window, divide the "
                    "trial into stretches of time (within_session)"
                )
    return split


def without_overlap(split: Split) -> tuple[Split, int]:
    """The split without training windows that share samples with scored ones, and their number.

    The published folds are cut class by class, so that classes of unlike density meet at unlike
    times; a few windows at the cut then overlap. Scores to be compared with published ones keep
    them.
    """
    if split.kind != "within session":
        return split, 0
    scored = np.sort(np.concatenate([split.val.start_N, split.test.start_N]))
    at = np.searchsorted(scored, split.train.start_N)
    before = scored[np.clip(at - 1, 0, len(scored) - 1)]
    after = scored[np.clip(at, 0, len(scored) - 1)]
    near = np.minimum(abs(split.train.start_N - before), abs(split.train.start_N - after))
    keep = near >= SECOND
    return Split(split.kind, split.train.take(keep), split.val, split.test), int((~keep).sum())


def _halves(samples: Samples) -> tuple[Samples, Samples]:
    half = len(samples) // 2
    return samples.take(slice(0, half)), samples.take(slice(half, len(samples)))
