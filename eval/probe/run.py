"""One data set from sealed trials to a table: fit everything, open the test once, judge.

Shapes: N trials, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from eval.metrics.classification import METRICS, confusion, paired_difference, summarise
from eval.probe.routes import ALIGNED_ONLY, CONTROL_OF, Fitted, Route, fit_all
from eval.probe.trials import ProbeSpec, folds_of

METRIC = "balanced_accuracy"
"""The figure that ranks routes; classes are not equally frequent in official test splits."""


def probe_dataset(
    store: Store,
    spec: ProbeSpec,
    routes: list[Route],
    *,
    workers: int = 1,
    n_resamples: int = 1000,
    say: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Everything a report needs to know of one data set.

    The order is the point: all routes are fitted on all folds, then each seal is opened, once.

    Returns
    -------
    dict with "rows" (one a route: metrics, confusion, choices), "differences", "verdict" and
    what was decoded
    """
    folds = list(folds_of(store, spec))
    fitted: list[dict[str, dict[int, Fitted]]] = [{} for _ in folds]
    for k, name, seed, one in fit_all(routes, folds, workers):
        fitted[k].setdefault(name, {})[seed] = one
        say(f"{spec.dataset}: {name}, seed {seed}, {folds[k].name}: {one.seconds:.0f} s")
    tests = [fold.test.open(fitted[k]) for k, fold in enumerate(folds)]
    y_N = np.concatenate([t.y_N for t in tests])
    classes = folds[0].train.classes
    probas = {
        route.name: [
            np.concatenate(
                [
                    _all_classes(
                        fitted[k][route.name][seed].decoder.predict_proba(t.x_NCT),
                        folds[k].train.y_N,
                        len(classes),
                    )
                    for k, t in enumerate(tests)
                ]
            )
            for seed in route.seeds
        ]
        for route in routes
    }
    rows = []
    for route in routes:
        ones = [fitted[k][route.name][seed] for seed in route.seeds for k in range(len(folds))]
        rows.append(
            {
                "route": route.name,
                "sort": route.sort,
                "n_seeds": len(route.seeds),
                **summarise(y_N, probas[route.name], n_resamples=n_resamples),
                "confusion": sum(
                    confusion(y_N, p.argmax(1), len(classes)) for p in probas[route.name]
                ),
                "choices": sorted({one.choice for one in ones if one.choice}),
                "scores": getattr(ones[0].decoder, "scores", {}),
                "history": [getattr(one.decoder, "history", []) for one in ones],
                "fit_s": float(np.mean([one.seconds for one in ones])),
            }
        )
    result = {
        "dataset": spec.dataset,
        "title": spec.title or spec.dataset,
        "classes": list(classes),
        "split": spec.split,
        "folds": [fold.name for fold in folds],
        "n_train": [len(fold.train) for fold in folds],
        "n_test": len(y_N),
        "left_out": folds[0].left_out,
        "test_counts": np.bincount(y_N, minlength=len(classes)),
        "channels": len(tests[0].channels),
        "seconds_per_trial": tests[0].x_NCT.shape[2] / tests[0].sfreq,
        "simulated": "simulated" in spec.dataset,
        "seen_in_pretraining": _seen(store, spec),
        "rows": rows,
        "differences": _differences(y_N, probas, rows),
    }
    return result


def _all_classes(proba_NJ: NDArray, y_train_M: NDArray, n_classes: int) -> NDArray:
    """A column for every class: those that a fold's training set lacks get probability 0.

    scikit-learn leaves out absent classes wherever they stand, networks only the last ones.
    """
    seen = np.unique(y_train_M)
    j = proba_NJ.shape[1]
    proba_NK = np.zeros((len(proba_NJ), n_classes))
    proba_NK[:, seen if j == len(seen) else np.arange(j)] = proba_NJ
    return proba_NK


def _seen(store: Store, spec: ProbeSpec) -> bool:
    """Whether the signal (never the labels) of tested recordings may have been pretrained on."""
    if spec.split == "official":
        return False
    table = store.recordings
    return bool((table.loc[table["dataset"] == spec.dataset, "split"] != "test").any())


def _differences(
    y_N: NDArray, probas: dict[str, list[NDArray]], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Paired differences that the verdict speaks about."""
    best = {sort: best_row(rows, sort) for sort in ("model", "baseline")}
    pairs = [
        (model, control, "pretraining")
        for model, control in CONTROL_OF.items()
        if model in probas and control in probas
    ]
    if best["model"] and best["baseline"]:
        pairs.append((best["model"]["route"], best["baseline"]["route"], "baseline"))
    if best["model"] and ALIGNED_ONLY in probas:
        pairs.append((best["model"]["route"], ALIGNED_ONLY, "alignment"))
    return [
        {
            "a": a,
            "b": b,
            "about": about,
            **paired_difference(y_N, probas[a], probas[b], metric=METRIC),
        }
        for a, b, about in pairs
    ]


def best_row(rows: list[dict[str, Any]], sort: str) -> dict[str, Any] | None:
    """The row of a sort with the highest test figure, None if there is none."""
    mine = [r for r in rows if r["sort"] == sort]
    return max(mine, key=lambda r: r[METRIC]["mean"], default=None)


def table_rows(result: dict[str, Any], brief: bool = False) -> list[dict[str, Any]]:
    """Rows for `eval.tables`, the best model route and the best baseline marked.

    Parameters
    ----------
    brief : intervals only for the metric that ranks, as terminals are narrow
    """
    rows = result["rows"]
    best = [r["route"] for s in ("model", "baseline") if (r := best_row(rows, s))]
    return [
        {
            "route": r["route"],
            "sort": r["sort"],
            **{
                m.replace("_", " "): r[m]["mean"] if brief and m != METRIC else r[m]
                for m in METRICS
            },
            "seeds": r["n_seeds"],
            "_class": "best" if r["route"] in best else r["sort"],
        }
        for r in rows
    ]
