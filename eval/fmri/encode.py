"""How well what was shown tells what fMRI will show: encoding models, controls, noise ceilings.

Ridge regressions (on time bins, and on a canonical response to the blood), the transformer with one
query a region, and controls. Runs are left out; a person of one run is judged on the other half of
it, with a gap between the halves.

Shapes: T frames, K features, L lags, C channels, F folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.store import Store
from brainfm.errors import DataError
from brainfm.models.responses import ResponseModel
from eval.fmri.stimuli import BIN_S, LAGS, Shown, ceiling, overlap, read_shown, repeats

PENALTIES = tuple(10.0 ** np.arange(-1, 6))
GAP_S = 20.0
"""Between halves of a run, longer than blood remembers."""
EPOCHS, PATIENCE, FRAMES = 40, 4, 64
AUDIBLE = 0.1
"""Channels with a lower ceiling answer to nothing; shares of the ceiling leave them out."""

System = Callable[["Sequence[Fold]"], "list[NDArray[np.float64]]"]
"""Folds of people with the same channels to guesses of what is judged in each."""


Stretch = tuple[Shown, slice]


class Fold:
    """Frames of some runs that teach, and runs that are judged.

    Attributes
    ----------
    x_MLK, y_MC, run_M : designs, answers and runs of the frames that teach
    test_NLK : designs of the frames that are judged, run after run
    pos_C3 : places of the channels, NaN where unknown
    """

    def __init__(self, teach: list[Stretch], judge: list[Stretch], pos_C3: NDArray) -> None:
        self.x_MLK = np.concatenate([s.design_TLK[w][s.kept_T[w]] for s, w in teach])
        self.y_MC = np.concatenate([s.x_TC[w][s.kept_T[w]] for s, w in teach])
        self.run_M = np.repeat(np.arange(len(teach)), [int(s.kept_T[w].sum()) for s, w in teach])
        if len(teach) == 1:  # one stretch: blocks of it stand for runs
            self.run_M = np.arange(len(self.x_MLK)) * 4 // len(self.x_MLK)
        self.pos_C3, self.judge = pos_C3, judge
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


def ridge(
    x_MF: NDArray[np.float64], y_MC: NDArray[np.float64], run_M: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (F, C) and offsets (C,); each channel's penalty by leaving out runs among these."""
    error_PC = np.zeros((len(PENALTIES), y_MC.shape[1]))
    for run in np.unique(run_M):
        out = run_M == run
        for p, (w_FC, b_C) in enumerate(_solve(x_MF[~out], y_MC[~out])):
            error_PC[p] += ((x_MF[out] @ w_FC + b_C - y_MC[out]) ** 2).sum(0)
    best_C = error_PC.argmin(0)
    w_FC = np.zeros((x_MF.shape[1], y_MC.shape[1]))
    b_C = np.zeros(y_MC.shape[1])
    for p, (w, b) in enumerate(_solve(x_MF, y_MC)):
        w_FC[:, best_C == p], b_C[best_C == p] = w[:, best_C == p], b[best_C == p]
    return w_FC, b_C


def _solve(x_MF: NDArray, y_MC: NDArray) -> list[tuple[NDArray, NDArray]]:
    """Weights and offsets for every penalty, from one decomposition."""
    mean_F, mean_C = x_MF.mean(0), y_MC.mean(0)
    u, s, vt = np.linalg.svd(x_MF - mean_F, full_matrices=False)
    uy = u.T @ (y_MC - mean_C)
    out = []
    for penalty in PENALTIES:
        w_FC = vt.T @ ((s / (s**2 + penalty))[:, None] * uy)
        out.append((w_FC, mean_C - mean_F @ w_FC))
    return out


def bins(fold: Fold) -> NDArray[np.float64]:
    """Ridge on all time bins: a finite impulse response of each feature and channel."""
    w_FC, b_C = ridge(_flat(fold.x_MLK), fold.y_MC, fold.run_M)
    return _flat(fold.test_NLK) @ w_FC + b_C


def canonical(fold: Fold) -> NDArray[np.float64]:
    """Ridge on features through Glover's response, one number a feature."""
    from nilearn.glm.first_level.hemodynamic_models import glover_hrf

    fine = 20
    hrf = np.asarray(glover_hrf(BIN_S, oversampling=fine, time_length=LAGS * BIN_S))
    weight_L = hrf[: LAGS * fine].reshape(LAGS, fine).mean(1)
    x_MK, test_NK = (np.einsum("mlk,l->mk", x, weight_L) for x in (fold.x_MLK, fold.test_NLK))
    scale = x_MK.std() or 1.0
    w_KC, b_C = ridge(x_MK / scale, fold.y_MC, fold.run_M)
    return test_NK / scale @ w_KC + b_C


def transformer(folds: Sequence[Fold], seed: int = 0) -> list[NDArray[np.float64]]:
    """One transformer for people with the same channels; its epoch by the last run of each."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = torch.from_numpy(np.concatenate([f.x_MLK for f in folds])).float()
        y = torch.from_numpy(np.concatenate([f.y_MC for f in folds])).float()
        held = torch.from_numpy(np.concatenate([f.run_M == f.run_M.max() for f in folds]))
        model = _model(folds[0])
        opt = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
        best, kept, late = float("inf"), model.state_dict(), 0
        rows = torch.nonzero(~held).flatten()
        for _ in range(EPOCHS):
            model.train()
            for part in rows[torch.randperm(len(rows))].split(FRAMES):
                loss = (model(x[part]) - y[part]).square().mean()
                opt.zero_grad()
                loss.backward()
                opt.step()
            model.eval()
            with torch.no_grad():
                error = float((model(x[held]) - y[held]).square().mean())
            late += 1
            if error < best:
                best, kept, late = error, {k: v.clone() for k, v in model.state_dict().items()}, 0
            if late > PATIENCE:
                break
        model.load_state_dict(kept)
        with torch.no_grad():
            return [model(torch.from_numpy(f.test_NLK).float()).double().numpy() for f in folds]


def everyone(folds: Sequence[Fold]) -> list[NDArray[np.float64]]:
    """Ridge on time bins of all people with the same channels: what sharing alone gives."""
    x = np.concatenate([_flat(f.x_MLK) for f in folds])
    y = np.concatenate([f.y_MC for f in folds])
    run = np.repeat(np.arange(len(folds)), [len(f.x_MLK) for f in folds])
    w_FC, b_C = ridge(x, y, run if len(folds) > 1 else folds[0].run_M)
    return [_flat(f.test_NLK) @ w_FC + b_C for f in folds]


def random_tokens(fold: Fold, seed: int = 0) -> NDArray[np.float64]:
    """Ridge on tokens of a transformer that learned nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _model(fold).eval()
        with torch.no_grad():
            x, test = (
                model.tokens(torch.from_numpy(a).float()).flatten(1).double().numpy()
                for a in (fold.x_MLK, fold.test_NLK)
            )
    w_FC, b_C = ridge(x, fold.y_MC, fold.run_M)
    return test @ w_FC + b_C


def shuffled(fold: Fold) -> NDArray[np.float64]:
    """Ridge on time bins, judged with what was shown at another time of the run."""
    w_FC, b_C = ridge(_flat(fold.x_MLK), fold.y_MC, fold.run_M)
    moved, first = [], 0
    for run, where in fold.judge:
        n = len(run.x_TC[where])
        moved.append(np.roll(_flat(fold.test_NLK[first : first + n]), n // 2, axis=0))
        first += n
    return np.concatenate(moved) @ w_FC + b_C


def _model(fold: Fold) -> ResponseModel:
    _, n_lags, n_features = fold.x_MLK.shape
    return ResponseModel(n_features, n_lags, torch.from_numpy(fold.pos_C3).float())


def _flat(x_MLK: NDArray[np.float64]) -> NDArray[np.float64]:
    return x_MLK.reshape(len(x_MLK), -1)


def _each(system: Callable[[Fold], NDArray[np.float64]]) -> System:
    return lambda folds: [system(f) for f in folds]


RIDGE, TRANSFORMER = "ridge on time bins", "transformer, a query a region"
SYSTEMS: dict[str, System] = {
    TRANSFORMER: transformer,
    RIDGE: _each(bins),
    "ridge on time bins, one for all people": everyone,
    "ridge on a canonical response": _each(canonical),
    "transformer of random weights + ridge": _each(random_tokens),
    "what was shown at another time": _each(shuffled),
}


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
                    judged[person].append(fold.score(guess_NC))
            out["rows"][name] |= {p: np.concatenate(parts) for p, parts in judged.items()}
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
    w_FC, _ = ridge(_flat(x), y[:, best], run)
    w_LKC = w_FC.reshape(LAGS, -1, len(best))
    preferred_C = w_LKC.sum(0).argmax(0)
    curve = w_LKC[:, preferred_C, np.arange(len(best))].mean(1)
    out: NDArray[np.float64] = curve / max(float(np.abs(curve).max()), 1e-12)
    return out
