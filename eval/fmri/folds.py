"""What teaches an encoding model and what judges it: runs left out, or halves of one run.

Shapes: T frames, K features, L lags, C channels, M frames that teach, J runs that are judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import DataError
from eval.fmri.stimuli import LAGS, Shown

GAP_S = 20.0
"""Between halves of a run, longer than blood remembers."""

Stretch = tuple[Shown, slice]


class Fold:
    """Frames of some runs that teach, and runs that are judged.

    Attributes
    ----------
    x_MLK, y_MC, run_M : designs, answers and runs of the frames that teach
    test_NLK : designs of the frames that are judged, run after run
    n_labels : how many features, the first ones, are events
    pos_C3 : places of the channels, NaN where unknown
    """

    def __init__(self, teach: list[Stretch], judge: list[Stretch], pos_C3: NDArray) -> None:
        self.x_MLK = np.concatenate([s.design_TLK[w][s.kept_T[w]] for s, w in teach])
        self.y_MC = np.concatenate([s.x_TC[w][s.kept_T[w]] for s, w in teach])
        self.run_M = np.repeat(np.arange(len(teach)), [int(s.kept_T[w].sum()) for s, w in teach])
        if len(teach) == 1:  # one stretch: blocks of it stand for runs
            self.run_M = np.arange(len(self.x_MLK)) * 4 // len(self.x_MLK)
        self.pos_C3, self.judge = pos_C3, judge
        self.n_labels = judge[0][0].n_labels
        self.test_NLK = np.concatenate([s.design_TLK[w] for s, w in judge])

    def score(self, guess_NC: NDArray[np.float64]) -> NDArray[np.float64]:
        """(J, C) correlation in each judged run, over frames that belong to events if any do."""
        out, first = [], 0
        for run, where in self.judge:
            truth_TC = run.x_TC[where]
            guess_TC = guess_NC[first : first + len(truth_TC)]
            first += len(truth_TC)
            mask = (run.answers() if run.events else run.kept_T)[where]
            out.append(correlation(guess_TC[mask], truth_TC[mask]))
        return np.stack(out)


def folds_of(runs: Sequence[Shown], pos_C3: NDArray, most: int = 4) -> list[Fold]:
    """Folds of one person: each run judged once; one run: each half judged once.

    Parameters
    ----------
    most : runs are left out in so many groups at most, since every group is a training
    """
    if len(runs) > 1:
        whole = [(run, slice(None)) for run in runs]
        groups = np.array_split(np.arange(len(runs)), min(most, len(runs)))
        return [
            Fold([w for i, w in enumerate(whole) if i not in g], [whole[i] for i in g], pos_C3)
            for g in groups
        ]
    (run,) = runs
    n, gap = len(run.x_TC), round(GAP_S * run.sfreq / 2)
    halves = slice(0, n // 2 - gap), slice(n // 2 + gap, n)
    if n // 2 - gap < 4 * LAGS:
        raise DataError(
            f"{run.person}: one run of {n / run.sfreq:g} s cannot be halved with {GAP_S:g} s "
            "between; give longer runs or several"
        )
    return [Fold([(run, a)], [(run, b)], pos_C3) for a, b in (halves, halves[::-1])]


def correlation(a_NC: NDArray[np.float64], b_NC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's r of each column; 0 where a column does not vary."""
    a, b = a_NC - a_NC.mean(0), b_NC - b_NC.mean(0)
    size = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    out: NDArray[np.float64] = np.where(size > 1e-12, (a * b).sum(0) / size.clip(1e-12), 0.0)
    return out
