"""The `.ts` text format of the aeon and UEA archives: labelled trials of several channels.

Shapes: C channels, T samples of a trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError


@dataclass
class Trials:
    """Trials of one file.

    Attributes
    ----------
    x : list of (C, T) arrays, in the unit of the file
    label : list of str, one a trial
    classes : class labels that the header declares
    """

    x: list[NDArray[np.float64]]
    label: list[str]
    classes: tuple[str, ...]


def read_ts(path: str | Path) -> Trials:
    """Read a whole file; channels are separated by colons, the label comes last.

    Raises
    ------
    DataError
        If the file is not `.ts`, a trial has another number of channels than the first or
        channels of unequal length, a value is no number, or a label was not declared.
    """
    path = Path(path)
    classes: tuple[str, ...] = ()
    x: list[NDArray[np.float64]] = []
    label: list[str] = []
    in_data = False
    try:
        lines = path.read_text(encoding="utf-8", errors="strict").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DataError(f"{path}: not a readable .ts text file ({e}); fetch it again") from e
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("@"):
            word, *rest = line.split()
            if word.lower() == "@classlabel" and rest and rest[0].lower() == "true":
                classes = tuple(rest[1:])
            in_data = in_data or word.lower() == "@data"
            continue
        if not in_data:
            raise DataError(f"{path}: line {number} comes before @data; this is no .ts file")
        *rows, last = line.split(":")
        try:
            # "?" is the format's missing value.
            trial = [np.array(r.replace("?", "nan").split(","), np.float64) for r in rows]
        except ValueError as e:
            raise DataError(f"{path}: line {number} holds no numbers ({e}); fetch it again") from e
        if len({len(r) for r in trial}) != 1 or (x and len(trial) != len(x[0])):
            raise DataError(
                f"{path}: the trial in line {number} has {len(trial)} channels of lengths "
                f"{sorted({len(r) for r in trial})}; the file is truncated, fetch it again"
            )
        if classes and last not in classes:
            raise DataError(
                f"{path}: label '{last}' in line {number} is none of {', '.join(classes)}; the "
                "file is truncated or altered, fetch it again"
            )
        x.append(np.stack(trial))
        label.append(last)
    if not x:
        raise DataError(f"{path}: holds no trial; fetch it again")
    return Trials(x, label, classes)
