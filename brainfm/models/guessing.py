"""Guessing hidden tokens of a stream: what the sensor showed, from the sources of its step.

The signal is guessed in time and in frequency (Brain-OF, arXiv 2602.23410, does both): the waveform
below `slow_hz` and log power in bands, or the points of fMRI. A guess asks with the sensor's code,
so the same sources answer for any montage: a learned forward model.

Shapes: B batch, C channels, W steps, S sources, K features, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brainfm.models.hiding import HidingConfig, draw_hidden
from brainfm.models.stream import is_bold
from brainfm.models.unified import UnifiedEncoder
from brainfm.nn.attention import attend
from brainfm.nn.feedforward import FeedForward
from brainfm.nn.norms import RMSNorm
from brainfm.types import SignalBatch


class Guesser(nn.Module):
    """Sources of a step -> what a sensor showed in it.

    Parameters
    ----------
    encoder : whose widths and families it serves; not kept
    """

    def __init__(self, encoder: UnifiedEncoder) -> None:
        super().__init__()
        c = encoder.config
        self.n_heads = c.n_heads
        self.query, self.key, self.value = (nn.Linear(c.dim, c.dim) for _ in range(3))
        self.norm, self.feed = RMSNorm(c.dim), FeedForward(c.dim, widen=2)
        self.fast = nn.Linear(c.dim, encoder.embedding.fast.n_features)
        self.bold = nn.Linear(c.dim, encoder.embedding.bold.n_features)

    def forward(self, h_BGSD: Tensor, code_BCD: Tensor, bold: bool) -> Tensor:
        """(B, C, W, K) guesses for all sensors of the steps of `h_BGSD`."""
        b, g, _, _ = h_BGSD.shape
        asked_MCD = self.query(code_BCD).repeat_interleave(g, 0)
        h_MSD = h_BGSD.flatten(0, 1)
        found_MCD = attend(asked_MCD, self.key(h_MSD), self.value(h_MSD), self.n_heads)
        x = found_MCD + self.feed(self.norm(found_MCD + asked_MCD))
        guess_MCK = (self.bold if bold else self.fast)(x)
        return guess_MCK.unflatten(0, (b, g)).transpose(1, 2)


def signal_losses(
    encoder: UnifiedEncoder,
    guesser: Guesser,
    batch: SignalBatch,
    hiding: HidingConfig,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Hide blocks of a batch and guess what they showed.

    Returns
    -------
    dict with "loss" (squared error; a feature has variance 1 in training) and "explained", the
    share of the variance among what was hidden that is guessed
    """
    embedding = encoder.embedding
    features_BCWK = embedding.features(batch)
    stream = embedding.tokens(batch, features_BCWK)
    pos_BC3, code_BCD = embedding.sensors(batch)
    hidden_BCW = draw_hidden(hiding, pos_BC3, batch.valid_BC, features_BCWK.shape[2], generator)
    h_BGSD = encoder.encode(stream, hidden_BCW.flatten(1))
    guess_MK = guesser(h_BGSD, code_BCD, is_bold(batch))[hidden_BCW].float()
    truth_MK = features_BCWK[hidden_BCW]
    error = (guess_MK - truth_MK).square().mean()
    spread = (truth_MK - truth_MK.mean(0)).square().mean().clamp_min(1e-9)
    return {"loss": error, "explained": 1 - error.detach() / spread}
