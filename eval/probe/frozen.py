"""Linear probe of a frozen model; depth, pooling and C are chosen inside the training set.

Shapes: N trials, C channels, T samples, F features, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.collate import batch_from_arrays
from brainfm.hub import BrainModel
from brainfm.signals.preprocess import Normalise
from brainfm.types import Channels
from eval.baselines import window_means
from eval.probe.align import EuclideanAlignment, unitless
from eval.probe.features import (
    POOLS,
    Candidate,
    candidates_of,
    pack,
    read_taps,
    tokenizer_of,
    unpack,
    with_amplitude,
)
from eval.probe.linear import WideLogistic, shifts_of


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
        """Fit every candidate, keep the one with the best inner score, fit it to shifts too."""
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
                    best, kept = found.score, (c, usual, found.spread)
        self.best, self.usual, spread = kept
        shifts = shifts_of(self.sfreq)
        f_NF = np.concatenate([self._features(np.roll(x_NCT, n, axis=2)) for n in shifts])
        self.probe = WideLogistic(spreads=(spread,)).fit(f_NF, y_N, group_N, len(shifts))
        self.choice = f"{self.best}, {self.probe.choice}"
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        return self.probe.predict_proba(self._features(x_NCT))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": pack(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "model": unpack(state["model"])}

    def _features(self, x_NCT: NDArray) -> NDArray:
        c = self.best
        seen, scale_N = self._read(x_NCT, (c.tap,), c.aligned)
        return self._pooled(c, seen[c.tap], scale_N, self.usual)

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

    Shifts included, as the model routes have them: it says how much of their figure is owed to
    the input.
    """

    channels: Channels
    sfreq: float

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> AlignedMeans:
        self.align = EuclideanAlignment().fit(x_NCT, self.channels)
        best = -np.inf
        for n_windows in (8, 16, 32):
            found = WideLogistic().fit(self._features(x_NCT, n_windows), y_N, group_N)
            if found.score > best:
                best, self.n_windows = found.score, n_windows
        shifts = shifts_of(self.sfreq)
        copies = [self._features(np.roll(x_NCT, n, axis=2), self.n_windows) for n in shifts]
        self.probe = WideLogistic().fit(np.concatenate(copies), y_N, group_N, len(shifts))
        self.choice = f"{self.n_windows} windows, {self.probe.choice}"
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        return self.probe.predict_proba(self._features(x_NCT, self.n_windows))

    def _features(self, x_NCT: NDArray, n_windows: int) -> NDArray:
        return window_means(self.align.transform(x_NCT), n_windows, scale=True)


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
