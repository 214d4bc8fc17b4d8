"""Steps as a detector saw them in training: each normalised as the newest of its own window.

Shapes: B batch (1 here), C channels, W steps, P samples of a step, T samples of a window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from brainfm.data.collate import batch_from_arrays
from brainfm.signals.preprocess import Preprocess
from brainfm.types import Channels, SignalBatch


class Windows:
    """The window of training that ends with the newest step.

    Parameters
    ----------
    channels : of the columns
    preprocess : rate, and what happens to a window
    step : samples of a step
    context : most steps of a window
    whole : answer with the whole window; False: with the newest step of it
    """

    def __init__(
        self, channels: Channels, preprocess: Preprocess, step: int, context: int, whole: bool
    ) -> None:
        self.channels, self.step, self.whole = channels, step, whole
        self.sfreq, self.normalise = float(preprocess.recipe.sfreq), preprocess.normalise
        # One standard deviation for all samples of a kind: all that it asks of a step before is
        # its mean and its spread, and to look at every sample again with each step costs more
        # than a small detector does.
        sums = self.normalise.reference == "none" and self.normalise.scale == "kind_std"
        self.brief = sums and not whole
        self._kept: deque[NDArray[np.float64]] = deque(maxlen=context)

    @property
    def n_held(self) -> int:
        """Numbers that are held."""
        return sum(part.size for part in self._kept)

    def forget(self) -> None:
        """Begin anew."""
        self._kept.clear()

    def add(
        self, y_PC: NDArray[np.floating], usable_C: NDArray[np.bool_], start_s: float
    ) -> SignalBatch:
        """The window that ends with this step, or the step as a part of it.

        Parameters
        ----------
        y_PC : SI units
        usable_C : channels that can be believed in this step; others have no part in the scale
        start_s : of the step
        """
        y_PC = np.where(usable_C, y_PC, 0.0)
        self._kept.append(_mean_and_spread(y_PC) if self.brief else y_PC)
        x_CT = np.concatenate(self._kept).T
        patch = None if self.brief else self.step
        batch = batch_from_arrays(x_CT[None], self.channels, self.sfreq, self.normalise, patch)
        if self.brief:
            batch.x_BCWP = self._scaled(y_PC, batch)
        elif not self.whole:
            batch.x_BCWP = batch.x_BCWP[:, :, -1:]
        n = batch.x_BCWP.shape[2]
        batch.time_BW = (
            start_s - torch.arange(n - 1, -1, -1)[None].double() * self.step / self.sfreq
        )
        batch.valid_BC &= torch.from_numpy(usable_C)
        return batch

    def _scaled(self, y_PC: NDArray[np.float64], batch: SignalBatch) -> Tensor:
        """(1, C, 1, P) in the scale of a batch."""
        valid_C = batch.valid_BC[0].numpy()
        x_PC = np.where(valid_C, y_PC / batch.scale_BC[0].double().numpy(), 0.0)
        if self.normalise.clip is not None:
            x_PC = x_PC.clip(-self.normalise.clip, self.normalise.clip)
        return torch.from_numpy(np.ascontiguousarray(x_PC.T, np.float32))[None, :, None]


def joined(steps: Sequence[SignalBatch]) -> tuple[SignalBatch, Tensor]:
    """Consecutive steps with the same valid channels as one batch, and the scale of each (B, C, W).

    `scale_BC` of the batch is that of the last step.
    """
    x_BCWP = torch.cat([s.x_BCWP for s in steps], 2)
    time_BW = torch.cat([s.time_BW for s in steps], 1)
    scale_BCW = torch.stack([s.scale_BC for s in steps], -1)
    return replace(steps[-1], x_BCWP=x_BCWP, time_BW=time_BW), scale_BCW


def _mean_and_spread(y_PC: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two samples (2, C) that have the mean and the standard deviation of these."""
    middle_C, spread_C = y_PC.mean(0), y_PC.std(0)
    return np.stack([middle_C - spread_C, middle_C + spread_C])
