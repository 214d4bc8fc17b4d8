"""Linear classifiers of features that outnumber trials, and the small shifts that steady them.

Shapes: N trials, C channels, T samples, F features, R directions kept, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.baselines import inner_cv

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation on features of unit spread."""

SHIFT_S = 0.025
"""No two people or sessions share their latencies to the sample. A probe that also sees each
training trial this much earlier and later leans less on what is faster than that; worth .02 to .07
of accuracy by cross-validation inside HandMovementDirection's training set, nothing on Blink's."""


def shifts_of(sfreq: float) -> tuple[int, ...]:
    """Samples by which the copies of a trial are rolled; the first copy stays as it is."""
    n = round(SHIFT_S * sfreq)
    return (0, -n, n) if n else (0,)


class WideLogistic:
    """Logistic regression with L2 penalty where features outnumber trials, C by inner CV.

    Features are centred and divided by one number, or each by its own spread, whichever the
    inner folds prefer; then they are rotated onto the span of the training trials, which
    changes no prediction of an L2-penalised model and makes width cheap.

    Parameters
    ----------
    grid : values of C
    spreads : what to try of "shared" and "own"
    """

    def __init__(
        self, grid: Sequence[float] = C_GRID, spreads: Sequence[str] = ("shared", "own")
    ) -> None:
        self.grid, self.spreads = grid, spreads

    def fit(
        self,
        f_NF: NDArray,
        y_N: NDArray,
        group_N: NDArray | None = None,
        copies: int = 1,
    ) -> WideLogistic:
        """Choose C and spread on the folds of `eval.baselines.inner_cv`, as baselines do.

        Parameters
        ----------
        copies : how often f_NF holds every trial, one whole copy after the other; y_N and
            group_N are of one copy. All copies of a trial stay on one side of a fold, and only
            the first is judged
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV

        f = np.asarray(f_NF, np.float64)
        self.centre_F = f.mean(0)
        f = f - self.centre_F
        n = len(y_N)
        folds = [
            (np.concatenate([train + k * n for k in range(copies)]), judged)
            for train, judged in inner_cv(y_N, group_N)
        ]
        y_N = np.tile(y_N, copies)
        self.score = -np.inf
        for spread in self.spreads:
            usual = max(float(f.std()), 1e-12)
            # A feature that hardly moves must not be blown up to the size of the others.
            own_F = np.maximum(f.std(0), 1e-3 * usual)
            scale_F = 1.0 / (own_F if spread == "own" else np.full(f.shape[1], usual))
            g = f * scale_F
            w, u = np.linalg.eigh(g @ g.T)
            keep = w > 1e-9 * max(float(w.max()), 1e-12)
            # A collapsed codec has features that never move: one empty direction, and chance.
            keep[-1] = True
            turn_FR = g.T @ (u[:, keep] / np.sqrt(w[keep].clip(1e-24)))
            search = GridSearchCV(
                LogisticRegression(max_iter=300, tol=1e-3),
                {"C": list(self.grid)},
                scoring="balanced_accuracy",
                cv=folds,
            ).fit(g @ turn_FR, y_N)
            if search.best_score_ > self.score:
                self.score, self.c = float(search.best_score_), float(search.best_params_["C"])
                self.model: Any = search.best_estimator_
                self.scale, self.turn_FR, self.spread = scale_F, turn_FR, spread
        return self

    @property
    def choice(self) -> str:
        """What was chosen, in words."""
        return f"C={self.c:g}{', each feature scaled' if self.spread == 'own' else ''}"

    def predict_proba(self, f_NF: NDArray) -> NDArray:
        f = (np.asarray(f_NF, np.float64) - self.centre_F) * self.scale
        return self.model.predict_proba(f @ self.turn_FR)

    def weights(self) -> tuple[NDArray, NDArray]:
        """(K, F) weights and (K,) biases on the features as given; two rows for K = 2."""
        weight_KF = (self.model.coef_ @ self.turn_FR.T) * self.scale
        bias_K = self.model.intercept_ - weight_KF @ self.centre_F
        if len(weight_KF) == 1:
            # A logistic function of z is a softmax of (-z / 2, z / 2).
            weight_KF = np.concatenate([-weight_KF, weight_KF]) / 2
            bias_K = np.concatenate([-bias_K, bias_K]) / 2
        return weight_KF, bias_K
