"""Linear models that name the phoneme of every frame, as log-probabilities for the CTC search.

Shapes: N frames, K symbols (silence in the place of the blank), F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from brainfm.data.speech import transcript
from brainfm.data.transcript import Transcript
from brainfm.signals.phonemes import BLANK, SIL, phoneme_id
from brainfm.speech.search import edits, greedy
from eval.speech.answers import Said, Say
from eval.speech.linear import Logistic, Ridge, fold_of
from eval.speech.spectrogram import FRAMES_HZ, Patient, n_frames
from eval.speech.windows import Plan, Window

MOST_FRAMES = 8_000
"""Training frames of the logistic regression of a patient, drawn at random."""
SMOOTH = (1, 3, 5)
"""Frames over which probabilities are averaged; which is best is chosen on validation windows."""
LEAST = 1e-4
"""Probability that any phoneme has anywhere."""


def linear_frames(plan: Plan, n_symbols: int, say: Say) -> dict[str, tuple[Said, Said]]:
    """Log-probabilities of the tested and the validation windows from two linear models."""
    names = ("spectrogram + logistic regression", "spectrogram + ridge")
    flat = np.full(n_symbols, -np.log(n_symbols), np.float32)
    windows = (plan.test, plan.val)
    found = {
        name: tuple([np.tile(flat, (n_frames(plan.store, w), 1)) for w in ws] for ws in windows)
        for name in names
    }
    for patient in plan.patients:
        mine = [w for w in plan.train if w.patient == patient]
        if not mine:
            continue
        say(f"linear models of {patient}: {len(mine)} training windows")
        frames = Patient(plan.store)
        fits = _fit(plan, mine, frames)
        for name, model in zip(names, fits, strict=True):
            for ws, out in zip(windows, found[name], strict=True):
                for i, w in enumerate(ws):
                    if w.patient == patient:
                        x = frames.lagged(w, n_frames(plan.store, w))
                        out[i] = model.proba(x) if isinstance(model, Logistic) else model.predict(x)
                        out[i] = _log(out[i], n_symbols)
    return {name: _smoothed(plan.val, *pair) for name, pair in found.items()}


def labels(said: Transcript, window: Window, start_s: float, n: int) -> NDArray[np.int64]:
    """(n,) phoneme of each frame of a window; silence (0) outside what its target is."""
    at = start_s + (np.arange(n) + 0.5) / FRAMES_HZ
    out = np.full(n, BLANK)
    for e in said.phonemes_within(window.start_s, window.stop_s):
        k = phoneme_id(e.label)
        if k != SIL:
            out[(at >= e.onset_s) & (at < e.onset_s + e.duration_s)] = k
    return out


def _fit(plan: Plan, mine: Sequence[Window], frames: Patient) -> tuple[Logistic, Ridge]:
    said = {row: transcript(plan.store, row) for row in {w.ref.recording for w in mine}}
    sfreq, xs, ys, folds = plan.store.recipe.sfreq, [], [], []
    for w, fold in zip(mine, fold_of(mine, 4), strict=True):
        n = n_frames(plan.store, w)
        xs.append(frames.lagged(w, n))
        ys.append(labels(said[w.ref.recording], w, w.ref.start / sfreq, n))
        folds.append(np.full(n, fold))
    x, y, fold_N = np.concatenate(xs), np.concatenate(ys), np.concatenate(folds)
    some = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_FRAMES])
    one_hot = np.eye(SIL, dtype=np.float32)[y]
    return Logistic(SIL).fit(x[some], y[some], fold_N[some]), Ridge().fit(x, one_hot, fold_N)


def _log(p_NK: NDArray[np.float32], n_symbols: int) -> NDArray[np.float32]:
    p_NK = np.pad(p_NK, ((0, 0), (0, n_symbols - p_NK.shape[1]))).clip(LEAST, None)
    return np.log(p_NK / p_NK.sum(1, keepdims=True))


def _smoothed(val: Sequence[Window], test: Said, held: Said) -> tuple[Said, Said]:
    """Averaged over as many frames as gives the fewest greedy errors on validation windows."""
    best, width = np.inf, SMOOTH[1]
    for candidate in SMOOTH:
        errors = sum(
            edits([k for k in w.symbols if k != SIL], greedy(_average(logp, candidate)))
            for w, logp in zip(val, held, strict=True)
        )
        if val and errors < best:
            best, width = errors, candidate
    return [_average(x, width) for x in test], [_average(x, width) for x in held]


def _average(logp_NK: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    if width == 1 or len(logp_NK) < width:
        return logp_NK
    half = width // 2
    padded = np.pad(np.exp(logp_NK), ((half, half), (0, 0)), mode="edge")
    mean = np.lib.stride_tricks.sliding_window_view(padded, width, 0).mean(-1)
    return np.log(mean).astype(np.float32)
