"""Guessing hidden tokens of a stream: what the sensor showed, from the sources of its step.

The signal is guessed in time and in frequency (Brain-OF, arXiv 2602.23410, does both): the waveform
below `slow_hz` and log power in bands, or the points of fMRI. A guess asks with the sensor's code,
so the same sources answer for any montage: a learned forward model.

Shapes: B batch, C channels, W steps, S sources, K features, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    return _guess(encoder, batch, seen.features_BCWK, seen.hidden_BCW, seen.h_BGSD, generator)


def other_losses(
    encoder: UnifiedEncoder,
    batches: Sequence[SignalBatch],
    seen: Sequence[Hidden],
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """From what is left of each recording, guess what another one, made at once, showed.

    Kinds of the same steps only, which fMRI is not; every recording is asked about one other,
    drawn anew.

    Returns
    -------
    dict with "other" and "other_explained", as of `signal_losses`; empty with one recording
    """
    fast = [i for i, b in enumerate(batches) if not is_bold(b)]
    found = []
    for i in fast if len(fast) > 1 else ():
        rest = [j for j in fast if j != i]
        j = rest[int(torch.randint(len(rest), (1,), generator=generator))]
        features_BCWK = seen[j].features_BCWK
        wanted_BCW = batches[j].valid_BC[..., None].expand(features_BCWK.shape[:3])
        parts = _guess(encoder, batches[j], features_BCWK, wanted_BCW, seen[i].h_BGSD, generator)
        found.append(parts)
    if not found:
        return {}
    return {
        "other": torch.stack([f["loss"] for f in found]).mean(),
        "other_explained": torch.stack([f["explained"] for f in found]).mean(),
    }


def _guess(
    encoder: UnifiedEncoder,
    batch: SignalBatch,
    features_BCWK: Tensor,
    wanted_BCW: Tensor,
    h_BGSD: Tensor,
    generator: torch.Generator | None,
) -> dict[str, Tensor]:
    """Guess the wanted tokens of a batch from sources of the same steps."""
    pos_BC3, ori_BC3, code_BCD = encoder.embedding.sensors(batch)
    # Some sensors of each window are asked, those that hide most: what they know, others know too.
    chance_BC = torch.rand(wanted_BCW.shape[:2], generator=generator).to(wanted_BCW.device)
    wanted_BC = wanted_BCW.sum(2) + chance_BC
    asked_BA = wanted_BC.topk(min(ASKED, wanted_BCW.shape[1])).indices
    row_B1 = torch.arange(len(asked_BA), device=asked_BA.device)[:, None]
    wanted_BAW = wanted_BCW[row_B1, asked_BA]
    where = (x[row_B1, asked_BA] for x in (pos_BC3, ori_BC3, batch.kind_BC))
    row_BAS = encoder.reduce.rows(*where)
    code_BAD = code_BCD[row_B1, asked_BA]
    guess_BAWK = encoder.guesser(h_BGSD, code_BAD, row_BAS, is_bold(batch))
    guess_MK = guess_BAWK[wanted_BAW].float()
    truth_MK = features_BCWK[row_B1, asked_BA][wanted_BAW]
    error = (guess_MK - truth_MK).square().mean()
    spread = (truth_MK - truth_MK.mean(0)).square().mean().clamp_min(1e-9)
    return {"loss": error, "explained": 1 - error.detach() / spread}
