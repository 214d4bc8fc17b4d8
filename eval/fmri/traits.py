"""What fMRI at rest tells of people: a number or a class each, from connectivity, beside controls.

Ridge regression on functional connectivity is what most published encoders fail to beat on traits;
how much a person moved, which goes with many traits, is the leak to be ruled out.

Shapes: N people, F features, E pairs of channels, A covariates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.models.unified import UnifiedEncoder
from brainfm.signals.connectivity import connectivity
from brainfm.types import WindowRef
from eval.fmri.identify import told_by

LEAST = 10
PENALTIES = tuple(10.0 ** np.arange(-2, 7))
FOLDS, DRAWS = 10, 5
"""Folds over people (or groups), drawn anew so often."""


@dataclass(frozen=True, eq=False)
class People:
    """People whose trait is known, and their fMRI.

    Attributes
    ----------
    names : (N,)
    y_N : the trait; classes as indices
    classes : names, empty for a number
    connectivity_NE : mean over runs
    lost_N : share of frames outside the recordings' intervals: scrubbed, so a measure of motion
    covariates_NA, group_N : as the table has them; group: family or site, else the person
    rows : rows of the store, person by person
    """

    names: list[str]
    y_N: NDArray[np.float64]
    classes: tuple[str, ...]
    connectivity_NE: NDArray[np.float64]
    lost_N: NDArray[np.float64]
    covariates_NA: NDArray[np.float64]
    group_N: NDArray[np.int64]
    rows: list[list[int]]


def read_people(
    store: Store,
    table: Path,
    column: str,
    *,
    covariates: tuple[str, ...] = (),
    group: str = "",
    query: str = "",
) -> People:
    """People of a participants.tsv (BIDS) who have fMRI in the store.

    Parameters
    ----------
    column : the trait: numbers, or two or more words
    covariates : columns of numbers that may explain it too, such as mean framewise displacement
    group : column of families or sites, which are left out whole
    query : of recordings

    Raises
    ------
    DataError
        If a column is missing or not of numbers, people are too few, or channels differ.
    """
    import pandas as pd

    from brainfm.data.index import select

    if not table.is_file():
        raise DataError(f"{table}: no such file; give a BIDS participants.tsv")
    told = pd.read_csv(table, sep="\t", dtype=str, na_values=["n/a", "N/A", ""])
    for name in ("participant_id", column, *covariates, *([group] if group else [])):
        if name not in told:
            raise DataError(
                f"{table}: has no column '{name}'; it has {', '.join(map(str, told.columns))}"
            )
    told = told.dropna(subset=[column]).set_index("participant_id")
    if told.index.has_duplicates:
        twice = told.index[told.index.duplicated()][0]
        raise DataError(f"{table}: '{twice}' has two rows; keep one a person")
    told.index = told.index.str.removeprefix("sub-")
    chosen = select(store, query)
    chosen = chosen[(chosen["kind"] == "BOLD") & chosen["subject"].isin(told.index)]
    names = sorted(chosen["subject"].unique())
    if len(names) < LEAST:
        raise DataError(
            f"{table}: {len(names)} people have '{column}' there and fMRI in {store.root}; a trait "
            f"wants {LEAST} or more"
        )
    if chosen["layout"].nunique() != 1:
        raise DataError(
            f"{store.root}: fMRI of {len(names)} people has {chosen['layout'].nunique()} layouts "
            "of channels; prepare all with one atlas"
        )
    rows = [chosen.index[chosen["subject"] == name].tolist() for name in names]
    y_N, classes = _trait(told.loc[names, column].to_list(), table, column)
    extra = [_numbers(told.loc[names, c].to_list(), table, c) for c in covariates]
    groups = told.loc[names, group].fillna("").to_list() if group else names
    return People(
        names=names,
        y_N=y_N,
        classes=classes,
        connectivity_NE=np.stack(
            [np.mean([connectivity(_kept(store, r)) for r in mine], 0) for mine in rows]
        ),
        lost_N=np.array([np.mean([_lost(store, r) for r in mine]) for mine in rows]),
        covariates_NA=np.stack(extra, 1) if extra else np.zeros((len(names), 0)),
        group_N=np.unique(groups, return_inverse=True)[1],
        rows=rows,
    )


def _kept(store: Store, row: int) -> NDArray[np.float64]:
    n = int(store.recordings["n_samples"].iat[row])
    x_TC = store.read(WindowRef(row, 0, n)).astype(np.float64)
    return np.concatenate([x_TC[a:b] for a, b in store.intervals(row)])


def _lost(store: Store, row: int) -> float:
    n = int(store.recordings["n_samples"].iat[row])
    return 1 - sum(int(b - a) for a, b in store.intervals(row)) / n


def _numbers(values: list[Any], table: Path, column: str) -> NDArray[np.float64]:
    try:
        out = np.array([float(v) for v in values])
    except ValueError as e:
        raise DataError(f"{table}: column '{column}' is not of numbers: {e}") from e
    if not np.isfinite(out).all():
        raise DataError(f"{table}: column '{column}' lacks a value; fill it or leave people out")
    return out


def _trait(
    values: list[str], table: Path, column: str
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    try:
        return np.array([float(v) for v in values]), ()
    except ValueError:
        classes, y = np.unique(values, return_inverse=True)
    least = np.bincount(y).min()
    if len(classes) < 2 or least < 2:
        raise DataError(
            f"{table}: column '{column}' has {len(classes)} classes, the smallest of {least} "
            "people; a class wants two people, and a trait two classes"
        )
    return y.astype(float), tuple(classes.tolist())


def predict(people: People, encoder: UnifiedEncoder | None, store: Store) -> dict[str, Any]:
    """Every system's guesses of people it has not seen; see `judge` for the scores.

    Returns
    -------
    dict: system -> (D, N, K) guesses, one row a drawing of folds; K is 1 for a number, otherwise
    one column a class
    """
    n = len(people.y_N)
    motion_NA = np.column_stack([people.lost_N, people.covariates_NA])
    x_NE = people.connectivity_NE
    systems: dict[str, tuple[NDArray, NDArray | None]] = {
        "nothing (the mean)": (np.zeros((n, 1)), None),
        "motion and covariates": (motion_NA, None),
        "connectivity + ridge": (x_NE, None),
        "connectivity + ridge, motion and covariates taken out": (x_NE, motion_NA),
    }
    if encoder is not None:
        from eval.unified.features import random_twin

        both = {"encoder": encoder, "encoder, random init": random_twin(encoder, 0)}
        for name, model in both.items():
            systems[f"{name} + ridge"] = (told_by(model, store, people.rows), None)
    return {
        name: np.stack([_guess(people, x, out, draw) for draw in range(DRAWS)])
        for name, (x, out) in systems.items()
    }


def _guess(people: People, x_NF: NDArray, out_NA: NDArray | None, draw: int) -> NDArray[np.float64]:
    """(N, K) guesses, each by a ridge that saw other groups only."""
    rng = np.random.default_rng(draw)
    groups = rng.permutation(people.group_N.max() + 1)
    y_NK = people.y_N[:, None]
    if people.classes:
        y_NK = np.eye(len(people.classes))[people.y_N.astype(int)]
    guess_NK = np.zeros(y_NK.shape)
    for part in np.array_split(groups, min(FOLDS, len(groups))):
        test = np.isin(people.group_N, part)
        fit = ~test
        x_fit, x_test = x_NF[fit], x_NF[test]
        if out_NA is not None:  # what covariates explain, learned on the training people
            x_fit, x_test = _residual(x_fit, x_test, out_NA[fit], out_NA[test])
        weight_M = np.ones(len(x_fit))
        if people.classes:  # a rare class counts as much as a common one
            weight_M = 1 / (y_NK[fit] @ y_NK[fit].sum(0))
        guess_NK[test] = _ridge(x_fit, y_NK[fit], weight_M, x_test)
    # What differs by rounding alone is the same guess.
    return guess_NK.round(9)


def _residual(
    x_fit: NDArray, x_test: NDArray, a_fit: NDArray, a_test: NDArray
) -> tuple[NDArray, NDArray]:
    fit, test = (np.column_stack([np.ones(len(a)), a - a_fit.mean(0)]) for a in (a_fit, a_test))
    weight = np.linalg.lstsq(fit, x_fit, rcond=None)[0]
    return x_fit - fit @ weight, x_test - test @ weight


def _ridge(x_fit: NDArray, y_fit: NDArray, weight: NDArray, x_test: NDArray) -> NDArray:
    """Its penalty by leaving out one of the training people, in closed form."""
    from sklearn.linear_model import RidgeCV

    middle, spread = x_fit.mean(0), x_fit.std(0)
    spread = np.where(spread > 1e-12, spread, 1.0)
    # Every feature weighs one over their number, so that penalties mean the same for all systems.
    size = spread * x_fit.shape[1] ** 0.5
    model = RidgeCV(PENALTIES).fit((x_fit - middle) / size, y_fit, sample_weight=weight)
    out: NDArray[np.float64] = model.predict((x_test - middle) / size)
    return out.reshape(len(x_test), -1)


def judge(
    people: People, guess_DNK: NDArray, n_resamples: int = 1000
) -> dict[str, dict[str, float]]:
    """Scores with 95 % intervals over people: r, R2 and mean error, or balanced accuracy and AUROC.

    R2 is against the mean of all people; a system that knows nothing is a little below 0.
    """
    from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

    y, k = people.y_N, len(people.classes)
    guess_DN = guess_DNK.argmax(2) if k else guess_DNK[..., 0]
    margin_DN = guess_DNK[..., -1] - guess_DNK[..., 0]

    def r(y: NDArray, g: NDArray) -> float:
        return float(np.corrcoef(y, g)[0, 1]) if g.std() > 1e-12 else 0.0

    def error(y: NDArray, g: NDArray) -> float:
        return float(np.abs(g - y).mean())

    metrics: dict[str, tuple[Callable[[NDArray, NDArray], float], NDArray]] = {
        "r": (r, guess_DN),
        "R2": (r2_score, guess_DN),
        "mean error": (error, guess_DN),
    }
    if k:
        metrics = {"balanced accuracy": (balanced_accuracy_score, guess_DN)}
        if k == 2:
            metrics["AUROC"] = (roc_auc_score, margin_DN)
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(y), size=len(y)) for _ in range(n_resamples)]
    draws = [d for d in draws if len(np.unique(y[d])) >= max(2, k)]
    out = {}
    for name, (metric, said_DN) in metrics.items():
        found = [np.mean([metric(y[d], said[d]) for said in said_DN]) for d in draws]
        low, high = np.percentile(found, [2.5, 97.5])
        mean = float(np.mean([metric(y, said) for said in said_DN]))
        out[name] = {"mean": mean, "low": float(low), "high": float(high)}
    return out
