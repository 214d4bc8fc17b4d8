"""Speech features that ridge reads from the spectrogram, for retrieval and for regression.

Shapes: N frames, F speech features.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.heads.frames import resampled
from eval.speech.answers import Said, Say
from eval.speech.linear import Ridge, fold_of
from eval.speech.spectrogram import LAGS_S, Patient, n_frames
from eval.speech.windows import Plan, Window

RIDGE = "spectrogram + ridge"
LIKELIHOOD = "ridge of whole segments, likelihood ratio"
RIDGE_NOTE = (
    "Ridge reads log power in bands and voltage of every contact, "
    f"{', '.join(f'{lag * 1000:.0f}' for lag in LAGS_S)} ms after each frame, one model a "
    "patient, alpha by whole training sentences. Logistic regression has no class to tell here; "
    "a language model alone is the decoder without brain input."
)


def ridge_features(plan: Plan, say: Say) -> Said:
    """Features of every tested window, as many frames as its own.

    A patient without training windows gets zeros, which say nothing.
    """
    found: Said = [np.zeros_like(stimulus(w)) for w in plan.test]
    for patient in plan.patients:
        mine = [w for w in plan.train if w.patient == patient]
        if not mine:
            continue
        say(f"ridge of {patient}: {len(mine)} training windows")
        frames = Patient(plan.store)
        # Not more frames than the speech has: an embedding may come 12.5 times a second.
        counts = [min(n_frames(plan.store, w), len(stimulus(w))) for w in mine]
        x = np.concatenate([frames.lagged(w, n) for w, n in zip(mine, counts, strict=True)])
        y = np.concatenate([at(stimulus(w), n) for w, n in zip(mine, counts, strict=True)])
        model = Ridge().fit(x, y, np.repeat(fold_of(mine, 4), counts))
        for i, w in enumerate(plan.test):
            if w.patient == patient:
                n = min(n_frames(plan.store, w), len(stimulus(w)))
                found[i] = at(model.predict(frames.lagged(w, n)), len(stimulus(w)))
    return found


def stimulus(window: Window) -> NDArray[np.float32]:
    """What was heard in a window; the plan has read it."""
    if window.stimulus_NF is None:
        raise ValueError("the windows were cut without a stimulus")
    return window.stimulus_NF


def at(x_NF: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """The same features at another number of frames."""
    found: NDArray[np.float32] = resampled(torch.from_numpy(x_NF)[None].float(), n)[0].numpy()
    return found
