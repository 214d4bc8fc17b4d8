"""Guessing hidden tokens of a stream: what the sensor showed, from the sources of its step.

The signal is guessed in time and in frequency (Brain-OF, arXiv 2602.23410, does both): the waveform
below `slow_hz` and log power in bands, or the points of fMRI. A guess asks with the sensor's code,
so the same sources answer for any montage: a learned forward model.

Shapes: B batch, C channels, W steps, S sources, K features, D width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from brainfm.models.hiding import HidingConfig, draw_hidden
from brainfm.models.stream import is_bold
from brainfm.nn.attention import attend
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.norms import RMSNorm
from brainfm.types import SignalBatch

if TYPE_CHECKING:
    from brainfm.models.unified import UnifiedEncoder

ASKED = 16
"""Sensors of a window that are asked what they showed."""


class Guesser(nn.Module):
    """Sources of a step -> what a sensor showed in it.

    Parameters
    ----------
    dim, n_heads : of the encoder
    n_fast, n_bold : features K of both families
    """

    def __init__(self, dim: int, n_heads: int, n_fast: int, n_bold: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.norm, self.feed = RMSNorm(dim), SwiGLU(dim, dim)
        self.fast, self.bold = nn.Linear(dim, n_fast), nn.Linear(dim, n_bold)
        self.fast_sources, self.bold_sources = nn.Linear(dim, n_fast), nn.Linear(dim, n_bold)

    def forward(
        self, h_BGSD: Tensor, code_BCD: Tensor, row_BCS: Tensor | None, bold: bool
    ) -> Tensor:
        """(B, C, W, K) guesses for sensors with these codes.

        Parameters
        ----------
        h_BGSD : sources of W steps
        code_BCD, row_BCS : codes of the sensors, and their rows of a lead field
        bold : whether they are fMRI's
        """
        b, g, _, _ = h_BGSD.shape
        asked_MCD = self.query(code_BCD).repeat_interleave(g, 0)
        h_MSD = h_BGSD.flatten(0, 1)
        found_MCD = attend(asked_MCD, self.key(h_MSD), self.value(h_MSD), self.n_heads)
        x = found_MCD + self.feed(self.norm(found_MCD + asked_MCD))
        guess_MCK = (self.bold if bold else self.fast)(x)
        guess_BCWK = guess_MCK.unflatten(0, (b, g)).transpose(1, 2)
        if row_BCS is not None:
            source_BGSK = (self.bold_sources if bold else self.fast_sources)(h_BGSD)
            row = row_BCS.to(source_BGSK.dtype)
            guess_BCWK = guess_BCWK + torch.einsum("bcs,bgsk->bcgk", row, source_BGSK)
        return guess_BCWK


class Hidden(NamedTuple):
    """One pass over a batch of which blocks are hidden.

    features_BCWK : what the sensors showed, hidden or not
    hidden_BCW : what was hidden
    h_BGSD : sources of every step, as the encoder imagines them
    """

    features_BCWK: Tensor
    hidden_BCW: Tensor
    h_BGSD: Tensor


def pass_hidden(
    encoder: UnifiedEncoder,
    batch: SignalBatch,
    hiding: HidingConfig,
    generator: torch.Generator | None = None,
) -> Hidden:
    """Hide blocks of a batch and encode the rest."""
    embedding = encoder.embedding
    features_BCWK = embedding.features(batch)
    stream = embedding.tokens(batch, features_BCWK)
    pos_BC3, _, _ = embedding.sensors(batch)
    hidden_BCW = draw_hidden(hiding, pos_BC3, batch.valid_BC, features_BCWK.shape[2], generator)
    return Hidden(features_BCWK, hidden_BCW, encoder.encode(stream, hidden_BCW.flatten(1)))


def signal_losses(
    encoder: UnifiedEncoder,
    batch: SignalBatch,
    seen: Hidden,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Guess what hidden tokens showed.

    Returns
    -------
    dict with "loss" (squared error; a feature has variance 1 in training) and "explained", the
    share of the variance among what was hidden that is guessed
    """
    hidden_BCW = seen.hidden_BCW
    pos_BC3, ori_BC3, code_BCD = encoder.embedding.sensors(batch)
    # Some sensors of each window are asked, those that hide most: what they know, others know too.
    chance_BC = torch.rand(hidden_BCW.shape[:2], generator=generator).to(hidden_BCW.device)
    hides_BC = hidden_BCW.sum(2) + chance_BC
    asked_BA = hides_BC.topk(min(ASKED, hidden_BCW.shape[1])).indices
    row_B1 = torch.arange(len(asked_BA), device=asked_BA.device)[:, None]
    hidden_BAW = hidden_BCW[row_B1, asked_BA]
    where = (x[row_B1, asked_BA] for x in (pos_BC3, ori_BC3, batch.kind_BC))
    row_BAS = encoder.reduce.rows(*where)
    code_BAD = code_BCD[row_B1, asked_BA]
    guess_BAWK = encoder.guesser(seen.h_BGSD, code_BAD, row_BAS, is_bold(batch))
    guess_MK = guess_BAWK[hidden_BAW].float()
    truth_MK = seen.features_BCWK[row_B1, asked_BA][hidden_BAW]
    error = (guess_MK - truth_MK).square().mean()
    spread = (truth_MK - truth_MK.mean(0)).square().mean().clamp_min(1e-9)
    return {"loss": error, "explained": 1 - error.detach() / spread}
