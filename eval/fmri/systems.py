"""Encoding models and their controls: from what was shown before a frame to the frame.

Ridge regressions (on time bins, and on a canonical response of the blood), the transformer with one
query a region, and what tells how much of either is real.

Shapes: M frames that teach, N frames that are judged, K features, L lags, F = L K, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.models.responses import ResponseModel
from eval.fmri.folds import Fold
from eval.fmri.stimuli import BIN_S, LAGS

PENALTIES = tuple(10.0 ** np.arange(-1, 6))
EPOCHS, PATIENCE, FRAMES = 40, 4, 64

System = Callable[["Sequence[Fold]"], "list[NDArray[np.float64] | None]"]
"""Folds of people with the same channels to guesses of what is judged in each; None: it has none.
"""


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
    w_FC, b_C = ridge(flat(fold.x_MLK), fold.y_MC, fold.run_M)
    return flat(fold.test_NLK) @ w_FC + b_C


def canonical(fold: Fold) -> NDArray[np.float64]:
    """Ridge on features through Glover's response, one number a feature."""
    x_MK, test_NK = through_blood(fold.x_MLK), through_blood(fold.test_NLK)
    scale = x_MK.std() or 1.0
    w_KC, b_C = ridge(x_MK / scale, fold.y_MC, fold.run_M)
    return test_NK / scale @ w_KC + b_C


def through_blood(x_MLK: NDArray[np.float64]) -> NDArray[np.float64]:
    """What blood would show of each feature if it answered as Glover's does, (M, K)."""
    from nilearn.glm.first_level.hemodynamic_models import glover_hrf

    fine = 20
    hrf = np.asarray(glover_hrf(BIN_S, oversampling=fine, time_length=LAGS * BIN_S))
    weight_L = hrf[: LAGS * fine].reshape(LAGS, fine).sum(1)
    return np.einsum("mlk,l->mk", x_MLK, weight_L)


def anything(fold: Fold) -> NDArray[np.float64] | None:
    """Ridge that knows when something was shown, and not what; None where events have one name."""
    if fold.n_labels < 2:
        return None
    x, test = (d[..., : fold.n_labels].sum(-1) for d in (fold.x_MLK, fold.test_NLK))
    w_LC, b_C = ridge(x, fold.y_MC, fold.run_M)
    return test @ w_LC + b_C


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
    x = np.concatenate([flat(f.x_MLK) for f in folds])
    y = np.concatenate([f.y_MC for f in folds])
    run = np.repeat(np.arange(len(folds)), [len(f.x_MLK) for f in folds])
    w_FC, b_C = ridge(x, y, run if len(folds) > 1 else folds[0].run_M)
    return [flat(f.test_NLK) @ w_FC + b_C for f in folds]


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
    w_FC, b_C = ridge(flat(fold.x_MLK), fold.y_MC, fold.run_M)
    moved, first = [], 0
    for run, where in fold.judge:
        n = len(run.x_TC[where])
        moved.append(np.roll(flat(fold.test_NLK[first : first + n]), n // 2, axis=0))
        first += n
    return np.concatenate(moved) @ w_FC + b_C


def _model(fold: Fold) -> ResponseModel:
    _, n_lags, n_features = fold.x_MLK.shape
    return ResponseModel(n_features, n_lags, torch.from_numpy(fold.pos_C3).float())


def flat(x_MLK: NDArray[np.float64]) -> NDArray[np.float64]:
    return x_MLK.reshape(len(x_MLK), -1)


def _each(system: Callable[[Fold], NDArray[np.float64] | None]) -> System:
    return lambda folds: [system(f) for f in folds]


RIDGE, TRANSFORMER = "ridge on time bins", "transformer, a query a region"
ANYTHING = "ridge, when something was shown and not what"
SYSTEMS: dict[str, System] = {
    TRANSFORMER: transformer,
    RIDGE: _each(bins),
    "ridge on time bins, one for all people": everyone,
    "ridge on a canonical response": _each(canonical),
    ANYTHING: _each(anything),
    "transformer of random weights + ridge": _each(random_tokens),
    "what was shown at another time": _each(shuffled),
}
