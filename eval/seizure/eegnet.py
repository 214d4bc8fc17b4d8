"""EEGNet from scratch on recordings whose electrodes differ from patient to patient.

The network sees one channel of one step; the logits of all channels are pooled by log-mean-exp,
which lies between their mean and their maximum, and the pooled logit is what is trained. So one
network serves every montage. Shapes: B windows, C channels, P samples in a step, S steps.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.detect.score import Scores
from brainfm.types import WindowRef
from eval.seizure.baselines import require_both, scores
from eval.seizure.features import StepReader

CLIP = 20.0
"""Limit in units of a channel's running deviation."""
AT_ONCE = 4096
"""Channels of windows that one forward pass of a prediction takes."""


@dataclass
class ChannelEEGNet:
    """EEGNet (Lawhern et al. 2018) of braindecode, channel by channel.

    Channels are divided by the running median of their standard deviation, which never looks
    ahead. Half of each batch are seizures; the logit is then moved back to the true prevalence.

    Parameters
    ----------
    seed : of weights and batches
    steps, batch, channels : optimiser steps, windows of a batch, channels drawn of each window
    lr, weight_decay : of AdamW, as in the probe's EEGNet
    """

    seed: int = 0
    steps: int = 600
    batch: int = 24
    channels: int = 8
    lr: float = 1e-3
    weight_decay: float = 1e-2
    name = "EEGNet, channels pooled"

    def fit(self, reader: StepReader, rows: Sequence[int]) -> ChannelEEGNet:
        import torch

        rng = np.random.default_rng(self.seed)
        usable = {r: np.isfinite(reader(r).table_SF).all(1) for r in rows}
        places = [
            [(r, i) for r in rows for i in np.flatnonzero(usable[r] & (reader(r).label_S == y))]
            for y in (False, True)
        ]
        require_both(len(places[1]), len(places[0]), reader, rows)
        self.prior = math.log(len(places[1]) / len(places[0]))
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            self.net = _build(reader.step, reader.store.recipe.sfreq)
            optimiser = torch.optim.AdamW(
                self.net.parameters(), lr=self.lr, weight_decay=self.weight_decay
            )
            y_B = torch.arange(self.batch) % 2
            self.net.train()
            for _ in range(self.steps):
                drawn = [places[y][rng.integers(len(places[y]))] for y in y_B.tolist()]
                x_BCP = np.stack([self._some_channels(reader, r, i, rng) for r, i in drawn])
                logit_B = self._pooled(torch.from_numpy(x_BCP))
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logit_B, y_B.float())
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        return self

    def predict(self, reader: StepReader, row: int) -> Scores:
        import torch

        known = reader(row)
        proba = np.full(len(known.start_S), np.nan)
        self.net.eval()
        at_once = max(1, AT_ONCE // max(1, known.scale_SC.shape[1]))
        with torch.no_grad():
            for first in range(0, len(proba), at_once):
                part = range(first, min(first + at_once, len(proba)))
                x_SCP = torch.from_numpy(np.stack([_window(reader, row, i) for i in part]))
                # Flat channels say nothing; they are left out of the mean.
                live_SC = x_SCP.std(-1) > 0
                logit_SC = torch.full(live_SC.shape, -torch.inf)
                if live_SC.any():
                    logit_SC[live_SC] = self.net(x_SCP[live_SC][:, None])[:, 0]
                logit_S = logit_SC.logsumexp(1) - live_SC.sum(1).log() + self.prior
                proba[part.start : part.stop] = logit_S.sigmoid().numpy()
        return scores(reader, row, proba)

    def _pooled(self, x_BCP: Any) -> Any:
        logit_BC = self.net(x_BCP.flatten(0, 1)[:, None])[:, 0].unflatten(0, x_BCP.shape[:2])
        return logit_BC.logsumexp(1) - math.log(x_BCP.shape[1])

    def _some_channels(
        self, reader: StepReader, row: int, i: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        x_CP = _window(reader, row, i)
        live = np.flatnonzero(x_CP.std(1) > 0)
        return x_CP[rng.choice(live, self.channels, replace=len(live) < self.channels)]


def _window(reader: StepReader, row: int, i: int) -> NDArray[np.float32]:
    """Step `i`, (C, P), in units of each channel's running deviation; unusable channels are 0."""
    steps = reader(row)
    x_PC = reader.store.read(WindowRef(row, int(steps.start_S[i]), reader.step))
    x_CP = x_PC[:, steps.column_C].T
    with np.errstate(invalid="ignore", over="ignore"):
        x_CP = (x_CP - x_CP.mean(1, keepdims=True)) / steps.scale_SC[i][:, None]
    usable = np.isfinite(x_CP).all(1, keepdims=True)
    return np.clip(np.where(usable, x_CP, 0.0), -CLIP, CLIP).astype(np.float32)


def _build(n_times: int, sfreq: float) -> Any:
    with warnings.catch_warnings():
        # On import braindecode asks MNE for a montage under its old name.
        warnings.simplefilter("ignore")
        from braindecode.models import EEGNet
    return EEGNet(n_chans=1, n_outputs=1, n_times=n_times, sfreq=sfreq)
