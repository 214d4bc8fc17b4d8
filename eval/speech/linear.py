"""Linear models of the spectrogram, one a patient: logistic regression and ridge.

Choices (C, alpha) are made on the last sentences of the training windows, so that no tested
window takes part. Shapes: N rows, F features, K classes or targets.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.speech.windows import Window

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1)
ALPHAS = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
"""Tried by ridge, for standardised features; the best may depend on the number of rows."""
HELD_OUT = 0.2
"""Share of the sentences that choose."""
FOLDS = 4
"""Of ridge, whole sentences each."""
MOST_STEPS = 60
"""Of the solver (L-BFGS)."""

Array = NDArray[Any]


def fold_of(windows: Sequence[Window], n_folds: int) -> NDArray[np.int64]:
    """(N,) number of the fold of each window: whole sentences, neighbours together."""
    names = list(dict.fromkeys(w.sentence for w in windows))
    place = {name: i * n_folds // len(names) for i, name in enumerate(names)}
    return np.array([place[w.sentence] for w in windows])


@dataclass
class Standard:
    """Mean 0 and deviation 1 of TRAIN; features that never moved are 0."""

    mean_F: Array
    scale_F: Array

    @classmethod
    def of(cls, x_NF: Array) -> Standard:
        sd_F = x_NF.std(0)
        return cls(x_NF.mean(0), np.where(sd_F > 1e-12 * (1 + np.abs(sd_F).max()), sd_F, np.inf))

    def __call__(self, x_NF: Array) -> NDArray[np.float32]:
        # An artefact must not outweigh everything else.
        return np.clip((x_NF - self.mean_F) / self.scale_F, -8, 8).astype(np.float32)


class Logistic:
    """Logistic regression with K classes, some of which may not occur in training.

    Parameters
    ----------
    n_classes : K
    """

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def fit(self, x_NF: Array, y_N: Array, fold_N: Array) -> Logistic:
        """C from the rows of the last fold, then all rows."""
        self.standard = Standard.of(x_NF)
        x, last = self.standard(x_NF), fold_N == fold_N.max()
        if last.all() or len(set(y_N[~last])) < 2:
            self.c = C_GRID[1]
        else:
            best, self.c = -np.inf, C_GRID[0]
            model = None
            for c in C_GRID:
                model = _solve(x[~last], y_N[~last], c, model)
                score = float((model.predict(x[last]) == y_N[last]).mean())
                if score < best:  # the path has a single top
                    break
                if score > best:
                    best, self.c = score, c
        self.model = _solve(x, y_N, self.c) if len(set(y_N)) > 1 else None
        self.only = int(y_N[0])
        return self

    def proba(self, x_NF: Array) -> NDArray[np.float32]:
        """(N, K)."""
        out = np.zeros((len(x_NF), self.n_classes), np.float32)
        if self.model is None:
            out[:, self.only] = 1
            return out
        out[:, self.model.classes_] = self.model.predict_proba(self.standard(x_NF))
        return out


def _solve(x_NF: Array, y_N: Array, c: float, start: Any = None) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    model = start or LogisticRegression(max_iter=MOST_STEPS, tol=1e-4, warm_start=True)
    model.set_params(C=c)
    with warnings.catch_warnings():
        # So many steps are enough to choose among powers of ten.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(x_NF, y_N)


class Ridge:
    """Least squares with a penalty, many targets at once; alpha by whole folds of sentences."""

    def fit(self, x_NF: Array, y_NK: Array, fold_N: Array) -> Ridge:
        self.standard = Standard.of(x_NF)
        x, self.mean_K = self.standard(x_NF), y_NK.mean(0)
        self.centre_F = x.mean(0)
        y = (y_NK - self.mean_K).astype(np.float32)
        folds = sorted(set(fold_N.tolist()))
        grams = [_products(x[fold_N == f] - self.centre_F, y[fold_N == f]) for f in folds]
        whole_FF, whole_FK = (sum(g[i] for g in grams) for i in (0, 1))
        self.alpha = ALPHAS[2]
        if len(folds) > 1:
            error = np.zeros(len(ALPHAS))
            for f, (part_FF, part_FK) in zip(folds, grams, strict=True):
                held = x[fold_N == f] - self.centre_F
                for a, w in enumerate(_weights(whole_FF - part_FF, whole_FK - part_FK, ALPHAS)):
                    error[a] += float(np.square(held @ w - y[fold_N == f]).sum())
            self.alpha = ALPHAS[int(error.argmin())]
        self.weight_FK = _weights(whole_FF, whole_FK, (self.alpha,))[0]
        return self

    def predict(self, x_NF: Array) -> NDArray[np.float32]:
        """(N, K)."""
        return (self.standard(x_NF) - self.centre_F) @ self.weight_FK + self.mean_K


def _products(x_NF: Array, y_NK: Array) -> tuple[Array, Array]:
    return x_NF.T @ x_NF, x_NF.T @ y_NK


def _weights(x_FF: Array, xy_FK: Array, alphas: Sequence[float]) -> list[Array]:
    from scipy.linalg import cho_factor, cho_solve

    found = []
    for alpha in alphas:
        penalised = x_FF + np.float32(alpha) * np.eye(len(x_FF), dtype=np.float32)
        factor = cho_factor(penalised, lower=True, check_finite=False)
        found.append(cho_solve(factor, xy_FK).astype(np.float32))
    return found
