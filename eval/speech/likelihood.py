"""Ridge with a likelihood ratio: the linear rival of decoders that learn to tell pairs apart.

Cosine weighs every speech feature alike. Here a candidate's score is how much likelier it is after
what ridge said than before: both densities are normal, the spread around what ridge says is that
of its errors on training sentences it was not fitted to. Nothing is learned by steps.

Shapes: Q segments, M candidates, N training segments, E numbers of a segment's speech, F features
of its brain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.speech.linear import Ridge

OVERLAP = 4
"""Training segments that share any moment: so few minutes must teach spreads too."""
Array = NDArray[np.floating]

SHRINKS = (0.1, 0.3, 1.0, 3.0)
"""Tried; share of the mean variance that is added to each."""
MOST_NUMBERS = 640
"""E at most: frames are joined until a segment has no more, else spreads cannot be estimated."""


@dataclass(frozen=True, eq=False)
class LikelihoodRatio:
    """Normal densities of speech, with and without what ridge said of it.

    Attributes
    ----------
    mean_E, after_EE, before_EE : mean and inverse covariances
    """

    mean_E: Array
    after_EE: Array
    before_EE: Array

    @classmethod
    def of(cls, said_NE: Array, heard_NE: Array, shrink: float) -> LikelihoodRatio:
        """From what ridge says of segments that it was not fitted to, and what they were."""
        mean_E = heard_NE.mean(0)
        away_NE, wrong_NE = heard_NE - mean_E, heard_NE - said_NE
        before_EE, after_EE = (x.T @ x / len(x) for x in (away_NE, wrong_NE))
        extra = (shrink * np.trace(before_EE) / len(mean_E) + 1e-9) * np.eye(len(mean_E))
        return cls(mean_E, np.linalg.inv(after_EE + extra), np.linalg.inv(before_EE + extra))

    def scores(self, said_QE: Array, heard_ME: Array) -> NDArray[np.float32]:
        """(Q, M) logarithms of the ratio, less what is the same for all candidates."""
        z, y = said_QE - self.mean_E, heard_ME - self.mean_E
        alone_M = np.einsum("me,ef,mf->m", y, self.before_EE - self.after_EE, y, optimize=True) / 2
        return (z @ self.after_EE @ y.T + alone_M).astype(np.float32)


def told_of_others(x_NF: Array, heard_NE: Array, fold_N: NDArray[np.int64]) -> Array:
    """What ridge says of each fold when it learns from the others, (N, E)."""
    found = np.zeros_like(heard_NE)
    for fold in sorted(set(fold_N.tolist())):
        held = fold_N == fold
        if not held.all():
            ridge = Ridge().fit(x_NF[~held], heard_NE[~held], fold_N[~held])
            found[held] = ridge.predict(x_NF[held])
    return found


def fitted(said_NE: Array, heard_NE: Array, fold_N: NDArray[np.int64]) -> LikelihoodRatio:
    """The shrinkage whose ratio ranks the own stretch best among those of a left-out fold."""
    if len(set(fold_N.tolist())) < 2:
        return LikelihoodRatio.of(said_NE, heard_NE, SHRINKS[2])

    def cost(shrink: float) -> float:
        places = []
        for fold in sorted(set(fold_N.tolist())):
            held = fold_N == fold
            ratio = LikelihoodRatio.of(said_NE[~held], heard_NE[~held], shrink)
            score = ratio.scores(said_NE[held], heard_NE[held])
            places.append((score >= np.diag(score)[:, None]).sum(1))
        return float(np.log(np.concatenate(places)).mean())

    return LikelihoodRatio.of(said_NE, heard_NE, min(SHRINKS, key=cost))
