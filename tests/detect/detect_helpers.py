"""A detector with known answers, and signals it can be asked about."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import torch

from brainfm.detect.alarms import AlarmRule
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.types import UNIT_OF_KIND, Channels, Kind

CAUSAL = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0, causal=True)
LOOKS_AHEAD = Recipe(sfreq=128.0, highpass_hz=0.5, lowpass_hz=40.0)
RULE = AlarmRule(threshold=0.5, smooth_s=4.0, min_s=4.0, merge_s=10.0)


@dataclass
class LineLength:
    """Probability from the line length of the last step, in SI units; streams or takes windows.

    A detector as `brainfm.detect.detector.SeizureDetector` is one for the engine.
    """

    recipe: Recipe = CAUSAL
    streams: bool = True
    context: int = 5
    step: int = 128
    half: float = 2e-5
    """Volts of mean step between samples at which the probability is one half."""
    config: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(alarm=RULE, threshold_from="")
    )

    @property
    def preprocess(self):
        return Preprocess(self.recipe)

    @property
    def step_s(self):
        return self.step / self.recipe.sfreq

    def parameters(self):
        return iter(())

    def probabilities(self, batch):
        assert batch.x_BCWP.shape[2] <= self.context
        return self._of(batch, batch.scale_BC[..., None])

    def advance(self, batch, past=None, scale_BCW=None):
        """`past`: how many steps there were."""
        assert self.streams and scale_BCW.shape == batch.x_BCWP.shape[:3]
        return self._of(batch, scale_BCW), (past or 0) + batch.x_BCWP.shape[2]

    def _of(self, batch, scale_BCW):
        x_BCWP = batch.x_BCWP * scale_BCW[..., None]
        length_BCW = x_BCWP.diff(dim=-1).abs().mean(-1)
        valid_BC1 = batch.valid_BC[..., None]
        mean_BW = torch.where(valid_BC1, length_BCW, 0.0).sum(1) / valid_BC1.sum(1)
        return torch.sigmoid(4 * (mean_BW / self.half).log2())


def channels(n=4, kind=Kind.EEG, names=None):
    return Channels(
        names or [f"E{i + 1}" for i in range(n)],
        np.full(n, kind),
        np.full((n, 3), np.nan),
        np.zeros((n, 3)),
        [UNIT_OF_KIND[kind]] * n,
    )


def patient(sfreq=256.0, seconds=60, n=4, seizure=(30, 45), seed=0):
    """(T, C) volts: weak noise, and a strong 8 Hz rhythm in between."""
    t = np.arange(round(seconds * sfreq)) / sfreq
    x_TC = 1e-5 * np.random.default_rng(seed).normal(size=(len(t), n))
    ictal = (t >= seizure[0]) & (t < seizure[1])
    x_TC[ictal] += 3e-4 * np.sin(2 * np.pi * 8 * t[ictal])[:, None]
    return x_TC
