"""Masked codes: guess the codes that a frozen codec gives to the whole window.

BrainOmni (arXiv 2505.18185) hides codes and guesses them; here sensors and stretches of the signal
are hidden, and the codes of all of it are guessed from the sources of the steps they lie in. A code
asks with its source and its place in the step.

Shapes: B batch, G steps, S sources, D width; of the codec: R sources, N codes in time, Q levels,
K codes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brainfm.codecs.base import Codec
from brainfm.errors import ContractError
from brainfm.nn.attention import attend
from brainfm.nn.feedforward import SwiGLU
from brainfm.nn.norms import RMSNorm
from brainfm.types import Codes

FINEST = 32
"""Places inside a step that are told apart."""


class CodeGuesser(nn.Module):
    """Sources of a step -> codes inside it.

    Parameters
    ----------
    dim, n_heads : of the encoder
    codec : frozen; must give codes of a fixed number of sources

    Raises
    ------
    ContractError
        If every channel of the codec is its own source.
    """

    def __init__(self, dim: int, n_heads: int, codec: Codec) -> None:
        super().__init__()
        config = codec.config
        if codec.per_channel or not hasattr(config, "codebook_size"):
            raise ContractError(
                f"{type(codec).__name__} has no codes of a fixed number of sources; masked codes "
                "want a BrainTokenizer"
            )
        self.n_heads, self.shape = n_heads, (config.n_quantizers, config.codebook_size)
        self.source_RD = nn.Parameter(torch.randn(config.n_sources, dim))
        self.place = nn.Embedding(FINEST, dim)
        self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm, self.feed = RMSNorm(dim), SwiGLU(dim, dim)
        self.head = nn.Linear(dim, config.n_quantizers * config.codebook_size)

    def forward(self, h_BGSD: Tensor, codes: Codes, step_s: float) -> Tensor:
        """Logits (B, R, N, Q, K) of codes whose middles lie in steps of `step_s`."""
        b, g, _, _ = h_BGSD.shape
        middle_N = (codes.time_W + codes.duration_s / 2).to(h_BGSD.device) / step_s
        slot_N = middle_N.floor().long().clamp(0, g - 1)
        within_N = ((middle_N - slot_N) * FINEST).long().clamp(0, FINEST - 1)
        asked_NRD = self.source_RD + self.place(within_N)[:, None]
        n, r, _ = asked_NRD.shape
        h_MSD = h_BGSD[:, slot_N].flatten(0, 1)
        asked_MRD = asked_NRD.expand(b, -1, -1, -1).flatten(0, 1)
        x = attend(asked_MRD, self.key(h_MSD), self.value(h_MSD), self.n_heads)
        logits = self.head(x + self.feed(self.norm(x + asked_MRD)))
        return logits.unflatten(0, (b, n)).transpose(1, 2).unflatten(-1, self.shape)

    def losses(self, h_BGSD: Tensor, codes: Codes, step_s: float) -> dict[str, Tensor]:
        """Cross-entropy of all codes, mean over levels.

        Returns
        -------
        dict with "codes" (nats) and "codes_acc"
        """
        logits = self(h_BGSD, codes, step_s)
        truth = codes.ids_BSWQ
        loss = F.cross_entropy(logits.float().flatten(0, 3), truth.flatten())
        hit = (logits.argmax(-1) == truth).float().mean()
        return {"codes": loss, "codes_acc": hit.detach()}
