"""Who is who by functional connectivity: a check that runs were read region by region.

Regions in a wrong order, people mixed up, or frames shuffled all show here; the numbers of sound
files are in `tests/data_prep/test_real_fmri.py`.

Shapes: T frames, C channels, E pairs of channels, N people.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from brainfm.types import Recording


def connectivity(x_TC: NDArray[np.floating]) -> NDArray[np.float64]:
    """Correlations of all pairs of channels, Fisher's z, (E,)."""
    r_CC = np.atleast_2d(np.corrcoef(np.asarray(x_TC, np.float64).T))
    r_E = r_CC[np.triu_indices(len(r_CC), 1)]
    z_E: NDArray[np.float64] = np.arctanh(np.clip(r_E, -1 + 1e-9, 1 - 1e-9))
    return z_E


def identified(recordings: Sequence[Recording]) -> tuple[int, int]:
    """How many people are found again: second halves of runs by first halves, and back.

    Each half goes to the person whose other half has the most correlated connectivity.

    Raises
    ------
    DataError
        If the recordings have not one order of channels.
    """
    names = {r.channels.name for r in recordings}
    if len(recordings) < 2 or len(names) != 1:
        raise DataError(
            f"{len(recordings)} recordings with {len(names)} orders of channels cannot be told "
            "apart by connectivity; take two or more of one atlas"
        )
    halves = [np.array_split(r.signal, 2) for r in recordings]
    return found_again(
        np.stack([connectivity(a) for a, _ in halves]),
        np.stack([connectivity(b) for _, b in halves]),
    )


def found_again(first_NE: NDArray[np.floating], second_NE: NDArray[np.floating]) -> tuple[int, int]:
    """People whose two rows are each other's most correlated: second by first, first by second."""
    n = len(first_NE)
    alike_NN = np.corrcoef(first_NE, second_NE)[:n, n:]
    right = np.arange(n)
    return int((alike_NN.argmax(1) == right).sum()), int((alike_NN.argmax(0) == right).sum())
