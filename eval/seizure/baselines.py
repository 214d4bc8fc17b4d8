"""The honest competition: detectors without a pretrained model, on the same windows.

Each has `fit(reader, rows)` on training patients and `predict(reader, row) -> Scores`.
Shapes: S steps, F features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from brainfm.detect.score import Scores
from brainfm.errors import DataError
from eval.seizure.features import StepReader, duration_of

MOST_BACKGROUND = 20_000
"""Training steps outside seizures that classifiers get, drawn at random and weighted by what they
stand for, so that probabilities keep the true prevalence."""

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse regularisation tried by the logistic regression."""


class Baseline(Protocol):
    """What a table asks of a baseline."""

    name: str

    def fit(self, reader: StepReader, rows: Sequence[int]) -> Baseline: ...

    def predict(self, reader: StepReader, row: int) -> Scores: ...


def scores(reader: StepReader, row: int, proba_S: NDArray[Any]) -> Scores:
    """Probabilities as a detector hands them over; NaN in steps without a usable channel."""
    steps = reader(row)
    seen = np.isfinite(steps.table_SF).all(1)
    p = np.where(seen, proba_S, np.nan)
    return Scores(steps.time_S, p, reader.step_s, duration_of(reader.store, row))


class AlwaysAlarm:
    """Probability 1: what any sensitivity must be seen against."""

    name = "always alarm"

    def fit(self, reader: StepReader, rows: Sequence[int]) -> AlwaysAlarm:
        return self

    def predict(self, reader: StepReader, row: int) -> Scores:
        return scores(reader, row, np.ones(len(reader(row).time_S)))


class Prevalence:
    """The share of seizure in the training recordings, whatever the signal."""

    name = "prevalence"

    def fit(self, reader: StepReader, rows: Sequence[int]) -> Prevalence:
        labels = np.concatenate([reader(r).label_S for r in rows])
        self.share = float(labels.mean())
        return self

    def predict(self, reader: StepReader, row: int) -> Scores:
        return scores(reader, row, np.full(len(reader(row).time_S), self.share))


@dataclass
class LineLength:
    """Line length and band power (`features`), then a classifier of scikit-learn.

    Parameters
    ----------
    boosted : gradient boosting on trees instead of a logistic regression
    seed : of the drawn background and of the trees
    """

    boosted: bool = False
    seed: int = 0

    @property
    def name(self) -> str:
        return "line length + band power, " + ("boosting" if self.boosted else "LR")

    def fit(self, reader: StepReader, rows: Sequence[int]) -> LineLength:
        x, y, weight, group = training_table(reader, rows, self.seed)
        self.model = (
            _boosting(self.seed).fit(x, y, sample_weight=weight)
            if self.boosted
            else _logistic(x, y, weight, group)
        )
        return self

    def predict(self, reader: StepReader, row: int) -> Scores:
        table = reader(row).table_SF
        proba = self.model.predict_proba(np.nan_to_num(table))[:, 1] if len(table) else table[:, 0]
        return scores(reader, row, proba)


def training_table(
    reader: StepReader, rows: Sequence[int], seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Features, labels, weights and patients of the training steps.

    Raises
    ------
    DataError
        If they hold no seizure, or nothing else.
    """
    groups = reader.store.recordings["split_group"]
    parts = [(reader(r), groups.iat[r]) for r in rows]
    x = np.concatenate([s.table_SF for s, _ in parts])
    y = np.concatenate([s.label_S for s, _ in parts])
    group = np.concatenate([np.full(len(s.label_S), g, object) for s, g in parts])
    usable = np.isfinite(x).all(1)
    ictal, free = np.flatnonzero(usable & y), np.flatnonzero(usable & ~y)
    require_both(len(ictal), len(free), reader, rows)
    rng = np.random.default_rng(seed)
    kept = rng.permutation(free)[:MOST_BACKGROUND]
    take = np.sort(np.concatenate([ictal, kept]))
    weight = np.where(y[take], 1.0, len(free) / len(kept))
    return x[take], y[take], weight, group[take].astype(str)


def require_both(n_ictal: int, n_free: int, reader: StepReader, rows: Iterable[int]) -> None:
    """Refuse training recordings that cannot teach what a seizure is."""
    if not n_ictal or not n_free:
        raise DataError(
            f"{reader.store.root}: {len(list(rows))} training recordings hold {n_ictal} steps of "
            f"seizure and {n_free} without; choose recordings with both (--train)"
        )


def _logistic(x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any], group: NDArray[Any]) -> Any:
    """C is chosen by AUROC on held-out patients, where there are two or more with seizures."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipe = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=2000))
    fit = {"logisticregression__sample_weight": weight}
    n_folds = min(5, len(set(group[y])))
    folds = list(StratifiedGroupKFold(n_folds).split(x, y, group)) if n_folds > 1 else []
    folds = [(a, b) for a, b in folds if len(set(y[a])) == 2 and len(set(y[b])) == 2]
    if len(folds) < 2:
        return pipe.fit(x, y, **fit)
    grid = {"logisticregression__C": list(C_GRID)}
    return GridSearchCV(pipe, grid, scoring="roc_auc", cv=folds).fit(x, y, **fit)


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=200,
        max_leaf_nodes=15,
        min_samples_leaf=50,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
