"""Which of eight categories a block showed, with one run left out at a time.

Shapes: N blocks, C voxels, T frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.types import WindowRef
from eval.metrics.classification import confusion, paired_difference, summarise

LATE_S = 0.0
"""Frames are taken as the package labels them, as its own examples do. Read 2.5 s later, all that
is learned gets worse by .05 to .07, 5 s later by .19 (accuracy on the same runs)."""
KNOWN = 0.760
"""Block-wise logistic regression on this slice, leave-one-run-out (facts of this project)."""
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
SHRINKAGES = (0.1, 0.3, 0.5, 0.7, 0.9)


def read_blocks(
    store: Store, dataset: str = "haxby", late_s: float = LATE_S
) -> dict[str, NDArray[Any]]:
    """Mean image of every block, z-scored in its run, and the mean of each half of it.

    Returns
    -------
    dict with x_NC, half_N2C, label_N, run_N

    Raises
    ------
    DataError
        If the data set is missing or has one run.
    """
    rows = np.flatnonzero((store.recordings["dataset"] == dataset).to_numpy())
    if len(rows) < 2:
        raise DataError(
            f"{store.root}: holds {len(rows)} runs of '{dataset}', leaving one out wants two or "
            f"more; run `python -m data_prep run --dataset {dataset}`"
        )
    people = store.recordings["subject"].iloc[rows].nunique()
    if people > 1:
        raise DataError(
            f"{store.root}: '{dataset}' has runs of {people} people, whose voxels are others; one "
            "run is left out within one person: prepare that person alone"
        )
    x, halves, labels, runs = [], [], [], []
    for row in rows.tolist():
        sfreq = store.sfreq(row)
        n = int(store.recordings["n_samples"].iat[row])
        x_TC = store.read(WindowRef(row, 0, n)).astype(np.float64)
        # By the run's own frames, all of them: no label enters, and no other run.
        x_TC = (x_TC - x_TC.mean(0)) / x_TC.std(0).clip(1e-12)
        for e in store.events(row):
            start = round((e.onset_s + late_s) * sfreq)
            part = x_TC[start : start + max(2, round(e.duration_s * sfreq))]
            x.append(part.mean(0))
            halves.append(np.stack([h.mean(0) for h in np.array_split(part, 2)]))
            labels.append(e.label)
            runs.append(row)
    if len(set(labels)) < 2:
        raise DataError(
            f"{store.root}: {len(rows)} runs of '{dataset}' show {len(set(labels))} categories in "
            f"{len(labels)} blocks; events must name two or more"
        )
    return {
        "x_NC": np.stack(x),
        "half_N2C": np.stack(halves),
        "label_N": np.array(labels),
        "run_N": np.array(runs),
    }


def decode(blocks: dict[str, NDArray[Any]], n_resamples: int = 1000) -> dict[str, Any]:
    """All methods with one run left out at a time; what is chosen is chosen on the other runs.

    Returns
    -------
    dict with "rows" (method -> metrics), "confusion" of the best, "differences" to the baseline
    """
    classes, y_N = np.unique(blocks["label_N"], return_inverse=True)
    run_N = blocks["run_N"]
    probas: dict[str, NDArray[np.float64]] = {}
    choices: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        proba_NK = np.zeros((len(y_N), len(classes)))
        picked = []
        for run in np.unique(run_N):
            out = run_N == run
            proba_NK[out], choice = method(blocks, y_N, ~out, out)
            picked.append(choice)
        probas[name] = proba_NK
        choices[name] = sorted(set(picked) - {""})
    rows = {
        name: summarise(y_N, [p], groups=run_N.tolist(), n_resamples=n_resamples)
        for name, p in probas.items()
    }
    best = max((n for n in rows if n != BASELINE), key=lambda n: rows[n]["accuracy"]["mean"])
    return {
        "classes": classes.tolist(),
        "n_blocks": len(y_N),
        "n_runs": len(np.unique(run_N)),
        "rows": rows,
        "choices": choices,
        "best": best,
        "confusion": confusion(y_N, probas[best].argmax(1), len(classes)),
        "difference": paired_difference(
            y_N, [probas[best]], [probas[BASELINE]], groups=run_N.tolist()
        ),
    }


Method = Callable[
    [dict[str, NDArray[Any]], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]],
    tuple[NDArray[np.float64], str],
]


def majority(blocks: Any, y_N: Any, fit: Any, out: Any) -> tuple[NDArray[np.float64], str]:
    """How often each class occurs in the other runs."""
    share = np.bincount(y_N[fit], minlength=y_N.max() + 1) / fit.sum()
    return np.tile(share, (int(out.sum()), 1)), ""


def logistic(blocks: Any, y_N: Any, fit: Any, out: Any) -> tuple[NDArray[np.float64], str]:
    """Logistic regression of block means, as it comes out of the box: the known figure."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=2000).fit(blocks["x_NC"][fit], y_N[fit])
    return model.predict_proba(blocks["x_NC"][out]), ""


def _searched(
    make: Callable[[float], Any], values: tuple[float, ...], blocks: Any, y_N: Any, fit: Any
) -> tuple[Any, str]:
    """The value that does best on runs left out among those of `fit`; halves teach it too."""
    run_N, scores = blocks["run_N"], []
    for value in values:
        hits = 0
        for run in np.unique(run_N[fit]):
            inner, judged = fit & (run_N != run), fit & (run_N == run)
            model = make(value).fit(*_with_halves(blocks, y_N, inner))
            hits += int((model.predict(blocks["x_NC"][judged]) == y_N[judged]).sum())
        scores.append(hits)
    value = values[int(np.argmax(scores))]
    return make(value).fit(*_with_halves(blocks, y_N, fit)), f"{value:g}"


def _with_halves(blocks: Any, y_N: Any, fit: Any) -> tuple[NDArray, NDArray]:
    """Means of blocks and of their halves: more of the noise that a block is to be told from."""
    halves = blocks["half_N2C"][fit]
    x = np.concatenate([blocks["x_NC"][fit], halves[:, 0], halves[:, 1]])
    return x, np.tile(y_N[fit], 3)


def penalised(blocks: Any, y_N: Any, fit: Any, out: Any) -> tuple[NDArray[np.float64], str]:
    """Logistic regression, its penalty chosen inside."""
    from sklearn.linear_model import LogisticRegression

    model, choice = _searched(
        lambda c: LogisticRegression(C=c, max_iter=2000), PENALTIES, blocks, y_N, fit
    )
    return model.predict_proba(blocks["x_NC"][out]), f"C={choice}"


def discriminant(blocks: Any, y_N: Any, fit: Any, out: Any) -> tuple[NDArray[np.float64], str]:
    """Linear discriminant analysis, its shrinkage chosen inside."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    model, choice = _searched(
        lambda s: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s),
        SHRINKAGES,
        blocks,
        y_N,
        fit,
    )
    return model.predict_proba(blocks["x_NC"][out]), f"shrinkage={choice}"


BASELINE = "logistic regression, as it comes"
METHODS: dict[str, Method] = {
    "majority": majority,
    BASELINE: logistic,
    "logistic regression, penalty chosen": penalised,
    "shrinkage LDA": discriminant,
}
