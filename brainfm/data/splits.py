"""Train, val and test: decided once by a hash of who was recorded, and asserted afterwards.

Splitting by subject is the only split that tests what people want to know: does it work on
somebody new. Windows of one recording never lie on two sides.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from brainfm.errors import DataError

SPLITS = ("train", "val", "test")
FRACTIONS = (0.8, 0.1, 0.1)
"""Shares of train, val and test among the groups (not the hours) of a data set."""


def split_of(group: str, fractions: Sequence[float] = FRACTIONS) -> str:
    """Split of a group (usually `dataset/subject`): the same on every machine and for ever.

    Parameters
    ----------
    group : what must not be divided
    fractions : shares of train, val and test; they add up to 1

    Raises
    ------
    DataError
        If the fractions are not three shares of 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6:
        raise DataError(
            f"split fractions {tuple(fractions)} must be three shares of 1: train, val, test"
        )
    u = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64
    return SPLITS[0 if u < fractions[0] else 1 if u < fractions[0] + fractions[1] else 2]


def assert_disjoint(recordings: pd.DataFrame) -> None:
    """Refuse a table in which two splits share a person or a signal.

    Signals are compared channel by channel (`fingerprint`, hashes of stored channels), so a
    recording that came in by two data sets is found even if one of them lacks a channel.

    Raises
    ------
    DataError
        Naming the group or the two files, and their splits.
    """
    unknown = sorted(set(recordings["split"]) - set(SPLITS))
    if unknown:
        row = recordings[recordings["split"].isin(unknown)].iloc[0]
        raise DataError(
            f"{row['path']}: split '{row['split']}' is none of {', '.join(SPLITS)}; "
            "correct it in the data set's file and prepare the recording again"
        )
    sides: dict[str, dict[str, str]] = defaultdict(dict)
    prints: dict[str, dict[str, str]] = defaultdict(dict)
    columns = ("path", "split", "split_group", "fingerprint")
    for path, split, group, fingerprint in zip(*(recordings[c] for c in columns), strict=True):
        sides[group].setdefault(split, path)
        for mark in fingerprint.split():
            prints[mark].setdefault(split, path)
    for group, by_split in sides.items():
        if len(by_split) > 1:
            raise DataError(
                f"group '{group}' lies in {_both(by_split)}; one person on two sides makes "
                "every score too good: give all its recordings one split"
            )
    for by_split in prints.values():
        if len(by_split) > 1:
            raise DataError(
                f"the same signal lies in {_both(by_split)}; drop one of the two, or give "
                "both the same split_group"
            )


def _both(by_split: dict[str, str]) -> str:
    return " and ".join(f"{split} ({path})" for split, path in sorted(by_split.items()))
