"""Features of unit size: mean and spread of each feature and kind of sensor, from training windows.

Log power falls by decades from 1 to 100 Hz, and waveforms by as much: without this a network spends
its first thousand steps on what a table could have told it, and is later judged by the features
that happen to be large.

Shapes: B batch, C channels, W steps, K features, J kinds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brainfm.types import N_KINDS

CLIP = 8.0
"""Standardised features stay within this: an artefact is large, and need not be a thousand."""
LEAST = 1e-3
"""Smallest spread; a feature that never moves (a band above the filter's edge) stays small."""


class Standard(nn.Module):
    """Standardise features by kind of sensor.

    Parameters
    ----------
    n_features : K
    """

    mean_JK: Tensor
    spread_JK: Tensor
    met_J: Tensor

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.register_buffer("mean_JK", torch.zeros(N_KINDS, n_features))
        self.register_buffer("spread_JK", torch.ones(N_KINDS, n_features))
        self.register_buffer("met_J", torch.zeros(N_KINDS, dtype=torch.bool))
        self._sums: dict[int, tuple[int, Tensor, Tensor]] = {}

    def forward(self, x_BCWK: Tensor, kind_BC: Tensor) -> Tensor:
        """Of mean 0 and spread 1 over the windows that were met; clipped."""
        mean, spread = self.mean_JK[kind_BC], self.spread_JK[kind_BC]
        return ((x_BCWK - mean[:, :, None]) / spread[:, :, None]).clamp(-CLIP, CLIP)

    def add(self, x_BCWK: Tensor, kind_BC: Tensor, valid_BC: Tensor) -> None:
        """Take features of some windows into account."""
        for kind in kind_BC.unique().tolist():
            x_NK = x_BCWK[(kind_BC == kind) & valid_BC].flatten(0, 1).double()
            n, total, squares = self._sums.get(kind, (0, 0.0, 0.0))
            if len(x_NK):
                self._sums[kind] = (
                    n + len(x_NK),
                    total + x_NK.sum(0),
                    squares + x_NK.square().sum(0),
                )

    def learn(self) -> None:
        """Mean and spread of what was added; kinds that were not seen share those of the rest."""
        if not self._sums:
            return
        parts = list(self._sums.values())
        everything = (sum(p[0] for p in parts), sum(p[1] for p in parts), sum(p[2] for p in parts))
        for kind in range(N_KINDS):
            if kind in self._sums or not bool(self.met_J[kind]):
                n, total, squares = self._sums.get(kind, everything)
                mean = total / n
                self.mean_JK[kind] = mean.float()
                variance = (squares / n - mean.square()).clamp_min(LEAST**2)
                self.spread_JK[kind] = variance.sqrt().float()
            self.met_J[kind] |= kind in self._sums
        self._sums = {}
