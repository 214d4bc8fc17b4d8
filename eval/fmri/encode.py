"""How well what was shown tells what fMRI will show: systems, people, ceilings.

Runs are left out; a person of one run is judged on the other half of it, with a gap between the
halves.

Shapes: F folds, L lags, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import DataError
from eval.fmri.folds import Fold, folds_of
from eval.fmri.stimuli import BIN_S, LAGS, Shown, ceiling, overlap, read_shown, repeats
from eval.fmri.systems import RIDGE, SYSTEMS, flat, ridge


def encode(
    store: Store, dataset: str, most_people: int = 24, say: Callable[[str], None] = lambda _: None
) -> dict[str, Any]:
    """Every system on every person of a data set.

    Returns
    -------
    dict with "rows" (system -> correlations (F, C) a person), "ceilings" (person -> (C,) or None),
    "overlap" (answers run into one another, so ceilings are too low), "places" (person -> (C, 3)),
    "frames" (person -> of the places), "curve" (L,) response of the best channels and "people"
    """
    runs = read_shown(store, dataset)
    people = list(dict.fromkeys(r.person for r in runs))[:most_people]
    of = {person: [r for r in runs if r.person == person] for person in people}
    out: dict[str, Any] = {
        "rows": {n: {} for n in SYSTEMS},
        "ceilings": {},
        "places": {},
        "frames": {},
    }
    folds: dict[str, list[Fold]] = {}
    alike: dict[tuple[Any, ...], list[str]] = {}
    for person, mine in of.items():
        layouts = {tuple(store.channels(r.row).name) for r in mine}
        if len(layouts) > 1:
            raise DataError(
                f"{person}: runs differ in channels; prepare them with one mask or atlas"
            )
        channels = store.channels(mine[0].row)
        out["places"][person], out["frames"][person] = channels.pos_m.astype(float), channels.frame
        folds[person] = folds_of(mine, out["places"][person])
        again = repeats(mine)
        out["ceilings"][person] = None if again is None else ceiling(again)
        alike.setdefault((layouts.pop(), len(folds[person])), []).append(person)
    for name, system in SYSTEMS.items():
        for group in alike.values():
            judged: dict[str, list[NDArray[np.float64]]] = {p: [] for p in group}
            for some in zip(*(folds[p] for p in group), strict=True):
                for person, fold, guess_NC in zip(group, some, system(some), strict=True):
                    if guess_NC is not None:
                        judged[person].append(fold.score(guess_NC))
            out["rows"][name] |= {p: np.concatenate(parts) for p, parts in judged.items() if parts}
        if not out["rows"][name]:
            del out["rows"][name]
            continue
        middle = float(np.median(np.concatenate([r.mean(0) for r in out["rows"][name].values()])))
        say(f"{name}: median r {middle:.3f}")
    curves = [_curve(of[p], out["rows"][RIDGE][p].mean(0)) for p in people]
    out["curve"] = np.mean(curves, 0)
    out["peak_s"] = float((np.argmax(out["curve"]) + 0.5) * BIN_S)
    out["overlap"] = any(overlap(mine) for mine in of.values())
    out["people"], out["n_runs"] = people, sum(len(mine) for mine in of.values())
    out["n_channels"] = [len(out["places"][p]) for p in people]
    return out


def _curve(runs: Sequence[Shown], r_C: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L,) impulse response of the ten channels that are guessed best, to what they prefer."""
    x = np.concatenate([r.design_TLK[r.kept_T] for r in runs])
    y = np.concatenate([r.x_TC[r.kept_T] for r in runs])
    run = np.repeat(np.arange(len(runs)), [int(r.kept_T.sum()) for r in runs])
    if len(runs) == 1:
        run = np.arange(len(x)) * 4 // len(x)
    best = np.argsort(-r_C)[:10]
    w_FC, _ = ridge(flat(x), y[:, best], run)
    w_LKC = w_FC.reshape(LAGS, -1, len(best))
    preferred_C = w_LKC.sum(0).argmax(0)
    curve = w_LKC[:, preferred_C, np.arange(len(best))].mean(1)
    out: NDArray[np.float64] = curve / max(float(np.abs(curve).max()), 1e-12)
    return out
