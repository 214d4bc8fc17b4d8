"""What it sounded like: correlation of decoded and heard features, band by band.

Shapes: N frames, F speech features, W windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.speech.answers import LINEAR, Answer, Said, Say
from eval.speech.decoders import Trained
from eval.speech.heard import RIDGE, RIDGE_NOTE, at, ridge_features, stimulus
from eval.speech.scores import Counts, Metric
from eval.speech.windows import Plan


class Regression:
    """Speech features over time.

    Parameters
    ----------
    plan : Plan whose windows carry a stimulus
    """

    title = "Speech features over time"
    metrics = (Metric("correlation"),)
    needs_val = False

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def read(self, trained: Trained, said: Said) -> Said:
        """At the frames of what was heard."""
        return [at(x, len(stimulus(w))) for x, w in zip(said, self.plan.test, strict=True)]

    def baselines(self, say: Say) -> dict[str, Answer]:
        """Ridge."""
        return {RIDGE: Answer(LINEAR, [ridge_features(self.plan, say)])}

    def counts(self, said: Said, val: Said | None) -> dict[str, Counts]:
        r_WF = self.by_band(said)
        some_W = np.isfinite(r_WF).any(1)
        mean_W = np.where(some_W, np.nanmean(np.where(some_W[:, None], r_WF, 0.0), 1), 0.0)
        return {"correlation": Counts(mean_W, some_W.astype(float))}

    def facts(self) -> dict[str, Any]:
        features = stimulus(self.plan.test[0]).shape[1]
        return {"stimulus": self.plan.targets.stimulus, "features": features}

    def notes(self) -> list[str]:
        return [
            f"Pearson correlation over the frames of a window, of each of the "
            f"{self.facts()['features']} features of '{self.plan.targets.stimulus}'; mean over "
            f"features and windows, then over patients. A constant answer counts 0. {RIDGE_NOTE}"
        ]

    def details(self, said: Mapping[str, Said]) -> dict[str, Any]:
        """Mean correlation of each feature."""
        return {"bands": {n: np.nanmean(self.by_band(s), 0).tolist() for n, s in said.items()}}

    def by_band(self, said: Said) -> NDArray[np.float64]:
        """(W, F) correlations; NaN where what was heard does not move, 0 where the answer does
        not.
        """
        pairs = zip(said, self.plan.test, strict=True)
        return np.stack([correlations(x, stimulus(w)) for x, w in pairs])


def correlations(x_NF: NDArray[Any], y_NF: NDArray[Any]) -> NDArray[np.float64]:
    """(F,) Pearson correlations over frames."""
    x, y = (v.astype(np.float64) - v.mean(0, dtype=np.float64) for v in (x_NF, y_NF))
    size_x, size_y = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
    still_x, still_y = (s <= 1e-7 * len(x) for s in (size_x, size_y))
    r_F = (x * y).sum(0) / np.where(still_x | still_y, 1.0, size_x * size_y)
    return np.where(still_y, np.nan, np.where(still_x, 0.0, r_F))
