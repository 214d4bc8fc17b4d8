"""Linear probe of a frozen model; depth, pooling and C are chosen inside the training set.

Shapes: N trials, C channels, T samples, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.data.collate import batch_from_arrays
from brainfm.hub import BrainModel
from brainfm.models.unified import UnifiedEncoder
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

MOST_MEMBERS = 5
"""More would mostly repeat the same taps, and every member is fitted again to shifted trials."""


@dataclass
class Member:
    """One way to read the model, and the classifier that does."""

    candidate: Candidate
    usual: float
    """Scale of a usual training trial."""
    probe: WideLogistic


@dataclass
class FrozenProbe:
    """Logistic regressions on features of a model that is not trained.

    Those candidates that the training set cannot tell from the best one predict together: which
    of them comes first by inner cross-validation is chance, and small sets have many.

    Attributes
    ----------
    model : never changed
    scores : candidate -> balanced accuracy by cross-validation inside the training set
    members : the candidates within a standard error of the best, at most `MOST_MEMBERS`
    """

    model: BrainModel
    channels: Channels
    sfreq: float
    normalise: Normalise
    candidates: tuple[Candidate, ...] = ()

    def fit(self, x_NCT: NDArray, y_N: NDArray, group_N: NDArray | None = None) -> FrozenProbe:
        """Fit every candidate; fit those that are kept again, to shifted trials too."""
        self.align = EuclideanAlignment().fit(x_NCT, self.channels)
        found: list[Member] = []
        candidates = self.candidates or candidates_of(self.model)
        for aligned in (False, True):
            mine = [c for c in candidates if c.aligned == aligned]
            if not mine:
                continue
            seen, scale_N = self._read(x_NCT, mine)
            usual = float(np.median(scale_N))
            for c in mine:
                probe = WideLogistic().fit(pooled(c, seen[c.tap], scale_N, usual), y_N, group_N)
                found.append(Member(c, usual, probe))
        self.scores = {str(m.candidate): m.probe.score for m in found}
        self.members = as_good_as_the_best(found, len(y_N))
        shifts = shifts_of(self.sfreq)
        copies = [self._features(np.roll(x_NCT, n, axis=2)) for n in shifts]
        for m, parts in zip(self.members, zip(*copies, strict=True), strict=True):
            m.probe = WideLogistic(spreads=(m.probe.spread,))
            m.probe.fit(np.concatenate(parts), y_N, group_N, len(shifts))
        # Shifts are a second look at who was lucky.
        self.members = as_good_as_the_best(self.members, len(y_N))
        self.choice = " + ".join(f"{m.candidate}, {m.probe.choice}" for m in self.members)
        return self

    def predict_proba(self, x_NCT: NDArray) -> NDArray:
        """Mean of the members' probabilities, (N, K)."""
        pairs = zip(self.members, self._features(x_NCT), strict=True)
        return np.mean([m.probe.predict_proba(f_NF) for m, f_NF in pairs], axis=0)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": pack(self.model)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "model": unpack(state["model"])}

    def _features(self, x_NCT: NDArray) -> list[NDArray]:
        """What each member sees."""
        out: dict[int, NDArray] = {}
        for aligned in {m.candidate.aligned for m in self.members}:
            mine = [(i, m) for i, m in enumerate(self.members) if m.candidate.aligned == aligned]
            seen, scale_N = self._read(x_NCT, [m.candidate for _, m in mine])
            for i, m in mine:
                out[i] = pooled(m.candidate, seen[m.candidate.tap], scale_N, m.usual)
        return [out[i] for i in range(len(self.members))]

    def _read(
        self, x_NCT: NDArray, candidates: Sequence[Candidate]
    ) -> tuple[dict[str, NDArray], NDArray]:
        """Taps of candidates that are all aligned, or all not."""
        aligned = candidates[0].aligned
        channels = unitless(self.channels) if aligned else self.channels
        x_NCT = self.align.transform(x_NCT) if aligned else x_NCT
        taps = tuple(dict.fromkeys(c.tap for c in candidates))
        return read_taps(self.model, x_NCT, channels, self.sfreq, self.normalise, taps)


def as_good_as_the_best(members: Sequence[Member], n_trials: int) -> list[Member]:
    """Those within one standard error of the best inner score, best first, few of them."""
    best = max(m.probe.score for m in members)
    error = np.sqrt(best * (1 - best) / n_trials)
    kept = [m for m in members if m.probe.score >= best - error]
    return sorted(kept, key=lambda m: -m.probe.score)[:MOST_MEMBERS]


def pooled(c: Candidate, h_NSWD: NDArray, scale_N: NDArray, usual: float) -> NDArray:
    """Features of a tap as a candidate takes them, (N, F)."""
    return POOLS[c.pool](with_amplitude(h_NSWD, scale_N, usual) if c.amplitude else h_NSWD)


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

    Its codebooks are placed by k-means on training trials (its units of features are learned from
    them), as the first step of a pretraining would, since random codes would answer nothing.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(model)(model.config, model.preprocess)
        few = x_NCT[np.random.default_rng(seed).permutation(len(x_NCT))[:64]]
        batch = batch_from_arrays(few, channels, sfreq, normalise)
        if isinstance(fresh, UnifiedEncoder):
            fresh.meet([batch])
        else:
            tokenizer_of(fresh).initialise_codebooks(batch)
    return fresh.eval()
