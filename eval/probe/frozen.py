"""Linear probe of a frozen model; depth, pooling and C are chosen inside the training set.

Shapes: N trials, C channels, T samples, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.collate import batch_from_arrays
from brainfm.hub import BrainModel
from brainfm.signals.preprocess import Normalise
from brainfm.types import Channels
from eval.baselines import FeatureLogistic, window_means
from eval.probe.align import EuclideanAlignment, unitless
from eval.probe.features import (
    POOLS,
    Candidate,
    WideLogistic,
    candidates_of,
    pack,
    read_taps,
    tokenizer_of,
    unpack,
    with_amplitude,
)


@dataclass
class FrozenProbe:
    """Logistic regression on features of a model that is not trained.

    Attributes
    ----------
    model : never changed
    scores : candidate -> balanced accuracy by cross-validation inside the training set
    """

    model: BrainModel
    channels: Channels
    sfreq: float
    normalise: Normalise
    candidates: tuple[Candidate, ...] = ()

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> FrozenProbe:
        """Fit every candidate and keep the one with the best inner score."""
        self.align = EuclideanAlignment().fit(x_NCT, self.channels)
        self.scores: dict[str, float] = {}
        best = -np.inf
        candidates = self.candidates or candidates_of(self.model)
        for aligned in (False, True):
            mine = [c for c in candidates if c.aligned == aligned]
            if not mine:
                continue
            seen, scale_N = self._read(x_NCT, tuple(dict.fromkeys(c.tap for c in mine)), aligned)
            usual = float(np.median(scale_N))
            for c in mine:
                f_NF = self._pooled(c, seen[c.tap], scale_N, usual)
                found = WideLogistic().fit(f_NF, y_N, group_N)
                self.scores[str(c)] = found.score
                if found.score > best:
                    best, self.best, self.probe, self.usual = found.score, c, found, usual
        self.choice = f"{self.best}, {self.probe.choice}"
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        c = self.best
        seen, scale_N = self._read(x_NCT, (c.tap,), c.aligned)
        return self.probe.predict_proba(self._pooled(c, seen[c.tap], scale_N, self.usual))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": pack(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "model": unpack(state["model"])}

    def _pooled(self, c: Candidate, h_NSWD: NDArray, scale_N: NDArray, usual: float) -> NDArray:
        return POOLS[c.pool](with_amplitude(h_NSWD, scale_N, usual) if c.amplitude else h_NSWD)

    def _read(
        self, x_NCT: NDArray, taps: tuple[str, ...], aligned: bool
    ) -> tuple[dict[str, NDArray], NDArray]:
        channels = unitless(self.channels) if aligned else self.channels
        x_NCT = self.align.transform(x_NCT) if aligned else x_NCT
        return read_taps(self.model, x_NCT, channels, self.sfreq, self.normalise, taps)


@dataclass
class AlignedMeans:
    """Window means of aligned trials and logistic regression: the alignment without a network.

    It says how much of a model's figure is owed to its input.
    """

    channels: Channels

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> AlignedMeans:
        self.align = EuclideanAlignment().fit(x_NCT, self.channels)
        means = {
            f"{n} windows": partial(window_means, n_windows=n, scale=True) for n in (8, 16, 32)
        }
        self.decoder = FeatureLogistic(means)
        self.decoder.fit(self.align.transform(x_NCT), y_N, group_N)
        self.choice = self.decoder.choice
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        return self.decoder.predict_proba(self.align.transform(x_NCT))


def fresh_like(
    model: BrainModel,
    seed: int,
    x_NCT: NDArray,
    channels: Channels,
    sfreq: float,
    normalise: Normalise,
) -> BrainModel:
    """A model of the same sizes with random weights: the control of pretraining.

    Its codebooks are placed by k-means on training trials, as the first step of a pretraining
    would, since random codes would answer nothing.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model)(model.config, model.preprocess)
        few = x_NCT[np.random.default_rng(seed).permutation(len(x_NCT))[:64]]
        batch = batch_from_arrays(few, channels, sfreq, normalise)
        tokenizer_of(fresh).initialise_codebooks(batch)
    return fresh.eval()
